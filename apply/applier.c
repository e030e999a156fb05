// Groups of source transactions: what comes is taken into pieces, pieces go into the target's transaction, a group ends
// with its commit.
#include "apply/applier.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"

enum { SEEN_SIZE = 4 * GW_SET_ROWS, TEXT_MAX = 1 << 20 };

// ---- init --------------------------------------------------------------------------------------

static void
take_settings(struct gw_applier *a, const Gw__Task *task)
{
    static const Gw__ErrorSettings errors = {
        .base = PROTOBUF_C_MESSAGE_INIT(&gw__error_settings__descriptor),
        .data_error = GW__ERROR_POLICY__LOG_ERROR,
        .data_truncation = GW__ERROR_POLICY__LOG_ERROR,
        .table_error = GW__ERROR_POLICY__SUSPEND_TABLE,
        .apply_insert = GW__ERROR_POLICY__LOG_ERROR,
        .apply_update = GW__ERROR_POLICY__LOG_ERROR,
    };
    const Gw__StreamSettings *s = task->stream;
    a->errors = task->errors ? task->errors : &errors;
    a->quiet_us = GW_QUIET_US;
    a->gather_us = GW_GATHER_US;
    a->group_transactions_max = GW_GROUP_TRANSACTIONS;
    a->group_bytes_max = GW_GROUP_BYTES;
    a->memory_max = UINT64_C(64) << 20;
    a->events_max = GW_PIECE_EVENTS;
    if (!s) {
        return;
    }
    a->memory_max = s->memory_bytes ? s->memory_bytes : a->memory_max;
    a->events_max = s->split_changes && s->split_changes < a->events_max ? s->split_changes : a->events_max;
    if (s->commit_us && (int64_t)s->commit_us < a->gather_us) {
        a->gather_us = (int64_t)s->commit_us;
    }
    if (s->batch) {
        a->batch = true;
        a->quiet_us = (int64_t)s->batch_min_us;
        a->gather_us = (int64_t)s->batch_max_us;
        a->group_transactions_max = UINT64_MAX;
        a->group_bytes_max = a->memory_max;
    }
}

// Counts go on where the durable ones are.
static void
take_counts(struct gw_applier *a, const Gw__StreamCounts *c)
{
    gw__stream_counts__init(&a->counts);
    a->counts.tables = gw_arena_calloc(&a->arena, a->tables_n, sizeof *a->counts.tables);
    for (size_t i = 0; c && i < c->n_tables; i++) {
        struct gw_applier_table *t = gw_tables_find(a, c->tables[i]->table);
        if (t) {
            t->counts = *c->tables[i];
        }
    }
    a->counts.transactions = c ? c->transactions : 0;
    a->counts.commit_us = c ? c->commit_us : 0;
    gw__stream_counts__init(&a->durable_counts);
    a->durable_tables = gw_arena_calloc(&a->arena, a->tables_n, sizeof *a->durable_tables);
    a->durable_counts.tables = gw_arena_calloc(&a->arena, a->tables_n, sizeof *a->durable_counts.tables);
}

static bool
has_counts(const Gw__Counts *c)
{
    return c->inserts || c->updates || c->deletes || c->truncates || c->ddls || c->skipped || c->errors;
}

static void
gather_counts(struct gw_applier *a)
{
    a->counts.n_tables = 0;
    for (size_t i = 0; i < a->tables_n; i++) {
        if (has_counts(&a->tables[i].counts)) {
            a->counts.tables[a->counts.n_tables++] = &a->tables[i].counts;
        }
    }
}

static void
set_durable(struct gw_applier *a)
{
    Gw__Counts **tables = a->durable_counts.tables;
    for (size_t i = 0; i < a->counts.n_tables; i++) {
        a->durable_tables[i] = *a->counts.tables[i];
        tables[i] = &a->durable_tables[i];
    }
    a->durable_counts = a->counts;
    a->durable_counts.tables = tables;
    gw_buf_reset(&a->durable);
    gw_buf_put(&a->durable, a->position.data, a->position.len);
}

static void
open_scratch(struct gw_applier *a)
{
    size_t widest = 1;
    for (size_t i = 0; i < a->tables_n; i++) {
        widest = a->tables[i].n > widest ? a->tables[i].n : widest;
    }
    a->before = gw_arena_calloc(&a->arena, widest, sizeof *a->before);
    a->after = gw_arena_calloc(&a->arena, widest, sizeof *a->after);
    a->mask_words = (widest + 63) / 64;
    a->mask = gw_arena_calloc(&a->arena, a->mask_words, sizeof *a->mask);
    a->seen = gw_arena_calloc(&a->arena, SEEN_SIZE, sizeof *a->seen);
    a->suspended = gw_arena_calloc(&a->arena, a->tables_n, sizeof *a->suspended);
    a->set.tuple = gw_arena_calloc(&a->arena, widest, sizeof *a->set.tuple);
    a->set.columns = gw_arena_calloc(&a->arena, widest, sizeof *a->set.columns);
    a->set.key = gw_arena_calloc(&a->arena, widest, sizeof *a->set.key);
    a->set.key_tuple = gw_arena_calloc(&a->arena, widest, sizeof *a->set.key_tuple);
}

int
gw_applier_init(struct gw_applier *a, const struct gw_target_ops *ops, void *self, const Gw__Task *task,
                Gw__StreamTable *const *tables, size_t n, bool in_order, const Gw__Progress *progress, int64_t now_us,
                struct gw_err *err)
{
    *a = (struct gw_applier){.ops = ops, .self = self, .in_order = in_order, .committed_us = now_us};
    gw_arena_init(&a->arena);
    gw_buf_init(&a->text, SIZE_MAX / 2);
    gw_buf_init(&a->name, TEXT_MAX);
    gw_buf_init(&a->position, TEXT_MAX);
    gw_buf_init(&a->durable, TEXT_MAX);
    gw_piece_init(&a->piece, n);
    take_settings(a, task);
    a->transaction = UINT32_MAX;
    int r = gw_tables_open(a, tables, n, err);
    if (r != GW_OK) {
        return r;
    }
    open_scratch(a);
    take_counts(a, progress->counts);
    for (size_t i = 0; i < progress->n_suspended; i++) { // by a run whose end nobody heard of
        struct gw_applier_table *t = gw_tables_find(a, progress->suspended[i]->table);
        if (t) {
            t->suspended = true;
        }
    }
    gw_buf_puts(&a->position, progress->position);
    gather_counts(a);
    set_durable(a);
    return GW_OK;
}

void
gw_applier_fini(struct gw_applier *a)
{
    gw_piece_fini(&a->piece);
    free(a->set.values);
    free(a->set.keys);
    gw_buf_fini(&a->text);
    gw_buf_fini(&a->name);
    gw_buf_fini(&a->position);
    gw_buf_fini(&a->durable);
    gw_arena_fini(&a->arena);
}

// ---- to the target -----------------------------------------------------------------------------

int
gw_applier_begin(struct gw_applier *a, struct gw_err *err)
{
    if (a->begun) {
        return GW_OK;
    }
    int r = a->ops->stream_begin(a->self, err);
    a->begun = r == GW_OK;
    return r == GW_OK ? r : gw_err_wrap(err, "begin a transaction on the target");
}

static int
apply_net(struct gw_applier *a, struct gw_err *err)
{
    int r = a->ops->stream_mark(a->self, err);
    if (r != GW_OK) {
        return r;
    }
    struct gw_err why = {0};
    r = gw_sets_apply(a, &why);
    if (r == GW_OK) {
        for (size_t i = 0; i < a->piece.events_n; i++) {
            const struct gw_event *e = &a->piece.events[i];
            gw_count_applied(e->table, e->kind, 1, a->piece.transactions[e->transaction].commit_us);
        }
        return GW_OK;
    }
    if (r != GW_DATA) {
        *err = why;
        return r;
    }
    // Net changes may meet unique values in an order that the source never had.
    r = a->ops->stream_back(a->self, err);
    gw_debug("net changes were refused, now in the source's order: %s", why.message);
    return r == GW_OK ? gw_replay(a, err) : r;
}

// Applies the piece, in the target's transaction.
static int
flush(struct gw_applier *a, struct gw_err *err)
{
    if (a->piece.events_n == 0) {
        return GW_OK;
    }
    int r = gw_applier_begin(a, err);
    if (r == GW_OK && GW_FAULT("apply.stream.piece")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.piece");
    }
    if (r == GW_OK) {
        r = a->piece.ordered ? gw_replay(a, err) : apply_net(a, err);
    }
    if (r == GW_OK) {
        gw_piece_reset(&a->piece);
        a->transaction = UINT32_MAX;
        a->dirty = true;
    }
    return r;
}

static int
commit(struct gw_applier *a, int64_t now_us, struct gw_err *err)
{
    gw_assert(!a->in_transaction);
    int r = flush(a, err);
    if (r == GW_OK && GW_FAULT("apply.stream.group")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.group");
    }
    gather_counts(a);
    r = r == GW_OK ? a->ops->stream_commit(a->self, a->position.data, &a->counts, err) : r;
    if (r == GW_OK && GW_FAULT("apply.stream.committed")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.committed");
    }
    if (r != GW_OK) {
        return r;
    }
    set_durable(a);
    a->begun = a->dirty = a->moved = false;
    a->group_transactions = a->group_bytes = 0;
    a->first_us = a->oldest_us = 0;
    a->committed_us = now_us;
    a->suspended_durable = a->suspended_n;
    a->commits++;
    return GW_OK;
}

// ---- what comes --------------------------------------------------------------------------------

static int
misplaced(const char *what, bool inside, struct gw_err *err)
{
    return gw_err_set(err, GW_BUG, NULL, "%s came %s a transaction", what, inside ? "inside" : "outside");
}

static bool
has_group(const struct gw_applier *a)
{
    return a->dirty || a->begun || a->piece.events_n > 0;
}

// The transaction in hand as one of the piece.
static uint32_t
piece_transaction(struct gw_applier *a)
{
    struct gw_piece *p = &a->piece;
    if (a->transaction == UINT32_MAX) {
        if (p->transactions_n == p->transactions_cap) {
            p->transactions_cap = p->transactions_cap ? 2 * p->transactions_cap : 64;
            p->transactions = realloc(p->transactions, p->transactions_cap * sizeof *p->transactions);
            gw_assert(p->transactions);
        }
        a->transaction = (uint32_t)p->transactions_n++;
        p->transactions[a->transaction] = (struct gw_piece_transaction){
            .name = gw_arena_memdup0(&p->arena, a->name.len ? a->name.data : "", a->name.len),
            .commit_us = a->commit_us};
    }
    return a->transaction;
}

static void
count_came(struct gw_applier_table *t, Gw__ChangeKind kind)
{
    switch (kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT:
        t->came.inserts++;
        t->counts.inserts++;
        break;
    case GW__CHANGE_KIND__CHANGE_UPDATE:
        t->came.updates++;
        t->counts.updates++;
        break;
    case GW__CHANGE_KIND__CHANGE_DELETE:
        t->came.deletes++;
        t->counts.deletes++;
        break;
    default: t->came.truncates++; t->counts.truncates++;
    }
}

// A change that names no row at all. In its turn, like one that is refused.
static int
take_unnamed(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, struct gw_err *err)
{
    struct gw_err why = *err;
    gw_err_clear(err);
    int r = flush(a, err);
    return r == GW_OK ? gw_refuse_change(a, t, c, &why, err) : r;
}

static int
take_row(struct gw_applier *a, const struct gw_change *c, int64_t now_us, struct gw_err *err)
{
    struct gw_applier_table *t = gw_tables_find(a, c->table);
    if (!t) {
        return gw_err_set(err, GW_BUG, NULL, "a change of table %u, which is not in the stream", c->table);
    }
    if (!a->in_transaction) {
        return misplaced("a change", false, err);
    }
    count_came(t, c->kind);
    a->with_changes = true;
    if (t->suspended) {
        return GW_OK;
    }
    a->first_us = a->first_us ? a->first_us : now_us;
    a->oldest_us = a->oldest_us ? a->oldest_us : a->commit_us;
    a->group_bytes += c->record.len;
    bool moves = false, truncate = c->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE;
    if (truncate && a->errors->fail_on_truncate) {
        gw_err_set(err, GW_CONFIG, NULL, "table \"%s\" was truncated on the source", t->table->name);
        gw_err_hint(err, "ApplyErrorFailOnTruncationDdl is on");
        return GW_CONFIG;
    }
    int r = truncate ? GW_OK : gw_change_read(a, t, c, &moves, err);
    if (r != GW_OK) {
        return r == GW_DATA ? take_unnamed(a, t, c, err) : r;
    }
    bool ordered = !gw_piece_can_merge(a, t, c, moves);
    if (a->piece.events_n && a->piece.ordered != ordered) {
        r = flush(a, err);
    }
    if (r != GW_OK) {
        return r;
    }
    a->piece.ordered = ordered;
    gw_piece_add(a, t, c, moves, piece_transaction(a));
    bool full = a->piece.bytes >= a->memory_max || a->piece.events_n >= a->events_max;
    return full ? flush(a, err) : GW_OK;
}

static int
take_begin(struct gw_applier *a, const struct gw_change *c, struct gw_err *err)
{
    if (a->in_transaction) {
        return misplaced("a transaction", true, err);
    }
    a->in_transaction = true;
    a->with_changes = false;
    a->commit_us = c->commit_us;
    a->transaction = UINT32_MAX;
    gw_buf_reset(&a->name);
    gw_buf_put(&a->name, c->transaction.data ? c->transaction.data : "", c->transaction.len);
    return GW_OK;
}

static int
take_position(struct gw_applier *a, const struct gw_change *c, struct gw_err *err)
{
    if (!c->position.len) {
        return gw_err_set(err, GW_BUG, NULL, "a position came empty");
    }
    gw_buf_reset(&a->position);
    gw_buf_put(&a->position, c->position.data, c->position.len);
    a->moved = true;
    return GW_OK;
}

static int
take_commit(struct gw_applier *a, const struct gw_change *c, int64_t now_us, struct gw_err *err)
{
    if (!a->in_transaction) {
        return misplaced("the end of a transaction", false, err);
    }
    int r = take_position(a, c, err);
    if (r != GW_OK) {
        return r;
    }
    if (a->transaction != UINT32_MAX) {
        a->piece.transactions[a->transaction].position =
            gw_arena_memdup0(&a->piece.arena, c->position.data, c->position.len);
        a->transaction = UINT32_MAX;
    }
    a->in_transaction = false;
    gw_buf_reset(&a->name);
    if (a->with_changes) {
        a->group_transactions++;
        a->counts.transactions++;
        a->counts.commit_us = c->commit_us ? c->commit_us : a->counts.commit_us;
    }
    bool full = a->group_transactions >= a->group_transactions_max || a->group_bytes >= a->group_bytes_max;
    bool old = a->first_us && now_us - a->first_us >= a->gather_us;
    return has_group(a) && (full || old) ? commit(a, now_us, err) : GW_OK;
}

static int
take_suspend(struct gw_applier *a, const struct gw_change *c, int64_t now_us, struct gw_err *err)
{
    struct gw_applier_table *t = gw_tables_find(a, c->table);
    if (!t) {
        return gw_err_set(err, GW_BUG, NULL, "table %u, which is not in the stream, is to be suspended", c->table);
    }
    if (t->suspended) {
        return GW_OK;
    }
    char reason[1024];
    snprintf(reason, sizeof reason, "%.*s", (int)(c->text.len < sizeof reason ? c->text.len : sizeof reason - 1),
             c->text.data ? c->text.data : "");
    if (a->errors->table_error == GW__ERROR_POLICY__STOP_TASK) {
        gw_err_set(err, GW_CONFIG, NULL, "changes of table \"%s\" cannot be carried on: %s", t->table->name, reason);
        gw_err_hint(err, "TableErrorPolicy is to stop the task");
        return GW_CONFIG;
    }
    a->first_us = a->first_us ? a->first_us : now_us;
    int r = flush(a, err);
    return r == GW_OK ? gw_suspend(a, t, reason, err) : r;
}

// ---- tally -------------------------------------------------------------------------------------

static int
compare(const struct gw_applier_table *t, const char *what, uint64_t sent, uint64_t came, struct gw_err *err)
{
    return sent == came ? GW_OK
                        : gw_err_set(err, GW_BUG, NULL, "table \"%s\": %" PRIu64 " %s were sent, but %" PRIu64 " came",
                                     t->table->name, sent, what, came);
}

static int
compare_tally(struct gw_applier_table *t, const Gw__Tally *sent, struct gw_err *err)
{
    int r = compare(t, "inserts", sent->inserts, t->came.inserts, err);
    r = r == GW_OK ? compare(t, "updates", sent->updates, t->came.updates, err) : r;
    r = r == GW_OK ? compare(t, "deletes", sent->deletes, t->came.deletes, err) : r;
    r = r == GW_OK ? compare(t, "truncates", sent->truncates, t->came.truncates, err) : r;
    gw__tally__init(&t->came);
    t->came.table = t->table->id;
    return r;
}

// Nothing was lost or came twice on the way, counted table by table. What it does not name must not have come.
static int
take_tally(struct gw_applier *a, const struct gw_change *c, struct gw_err *err)
{
    if (a->in_transaction) {
        return misplaced("a tally", true, err);
    }
    const uint8_t *at = NULL;
    Gw__Tally sent, none = GW__TALLY__INIT;
    int r;
    while ((r = gw_change_tally(c, &at, &sent, err)) == GW_OK) {
        struct gw_applier_table *t = gw_tables_find(a, sent.table);
        r = t ? compare_tally(t, &sent, err)
              : gw_err_set(err, GW_BUG, NULL, "a tally of table %u, which is not in the stream", sent.table);
        if (r != GW_OK) {
            return r;
        }
    }
    r = r == GW_END ? GW_OK : r;
    for (size_t i = 0; r == GW_OK && i < a->tables_n; i++) {
        r = compare_tally(&a->tables[i], &none, err);
    }
    return r;
}

// ---- the whole ---------------------------------------------------------------------------------

static int
take_change(struct gw_applier *a, const struct gw_change *c, int64_t now_us, struct gw_err *err)
{
    switch (c->kind) {
    case GW__CHANGE_KIND__CHANGE_BEGIN: return take_begin(a, c, err);
    case GW__CHANGE_KIND__CHANGE_INSERT:
    case GW__CHANGE_KIND__CHANGE_UPDATE:
    case GW__CHANGE_KIND__CHANGE_DELETE:
    case GW__CHANGE_KIND__CHANGE_TRUNCATE: return take_row(a, c, now_us, err);
    case GW__CHANGE_KIND__CHANGE_COMMIT: return take_commit(a, c, now_us, err);
    case GW__CHANGE_KIND__CHANGE_KEEPALIVE:
        return a->in_transaction ? misplaced("a keepalive", true, err) : take_position(a, c, err);
    case GW__CHANGE_KIND__CHANGE_SUSPEND: return take_suspend(a, c, now_us, err);
    case GW__CHANGE_KIND__CHANGE_TALLY: return take_tally(a, c, err);
    default: return gw_err_set(err, GW_BUG, NULL, "a change of kind %d", (int)c->kind);
    }
}

int
gw_applier_take(struct gw_applier *a, const void *payload, size_t len, uint32_t rows, int64_t now_us,
                struct gw_err *err)
{
    struct gw_change_reader reader;
    struct gw_change c;
    uint32_t n = 0;
    int r;
    gw_change_reader_init(&reader, payload, len);
    a->last_us = now_us;
    while ((r = gw_change_next(&reader, &c, err)) == GW_OK) {
        n++;
        r = take_change(a, &c, now_us, err);
        if (r != GW_OK) {
            return r;
        }
    }
    if (r == GW_END && n != rows) {
        return gw_err_set(err, GW_BUG, NULL, "a message of %u changes holds %u", rows, n);
    }
    return r == GW_END ? GW_OK : r;
}

int64_t
gw_applier_due(const struct gw_applier *a)
{
    if (a->in_transaction) {
        return INT64_MAX; // only what is whole may be committed
    }
    if (has_group(a)) {
        int64_t quiet = (a->batch ? a->first_us : a->last_us) + a->quiet_us, late = a->first_us + a->gather_us;
        return quiet < late ? quiet : late;
    }
    return a->moved ? a->committed_us + GW_POSITION_US : INT64_MAX;
}

int
gw_applier_tick(struct gw_applier *a, int64_t now_us, struct gw_err *err)
{
    return now_us >= gw_applier_due(a) ? commit(a, now_us, err) : GW_OK;
}

int
gw_applier_end(struct gw_applier *a, int64_t now_us, struct gw_err *err)
{
    if (a->in_transaction) {
        return misplaced("the end of the stream", true, err);
    }
    return has_group(a) || a->moved ? commit(a, now_us, err) : GW_OK;
}
