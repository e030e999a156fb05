#include "cli/changes.h"

#include <stdio.h>

struct gw_changes
gw_changes_of(const Gw__TableStatus *t)
{
    const Gw__Counts *c = t->counts;
    if (!c) {
        return (struct gw_changes){0};
    }
    return (struct gw_changes){
        .captured = {[GW_INSERTS] = c->inserts,
                     [GW_UPDATES] = c->updates,
                     [GW_DELETES] = c->deletes,
                     [GW_DDLS] = c->ddls + c->truncates},
        .applied = {[GW_INSERTS] = c->applied_inserts,
                    [GW_UPDATES] = c->applied_updates,
                    [GW_DELETES] = c->applied_deletes,
                    [GW_DDLS] = c->applied_ddls + c->applied_truncates},
        .errors = c->errors,
        .skipped = c->skipped,
        .last_us = c->last_us,
    };
}

struct gw_changes
gw_changes_all(const Gw__Status *s)
{
    struct gw_changes all = {0};
    for (size_t i = 0; i < s->n_tables; i++) {
        struct gw_changes c = gw_changes_of(s->tables[i]);
        for (size_t op = 0; op < GW_CHANGE_OPS; op++) {
            all.captured[op] += c.captured[op];
            all.applied[op] += c.applied[op];
        }
        all.errors += c.errors;
        all.skipped += c.skipped;
        all.last_us = c.last_us > all.last_us ? c.last_us : all.last_us;
    }
    return all;
}

uint64_t
gw_changes_applied(const struct gw_changes *c)
{
    uint64_t n = 0;
    for (size_t op = 0; op < GW_CHANGE_OPS; op++) {
        n += c->applied[op];
    }
    return n;
}

int64_t
gw_changes_behind(const Gw__StreamStatus *s)
{
    // As far as the oldest change that waits; where none does, as far as capture is.
    int64_t waits = s->latency_target_us, reads = s->caught_up ? 0 : s->latency_source_us;
    return waits > 0 && waits > reads ? waits : reads;
}

struct gw_fmt
gw_fmt_latency(int64_t us)
{
    struct gw_fmt unknown = {"unknown"};
    return us < 0 ? unknown : gw_fmt_duration(us);
}
