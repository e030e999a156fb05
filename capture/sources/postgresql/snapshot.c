// One snapshot for every reader (https://www.postgresql.org/docs/15/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION).
//
// Each reader exports its snapshot anew, so that any of them can be joined and none is needed. The token is what
// pg_current_snapshot() says: xmin, xmax and the transactions in progress between them. Two sessions of one server
// for which these are equal see the same rows.
//
// A lock that a reader took would stay until its transaction ends, when all rows are read: a TRUNCATE or ALTER TABLE of the
// application waited for it, and everybody else behind that, other readers among them. So whatever locks a table stands
// in savepoint godwit_locks, and is rolled back when it has been read: that frees the lock and keeps the snapshot.
#include <string.h>

#include "pgs.h"

static int
rollback(struct pgs *s, struct gw_err *err)
{
    s->in_snapshot = false;
    return gw_pg_exec(s->c, err, "ROLLBACK");
}

// A snapshot whose owner ended cannot be joined: 22023 for an unknown one, 55000 or 0A000 for one that is going.
static bool
is_gone(const struct gw_err *e)
{
    static const char *const codes[] = {"22023", "55000", "0A000", "42704"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(e->code, codes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int
join(struct pgs *s, const char *handle, struct gw_err *err)
{
    PGS_BUF quoted;
    gw_buf_init(&quoted, 4096);
    gw_pg_literal(&quoted, handle);
    struct gw_err cause = {0};
    int rc = gw_pg_exec(s->c, &cause, "SET TRANSACTION SNAPSHOT %s", quoted.data);
    if (rc == GW_OK) {
        return GW_OK;
    }
    if (PQstatus(s->c) == CONNECTION_OK && is_gone(&cause)) {
        rc = rollback(s, err);
        return rc != GW_OK ? rc
                           : gw_err_set(err, GW_AGAIN, cause.code, "snapshot %s is gone: %s", handle, cause.message);
    }
    *err = cause;
    return rc;
}

int
pgs_unlock(struct pgs *s, struct gw_err *err)
{
    return gw_pg_exec(s->c, err, "ROLLBACK TO SAVEPOINT godwit_locks; RELEASE SAVEPOINT godwit_locks");
}

int
pgs_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                   struct gw_err *err)
{
    struct pgs *s = self;
    int rc = s->in_snapshot ? rollback(s, err) : GW_OK;
    if (rc == GW_OK) {
        rc = gw_pg_exec(s->c, err, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    }
    if (rc == GW_OK && handle[0]) {
        rc = join(s, handle, err);
    }
    PGS_RES r = NULL;
    if (rc == GW_OK) {
        s->in_snapshot = true;
        rc = pgs_query(s, &r, err, "SELECT pg_catalog.pg_current_snapshot(), pg_catalog.pg_export_snapshot()");
    }
    if (rc == GW_OK) {
        *ret_token = pgs_dup(a, r, 0, 0);
        *ret_handle = pgs_dup(a, r, 0, 1);
    }
    return rc;
}
