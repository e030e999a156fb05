// The session: connect, settings, statements, transactions; and the table of slots.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/fault.h"
#include "pgt.h"

enum { PGT_VERSION_MIN = 120000 };

const char *
pgt_num(struct pgt_num *n, uint64_t v)
{
    snprintf(n->text, sizeof n->text, "%llu", (unsigned long long)v);
    return n->text;
}

uint64_t
pgt_u64(const PGresult *r, int row, int col)
{
    return strtoull(PQgetvalue(r, row, col), NULL, 10);
}

__attribute__((format(printf, 6, 0))) static int
vquery(struct pgt *t, PGresult **ret, struct gw_err *err, int n, const char *const *params, const char *fmt, va_list ap)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_vprintf(&sql, fmt, ap);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, "", "statement is longer than %d bytes", PGT_SQL_MAX);
    }
    PQclear(*ret);
    *ret = NULL;
    return gw_pg_query(t->c, ret, sql.data, n, params, err);
}

int
pgt_query(struct pgt *t, PGresult **ret, struct gw_err *err, int n, const char *const *params, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(t, ret, err, n, params, fmt, ap);
    va_end(ap);
    return rc;
}

int
pgt_affect(struct pgt *t, uint64_t *ret_rows, struct gw_err *err, int n, const char *const *params, const char *fmt,
           ...)
{
    PGT_RES r = NULL;
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(t, &r, err, n, params, fmt, ap);
    va_end(ap);
    if (rc == GW_OK && ret_rows) {
        *ret_rows = strtoull(PQcmdTuples(r), NULL, 10);
    }
    return rc;
}

int
pgt_exec(struct pgt *t, const struct gw_buf *sql, struct gw_err *err)
{
    if (sql->overflowed) {
        return gw_err_set(err, GW_CONFIG, "", "statement is longer than %d bytes", PGT_SQL_MAX);
    }
    return sql->len ? gw_pg_exec(t->c, err, "%s", sql->data) : GW_OK;
}

int
pgt_begin(struct pgt *t, struct gw_err *err)
{
    int rc = pgt_stream_leave(t, err);
    return rc == GW_OK ? gw_pg_exec(t->c, err, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") : rc;
}

int
pgt_commit(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = PQexec(t->c, "COMMIT");
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        return gw_pg_error(t->c, r, err, "commit");
    }
    // A failed transaction answers COMMIT with a roll-back, and calls that a success.
    if (strcmp(PQcmdStatus(r), "COMMIT") != 0) {
        return gw_err_set(err, GW_BUG, "", "commit: the server answered %s", PQcmdStatus(r));
    }
    return GW_OK;
}

void
pgt_rollback(struct pgt *t)
{
    if (PQtransactionStatus(t->c) == PQTRANS_INTRANS || PQtransactionStatus(t->c) == PQTRANS_INERROR) {
        PQclear(PQexec(t->c, "ROLLBACK"));
    }
}

int
pgt_end(struct pgt *t, int rc)
{
    if (rc != GW_OK) {
        pgt_rollback(t);
    }
    return rc;
}

int
pgt_fault(const char *name, struct gw_err *err)
{
    return GW_FAULT(name) ? gw_err_set(err, GW_RETRY, "", "fault point %s", name) : GW_OK;
}

const char *
pgt_setting(const struct pgt *t, const char *key)
{
    const Gw__Endpoint *ep = t->task->target;
    for (size_t i = 0; ep && i < ep->n_settings; i++) {
        if (strcasecmp(ep->settings[i]->key, key) == 0) {
            return ep->settings[i]->value;
        }
    }
    return NULL;
}

// What the server may do for us. Each probe is a statement of its own that changes nothing but the session.
static int
probe(struct pgt *t, struct gw_err *err)
{
    t->version = PQserverVersion(t->c);
    if (t->version < PGT_VERSION_MIN) {
        return gw_err_set(err, GW_CONFIG, "", "server version %d.%d is too old: 12 is the least", t->version / 10000,
                          t->version % 10000);
    }
    const char *encoding = PQparameterStatus(t->c, "server_encoding");
    t->utf8 = encoding && strcmp(encoding, "UTF8") == 0;
    // Only superusers and those with SET on the parameter may; managed services have rules of their own, so
    // the honest question is to try.
    PGresult *r = PQexec(t->c, "SET session_replication_role = replica");
    t->may_replica = PQresultStatus(r) == PGRES_COMMAND_OK;
    int rc = GW_OK;
    if (!t->may_replica) {
        const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
        if (!state || strcmp(state, "42501") != 0) {
            rc = gw_pg_error(t->c, r, err, "set session_replication_role");
        }
    }
    PQclear(r);
    if (rc == GW_OK && t->may_replica) {
        rc = gw_pg_exec(t->c, err, "SET session_replication_role = origin");
    }
    return rc;
}

// The client's own settings (keepalives, time-outs, text) are gw_pg_connect's. These are a writer's: a commit that
// was answered is on disk; a backend whose client is gone must not hold its locks for hours; nobody
// waits for a lock without end.
static int
set_writer(struct pgt *t, struct gw_err *err)
{
    return gw_pg_exec(t->c, err,
                      "SET synchronous_commit = on;"
                      "SET default_transaction_isolation = 'read committed';"
                      "SET default_transaction_read_only = off;"
                      "SET client_min_messages = warning;"
                      "SET tcp_keepalives_idle = 20;"
                      "SET tcp_keepalives_interval = 5;"
                      "SET tcp_keepalives_count = 4;"
                      "SET tcp_user_timeout = 60000;"
                      "SET lock_timeout = '120s'");
}

static int
pgt_open(void *self, const Gw__Task *task, const char *owner, const char *password, struct gw_err *err)
{
    struct pgt *t = self;
    t->task = task;
    t->owner = owner;
    gw_arena_init(&t->arena);
    gw_arena_init(&t->load.arena);
    t->opened = true;
    t->control = gw_arena_strdup(&t->arena, pgt_set(task->control_schema) ? task->control_schema : "godwit");
    if (pgt_too_long(t->control)) {
        return gw_err_set(err, GW_CONFIG, "", "name of the control schema \"%s\" is longer than %d bytes", t->control,
                          PGT_NAME_MAX);
    }
    PGT_BUF b;
    gw_buf_init(&b, 1024);
    gw_pg_ident(&b, t->control);
    t->ctl = gw_arena_strdup(&t->arena, b.data);
    int rc = gw_pg_connect(&t->c, task->target, password, "apply", err);
    if (rc == GW_OK) {
        rc = set_writer(t, err);
    }
    return rc == GW_OK ? probe(t, err) : rc;
}

static void
pgt_close(void *self)
{
    struct pgt *t = self;
    t->c = gw_pg_close(t->c);
    t->stream = pgt_stream_free(t->stream);
    if (t->opened) {
        gw_arena_fini(&t->load.arena);
        gw_arena_fini(&t->arena);
        t->opened = false;
    }
    t->control = t->ctl = NULL;
    t->load = (struct pgt_load){0};
}

const struct gw_target_ops gw_target_postgresql;
const struct gw_target_ops gw_target_postgresql = {
    .version = GW_TARGET_VERSION,
    .name = "postgresql",
    .caps = GW_TARGET_SCHEMAS | GW_TARGET_STREAM,
    .state_size = sizeof(struct pgt),
    .open = pgt_open,
    .close = pgt_close,
    .preflight = pgt_preflight,
    .state_load = pgt_state_load,
    .state_register = pgt_state_register,
    .state_set = pgt_state_set,
    .alter = pgt_alter,
    .state_define = pgt_state_define,
    .state_complete = pgt_state_complete,
    .state_drop = pgt_state_drop,
    .prepare = pgt_prepare,
    .load_begin = pgt_load_begin,
    .load_write = pgt_load_write,
    .load_refuse = pgt_load_refuse,
    .load_commit = pgt_load_commit,
    .load_abort = pgt_load_abort,
    .finish_plan = pgt_finish_plan,
    .finish_step = pgt_finish_step,
    .stream_claim = pgt_stream_claim,
    .stream_begin = pgt_stream_begin,
    .stream_apply = pgt_stream_apply,
    .stream_mark = pgt_stream_mark,
    .stream_back = pgt_stream_back,
    .stream_refuse = pgt_stream_refuse,
    .stream_suspend = pgt_stream_suspend,
    .stream_commit = pgt_stream_commit,
};
