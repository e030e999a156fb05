// What is durable of the task: reading it, registering it, dropping it.
//
// Every change is conditional on what is stored, under the row's lock, so that a coordinator that was presumed dead
// changes nothing. Locks are taken in one order everywhere: a table's row, then its chunks.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/plan.h"
#include "common/worker.h"
#include "control.h"

enum { INSERT_BYTES = 512 * 1024 }; // of chunk rows in one statement: well below any max_allowed_packet

void
myt_put_message(struct gw_buf *sql, const void *msg)
{
    const ProtobufCMessage *m = msg;
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(n ? n : 1);
    gw_assert(bytes);
    protobuf_c_message_pack(m, bytes);
    gw_buf_puts(sql, "x'");
    static const char hex[] = "0123456789abcdef";
    char *to = gw_buf_room(sql, 2 * n);
    if (to) {
        for (size_t i = 0; i < n; i++) {
            *to++ = hex[bytes[i] >> 4];
            *to++ = hex[bytes[i] & 15];
        }
        gw_buf_added(sql, 2 * n);
    }
    free(bytes);
    gw_buf_putc(sql, '\'');
}

void *
myt_message(struct gw_arena *a, const ProtobufCMessageDescriptor *d, MYSQL_RES *r, MYSQL_ROW row, unsigned col)
{
    const unsigned long *len = mysql_fetch_lengths(r);
    return row[col] ? protobuf_c_message_unpack(d, gw_arena_pb(a), len[col], (const uint8_t *)row[col]) : NULL;
}

static int
load_task(struct myt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT task_uuid, mapping_hash, source_identity, source_engine, started_us,"
                       " completed_us FROM $c.tasks WHERE task = $l",
                       t->task->name);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (!row) {
        return rc;
    }
    s->exists = true;
    s->task = gw_arena_strdup(a, t->task->name);
    s->task_uuid = gw_arena_strdup(a, myt_text(row, 0));
    s->mapping_hash = gw_arena_strdup(a, myt_text(row, 1));
    s->source_identity = gw_arena_strdup(a, myt_text(row, 2));
    s->source_engine = gw_arena_strdup(a, myt_text(row, 3));
    s->started_us = (int64_t)myt_u64(row, 4);
    s->completed = row[5] != NULL;
    s->completed_us = (int64_t)myt_u64(row, 5);
    return GW_OK;
}

int
myt_bad_blob(struct myt *t, const char *table, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "", "control table \"%s.%s\" holds a plan that cannot be read", t->control, table);
    gw_err_hint(err, "it was written by another version, or damaged; drop the task and begin anew");
    return GW_CONFIG;
}

static int
load_tables(struct myt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT plan, generation, state, reason, one_snapshot FROM $c.tables"
                       " WHERE task = $l ORDER BY table_id",
                       t->task->name);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        Gw__TablePlan *tp = myt_message(a, &gw__table_plan__descriptor, r, row, 0);
        if (!tp) {
            return myt_bad_blob(t, "tables", err);
        }
        tp->generation = (uint32_t)myt_u64(row, 1);
        tp->state = (Gw__TableState)myt_u64(row, 2);
        tp->reason = gw_arena_strdup(a, myt_text(row, 3));
        tp->one_snapshot = myt_u64(row, 4) != 0;
        tp->n_chunks = tp->n_steps_done = 0;
        tp->chunks = NULL;
        tp->steps_done = NULL;
        gw_pb_add(a, s, tables, tp);
    }
    return rc;
}

int
myt_progress_read(struct myt *t, struct gw_arena *a, MYSQL_RES *r, MYSQL_ROW row, Gw__Progress *ret, struct gw_err *err)
{
    Gw__Progress p = GW__PROGRESS__INIT;
    p.position = gw_arena_strdup(a, myt_text(row, 0));
    p.snapshot = gw_arena_strdup(a, myt_text(row, 1));
    p.epoch = myt_u64(row, 2);
    p.counts = myt_message(a, &gw__stream_counts__descriptor, r, row, 3);
    p.updated_us = (int64_t)myt_u64(row, 4);
    if (!p.counts) {
        return myt_bad_blob(t, "progress", err);
    }
    *ret = p;
    return GW_OK;
}

static int
load_progress(struct myt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    bool there = false;
    int rc = myt_control_exists(t, "progress", &there, err); // an earlier version knew none
    if (rc != GW_OK || !there) {
        return rc;
    }
    MYT_RES r = NULL;
    rc = myt_query(t, &r, err, "SELECT " MYT_PROGRESS_COLUMNS " FROM $c.progress WHERE task = $l", t->task->name);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (row) {
        s->progress = gw_pb_new(a, Gw__Progress, gw__progress__init);
        rc = myt_progress_read(t, a, r, row, s->progress, err);
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

static int
load_chunks(struct myt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT c.table_id, c.no, c.plan, c.state, c.epoch, c.snapshot, c.rows_read,"
                       " c.rows_written, c.rows_refused, c.values_truncated, c.bytes, c.generation"
                       " FROM $c.chunks c JOIN $c.tables t ON t.task = c.task"
                       " AND t.table_id = c.table_id AND t.generation = c.generation"
                       " WHERE c.task = $l ORDER BY c.table_id, c.no",
                       t->task->name);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        Gw__Chunk *c = myt_message(a, &gw__chunk__descriptor, r, row, 2);
        Gw__TablePlan *tp = c ? find_table(s, (uint32_t)myt_u64(row, 0)) : NULL;
        if (!tp) {
            return myt_bad_blob(t, "chunks", err);
        }
        c->table_id = (uint32_t)myt_u64(row, 0);
        c->no = (uint32_t)myt_u64(row, 1);
        c->done = myt_u64(row, 3) == MYT_CHUNK_DONE;
        c->epoch = myt_u64(row, 4);
        c->snapshot = gw_arena_strdup(a, myt_text(row, 5));
        c->rows_read = myt_u64(row, 6);
        c->rows_written = myt_u64(row, 7);
        c->rows_refused = myt_u64(row, 8);
        c->values_truncated = myt_u64(row, 9);
        c->bytes = myt_u64(row, 10);
        c->generation = (uint32_t)myt_u64(row, 11);
        gw_pb_add(a, tp, chunks, c);
    }
    return rc;
}

static int
load_steps(struct myt *t, struct gw_arena *a, Gw__TargetState *s, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT s.table_id, s.name FROM $c.steps s JOIN $c.tables t ON t.task = s.task"
                       " AND t.table_id = s.table_id AND t.generation = s.generation"
                       " WHERE s.task = $l ORDER BY s.table_id, s.name",
                       t->task->name);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        Gw__TablePlan *tp = find_table(s, (uint32_t)myt_u64(row, 0));
        if (tp) {
            gw_pb_add(a, tp, steps_done, gw_arena_strdup(a, myt_text(row, 1)));
        }
    }
    return rc;
}

int
myt_state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err)
{
    struct myt *t = self;
    Gw__TargetState s;
    gw__target_state__init(&s);
    bool there = false;
    int rc = myt_control_exists(t, "tasks", &there, err);
    if (rc == GW_OK && there) {
        // One snapshot for all of it: states and chunks that belong together.
        rc = myt_run(t, err, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
        rc = rc == GW_OK ? myt_run(t, err, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY") : rc;
        rc = rc == GW_OK ? load_task(t, a, &s, err) : rc;
        rc = rc == GW_OK && s.exists ? load_progress(t, a, &s, err) : rc;
        if (rc == GW_OK && s.exists && with_plan) {
            rc = load_tables(t, a, &s, err);
            rc = rc == GW_OK ? load_chunks(t, a, &s, err) : rc;
            rc = rc == GW_OK ? load_steps(t, a, &s, err) : rc;
        }
        rc = rc == GW_OK ? myt_commit(t, err) : rc;
        myt_end(t, rc);
    }
    if (rc != GW_OK) {
        return gw_err_wrap(err, "read the state of task \"%s\"", t->task->name);
    }
    *ret = s;
    return GW_OK;
}

int
myt_insert_chunks(struct myt *t, uint32_t table_id, uint32_t generation, size_t n, Gw__Chunk **chunks,
                  struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < n;) {
        MYT_BUF sql;
        gw_buf_init(&sql, MYT_SQL_MAX);
        myt_put(t, &sql, "INSERT INTO $c.chunks (task, table_id, generation, no, plan) VALUES ");
        for (size_t from = i; i < n && sql.len < INSERT_BYTES; i++) {
            myt_put(t, &sql, "$s($l, $u, $u, $u, ", i > from ? ", " : "", t->task->name, MYT_U(table_id),
                    MYT_U(generation), MYT_U(chunks[i]->no));
            Gw__Chunk plan = gw_plan_part(chunks[i]);
            myt_put_message(&sql, &plan);
            gw_buf_putc(&sql, ')');
        }
        rc = myt_exec(t, &sql, err);
    }
    return rc;
}

int
myt_insert_table(struct myt *t, const Gw__TablePlan *tp, struct gw_err *err)
{
    const Gw__Table *target = tp->target ? tp->target : tp->source;
    const Gw__Table *source = tp->source ? tp->source : tp->target;
    Gw__TablePlan bare = *tp;
    bare.n_chunks = bare.n_steps_done = 0;
    bare.chunks = NULL;
    bare.steps_done = NULL;
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    myt_put(t, &sql,
            "INSERT INTO $c.tables (task, table_id, generation, state, reason, one_snapshot,"
            " source_schema, source_table, target_schema, target_table, plan)"
            " VALUES ($l, $u, $u, $u, $l, $u, $l, $l, $l, $l, ",
            t->task->name, MYT_U(target->id), MYT_U(tp->generation), MYT_U(tp->state), tp->reason,
            MYT_U(tp->one_snapshot), source->source_schema, source->source_name, myt_schema(t, target), target->name);
    myt_put_message(&sql, &bare);
    gw_buf_putc(&sql, ')');
    int rc = myt_exec(t, &sql, err);
    if (rc == GW_OK) {
        rc = myt_insert_chunks(t, target->id, tp->generation, tp->n_chunks, tp->chunks, err);
    }
    for (size_t i = 0; rc == GW_OK && i < tp->n_steps_done; i++) {
        rc = myt_run(t, err,
                     "INSERT INTO $c.steps (task, table_id, generation, name, done_us)"
                     " VALUES ($l, $u, $u, $l, $u) ON DUPLICATE KEY UPDATE name = name",
                     t->task->name, MYT_U(target->id), MYT_U(tp->generation), tp->steps_done[i], MYT_U(gw_wall_us()));
    }
    return rc;
}

// Whether the task is there. CONFIG if it is somebody else's.
static int
same_task(struct myt *t, const Gw__TargetState *s, bool *ret_there, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err, "SELECT task_uuid FROM $c.tasks WHERE task = $l", t->task->name);
    if (rc != GW_OK) {
        return rc;
    }
    MYSQL_ROW row = mysql_fetch_row(r);
    *ret_there = row != NULL;
    if (row && strcmp(myt_text(row, 0), s->task_uuid) != 0) {
        gw_err_set(err, GW_CONFIG, "", "another task named \"%s\" is registered in schema \"%s\" of the target",
                   t->task->name, t->control);
        gw_err_detail(err, "its uuid is %s, this task's is %s", myt_text(row, 0), s->task_uuid);
        gw_err_hint(err, "give this task another name, or remove the other one with godwit drop");
        return GW_CONFIG;
    }
    return GW_OK;
}

static int
insert_progress(struct myt *t, const Gw__Progress *p, struct gw_err *err)
{
    const Gw__StreamCounts none = GW__STREAM_COUNTS__INIT;
    MYT_BUF counts;
    gw_buf_init(&counts, MYT_SQL_MAX);
    myt_put_message(&counts, p->counts ? p->counts : &none);
    return myt_run(t, err,
                   "INSERT INTO $c.progress (task, position, snapshot, counts, updated_us)"
                   " VALUES ($l, $l, $l, $s, $u)",
                   t->task->name, p->position, p->snapshot, counts.data, MYT_U(gw_wall_us()));
}

static int
insert_task(struct myt *t, const Gw__TargetState *s, struct gw_err *err)
{
    bool there = false;
    int rc = same_task(t, s, &there, err);
    if (rc != GW_OK || there) {
        return rc;
    }
    rc = myt_run(t, err,
                 "INSERT INTO $c.tasks (task, task_uuid, mapping_hash, source_identity,"
                 " source_engine, started_us) VALUES ($l, $l, $l, $l, $l, $d)",
                 t->task->name, s->task_uuid, s->mapping_hash, s->source_identity, s->source_engine, s->started_us);
    for (size_t i = 0; rc == GW_OK && i < s->n_tables; i++) {
        rc = myt_insert_table(t, s->tables[i], err);
    }
    return rc == GW_OK && s->progress ? insert_progress(t, s->progress, err) : rc;
}

int
myt_state_register(void *self, const Gw__TargetState *state, struct gw_err *err)
{
    struct myt *t = self;
    int rc = myt_lock_ddl(t, err);
    if (rc == GW_OK) {
        rc = myt_control_make(t, err);
        rc = rc == GW_OK ? myt_begin(t, err) : rc;
        rc = rc == GW_OK ? insert_task(t, state, err) : rc;
        rc = rc == GW_OK ? myt_fault("apply.register.before_commit", err) : rc;
        rc = rc == GW_OK ? myt_commit(t, err) : rc;
        rc = rc == GW_OK ? myt_fault("apply.register.after_commit", err) : rc;
        myt_end(t, rc);
        myt_unlock_ddl(t);
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "register task \"%s\"", t->task->name);
}

static int
delete_task(struct myt *t, struct gw_err *err)
{
    // The task's own row last: as long as it is there, the drop can be repeated.
    static const char *const order[] = {"exceptions", "progress", "steps", "chunks", "tables", "tasks", NULL};
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && order[i]; i++) {
        bool there = false;
        rc = myt_control_exists(t, order[i], &there, err);
        if (rc == GW_OK && there) {
            rc = myt_run(t, err, "DELETE FROM $c.$i WHERE task = $l", order[i], t->task->name);
        }
    }
    return rc;
}

// The database goes only if nothing of anybody else's is in it, and never if it is the url's own.
static int
drop_control(struct myt *t, struct gw_err *err)
{
    bool there = false;
    uint64_t left = 0;
    int rc = myt_control_exists(t, "tasks", &there, err);
    rc = rc == GW_OK && there ? myt_scalar(t, &left, NULL, err, "SELECT COUNT(*) FROM $c.tasks") : rc;
    if (rc != GW_OK || left > 0) {
        return rc;
    }
    // `tasks` last: it is what tells a repeated drop, and state_load, that there is something.
    rc = myt_run(t, err, "DROP TABLE IF EXISTS $c.exceptions, $c.progress, $c.steps, $c.chunks, $c.tables");
    rc = rc == GW_OK ? myt_run(t, err, "DROP TABLE IF EXISTS $c.tasks") : rc;
    rc = rc == GW_OK ? myt_scalar(t, &left, NULL, err,
                                  "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = $l)"
                                  " + (SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = $l)"
                                  " + (SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = $l)",
                                  t->control, t->control, t->control)
                     : rc;
    if (rc == GW_OK && left == 0 && strcmp(t->control, t->database) != 0) {
        struct gw_err why = {0};
        rc = myt_run(t, &why, "DROP DATABASE IF EXISTS $c");
        rc = rc == GW_RETRY ? rc : GW_OK; // without the privilege an empty database stays
        if (rc != GW_OK && err) {
            *err = why;
        }
    }
    return rc;
}

// A lock was not had in the time of a drop. Which session holds it is not told once the wait is over.
static int
say_who(struct myt *t, struct gw_err *err)
{
    MYT_RES r = NULL;
    struct gw_err ignored = {0};
    int rc = myt_query(t, &r, &ignored,
                       "SELECT p.id, CONCAT(p.user, '@', p.host), TIMESTAMPDIFF(SECOND, x.trx_started, NOW())"
                       " FROM information_schema.innodb_trx x JOIN information_schema.processlist p"
                       " ON p.id = x.trx_mysql_thread_id WHERE p.id <> CONNECTION_ID()"
                       " ORDER BY x.trx_started LIMIT 1");
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL; // it takes the privilege PROCESS
    if (row) {
        gw_err_set(err, GW_AGAIN, GW_CODE_LOCKED,
                   "another session of the target holds what is to be dropped; the oldest transaction is of session %s"
                   " (%s), for %s s",
                   myt_text(row, 0), myt_text(row, 1), myt_text(row, 2));
        gw_err_hint(err, "if its godwit is dead: KILL %s", myt_text(row, 0));
    } else {
        gw_err_set(err, GW_AGAIN, GW_CODE_LOCKED, "another session of the target holds what is to be dropped");
    }
    return GW_AGAIN;
}

static int
drop_under_lock(struct myt *t, struct gw_err *err)
{
    bool there = false;
    int rc = myt_control_exists(t, "chunks", &there, err);
    rc = rc == GW_OK && there ? myt_end_loads(t, NULL, err) : rc;
    rc = rc == GW_OK ? myt_run(t, err, "SET SESSION innodb_lock_wait_timeout = 2, lock_wait_timeout = 2") : rc;
    rc = rc == GW_OK ? myt_begin(t, err) : rc;
    rc = rc == GW_OK ? delete_task(t, err) : rc;
    rc = rc == GW_OK ? myt_commit(t, err) : rc;
    rc = myt_end(t, rc) == GW_OK ? drop_control(t, err) : rc;
    if (strcmp(err->code, "1205") == 0) { // lock wait timeout
        gw_err_clear(err);
        rc = say_who(t, err);
    }
    return rc == GW_OK ? myt_run(t, err, "SET SESSION " MYT_LOCK_WAIT) : rc;
}

int
myt_state_drop(void *self, struct gw_err *err)
{
    struct myt *t = self;
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    bool there = false;
    int rc = myt_schema_exists(t, t->control, &there, e);
    if (rc == GW_OK && there) {
        rc = myt_lock_ddl(t, e);
        if (rc == GW_OK) {
            rc = drop_under_lock(t, e);
            myt_unlock_ddl(t);
        }
    }
    if (rc == GW_AGAIN) {
        return rc;
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "drop task \"%s\"", t->task->name);
}
