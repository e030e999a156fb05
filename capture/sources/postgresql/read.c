// One chunk: COPY (SELECT …) TO STDOUT, inside the snapshot.
//
// Before the first row, the table is locked in ACCESS SHARE MODE (nobody can rewrite it from then on; reading and
// writing go on) and its storage as the snapshot sees it compared with its storage now: a table that was rewritten
// after the snapshot was taken reads as empty under it, without an error.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/change.h"
#include "common/fault.h"
#include "pgs.h"

enum { ROOM = 16 * 1024 };

void
pgs_from(struct gw_buf *sql, const Gw__Table *t, const Gw__Chunk *c)
{
    bool part = c && c->partition[0];
    // Children by plain inheritance are tables of their own; a partitioned table is its partitions.
    bool only = part || t->kind == GW__TABLE_KIND__TABLE_PLAIN;
    gw_buf_puts(sql, only ? "ONLY " : "");
    if (part) {
        gw_pg_qname(sql, c->partition_schema, c->partition);
    } else {
        gw_pg_qname(sql, t->source_schema, t->source_name);
    }
}

// ---- the statement -----------------------------------------------------------------------------

const char *
pgs_source_name(const Gw__Table *t, size_t i)
{
    return t->n_source_columns == t->n_columns ? t->source_columns[i] : t->columns[i]->name;
}

static void
put_columns(struct gw_buf *sql, const Gw__Table *t)
{
    bool first = true;
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        if (c->left_out) {
            continue;
        }
        gw_buf_puts(sql, first ? "" : ", ");
        first = false;
        gw_pg_ident(sql, pgs_source_name(t, i));
        if (strcmp(c->type->native, "money") == 0) {
            gw_buf_puts(sql, "::pg_catalog.numeric"); // its text depends on the server's locale
        }
    }
}

static void
put_row_of(struct gw_buf *sql, size_t n, char *const *columns)
{
    gw_buf_puts(sql, n > 1 ? "(" : "");
    for (size_t i = 0; i < n; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_pg_ident(sql, columns[i]);
    }
    gw_buf_puts(sql, n > 1 ? ")" : "");
}

static void
put_bound(struct gw_buf *sql, const Gw__Chunk *c, const char *op, const Gw__Bound *b, const Gw__Table *t)
{
    put_row_of(sql, c->n_columns, c->columns);
    gw_buf_printf(sql, " %s %s", op, b->n_values > 1 ? "(" : "");
    for (size_t i = 0; i < b->n_values; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_pg_literal(sql, b->values[i]);
        const Gw__Column *col = pgs_column(t, c->columns[i]);
        if (col) {
            gw_buf_printf(sql, "::%s", col->type->native);
        }
    }
    gw_buf_puts(sql, b->n_values > 1 ? ")" : "");
}

// A row-wise comparison is NULL for some rows with a NULL, and not for others: (1, NULL) < (2, 0). Such rows belong to
// the one chunk that takes NULLs, whatever else is in them.
static void
put_nulls(struct gw_buf *sql, const Gw__Table *t, const Gw__Chunk *c)
{
    for (size_t i = 0; i < c->n_columns; i++) {
        const Gw__Column *col = pgs_column(t, c->columns[i]);
        if (col && col->not_null) {
            continue;
        }
        gw_buf_puts(sql, c->with_nulls ? " OR " : " AND ");
        gw_pg_ident(sql, c->columns[i]);
        gw_buf_puts(sql, c->with_nulls ? " IS NULL" : " IS NOT NULL");
    }
}

// lo <= key < hi, or for the user's ranges lo < key <= hi as DMS has them.
static void
put_where(struct gw_buf *sql, const Gw__Table *t, const Gw__Chunk *c)
{
    if (c->by == GW__CHUNK_BY__BY_CTID) {
        const char *glue = " WHERE ";
        if (c->lo) {
            gw_buf_printf(sql, " WHERE ctid >= '(%s,0)'", c->lo->values[0]);
            glue = " AND ";
        }
        if (c->hi) {
            gw_buf_printf(sql, "%sctid < '(%s,0)'", glue, c->hi->values[0]);
        }
        return;
    }
    bool range = c->by == GW__CHUNK_BY__BY_RANGE;
    if (!c->lo && !c->hi) {
        return;
    }
    gw_buf_puts(sql, " WHERE (");
    if (c->lo) {
        put_bound(sql, c, range ? ">" : ">=", c->lo, t);
    }
    if (c->hi) {
        gw_buf_puts(sql, c->lo ? " AND " : "");
        put_bound(sql, c, range || c->hi_inclusive ? "<=" : "<", c->hi, t);
    }
    gw_buf_putc(sql, ')');
    if (range) {
        put_nulls(sql, t, c);
    }
}

// A whole plain table needs no query: the shorter way through the server. Generated columns do.
static bool
is_plain_copy(const Gw__Table *t, const Gw__Chunk *c)
{
    bool all = c->by == GW__CHUNK_BY__BY_WHOLE || c->by == GW__CHUNK_BY__BY_PARTITION;
    bool plain = c->partition[0] || t->kind == GW__TABLE_KIND__TABLE_PLAIN;
    for (size_t i = 0; plain && i < t->n_columns; i++) {
        const Gw__Column *col = t->columns[i];
        plain = strcmp(col->type->native, "money") != 0 && (col->left_out || !col->generated[0]);
    }
    return all && plain;
}

static void
put_copy(struct gw_buf *sql, const Gw__Table *t, const Gw__Chunk *c)
{
    if (is_plain_copy(t, c)) {
        gw_buf_puts(sql, "COPY ");
        if (c->partition[0]) {
            gw_pg_qname(sql, c->partition_schema, c->partition);
        } else {
            gw_pg_qname(sql, t->source_schema, t->source_name);
        }
        gw_buf_puts(sql, " (");
        put_columns(sql, t);
        gw_buf_puts(sql, ") TO STDOUT");
        return;
    }
    gw_buf_puts(sql, "COPY (SELECT ");
    put_columns(sql, t);
    gw_buf_puts(sql, " FROM ");
    pgs_from(sql, t, c);
    put_where(sql, t, c);
    gw_buf_puts(sql, ") TO STDOUT");
}

// ---- begin -------------------------------------------------------------------------------------

// Materialized views and foreign tables cannot be locked; a refreshed materialized view shows by its storage, too.
static bool
may_lock(const Gw__Table *t, const Gw__Chunk *c)
{
    return c->partition[0] || t->kind != GW__TABLE_KIND__TABLE_FOREIGN;
}

// The table, with all its partitions if they are read through it; of a partition that is read alone, the root as well,
// which has the definition.
static int
lock(struct pgs *s, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    PGS_BUF sql;
    gw_buf_init(&sql, 64 * 1024);
    gw_buf_puts(&sql, "SAVEPOINT godwit_locks");
    if (may_lock(t, c)) {
        gw_buf_puts(&sql, "; LOCK TABLE ");
        if (c->partition[0]) {
            gw_buf_puts(&sql, "ONLY ");
            gw_pg_qname(&sql, t->source_schema, t->source_name);
            gw_buf_puts(&sql, ", ");
        }
        pgs_from(&sql, t, c);
        gw_buf_puts(&sql, " IN ACCESS SHARE MODE");
    }
    int rc = gw_pg_exec(s->c, err, "%s", sql.data);
    if (rc != GW_OK && strcmp(err->code, "42809") == 0) { // a materialized view, a partition that is a foreign table
        gw_err_clear(err);
        rc = gw_pg_exec(s->c, err, "ROLLBACK TO SAVEPOINT godwit_locks");
    }
    return rc;
}

// The relations that the chunk reads, as the snapshot has them: a view's, too, however deep, with the views themselves.
#define WITH_BASE                                                                                                      \
    "WITH RECURSIVE base(oid) AS (SELECT %1$s::pg_catalog.regclass::pg_catalog.oid UNION"                              \
    " SELECT n.oid FROM base b CROSS JOIN LATERAL ("                                                                   \
    "SELECT d.refobjid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class v ON v.oid = w.ev_class"                  \
    " JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"                         \
    " AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"                               \
    " WHERE w.ev_class = b.oid AND v.relkind = 'v'"                                                                    \
    " UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = b.oid) n(oid))"

// Whether the version of a catalogue row that the snapshot sees is not the last one: xmax is the transaction that put
// another in its place, and it has committed. xmax has 32 bits, and is completed by the snapshot's own number: a
// transaction that the snapshot does not see is no further from that than half of them.
#define IS_REPLACED(row)                                                                                               \
    "(CASE WHEN " row ".xmax::pg_catalog.text <> '0' THEN pg_catalog.pg_xact_status((s.x + (" row                      \
    ".xmax::pg_catalog.text::pg_catalog.int8 - s.x %% 4294967296 + 6442450944) %% 4294967296 - 2147483648)"            \
    "::pg_catalog.text::pg_catalog.xid8) END = 'committed')"

static int
ask_storage(struct pgs *s, const char *name, PGresult **ret, struct gw_err *err)
{
    return pgs_query(
        s, ret, err,
        WITH_BASE " SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = %1$s::pg_catalog.regclass),"
                  " NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class k JOIN base ON base.oid = k.oid"
                  " WHERE k.relkind IN ('r', 'm') AND k.relfilenode <> 0"
                  " AND k.relfilenode <> coalesce(pg_catalog.pg_relation_filenode(k.oid), 0)),"
                  " NOT EXISTS (SELECT 1 FROM base JOIN pg_catalog.pg_class v ON v.oid = base.oid AND v.relkind = 'v'"
                  " JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid"
                  " CROSS JOIN (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
                  "::pg_catalog.text::pg_catalog.int8) s(x)"
                  " WHERE " IS_REPLACED(
                      "w") " OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend d"
                           " JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid"
                           " WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid"
                           " AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND " IS_REPLACED("f") "))",
        name);
}

// The query reads the catalogue under the snapshot; pg_relation_filenode() asks the relation as it is now. A view is as
// old as the tables under it, and it is read by its present rule, whatever rule the snapshot saw: that has to be the
// same one. By induction over the views: if no rule that the snapshot sees was replaced, the present tree is the
// snapshot's. LOCK TABLE has locked all of that tree, so it stays. Functions that a view calls cannot be locked; what
// they call themselves is not known to the catalogue.
static int
check_storage(struct pgs *s, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    PGS_BUF name, lit;
    gw_buf_init(&name, 64 * 1024);
    gw_buf_init(&lit, 64 * 1024);
    bool part = c->partition[0];
    gw_pg_qname(&name, part ? c->partition_schema : t->source_schema, part ? c->partition : t->source_name);
    gw_pg_literal(&lit, name.data);
    PGS_RES r = NULL;
    int rc = ask_storage(s, lit.data, &r, err);
    if (rc != GW_OK) {
        return rc;
    }
    static const char *const why[] = {"the table was made after the snapshot was taken",
                                      "the table was rewritten after the snapshot was taken",
                                      "the view, or one that it reads, was replaced after the snapshot was taken"};
    for (int i = 0; i < 3; i++) {
        if (!pgs_true(r, 0, i) && (i != 1 || GW_GUARD("capture.filenode"))) {
            return gw_err_set(err, GW_AGAIN, NULL, "%s", why[i]);
        }
    }
    return GW_OK;
}

// COPY looks columns up by name, today: a name that means another column now would bring that one's values.
static int
check_definition(struct pgs *s, const Gw__Table *t, struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    char *now = NULL;
    int rc = pgs_fingerprint(s, &a, t->source_schema, t->source_name, &now, err);
    if (rc == GW_OK && strcmp(now, t->fingerprint) != 0) {
        rc = gw_err_set(err, GW_CONFIG, NULL, "%s", GW_DEFINITION_MOVED);
        gw_err_hint(err, "start the task anew with --fresh");
    }
    gw_arena_fini(&a);
    return rc;
}

int
pgs_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    struct pgs *s = self;
    int rc = lock(s, t, c, err);
    rc = rc == GW_OK ? check_storage(s, t, c, err) : rc;
    rc = rc == GW_OK ? check_definition(s, t, err) : rc;
    if (rc != GW_OK) {
        return rc;
    }
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    put_copy(&sql, t, c);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "the statement that reads the chunk is too long");
    }
    PGS_RES r = PQexec(s->c, sql.data);
    if (PQresultStatus(r) != PGRES_COPY_OUT) {
        return gw_pg_error(s->c, r, err, "COPY from \"%s.%s\"", t->source_schema, t->source_name);
    }
    s->reading = true;
    s->rows = 0;
    s->mid_row = false;
    return GW_OK;
}

// ---- rows --------------------------------------------------------------------------------------

static int
wait_input(struct pgs *s, struct gw_err *err)
{
    struct pollfd p = {.fd = PQsocket(s->c), .events = POLLIN};
    if (p.fd < 0 || (poll(&p, 1, -1) < 0 && errno != EINTR) || !PQconsumeInput(s->c)) {
        return gw_pg_error(s->c, NULL, err, "read rows");
    }
    return GW_OK;
}

// The server has sent its last row: it must have counted as many as arrived.
static int
finish_copy(struct pgs *s, struct gw_err *err)
{
    PGS_RES r = PQgetResult(s->c);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        return gw_pg_error(s->c, r, err, "read rows");
    }
    uint64_t told = strtoull(PQcmdTuples(r), NULL, 10);
    if (told != s->rows || s->mid_row) {
        return gw_err_set(err, GW_RETRY, NULL, "the server sent %llu rows and %llu arrived", (unsigned long long)told,
                          (unsigned long long)s->rows);
    }
    PGresult *rest;
    while ((rest = PQgetResult(s->c))) {
        PQclear(rest);
    }
    s->reading = false;
    int rc = pgs_unlock(s, err);
    return rc == GW_OK ? GW_END : rc;
}

// PQgetlineAsync copies straight out of libpq's buffer: PQgetCopyData would allocate every row. It gives whole
// rows, or pieces of one that is larger than the room (libpq documentation, "Obsolete Functions for COPY").
int
pgs_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows, struct gw_err *err)
{
    struct pgs *s = self;
    uint32_t rows = 0;
    int rc = GW_OK;
    while (s->mid_row || (out->len < want && rows < rows_max)) {
        size_t room = out->cap > out->len + ROOM ? out->cap - out->len - 1 : ROOM;
        char *at = gw_buf_room(out, room);
        if (!at) {
            return gw_err_set(err, GW_CONFIG, NULL, "a row is larger than %zu MB", out->max >> 20);
        }
        int n = PQgetlineAsync(s->c, at, (int)(room > INT32_MAX ? INT32_MAX : room));
        if (n > 0) {
            gw_buf_added(out, (size_t)n);
            s->mid_row = at[n - 1] != '\n';
            rows += !s->mid_row;
        } else if (n == 0) {
            rc = wait_input(s, err);
        } else {
            s->rows += rows;
            *ret_rows = rows;
            return finish_copy(s, err);
        }
        if (rc != GW_OK) {
            return rc;
        }
    }
    s->rows += rows;
    *ret_rows = rows;
    return GW_OK;
}

int
pgs_chunk_cancel(void *self, struct gw_err *err)
{
    struct pgs *s = self;
    if (!s->reading) {
        return GW_OK;
    }
    PGcancel *cancel = PQgetCancel(s->c);
    char text[256] = "";
    bool asked = cancel && PQcancel(cancel, text, sizeof text);
    PQfreeCancel(cancel);
    if (!asked) {
        return gw_err_set(err, GW_RETRY, NULL, "cancel the reading of a chunk: %s", text);
    }
    PGresult *r;
    while ((r = PQgetResult(s->c))) {
        bool copying = PQresultStatus(r) == PGRES_COPY_OUT;
        PQclear(r);
        char *row;
        while (copying && PQgetCopyData(s->c, &row, 0) > 0) {
            PQfreemem(row);
        }
    }
    s->reading = false;
    return gw_pg_exec(s->c, err, "ROLLBACK TO SAVEPOINT godwit_locks");
}
