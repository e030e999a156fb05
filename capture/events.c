// What becomes of an event: left out because the load has seen it, or packed into the batch.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capture/stream.h"
#include "common/log.h"

enum { TALLY_EVERY = 100000 };

// ---- events ------------------------------------------------------------------------------------

static void
begin_once(struct stream *s)
{
    if (!s->begun) {
        s->begun = true;
        (void)gw_buf_room(&s->batch, gw_worker_task(s->c->w)->batch_bytes);
        gw_change_put_begin(&s->batch, s->transaction, s->transaction_us);
        s->batch_n++;
    }
}

static int
put(struct stream *s, uint32_t table, Gw__ChangeKind kind, bool unsure, const struct gw_value *before,
    const struct gw_value *after, struct gw_err *err)
{
    struct stable *t = &s->tables[table];
    begin_once(s);
    gw_change_put_row(&s->batch, kind, t->id, unsure, before, after, t->columns);
    switch (kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT:
        t->sent.inserts++;
        t->total.inserts++;
        break;
    case GW__CHANGE_KIND__CHANGE_UPDATE:
        t->sent.updates++;
        t->total.updates++;
        break;
    default:
        t->sent.deletes++;
        t->total.deletes++;
        break;
    }
    s->untold++;
    return gw_stream_packed(s, err);
}

static int
suspend(struct stream *s, uint32_t table, const char *why, struct gw_err *err)
{
    struct stable *t = &s->tables[table];
    if (t->suspended) {
        return GW_OK;
    }
    t->suspended = true;
    begin_once(s);
    gw_change_put_suspend(&s->batch, t->id, why);
    return gw_stream_packed(s, err);
}

static bool
same_value(const struct gw_value *a, const struct gw_value *b)
{
    return a->given == b->given &&
           (a->given != GW_PRESENT || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0));
}

// An old row that says no more than the new one's key does is not sent.
static const struct gw_value *
needed_before(const struct stable *t, const struct gw_event *ev)
{
    bool same = ev->before && t->key_n;
    for (size_t i = 0; same && i < t->key_n; i++) {
        same = same_value(&ev->before[t->key[i]], &ev->after[t->key[i]]);
    }
    return same ? NULL : ev->before;
}

static bool
complete(const struct gw_value *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].given == GW_NOT_GIVEN) {
            return false;
        }
    }
    return true;
}

// A row that moved between parts that were read at different times: each half is tested on its own.
static int
put_halves(struct stream *s, const struct gw_event *ev, const struct gw_value *before, struct gw_seen seen,
           struct gw_err *err)
{
    struct stable *t = &s->tables[ev->table];
    int r = GW_OK;
    if (seen.old_row != GW_VISIBLE) {
        r = put(s, ev->table, GW__CHANGE_KIND__CHANGE_DELETE, seen.old_row == GW_UNSURE, before ? before : ev->after,
                NULL, err);
    }
    if (r != GW_OK || seen.new_row == GW_VISIBLE) {
        return r;
    }
    if (!complete(ev->after, t->columns)) {
        return suspend(
            s, ev->table,
            "a row's key moved " GW_READ_APART
            ", and the source's log does not hold all of its values; reload the table, or set REPLICA IDENTITY FULL",
            err);
    }
    return put(s, ev->table, GW__CHANGE_KIND__CHANGE_INSERT, seen.new_row == GW_UNSURE, NULL, ev->after, err);
}

static int
take_row(struct stream *s, const struct gw_event *ev, struct gw_err *err)
{
    struct stable *t = &s->tables[ev->table];
    if (t->suspended) {
        return GW_OK;
    }
    const struct gw_value *before = ev->kind == GW__CHANGE_KIND__CHANGE_UPDATE ? needed_before(t, ev) : ev->before;
    struct gw_seen seen;
    int r = gw_filter_row(s->filter, ev->table, ev->kind, before, ev->after, &seen, err);
    if (r != GW_OK) {
        return r;
    }
    switch (ev->kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT:
        if (seen.new_row == GW_VISIBLE) {
            t->total.skipped++;
            return GW_OK;
        }
        return put(s, ev->table, ev->kind, seen.new_row == GW_UNSURE, NULL, ev->after, err);
    case GW__CHANGE_KIND__CHANGE_DELETE:
        if (seen.old_row == GW_VISIBLE) {
            t->total.skipped++;
            return GW_OK;
        }
        return put(s, ev->table, ev->kind, seen.old_row == GW_UNSURE, before, NULL, err);
    default: break;
    }
    if (seen.old_row == GW_INVISIBLE && seen.new_row == GW_INVISIBLE) {
        return put(s, ev->table, ev->kind, false, before, ev->after, err);
    }
    if (seen.old_row == GW_VISIBLE && seen.new_row == GW_VISIBLE) {
        t->total.skipped++;
        return GW_OK;
    }
    if (!before && seen.new_row == GW_UNSURE) { // in place: the row as it is now, whether it is there or not
        return complete(ev->after, t->columns)
                   ? put(s, ev->table, GW__CHANGE_KIND__CHANGE_INSERT, true, NULL, ev->after, err)
                   : put(s, ev->table, ev->kind, true, NULL, ev->after, err);
    }
    return put_halves(s, ev, before, seen, err);
}

static int
take_truncate(struct stream *s, const struct gw_event *ev, struct gw_err *err)
{
    struct stable *t = &s->tables[ev->table];
    enum gw_visible seen = GW_INVISIBLE;
    int r = t->suspended ? GW_OK : gw_filter_table(s->filter, ev->table, &seen, err);
    if (r != GW_OK || t->suspended) {
        return r;
    }
    if (seen == GW_VISIBLE || gw_worker_task(s->c->w)->stream->keep_truncated) {
        t->total.skipped++;
        return GW_OK;
    }
    if (seen == GW_UNSURE) {
        return suspend(s, ev->table, "the table was truncated " GW_READ_APART "; reload it", err);
    }
    begin_once(s);
    gw_change_put_truncate(&s->batch, t->id);
    t->sent.truncates++;
    t->total.truncates++;
    s->untold++;
    return gw_stream_packed(s, err);
}

int
gw_stream_passed_until(struct stream *s, struct gw_err *err)
{
    if (!s->until || s->ending) {
        return GW_OK;
    }
    int c = 0;
    int r = s->c->ops->position_cmp(s->position, s->until, &c, err);
    if (r == GW_OK && c >= 0) {
        gw_info("everything up to %s has been read", s->until);
        s->ending = true;
    }
    return r;
}

static int
take_boundary(struct stream *s, const struct gw_event *ev, struct gw_err *err)
{
    gw_stream_set_text(&s->position, ev->position);
    s->in_transaction = false;
    s->position_due = true;
    int r = GW_OK;
    if (s->begun) {
        s->begun = false;
        s->position_due = false;
        s->commit_us = ev->commit_us;
        gw_change_put_commit(&s->batch, ev->position, ev->commit_us);
        r = gw_stream_packed(s, err);
        r = r == GW_OK && s->untold >= TALLY_EVERY ? gw_stream_tally(s, err) : r;
    }
    return r == GW_OK ? gw_stream_passed_until(s, err) : r;
}

int
gw_stream_take(struct stream *s, const struct gw_event *ev, struct gw_err *err)
{
    switch (ev->kind) {
    case GW__CHANGE_KIND__CHANGE_BEGIN:
        s->in_transaction = true;
        gw_stream_set_text(&s->transaction, ev->transaction);
        s->transaction_us = ev->commit_us;
        s->caught_up = false;
        gw_filter_begin(s->filter, ev->transaction);
        return GW_OK;
    case GW__CHANGE_KIND__CHANGE_INSERT:
    case GW__CHANGE_KIND__CHANGE_UPDATE:
    case GW__CHANGE_KIND__CHANGE_DELETE: return take_row(s, ev, err);
    case GW__CHANGE_KIND__CHANGE_TRUNCATE: return take_truncate(s, ev, err);
    case GW__CHANGE_KIND__CHANGE_SUSPEND: return suspend(s, ev->table, ev->text, err);
    case GW__CHANGE_KIND__CHANGE_COMMIT:
    case GW__CHANGE_KIND__CHANGE_KEEPALIVE: return take_boundary(s, ev, err);
    default: return gw_err_set(err, GW_BUG, NULL, "the source engine told of a change of kind %d", (int)ev->kind);
    }
}
