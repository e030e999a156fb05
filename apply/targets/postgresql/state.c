// What is durable of the task: reading it, registering it, moving a table's state.
//
// Blobs (packed protobuf) travel as hex: the wrapper's parameters are text. Every change is conditional on what
// is stored, in one statement or under the row's lock, so that a coordinator that was presumed dead changes nothing.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/plan.h"
#include "common/worker.h"
#include "control.h"

enum { INSERT_ROWS = 200 }; // chunk rows in one statement

void
pgt_hex(struct gw_buf *out, const void *msg)
{
    const ProtobufCMessage *m = msg;
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(n ? n : 1);
    gw_assert(bytes);
    protobuf_c_message_pack(m, bytes);
    gw_buf_puts(out, "\\x");
    static const char hex[] = "0123456789abcdef";
    char *to = gw_buf_room(out, 2 * n);
    if (to) {
        for (size_t i = 0; i < n; i++) {
            *to++ = hex[bytes[i] >> 4];
            *to++ = hex[bytes[i] & 15];
        }
        gw_buf_added(out, 2 * n);
        gw_buf_puts(out, ""); // the NUL behind it
    }
    free(bytes);
}

void
pgt_put_bytes(struct gw_buf *sql, const void *msg)
{
    gw_buf_puts(sql, "'");
    pgt_hex(sql, msg);
    gw_buf_puts(sql, "'::bytea");
}

void *
pgt_message(struct gw_arena *a, const ProtobufCMessageDescriptor *d, const PGresult *r, int row, int col)
{
    size_t n = 0;
    unsigned char *raw = PQunescapeBytea((const unsigned char *)PQgetvalue(r, row, col), &n);
    gw_assert(raw);
    void *msg = protobuf_c_message_unpack(d, gw_arena_pb(a), n, raw);
    PQfreemem(raw);
    return msg;
}

static int
load_task(struct pgt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    bool there = false;
    int rc = pgt_control_exists(t, "tasks", &there, err);
    if (rc != GW_OK || !there) {
        return rc;
    }
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    rc = pgt_query(t, &r, err, 1, p,
                   "SELECT task_uuid, mapping_hash, source_identity, source_engine, started_us,"
                   " completed_us FROM %s.tasks WHERE task = $1",
                   t->ctl);
    if (rc != GW_OK || PQntuples(r) == 0) {
        return rc;
    }
    s->exists = true;
    s->task = gw_arena_strdup(a, t->task->name);
    s->task_uuid = gw_arena_strdup(a, pgt_text(r, 0, 0));
    s->mapping_hash = gw_arena_strdup(a, pgt_text(r, 0, 1));
    s->source_identity = gw_arena_strdup(a, pgt_text(r, 0, 2));
    s->source_engine = gw_arena_strdup(a, pgt_text(r, 0, 3));
    s->started_us = (int64_t)pgt_u64(r, 0, 4);
    s->completed = !PQgetisnull(r, 0, 5);
    s->completed_us = s->completed ? (int64_t)pgt_u64(r, 0, 5) : 0;
    return GW_OK;
}

int
pgt_bad_blob(struct pgt *t, const char *table, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "", "control table \"%s.%s\" holds a plan that cannot be read", t->control, table);
    gw_err_hint(err, "it was written by another version, or damaged; drop the task and begin anew");
    return GW_CONFIG;
}

static int
load_tables(struct pgt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT plan, generation, state, reason, one_snapshot FROM %s.tables"
                       " WHERE task = $1 ORDER BY table_id",
                       t->ctl);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__TablePlan *tp = pgt_message(a, &gw__table_plan__descriptor, r, i, 0);
        if (!tp) {
            return pgt_bad_blob(t, "tables", err);
        }
        tp->generation = (uint32_t)pgt_u64(r, i, 1);
        tp->state = (Gw__TableState)pgt_u64(r, i, 2);
        tp->reason = gw_arena_strdup(a, pgt_text(r, i, 3));
        tp->one_snapshot = pgt_true(r, i, 4);
        tp->n_chunks = tp->n_steps_done = 0;
        tp->chunks = NULL;
        tp->steps_done = NULL;
        gw_pb_add(a, s, tables, tp);
    }
    return rc;
}

int
pgt_progress_read(struct pgt *t, struct gw_arena *a, const PGresult *r, Gw__Progress *ret, struct gw_err *err)
{
    Gw__Progress p = GW__PROGRESS__INIT;
    p.position = gw_arena_strdup(a, pgt_text(r, 0, 0));
    p.snapshot = gw_arena_strdup(a, pgt_text(r, 0, 1));
    p.epoch = pgt_u64(r, 0, 2);
    p.counts = pgt_message(a, &gw__stream_counts__descriptor, r, 0, 3);
    p.updated_us = (int64_t)pgt_u64(r, 0, 4);
    if (!p.counts) {
        return pgt_bad_blob(t, "progress", err);
    }
    *ret = p;
    return GW_OK;
}

static int
load_progress(struct pgt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    bool there = false;
    int rc = pgt_control_exists(t, "progress", &there, err); // an earlier version knew none
    if (rc != GW_OK || !there) {
        return rc;
    }
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    rc = pgt_query(t, &r, err, 1, p, "SELECT " PGT_PROGRESS_COLUMNS " FROM %s.progress p WHERE p.task = $1", t->ctl);
    if (rc == GW_OK && PQntuples(r) == 1) {
        s->progress = gw_pb_new(a, Gw__Progress, gw__progress__init);
        rc = pgt_progress_read(t, a, r, s->progress, err);
    }
    return rc;
}

static Gw__TablePlan *
find_table(const Gw__TargetState *s, uint32_t id)
{
    for (size_t i = 0; i < s->n_tables; i++) {
        const Gw__Table *t = s->tables[i]->target ? s->tables[i]->target : s->tables[i]->source;
        if (t && t->id == id) {
            return s->tables[i];
        }
    }
    return NULL;
}

#define CHUNK_DURABLE                                                                                                  \
    "c.state, c.epoch, coalesce(c.snapshot, ''), c.rows_read, c.rows_written, c.rows_refused,"                         \
    " c.values_truncated, c.bytes, c.generation"

static void
fill_chunk(struct gw_arena *a, Gw__Chunk *c, const PGresult *r, int row, int col)
{
    c->done = pgt_u64(r, row, col) == PGT_CHUNK_DONE;
    c->epoch = pgt_u64(r, row, col + 1);
    c->snapshot = gw_arena_strdup(a, pgt_text(r, row, col + 2));
    c->rows_read = pgt_u64(r, row, col + 3);
    c->rows_written = pgt_u64(r, row, col + 4);
    c->rows_refused = pgt_u64(r, row, col + 5);
    c->values_truncated = pgt_u64(r, row, col + 6);
    c->bytes = pgt_u64(r, row, col + 7);
    c->generation = (uint32_t)pgt_u64(r, row, col + 8);
}

static int
load_chunks(struct pgt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT c.table_id, c.no, c.plan, " CHUNK_DURABLE
                       " FROM %1$s.chunks c JOIN %1$s.tables t USING (task, table_id, generation)"
                       " WHERE c.task = $1 ORDER BY c.table_id, c.no",
                       t->ctl);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Chunk *c = pgt_message(a, &gw__chunk__descriptor, r, i, 2);
        Gw__TablePlan *tp = c ? find_table(s, (uint32_t)pgt_u64(r, i, 0)) : NULL;
        if (!tp) {
            return pgt_bad_blob(t, "chunks", err);
        }
        c->table_id = (uint32_t)pgt_u64(r, i, 0);
        c->no = (uint32_t)pgt_u64(r, i, 1);
        fill_chunk(a, c, r, i, 3);
        gw_pb_add(a, tp, chunks, c);
    }
    return rc;
}

static int
load_steps(struct pgt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT s.table_id, s.name"
                       " FROM %1$s.steps s JOIN %1$s.tables t USING (task, table_id, generation)"
                       " WHERE s.task = $1 ORDER BY s.table_id, s.name",
                       t->ctl);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__TablePlan *tp = find_table(s, (uint32_t)pgt_u64(r, i, 0));
        if (tp) {
            gw_pb_add(a, tp, steps_done, gw_arena_strdup(a, pgt_text(r, i, 1)));
        }
    }
    return rc;
}

int
pgt_state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err)
{
    struct pgt *t = self;
    Gw__TargetState s;
    gw__target_state__init(&s);
    // One snapshot for all of it: states and chunks that belong together.
    int rc = gw_pg_exec(t->c, err, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (rc == GW_OK) {
        rc = load_task(t, a, &s, err);
    }
    if (rc == GW_OK && s.exists) {
        rc = load_progress(t, a, &s, err);
    }
    if (rc == GW_OK && s.exists && with_plan) {
        rc = load_tables(t, a, &s, err);
        rc = rc == GW_OK ? load_chunks(t, a, &s, err) : rc;
        rc = rc == GW_OK ? load_steps(t, a, &s, err) : rc;
    }
    rc = rc == GW_OK ? pgt_commit(t, err) : rc;
    if (pgt_end(t, rc) != GW_OK) {
        return gw_err_wrap(err, "read the state of task \"%s\"", t->task->name);
    }
    *ret = s;
    return GW_OK;
}

static int
insert_chunks(struct pgt *t, uint32_t table_id, uint32_t generation, size_t n, Gw__Chunk **chunks, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t from = 0; rc == GW_OK && from < n; from += INSERT_ROWS) {
        PGT_BUF sql;
        gw_buf_init(&sql, PGT_SQL_MAX);
        gw_buf_printf(&sql, "INSERT INTO %s.chunks (task, table_id, generation, no, plan) VALUES ", t->ctl);
        for (size_t i = from; i < n && i < from + INSERT_ROWS; i++) {
            gw_buf_puts(&sql, i > from ? ", (" : "(");
            gw_pg_literal(&sql, t->task->name);
            gw_buf_printf(&sql, ", %u, %u, %u, ", table_id, generation, chunks[i]->no);
            Gw__Chunk plan = gw_plan_part(chunks[i]);
            pgt_put_bytes(&sql, &plan);
            gw_buf_putc(&sql, ')');
        }
        rc = pgt_exec(t, &sql, err);
    }
    return rc;
}

int
pgt_insert_table(struct pgt *t, const Gw__TablePlan *tp, struct gw_err *err)
{
    const Gw__Table *target = tp->target ? tp->target : tp->source;
    const Gw__Table *source = tp->source ? tp->source : tp->target;
    Gw__TablePlan bare = *tp;
    bare.n_chunks = bare.n_steps_done = 0;
    bare.chunks = NULL;
    bare.steps_done = NULL;
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_printf(&sql,
                  "INSERT INTO %s.tables (task, table_id, generation, state, reason, one_snapshot,"
                  " source_schema, source_table, target_schema, target_table, plan) VALUES (",
                  t->ctl);
    gw_pg_literal(&sql, t->task->name);
    gw_buf_printf(&sql, ", %u, %u, %d, ", target->id, tp->generation, (int)tp->state);
    gw_pg_literal(&sql, tp->reason);
    gw_buf_printf(&sql, ", %s", tp->one_snapshot ? "true" : "false");
    PGT_ARENA a;
    gw_arena_init(&a);
    const char *names[] = {source->source_schema, source->source_name, pgt_clip(&a, pgt_schema(target)),
                           pgt_clip(&a, target->name)};
    for (size_t i = 0; i < 4; i++) {
        gw_buf_puts(&sql, ", ");
        gw_pg_literal(&sql, names[i]);
    }
    gw_buf_puts(&sql, ", ");
    pgt_put_bytes(&sql, &bare);
    gw_buf_putc(&sql, ')');
    int rc = pgt_exec(t, &sql, err);
    if (rc == GW_OK) {
        rc = insert_chunks(t, target->id, tp->generation, tp->n_chunks, tp->chunks, err);
    }
    for (size_t i = 0; rc == GW_OK && i < tp->n_steps_done; i++) {
        struct pgt_num id, gen, now;
        const char *p[] = {t->task->name, pgt_num(&id, target->id), pgt_num(&gen, tp->generation), tp->steps_done[i],
                           pgt_num(&now, (uint64_t)gw_wall_us())};
        rc = pgt_affect(t, NULL, err, 5, p,
                        "INSERT INTO %s.steps (task, table_id, generation, name, done_us)"
                        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                        t->ctl);
    }
    return rc;
}

// Whether the task is there. CONFIG if it is somebody else's.
static int
same_task(struct pgt *t, const Gw__TargetState *s, bool *ret_there, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    int rc = pgt_query(t, &r, err, 1, p, "SELECT task_uuid FROM %s.tasks WHERE task = $1", t->ctl);
    if (rc != GW_OK) {
        return rc;
    }
    *ret_there = PQntuples(r) > 0;
    if (*ret_there && strcmp(pgt_text(r, 0, 0), s->task_uuid) != 0) {
        gw_err_set(err, GW_CONFIG, "", "another task named \"%s\" is registered in schema \"%s\" of the target",
                   t->task->name, t->control);
        gw_err_detail(err, "its uuid is %s, this task's is %s", pgt_text(r, 0, 0), s->task_uuid);
        gw_err_hint(err, "give this task another name, or remove the other one with godwit drop");
        return GW_CONFIG;
    }
    return GW_OK;
}

static int
insert_progress(struct pgt *t, const Gw__Progress *progress, struct gw_err *err)
{
    PGT_BUF counts;
    gw_buf_init(&counts, PGT_SQL_MAX);
    const Gw__StreamCounts none = GW__STREAM_COUNTS__INIT;
    pgt_hex(&counts, progress->counts ? progress->counts : &none);
    struct pgt_num now;
    const char *p[] = {t->task->name, progress->position, progress->snapshot, counts.data,
                       pgt_num(&now, (uint64_t)gw_wall_us())};
    return pgt_affect(t, NULL, err, 5, p,
                      "INSERT INTO %s.progress (task, position, snapshot, counts, updated_us)"
                      " VALUES ($1, $2, $3, $4::bytea, $5)",
                      t->ctl);
}

static int
register_task(struct pgt *t, const Gw__TargetState *s, struct gw_err *err)
{
    bool there = false;
    int rc = pgt_lock_ddl(t, err);
    rc = rc == GW_OK ? pgt_control_make(t, err) : rc;
    rc = rc == GW_OK ? same_task(t, s, &there, err) : rc;
    if (rc != GW_OK || there) {
        return rc;
    }
    struct pgt_num started;
    const char *p[] = {t->task->name,      s->task_uuid,     s->mapping_hash,
                       s->source_identity, s->source_engine, pgt_num(&started, (uint64_t)s->started_us)};
    rc = pgt_affect(t, NULL, err, 6, p,
                    "INSERT INTO %s.tasks (task, task_uuid, mapping_hash, source_identity,"
                    " source_engine, started_us) VALUES ($1, $2, $3, $4, $5, $6)",
                    t->ctl);
    for (size_t i = 0; rc == GW_OK && i < s->n_tables; i++) {
        rc = pgt_insert_table(t, s->tables[i], err);
    }
    return rc == GW_OK && s->progress ? insert_progress(t, s->progress, err) : rc;
}

int
pgt_state_register(void *self, const Gw__TargetState *state, struct gw_err *err)
{
    struct pgt *t = self;
    int rc = pgt_begin(t, err);
    rc = rc == GW_OK ? register_task(t, state, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.register.before_commit", err) : rc;
    rc = rc == GW_OK ? pgt_commit(t, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.register.after_commit", err) : rc;
    if (pgt_end(t, rc) != GW_OK) {
        return gw_err_wrap(err, "register task \"%s\"", t->task->name);
    }
    return GW_OK;
}

int
pgt_table_lock(struct pgt *t, uint32_t table_id, struct pgt_table_row *ret, struct gw_err *err)
{
    struct pgt_num id;
    const char *p[] = {t->task->name, pgt_num(&id, table_id), t->task->uuid};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 3, p,
                       "SELECT generation, state, made, had_rows FROM %1$s.tables"
                       " WHERE task = $1 AND table_id = $2 AND " PGT_OURS("$3") " FOR UPDATE",
                       t->ctl);
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) == 0) {
        gw_err_set(err, GW_FENCED, "", "table %u of this task \"%s\" is not registered", table_id, t->task->name);
        gw_err_hint(err, PGT_OTHER_GODWIT);
        return GW_FENCED;
    }
    struct pgt_table_row row = {.generation = (uint32_t)pgt_u64(r, 0, 0),
                                .state = (Gw__TableState)pgt_u64(r, 0, 1),
                                .made = (enum pgt_made)pgt_u64(r, 0, 2),
                                .had_rows = pgt_true(r, 0, 3)};
    struct pgt_num gen;
    const char *q[] = {p[0], p[1], pgt_num(&gen, row.generation)};
    // A statement of its own, behind the lock: it must see what was committed while we waited.
    rc = pgt_query(t, &r, err, 3, q,
                   "SELECT EXISTS (SELECT FROM %s.chunks WHERE task = $1 AND table_id = $2"
                   " AND generation = $3 AND state = 1)",
                   t->ctl);
    if (rc == GW_OK) {
        row.durable = pgt_true(r, 0, 0);
        *ret = row;
    }
    return rc;
}

int
pgt_table_write(struct pgt *t, uint32_t table_id, uint32_t generation, Gw__TableState state, enum pgt_made made,
                struct gw_err *err)
{
    struct pgt_num id, gen, st, md;
    const char *p[] = {t->task->name, pgt_num(&id, table_id), pgt_num(&gen, generation), pgt_num(&st, (uint64_t)state),
                       pgt_num(&md, (uint64_t)made)};
    uint64_t n = 0;
    int rc = pgt_affect(t, &n, err, 5, p,
                        "UPDATE %s.tables SET generation = $3, state = $4, made = $5%s"
                        " WHERE task = $1 AND table_id = $2 AND generation <= $3",
                        t->ctl, state == GW__TABLE_STATE__STATE_LOADING ? ", had_rows = false" : "");
    if (rc == GW_OK && n != 1 && GW_GUARD("apply.generation")) {
        return gw_err_set(err, GW_FENCED, "", "a newer generation than %u is stored", generation);
    }
    return rc;
}

// Whether the stored chunks of the generation are these: the same order, come again.
static int
same_plan(struct pgt *t, const Gw__SetTable *set, bool *ret, struct gw_err *err)
{
    struct pgt_num id, gen;
    const char *p[] = {t->task->name, pgt_num(&id, set->table_id), pgt_num(&gen, set->generation)};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 3, p,
                       "SELECT no, plan FROM %s.chunks WHERE task = $1 AND table_id = $2"
                       " AND generation = $3 ORDER BY no",
                       t->ctl);
    bool same = rc == GW_OK && (size_t)PQntuples(r) == set->n_chunks;
    PGT_BUF mine;
    gw_buf_init(&mine, PGT_SQL_MAX);
    for (int i = 0; same && i < PQntuples(r); i++) {
        Gw__Chunk plan = gw_plan_part(set->chunks[i]);
        gw_buf_reset(&mine);
        pgt_hex(&mine, &plan);
        same = pgt_u64(r, i, 0) == set->chunks[i]->no && strcmp(pgt_text(r, i, 1), mine.data) == 0;
    }
    *ret = same;
    return rc;
}

// The table starts over: what the old chunks refused and made is void, what they wrote is still in the table. A loader
// of an old chunk may hold its row and commit while the DELETE waits: only the deleted row itself knows.
static int
replace_chunks(struct pgt *t, const Gw__SetTable *set, const char *const *p, struct gw_err *err)
{
    int rc = pgt_affect(t, NULL, err, 2, p,
                        "WITH gone AS (DELETE FROM %1$s.chunks WHERE task = $1 AND table_id = $2"
                        " RETURNING state, rows_written) UPDATE %1$s.tables SET had_rows = had_rows OR"
                        " EXISTS (SELECT FROM gone WHERE state = 1 AND rows_written > 0)"
                        " WHERE task = $1 AND table_id = $2",
                        t->ctl);
    rc = rc == GW_OK ? pgt_affect(t, NULL, err, 2, p, "DELETE FROM %s.steps WHERE task = $1 AND table_id = $2", t->ctl)
                     : rc;
    rc = rc == GW_OK ? pgt_affect(t, NULL, err, 2, p,
                                  "DELETE FROM %1$s.exceptions e USING %1$s.tables t"
                                  " WHERE t.task = $1 AND t.table_id = $2 AND e.task = t.task"
                                  " AND e.source_schema = t.source_schema"
                                  " AND e.source_table = t.source_table"
                                  " AND e.target_schema = t.target_schema"
                                  " AND e.target_table = t.target_table",
                                  t->ctl)
                     : rc;
    return rc == GW_OK ? insert_chunks(t, set->table_id, set->generation, set->n_chunks, set->chunks, err) : rc;
}

// A server that was restored, or failed over to a replica that lagged behind, has forgotten commits that it once
// confirmed: what it holds now decides.
static int
all_durable(struct pgt *t, const Gw__SetTable *set, uint32_t stored, struct gw_err *err)
{
    struct pgt_num id, gen;
    const char *p[] = {t->task->name, pgt_num(&id, set->table_id), pgt_num(&gen, set->generation)};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 3, p,
                       "SELECT pg_catalog.count(*) FROM %s.chunks WHERE task = $1 AND table_id = $2"
                       " AND generation = $3 AND state = 0",
                       t->ctl);
    if (rc == GW_OK && (pgt_u64(r, 0, 0) > 0 || stored != set->generation) && GW_GUARD("apply.all_durable")) {
        rc = gw_err_set(err, GW_FENCED, "", "the target has taken back chunks that were durable");
        gw_err_hint(err, "was it restored or failed over? run the task again: it loads what is missing");
    }
    return rc;
}

static int
set_table(struct pgt *t, const Gw__SetTable *set, struct gw_err *err)
{
    struct pgt_table_row row = {0};
    int rc = pgt_table_lock(t, set->table_id, &row, err);
    if (rc != GW_OK) {
        return rc;
    }
    if (row.generation > set->generation) {
        return gw_err_set(err, GW_FENCED, "", "generation %u is stored, newer than %u", row.generation,
                          set->generation);
    }
    // The same order twice must not throw away what was loaded in between, and of two orders one must win.
    if (set->replace_chunks && row.generation == set->generation) {
        bool same = false;
        rc = same_plan(t, set, &same, err);
        if (rc == GW_OK && (!same || row.durable)) {
            rc = gw_err_set(err, GW_FENCED, "", "generation %u is planned already", row.generation);
            gw_err_hint(err, PGT_OTHER_GODWIT);
        }
        if (rc != GW_OK) {
            return rc;
        }
    }
    if (!set->replace_chunks &&
        (set->state == GW__TABLE_STATE__STATE_LOADED || set->state == GW__TABLE_STATE__STATE_COMPLETED)) {
        rc = all_durable(t, set, row.generation, err);
        if (rc != GW_OK) {
            return rc;
        }
    }
    struct pgt_num id, gen, st;
    const char *p[] = {t->task->name, pgt_num(&id, set->table_id), pgt_num(&gen, set->generation),
                       pgt_num(&st, (uint64_t)set->state), set->reason};
    rc = set->replace_chunks ? replace_chunks(t, set, p, err) : GW_OK;
    rc = rc == GW_OK ? pgt_affect(t, NULL, err, 5, p,
                                  "UPDATE %s.tables SET generation = $3, state = $4, reason = $5%s"
                                  " WHERE task = $1 AND table_id = $2",
                                  t->ctl,
                                  !set->replace_chunks ? ""
                                  : set->one_snapshot  ? ", one_snapshot = true"
                                                       : ", one_snapshot = false")
                     : rc;
    return rc;
}

int
pgt_state_set(void *self, const Gw__SetTable *set, struct gw_err *err)
{
    struct pgt *t = self;
    int rc = pgt_begin(t, err);
    rc = rc == GW_OK ? set_table(t, set, err) : rc;
    rc = rc == GW_OK ? pgt_commit(t, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.state_set.after_commit", err) : rc;
    if (pgt_end(t, rc) != GW_OK) {
        return gw_err_wrap(err, "set the state of table %u", set->table_id);
    }
    return GW_OK;
}

int
pgt_state_complete(void *self, int64_t completed_us, struct gw_err *err)
{
    struct pgt *t = self;
    struct pgt_num at;
    const char *p[] = {t->task->name, pgt_num(&at, (uint64_t)completed_us), t->task->uuid};
    uint64_t n = 0;
    // The first completion stays: a repeated order is not a new fact.
    int rc =
        pgt_affect(t, &n, err, 3, p,
                   "UPDATE %1$s.tasks SET completed_us = coalesce(completed_us, $2::bigint)"
                   " WHERE task = $1 AND task_uuid = $3 AND NOT EXISTS (SELECT FROM %1$s.tables t WHERE t.task = $1"
                   " AND t.state NOT IN (4, 5))",
                   t->ctl);
    if (rc == GW_OK && n != 1) {
        gw_err_set(err, GW_FENCED, "", "task \"%s\" is not complete on the target, or is gone", t->task->name);
        gw_err_hint(err, "does another godwit work on the same task? run it again");
        return GW_FENCED;
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "complete task \"%s\"", t->task->name);
}

// The lock_timeout of a drop has passed. The lock itself is not ours any more: whoever holds something of the kind is told.
static int
say_who(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = NULL;
    struct pgt_num space, ddl;
    const char *p[] = {t->control, pgt_num(&space, PGT_LOCK_SPACE), pgt_num(&ddl, PGT_LOCK_DDL)};
    struct gw_err ignored = {0};
    int rc = pgt_query(t, &r, &ignored, 3, p,
                       "SELECT a.pid, a.application_name, coalesce(pg_catalog.host(a.client_addr), 'its own host'),"
                       " coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint, 0)"
                       " FROM pg_catalog.pg_stat_activity a WHERE a.pid <> pg_catalog.pg_backend_pid()"
                       " AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.granted"
                       " AND (l.locktype = 'advisory' AND l.classid::bigint = $2::bigint"
                       " AND l.objid::bigint = $3::bigint OR l.relation IN (SELECT c.oid FROM pg_catalog.pg_class c"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)"
                       " AND l.mode <> 'AccessShareLock')) ORDER BY a.xact_start LIMIT 1");
    if (rc == GW_OK && PQntuples(r)) {
        gw_err_set(err, GW_AGAIN, GW_CODE_LOCKED,
                   "session %s of the target (\"%s\" from %s, in a transaction for %s s) holds what is to be dropped",
                   pgt_text(r, 0, 0), pgt_text(r, 0, 1), pgt_text(r, 0, 2), pgt_text(r, 0, 3));
        gw_err_hint(err, "if its godwit is dead: SELECT pg_terminate_backend(%s)", pgt_text(r, 0, 0));
    } else {
        gw_err_set(err, GW_AGAIN, GW_CODE_LOCKED, "another session of the target holds what is to be dropped");
    }
    return GW_AGAIN;
}

static int
drop_task(struct pgt *t, struct gw_err *err)
{
    bool there = false;
    int rc = gw_pg_exec(t->c, err, "SET LOCAL lock_timeout = '2s'");
    rc = rc == GW_OK ? pgt_lock_ddl(t, err) : rc;
    rc = rc == GW_OK ? pgt_control_exists(t, "chunks", &there, err) : rc;
    rc = rc == GW_OK && there ? pgt_end_loads(t, err) : rc;
    rc = rc == GW_OK ? pgt_control_exists(t, "tasks", &there, err) : rc;
    if (rc != GW_OK || !there) {
        return rc;
    }
    const char *p[] = {t->task->name};
    rc = pgt_affect(t, NULL, err, 1, p, "DELETE FROM %s.exceptions WHERE task = $1", t->ctl);
    rc = rc == GW_OK ? pgt_affect(t, NULL, err, 1, p, "DELETE FROM %s.tasks WHERE task = $1", t->ctl) : rc;
    PGT_RES r = NULL;
    rc = rc == GW_OK ? pgt_query(t, &r, err, 0, NULL, "SELECT EXISTS (SELECT FROM %s.tasks)", t->ctl) : rc;
    if (rc != GW_OK || pgt_true(r, 0, 0)) {
        return rc;
    }
    rc = gw_pg_exec(t->c, err,
                    "DROP TABLE IF EXISTS %1$s.exceptions, %1$s.progress, %1$s.steps, %1$s.chunks, %1$s.tables,"
                    " %1$s.tasks",
                    t->ctl);
    // The schema goes only if nothing of anybody else's is in it, and never if it is not ours to drop.
    const char *q[] = {t->control};
    rc = rc == GW_OK ? pgt_query(t, &r, err, 1, q,
                                 "SELECT pg_catalog.pg_has_role(n.nspowner, 'USAGE')"
                                 " AND n.nspname NOT IN ('public', 'pg_catalog')"
                                 " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
                                 " WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass"
                                 " AND d.refobjid = n.oid)"
                                 " FROM pg_catalog.pg_namespace n WHERE n.nspname = $1")
                     : rc;
    if (rc == GW_OK && PQntuples(r) == 1 && pgt_true(r, 0, 0)) {
        rc = gw_pg_exec(t->c, err, "DROP SCHEMA %s", t->ctl);
    }
    return rc;
}

int
pgt_state_drop(void *self, struct gw_err *err)
{
    struct pgt *t = self;
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    int rc = pgt_begin(t, e);
    rc = rc == GW_OK ? drop_task(t, e) : rc;
    rc = rc == GW_OK ? pgt_commit(t, e) : rc;
    if (pgt_end(t, rc) != GW_OK) {
        if (strcmp(e->code, "55P03") == 0) { // lock_not_available
            gw_err_clear(e);
            return say_who(t, e);
        }
        return gw_err_wrap(err, "drop task \"%s\"", t->task->name);
    }
    return GW_OK;
}
