// Making and clearing a table for the rows of a generation.
//
// Four transactions: `clearing` is stored; what tables share is made; the table is emptied or made; `loading` is
// stored. The third holds the table's control row and an exclusive lock on the table, and looks again for durable
// chunks behind both locks: a chunk that was being committed while we waited is found, and its rows stay.
#include <string.h>

#include "common/fault.h"
#include "control.h"

struct relation {
    bool there;
    char kind; // pg_class.relkind
    bool partition;
    bool referenced; // by a foreign key of another table
    bool outsider;   // of a table that is not of this task
    char who[2 * PGT_NAME_MAX + 2];
};

static Gw__PrepMode
prep_mode(const struct pgt *t)
{
    return t->task->load ? t->task->load->prep_mode : GW__PREP_MODE__DO_NOTHING;
}

static int
fenced(const Gw__Table *t, uint32_t generation, const char *why, struct gw_err *err)
{
    return gw_err_set(err, GW_FENCED, "", "prepare table \"%s.%s\" for generation %u: %s", pgt_schema(t), t->name,
                      generation, why);
}

static int
find_relation(struct pgt *t, const Gw__Table *table, struct relation *ret, struct gw_err *err)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    const char *p[] = {pgt_clip(&a, pgt_schema(table)), pgt_clip(&a, table->name), t->task->name};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 3, p,
                       "SELECT c.relkind, c.relispartition, f.who, f.ours"
                       " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " LEFT JOIN LATERAL (SELECT rn.nspname || '.' || rc.relname AS who,"
                       "  EXISTS (SELECT FROM %s.tables x WHERE x.task = $3 AND x.target_schema = rn.nspname"
                       "   AND x.target_table = rc.relname) AS ours"
                       "  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class rc ON rc.oid = k.conrelid"
                       "  JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace"
                       "  WHERE k.contype = 'f' AND k.confrelid = c.oid AND k.conrelid <> c.oid"
                       "   AND k.conparentid = 0 ORDER BY 2, 1 LIMIT 1) f ON true"
                       " WHERE n.nspname = $1 AND c.relname = $2",
                       t->ctl);
    if (rc != GW_OK) {
        return rc;
    }
    struct relation rel = {.there = PQntuples(r) > 0};
    if (rel.there) {
        rel.kind = pgt_text(r, 0, 0)[0];
        rel.partition = pgt_true(r, 0, 1);
        rel.referenced = !PQgetisnull(r, 0, 2);
        rel.outsider = rel.referenced && !pgt_true(r, 0, 3);
        strncpy(rel.who, pgt_text(r, 0, 2), sizeof rel.who - 1);
    }
    *ret = rel;
    return GW_OK;
}

// ---- what tables share

static int
make_schemas(struct pgt *t, const Gw__Table *table, struct gw_err *err)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    int rc = pgt_schema_make(t, pgt_clip(&a, pgt_schema(table)), err);
    if (!pgt_native(table)) {
        return rc;
    }
    for (size_t i = 0; rc == GW_OK && i < table->n_partitions; i++) {
        const char *s = table->partitions[i]->schema;
        if (pgt_set(s) && strcmp(s, table->source_schema) != 0) {
            rc = pgt_schema_make(t, s, err);
        }
    }
    for (size_t i = 0; rc == GW_OK && i < table->n_columns; i++) {
        const Gw__Type *type = table->columns[i]->type;
        for (; rc == GW_OK && type; type = type->element) {
            if (pgt_set(type->type_schema) && strcmp(type->type_schema, "pg_catalog") != 0) {
                rc = pgt_schema_make(t, type->type_schema, err);
            }
        }
    }
    return rc;
}

// One statement that makes a type, extension, collation …; that it is there already is what is wanted.
static int
make_need(struct pgt *t, const char *sql, struct gw_err *err)
{
    int rc = gw_pg_exec(t->c, err, "SAVEPOINT godwit_need");
    if (rc != GW_OK) {
        return rc;
    }
    PGT_RES r = PQexec(t->c, sql);
    if (PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK) {
        return gw_pg_exec(t->c, err, "RELEASE SAVEPOINT godwit_need");
    }
    static const char *const there[] = {"42710", "42P06", "42P07", "42723", NULL};
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    for (size_t i = 0; state && there[i]; i++) {
        if (strcmp(state, there[i]) == 0) {
            return gw_pg_exec(t->c, err, "ROLLBACK TO SAVEPOINT godwit_need");
        }
    }
    return gw_pg_error(t->c, r, err, "%.200s", sql);
}

static bool
has_needs(const Gw__Table *table)
{
    return pgt_native(table);
}

static int
make_shared(struct pgt *t, const Gw__Table *table, struct gw_err *err)
{
    int rc = pgt_begin(t, err);
    rc = rc == GW_OK ? pgt_lock_ddl(t, err) : rc;
    rc = rc == GW_OK ? make_schemas(t, table, err) : rc;
    for (size_t i = 0; rc == GW_OK && has_needs(table) && i < table->n_needs; i++) {
        rc = make_need(t, table->needs[i], err);
    }
    for (size_t i = 0; rc == GW_OK && has_needs(table) && i < table->n_columns; i++) {
        const Gw__Type *type = table->columns[i]->type;
        for (; rc == GW_OK && type; type = type->element) {
            rc = pgt_set(type->type_ddl) ? make_need(t, type->type_ddl, err) : GW_OK;
        }
    }
    return rc == GW_OK ? pgt_commit(t, err) : rc;
}

// ---- emptying and making

static int
create_table(struct pgt *t, const Gw__Table *table, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    pgt_create_table(&sql, table, !pgt_pk_after(t, table), t->version);
    int rc = pgt_exec(t, &sql, err);
    if (rc == GW_DATA) {
        err->cls = rc = GW_CONFIG; // no row is at fault: a default or a bound that the server cannot read
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "create table \"%s.%s\"", pgt_schema(table), table->name);
}

static int
outsider(const Gw__Table *table, const struct relation *rel, const char *what, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "",
               "cannot %s table \"%s.%s\": a foreign key of table \"%s\", which is not part of the "
               "task, refers to it",
               what, pgt_schema(table), table->name, rel->who);
    gw_err_hint(err, "drop that foreign key, or select table \"%s\" too", rel->who);
    return GW_CONFIG;
}

// Foreign keys of the task's own tables: those tables are made anew as well, and finish makes their keys again.
static int
drop_references(struct pgt *t, const Gw__Table *table, struct gw_err *err)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    const char *p[] = {pgt_clip(&a, pgt_schema(table)), pgt_clip(&a, table->name)};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 2, p,
                       "SELECT rn.nspname, rc.relname, k.conname FROM pg_catalog.pg_constraint k"
                       " JOIN pg_catalog.pg_class c ON c.oid = k.confrelid"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " JOIN pg_catalog.pg_class rc ON rc.oid = k.conrelid"
                       " JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace"
                       " WHERE k.contype = 'f' AND k.conrelid <> k.confrelid AND k.conparentid = 0"
                       " AND n.nspname = $1 AND c.relname = $2 ORDER BY 1, 2, 3");
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        PGT_BUF sql;
        gw_buf_init(&sql, PGT_SQL_MAX);
        gw_buf_puts(&sql, "ALTER TABLE ");
        gw_pg_qname(&sql, pgt_text(r, i, 0), pgt_text(r, i, 1));
        gw_buf_puts(&sql, " DROP CONSTRAINT ");
        gw_pg_ident(&sql, pgt_text(r, i, 2));
        rc = pgt_exec(t, &sql, err);
    }
    return rc;
}

static int
drop_table(struct pgt *t, const Gw__Table *table, const struct relation *rel, struct gw_err *err)
{
    if (rel->outsider) {
        return outsider(table, rel, "drop", err);
    }
    int rc = rel->referenced ? drop_references(t, table, err) : GW_OK;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "drop the foreign keys that refer to table \"%s.%s\"", pgt_schema(table), table->name);
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "DROP TABLE "); // never CASCADE: it would take views and keys that are not ours
    pgt_tname(&sql, table);
    rc = pgt_exec(t, &sql, err);
    if (rc != GW_OK && err && strcmp(err->code, "2BP01") == 0) {
        err->cls = rc = GW_CONFIG;
        gw_err_hint(err, "drop what depends on the table, or use TRUNCATE_BEFORE_LOAD");
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "drop table \"%s.%s\"", pgt_schema(table), table->name);
}

// TRUNCATE refuses a table that a foreign key refers to, even from an empty table. The slow way keeps the key: as a
// replica, DELETE fires no trigger and so neither checks nor cascades.
static int
empty_referenced(struct pgt *t, const Gw__Table *table, const struct relation *rel, struct gw_err *err)
{
    if (rel->outsider) {
        return outsider(table, rel, "empty", err);
    }
    if (!t->may_replica) {
        gw_err_set(err, GW_CONFIG, "", "cannot empty table \"%s.%s\": a foreign key of table \"%s\" refers to it",
                   pgt_schema(table), table->name, rel->who);
        gw_err_hint(err, "grant SET ON PARAMETER session_replication_role to the user of the target, drop "
                         "the foreign key, or use DROP_AND_CREATE");
        return GW_CONFIG;
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "SET LOCAL session_replication_role = replica; DELETE FROM ");
    gw_buf_puts(&sql, rel->kind == 'p' ? "" : "ONLY ");
    pgt_tname(&sql, table);
    gw_buf_puts(&sql, "; SET LOCAL session_replication_role = origin");
    return pgt_exec(t, &sql, err);
}

static int
empty_table(struct pgt *t, const Gw__Table *table, const struct relation *rel, struct gw_err *err)
{
    int rc;
    if (rel->referenced) {
        rc = empty_referenced(t, table, rel, err);
    } else {
        PGT_BUF sql;
        gw_buf_init(&sql, PGT_SQL_MAX);
        // ONLY: tables that inherit from this one are not ours. A partitioned table does not take it.
        gw_buf_printf(&sql, "TRUNCATE TABLE %s", rel->kind == 'p' ? "" : "ONLY ");
        pgt_tname(&sql, table);
        rc = pgt_exec(t, &sql, err);
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "empty table \"%s.%s\"", pgt_schema(table), table->name);
}

static int
has_rows(struct pgt *t, const Gw__Table *table, bool *ret, struct gw_err *err)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 0, NULL, "SELECT EXISTS (SELECT FROM %s)", pgt_tname_dup(&a, table));
    if (rc == GW_OK) {
        *ret = pgt_true(r, 0, 0);
    }
    return rc;
}

// DO_NOTHING on a table that is there: rows of others stay, rows of an earlier generation of ours do not.
static int
keep_table(struct pgt *t, const Gw__Table *table, const struct relation *rel, struct pgt_table_row *row,
           struct gw_err *err)
{
    bool rows = false;
    int rc = has_rows(t, table, &rows, err);
    if (rc != GW_OK) {
        return gw_err_wrap(err, "read table \"%s.%s\"", pgt_schema(table), table->name);
    }
    if (row->made == PGT_MADE_NOT || !rows) {
        row->made = row->made == PGT_MADE_OURS ? PGT_MADE_OURS : rows ? PGT_MADE_ROWS : PGT_MADE_EMPTY;
        return GW_OK;
    }
    if (!row->had_rows) {
        return GW_OK; // what is in it was in it before
    }
    if (row->made == PGT_MADE_ROWS) {
        gw_err_set(err, GW_CONFIG, "",
                   "table \"%s.%s\" must be loaded anew, and holds both rows of the first attempt and "
                   "rows that were there before",
                   pgt_schema(table), table->name);
        gw_err_hint(err, "empty the table by hand, or use DROP_AND_CREATE or TRUNCATE_BEFORE_LOAD");
        return GW_CONFIG;
    }
    return empty_table(t, table, rel, err);
}

static int
lock_table(struct pgt *t, const Gw__Table *table, const struct relation *rel, enum pgt_made made, struct gw_err *err)
{
    if ((rel->kind != 'r' && rel->kind != 'p') || rel->partition) {
        gw_err_set(err, GW_CONFIG, "", "\"%s.%s\" is there already and is %s", pgt_schema(table), table->name,
                   rel->partition ? "a partition of another table" : "not a table");
        gw_err_hint(err, "drop it, or select another TargetSchema");
        return GW_CONFIG;
    }
    if (prep_mode(t) == GW__PREP_MODE__DO_NOTHING && made == PGT_MADE_NOT) {
        return GW_OK; // looked at only: a user who may do no more than insert can load it
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "LOCK TABLE ");
    pgt_tname(&sql, table);
    gw_buf_puts(&sql, " IN ACCESS EXCLUSIVE MODE");
    int rc = pgt_exec(t, &sql, err);
    return rc == GW_OK ? rc : gw_err_wrap(err, "lock table \"%s.%s\"", pgt_schema(table), table->name);
}

static int
make_ready(struct pgt *t, const Gw__Table *table, struct pgt_table_row *row, struct relation *rel, struct gw_err *err)
{
    int rc;
    if (!rel->there) {
        row->made = PGT_MADE_OURS;
        return create_table(t, table, err);
    }
    switch (prep_mode(t)) {
    case GW__PREP_MODE__DROP_AND_CREATE:
        rc = drop_table(t, table, rel, err);
        row->made = PGT_MADE_OURS;
        return rc == GW_OK ? create_table(t, table, err) : rc;
    case GW__PREP_MODE__TRUNCATE_BEFORE_LOAD:
        row->made = row->made == PGT_MADE_OURS ? PGT_MADE_OURS : PGT_MADE_EMPTY;
        return empty_table(t, table, rel, err);
    default: return keep_table(t, table, rel, row, err);
    }
}

// ---- the transactions

static int
tx_clearing(struct pgt *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct pgt_table_row row = {0};
    int rc = pgt_begin(t, err);
    rc = rc == GW_OK ? pgt_table_lock(t, table->id, &row, err) : rc;
    if (rc == GW_OK && row.generation > generation && GW_GUARD("apply.generation")) {
        rc = fenced(table, generation, "a newer generation is stored", err);
    }
    if (rc == GW_OK && row.generation == generation && row.durable) {
        rc = fenced(table, generation, "one of its chunks is durable", err);
    }
    rc = rc == GW_OK ? pgt_table_write(t, table->id, generation, GW__TABLE_STATE__STATE_CLEARING, row.made, err) : rc;
    return rc == GW_OK ? pgt_commit(t, err) : rc;
}

static int
tx_clear(struct pgt *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct pgt_table_row row = {0};
    struct relation rel = {0};
    int rc = pgt_begin(t, err);
    // The control row first, so that two who prepare the same table do it one after the other; and once more
    // behind the table's lock.
    rc = rc == GW_OK ? pgt_table_lock(t, table->id, &row, err) : rc;
    rc = rc == GW_OK ? find_relation(t, table, &rel, err) : rc;
    rc = rc == GW_OK && rel.there ? lock_table(t, table, &rel, row.made, err) : rc;
    rc = rc == GW_OK ? pgt_table_lock(t, table->id, &row, err) : rc;
    if (rc != GW_OK) {
        return rc;
    }
    if ((row.generation != generation || row.state != GW__TABLE_STATE__STATE_CLEARING) &&
        GW_GUARD("apply.generation")) {
        return fenced(table, generation, "somebody else has prepared it", err);
    }
    if (row.durable) {
        // A loader committed while we waited for its lock: the table is being loaded, and stays so.
        rc = pgt_table_write(t, table->id, generation, GW__TABLE_STATE__STATE_LOADING, row.made, err);
        rc = rc == GW_OK ? pgt_commit(t, err) : rc;
        return rc == GW_OK ? fenced(table, generation, "one of its chunks is durable", err) : rc;
    }
    rc = make_ready(t, table, &row, &rel, err);
    rc = rc == GW_OK ? pgt_table_write(t, table->id, generation, GW__TABLE_STATE__STATE_CLEARING, row.made, err) : rc;
    return rc == GW_OK ? pgt_commit(t, err) : rc;
}

static int
tx_loading(struct pgt *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct pgt_table_row row = {0};
    int rc = pgt_begin(t, err);
    rc = rc == GW_OK ? pgt_table_lock(t, table->id, &row, err) : rc;
    if (rc == GW_OK && (row.generation != generation || row.state != GW__TABLE_STATE__STATE_CLEARING) &&
        GW_GUARD("apply.generation")) {
        rc = fenced(table, generation, "somebody else has prepared it", err);
    }
    rc = rc == GW_OK ? pgt_table_write(t, table->id, generation, GW__TABLE_STATE__STATE_LOADING, row.made, err) : rc;
    return rc == GW_OK ? pgt_commit(t, err) : rc;
}

int
pgt_prepare(void *self, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct pgt *t = self;
    int rc = pgt_stream_leave(t, err);
    rc = rc == GW_OK ? tx_clearing(t, table, generation, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.prepare.clearing", err) : rc;
    rc = rc == GW_OK ? make_shared(t, table, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.prepare.shared", err) : rc;
    rc = rc == GW_OK ? tx_clear(t, table, generation, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.prepare.cleared", err) : rc;
    rc = rc == GW_OK ? tx_loading(t, table, generation, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.prepare.after", err) : rc;
    if (pgt_end(t, rc) != GW_OK && rc != GW_FENCED) {
        return gw_err_wrap(err, "prepare");
    }
    return rc;
}
