// The session: connect, settings; and the table of slots.
#include <stdlib.h>
#include <string.h>

#include "myt.h"

// Strict: a value that does not fit is an error where the server may say so. NO_AUTO_VALUE_ON_ZERO: 0 is a key like any
// other. NO_ENGINE_SUBSTITUTION: never another engine in silence.
#define MODE_ALL                                                                                                       \
    "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO"
// An equal engine may hold dates that are none (0000-00-00, 2024-02-30): they are carried over as they are.
#define MODE_NATIVE MODE_ALL ",ALLOW_INVALID_DATES"
#define MODE_OTHER  MODE_ALL ",NO_ZERO_DATE,NO_ZERO_IN_DATE"

static const char *
sql_mode(const Gw__Task *task)
{
    bool native = task->source && task->source->engine && strcmp(task->source->engine, "mysql") == 0;
    return native ? MODE_NATIVE : MODE_OTHER;
}

// The wrapper fixes what every session needs. These are a writer's: notes are counted (a rounded decimal is no more
// than a note), and both checks are in a known state. unique_checks stays on: with both off, MariaDB fills an empty
// table in bulk, under one lock, and loses all of it at a duplicate.
static int
set_writer(struct myt *t, struct gw_err *err)
{
    return myt_run(t, err,
                   "SET SESSION sql_notes = 1, max_error_count = 64, unique_checks = 1, foreign_key_checks = 1,"
                   " " MYT_LOCK_WAIT ", group_concat_max_len = 1048576");
}

// A TIMESTAMP column that gets NULL would otherwise take the current time. Not every server lets us.
static int
set_optional(struct myt *t, struct gw_err *err)
{
    struct gw_err why = {0};
    int rc = myt_run(t, &why, "SET SESSION explicit_defaults_for_timestamp = 1");
    if (rc == GW_RETRY) {
        *err = why;
        return rc;
    }
    return GW_OK;
}

static int
probe(struct myt *t, struct gw_err *err)
{
    uint64_t fold = 0;
    int rc = myt_scalar(t, &fold, NULL, err, "SELECT @@lower_case_table_names");
    t->fold_names = fold != 0;
    return rc;
}

static int
myt_open(void *self, const Gw__Task *task, const char *owner, const char *password, struct gw_err *err)
{
    struct myt *t = self;
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    t->task = task;
    t->owner = owner;
    gw_arena_init(&t->arena);
    gw_arena_init(&t->load.arena);
    gw_buf_init(&t->load.pending, (size_t)1 << 31);
    t->opened = true;
    t->control = gw_arena_strdup(&t->arena, myt_set(task->control_schema) ? task->control_schema : "godwit");
    t->database = gw_arena_strdup(&t->arena, task->target->database ? task->target->database : "");
    if (myt_too_long(t->control)) {
        return gw_err_set(e, GW_CONFIG, "", "name of the control schema \"%s\" is longer than %d characters",
                          t->control, MYT_NAME_MAX);
    }
    MYT_BUF b;
    gw_buf_init(&b, 1024);
    gw_my_ident(&b, t->control);
    t->ctl = gw_arena_strdup(&t->arena, b.data);
    int rc = gw_my_connect(&t->c, task->target, password, sql_mode(task), GW_MY_LOCAL_INFILE, &t->server, e);
    rc = rc == GW_OK ? set_writer(t, e) : rc;
    rc = rc == GW_OK ? set_optional(t, e) : rc;
    return rc == GW_OK ? probe(t, e) : rc;
}

static void
myt_close(void *self)
{
    struct myt *t = self;
    t->stream = myt_stream_free(t->stream); // its statements before their connection
    t->c = gw_my_close(t->c);
    if (t->opened) {
        gw_buf_fini(&t->load.pending);
        gw_arena_fini(&t->load.arena);
        gw_arena_fini(&t->arena);
        t->opened = false;
    }
    t->control = t->ctl = t->database = NULL;
    t->load = (struct myt_load){0};
}

const struct gw_target_ops gw_target_mysql;
const struct gw_target_ops gw_target_mysql = {
    .version = GW_TARGET_VERSION,
    .name = "mysql",
    .caps = GW_TARGET_SCHEMAS | GW_TARGET_STREAM,
    .state_size = sizeof(struct myt),
    .open = myt_open,
    .close = myt_close,
    .preflight = myt_preflight,
    .state_load = myt_state_load,
    .state_register = myt_state_register,
    .state_set = myt_state_set,
    .alter = myt_alter,
    .state_define = myt_state_define,
    .state_complete = myt_state_complete,
    .state_drop = myt_state_drop,
    .prepare = myt_prepare,
    .load_begin = myt_load_begin,
    .load_write = myt_load_write,
    .load_refuse = myt_load_refuse,
    .load_commit = myt_load_commit,
    .load_abort = myt_load_abort,
    .finish_plan = myt_finish_plan,
    .finish_step = myt_finish_step,
    .stream_claim = myt_stream_claim,
    .stream_begin = myt_stream_begin,
    .stream_apply = myt_stream_apply,
    .stream_mark = myt_stream_mark,
    .stream_back = myt_stream_back,
    .stream_refuse = myt_stream_refuse,
    .stream_suspend = myt_stream_suspend,
    .stream_commit = myt_stream_commit,
};
