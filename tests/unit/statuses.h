// Statuses built by hand, for what is made of them: a load half done, and a stream under way.
#ifndef GW_TEST_STATUSES_H
#define GW_TEST_STATUSES_H

#include <stdint.h>

#include "common/arena.h"
#include "common/clock.h"
#include "control.pb-c.h"

static const int64_t status_now_us = INT64_C(1767323045678000); // 2026-01-02 03:04:05.678 UTC

static inline char *
said(const char *s)
{
    return (char *)(uintptr_t)s; // read only
}

static inline Gw__Status *
status_new(struct gw_arena *a, const char *phase)
{
    Gw__Status *s = gw_pb_new(a, Gw__Status, gw__status__init);
    s->task = said("shop");
    s->phase = said(phase);
    s->started_us = status_now_us - 3600 * GW_S;
    s->now_us = status_now_us;
    s->snapshots = 1;
    return s;
}

static inline Gw__TableStatus *
status_table(struct gw_arena *a, Gw__Status *s, const char *name, const char *state, uint64_t rows)
{
    Gw__TableStatus *t = gw_pb_new(a, Gw__TableStatus, gw__table_status__init);
    t->id = (uint32_t)s->n_tables + 1;
    t->schema = t->target_schema = said("public");
    t->name = t->target_name = said(name);
    t->state = said(state);
    t->rows = rows;
    t->bytes = rows * 100;
    t->started_us = s->started_us;
    t->ended_us = s->started_us + 60 * GW_S;
    gw_pb_add(a, s, tables, t);
    return t;
}

static inline Gw__Counts *
status_counts(struct gw_arena *a, Gw__TableStatus *t, uint64_t inserts, uint64_t updates, uint64_t deletes)
{
    Gw__Counts *c = t->counts = gw_pb_new(a, Gw__Counts, gw__counts__init);
    c->table = t->id;
    c->inserts = c->applied_inserts = inserts;
    c->updates = c->applied_updates = updates;
    c->deletes = c->applied_deletes = deletes;
    c->last_us = status_now_us - 2 * GW_S;
    return c;
}

// Three tables, one of them suspended; 1.2 GB of log on the source.
static inline Gw__Status *
status_streaming(struct gw_arena *a)
{
    Gw__Status *s = status_new(a, "replicating");
    status_counts(a, status_table(a, s, "orders", "Table completed", 1000000), 40000, 10000, 2000);
    status_counts(a, status_table(a, s, "customers", "Table completed", 20000), 10, 700, 0);
    Gw__TableStatus *t = status_table(a, s, "audit", "Table error", 500);
    status_counts(a, t, 3, 0, 0);
    t->reason = said("the table was altered; reload it");
    s->stream = gw_pb_new(a, Gw__StreamStatus, gw__stream_status__init);
    s->stream->position = said("0/1A2B3C4");
    s->stream->transactions = 1234;
    s->stream->captured = 52800;
    s->stream->applied = 52713;
    s->stream->latency_source_us = 400 * GW_MS;
    s->stream->latency_target_us = 1200 * GW_MS;
    s->stream->log_kept_bytes = UINT64_C(1200000000);
    return s;
}

#endif
