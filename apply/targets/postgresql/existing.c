// A table of that name is there already: whether it fits the prep mode, and whether it can take the rows.
#include <stdlib.h>
#include <string.h>

#include "existing.h"

struct there {
    char kind;
    bool partition, may_drop, may_insert, may_truncate, row_security;
    char *oid;
};

static int
look(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, struct there *ret, bool *ret_there,
     struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {pgt_clip(f->a, pgt_schema(table)), pgt_clip(f->a, table->name)};
    int rc = pgt_query(t, &r, err, 2, p,
                       "SELECT c.relkind, c.relispartition,"
                       " pg_catalog.pg_has_role(c.relowner, 'USAGE')"
                       "  OR pg_catalog.pg_has_role(n.nspowner, 'USAGE'),"
                       " pg_catalog.has_table_privilege(c.oid, 'INSERT')"
                       "  AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),"
                       " pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),"
                       " pg_catalog.row_security_active(c.oid), c.oid"
                       " FROM pg_catalog.pg_class c"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = $2");
    if (rc != GW_OK) {
        return rc;
    }
    *ret_there = PQntuples(r) > 0;
    if (*ret_there) {
        *ret = (struct there){.kind = pgt_text(r, 0, 0)[0],
                              .partition = pgt_true(r, 0, 1),
                              .may_drop = pgt_true(r, 0, 2),
                              .may_insert = pgt_true(r, 0, 3),
                              .may_truncate = pgt_true(r, 0, 4),
                              .row_security = pgt_true(r, 0, 5),
                              .oid = gw_arena_strdup(f->a, pgt_text(r, 0, 6))};
    }
    return GW_OK;
}

static char *
grant_replica(struct pgt *t, struct pgt_findings *f)
{
    PGT_BUF b;
    gw_buf_init(&b, 4096);
    gw_buf_puts(&b, t->version >= 150000 ? "GRANT SET ON PARAMETER session_replication_role TO " : "ALTER ROLE ");
    gw_pg_ident(&b, PQuser(t->c));
    gw_buf_puts(&b, t->version >= 150000 ? "" : " SUPERUSER");
    return gw_arena_strdup(f->a, b.data);
}

static bool
of_task(const Gw__Catalog *cat, struct gw_arena *a, const char *schema, const char *name)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(pgt_clip(a, pgt_schema(cat->tables[i])), schema) == 0 &&
            strcmp(pgt_clip(a, cat->tables[i]->name), name) == 0) {
            return true;
        }
    }
    return false;
}

// Foreign keys that stand in the way of emptying or dropping.
static int
check_referrers(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                const struct there *x, bool drop, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {x->oid};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT rn.nspname, rc.relname, k.conname FROM pg_catalog.pg_constraint k"
                       " JOIN pg_catalog.pg_class rc ON rc.oid = k.conrelid"
                       " JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace"
                       " WHERE k.contype = 'f' AND k.conrelid <> k.confrelid AND k.conparentid = 0"
                       " AND k.confrelid = $1::pg_catalog.oid ORDER BY 1, 2, 3");
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        const char *schema = pgt_text(r, i, 0), *name = pgt_text(r, i, 1), *key = pgt_text(r, i, 2);
        if (of_task(cat, f->a, schema, name)) {
            if (!drop && !t->may_replica) {
                pgt_find(f, ERR, table, key, "grant the privilege, or use DROP_AND_CREATE", grant_replica(t, f),
                         "the table cannot be emptied while foreign key \"%s\" of table \"%s.%s\" "
                         "refers to it",
                         key, schema, name);
            }
            continue;
        }
        PGT_BUF sql;
        gw_buf_init(&sql, 8192);
        gw_buf_puts(&sql, "ALTER TABLE ");
        gw_pg_qname(&sql, schema, name);
        gw_buf_puts(&sql, " DROP CONSTRAINT ");
        gw_pg_ident(&sql, key);
        pgt_find(f, ERR, table, key, "drop the key, or select that table too", sql.data,
                 "foreign key \"%s\" of table \"%s.%s\", which is not part of the task, refers to the "
                 "table that is to be %s",
                 key, schema, name, drop ? "dropped" : "emptied");
    }
    return rc;
}

// Views and other things that DROP TABLE would have to take along.
static int
check_dependents(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, const struct there *x,
                 struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {x->oid};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT DISTINCT n.nspname, v.relname FROM pg_catalog.pg_depend d"
                       " JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid"
                       " JOIN pg_catalog.pg_class v ON v.oid = w.ev_class"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace"
                       " WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
                       " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
                       " AND d.refobjid = $1::pg_catalog.oid AND v.oid <> d.refobjid ORDER BY 1, 2");
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        pgt_find(f, ERR, table, pgt_text(r, i, 1), "drop the view, or use TRUNCATE_BEFORE_LOAD", NULL,
                 "the table cannot be dropped: view \"%s.%s\" reads it", pgt_text(r, i, 0), pgt_text(r, i, 1));
    }
    return rc;
}

static int
check_triggers(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, const struct there *x, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {x->oid};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT tgname, tgenabled, tgisinternal FROM pg_catalog.pg_trigger"
                       " WHERE tgrelid = $1::pg_catalog.oid AND tgenabled <> 'D'"
                       " AND (tgtype::int & 4) <> 0 ORDER BY 3, 1");
    bool keys = false;
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        bool internal = pgt_true(r, i, 2), always = strchr("AR", pgt_text(r, i, 1)[0]) != NULL;
        if (internal ? keys || t->may_replica : t->may_replica && !always) {
            continue;
        }
        if (internal) {
            keys = true;
            pgt_find(f, WARN, table, "", "grant the privilege, or drop the keys for the load", grant_replica(t, f),
                     "the table's foreign keys are checked while rows come in any order");
        } else {
            pgt_find(f, WARN, table, pgt_text(r, i, 0), "disable it for the load", always ? NULL : grant_replica(t, f),
                     "trigger \"%s\" fires for every row of the load", pgt_text(r, i, 0));
        }
    }
    return rc;
}

// With session_replication_role = replica neither foreign keys nor deferrable constraints are looked at, and they are
// taken for proven afterwards.
static int
check_unproven(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, const struct there *x, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {x->oid};
    int rc = !t->may_replica ? GW_OK
                             : pgt_query(t, &r, err, 1, p,
                                         "SELECT conname, pg_catalog.pg_get_constraintdef(oid)"
                                         " FROM pg_catalog.pg_constraint WHERE conrelid = $1::pg_catalog.oid"
                                         " AND (contype = 'f' OR (condeferrable AND contype IN ('p', 'u', 'x')))"
                                         " ORDER BY 1");
    for (int i = 0; rc == GW_OK && r && i < PQntuples(r); i++) {
        pgt_find(f, WARN, table, pgt_text(r, i, 0),
                 "drop it before the load and add it again behind it: that proves it", NULL,
                 "constraint \"%s\" (%s) is on the target already and is not checked for the rows that are loaded",
                 pgt_text(r, i, 0), pgt_text(r, i, 1));
    }
    return rc;
}

static int
check_rows(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 0, NULL, "SELECT EXISTS (SELECT FROM %s)", pgt_tname_dup(f->a, table));
    if (rc == GW_OK && pgt_true(r, 0, 0)) {
        bool key = table->n_primary_key > 0;
        pgt_find(f, WARN, table, "",
                 key ? "its rows stay, and rows with the same keys are refused"
                     : "it has no primary key: its rows stay, and all rows come beside them; set"
                       " TargetTablePrepMode to TRUNCATE_BEFORE_LOAD or DROP_AND_CREATE if that is not meant",
                 NULL, "the table on the target holds rows already");
    }
    return rc;
}

static int
check_kept(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, const struct there *x, bool empty,
           struct gw_err *err)
{
    if (!x->may_insert || (empty && !x->may_truncate)) {
        PGT_BUF sql;
        gw_buf_init(&sql, 8192);
        gw_buf_puts(&sql, "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ");
        pgt_tname(&sql, table);
        gw_buf_puts(&sql, " TO ");
        gw_pg_ident(&sql, PQuser(t->c));
        pgt_find(f, ERR, table, "", "grant the privileges", sql.data,
                 "user \"%s\" may not write the table on the target", PQuser(t->c));
        return GW_OK;
    }
    if (x->row_security) {
        pgt_find(f, ERR, table, "", "use the table's owner, or a role with BYPASSRLS", NULL,
                 "row-level security of the table on the target applies to user \"%s\"", PQuser(t->c));
    }
    if (!x->may_drop) {
        pgt_find(f, WARN, table, "", "make the table's owner grant membership in the owning role", NULL,
                 "user \"%s\" does not own the table on the target: indexes and keys that are missing "
                 "there cannot be made",
                 PQuser(t->c));
    }
    int rc = pgt_preflight_columns(t, f, table, x->oid, err);
    rc = rc == GW_OK ? check_triggers(t, f, table, x, err) : rc;
    rc = rc == GW_OK ? check_unproven(t, f, table, x, err) : rc;
    return rc == GW_OK && !empty ? check_rows(t, f, table, err) : rc;
}

int
pgt_preflight_existing(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                       bool resuming, struct gw_err *err)
{
    struct there x = {0};
    bool there = false;
    // What a resumed task finds is its own work.
    int rc = resuming ? GW_OK : look(t, f, table, &x, &there, err);
    if (rc != GW_OK || !there) {
        return rc;
    }
    if ((x.kind != 'r' && x.kind != 'p') || x.partition) {
        pgt_find(f, ERR, table, "", "drop it, or set another TargetSchema", NULL,
                 "\"%s.%s\" is there on the target and is %s", pgt_schema(table), table->name,
                 x.partition ? "a partition of another table" : "not a table");
        return GW_OK;
    }
    switch (t->task->load ? t->task->load->prep_mode : GW__PREP_MODE__DO_NOTHING) {
    case GW__PREP_MODE__DROP_AND_CREATE:
        if (!x.may_drop) {
            pgt_find(f, ERR, table, "", "let its owner drop it", NULL,
                     "user \"%s\" does not own the table on the target and cannot drop it", PQuser(t->c));
        }
        pgt_find(f, INFO, table, "", "it is dropped and made anew", NULL, "the table is on the target already");
        rc = check_referrers(t, f, cat, table, &x, true, err);
        return rc == GW_OK ? check_dependents(t, f, table, &x, err) : rc;
    case GW__PREP_MODE__TRUNCATE_BEFORE_LOAD:
        pgt_find(f, INFO, table, "", "it is emptied; its definition stays", NULL, "the table is on the target already");
        rc = check_referrers(t, f, cat, table, &x, false, err);
        return rc == GW_OK ? check_kept(t, f, table, &x, true, err) : rc;
    default: return check_kept(t, f, table, &x, false, err);
    }
}
