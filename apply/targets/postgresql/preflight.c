// Findings: what this target will do with the mapped tables. Reads only.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/db/pg/type_ddl.h"
#include "control.h"
#include "finish.h"

void
pgt_find(struct pgt_findings *f, Gw__Severity severity, const Gw__Table *t, const char *object, const char *action,
         const char *sql, const char *fmt, ...)
{
    Gw__Finding *x = gw_pb_new(f->a, Gw__Finding, gw__finding__init);
    x->severity = severity;
    if (t) {
        x->schema = gw_arena_strdup(f->a, t->source_schema);
        x->table = gw_arena_strdup(f->a, t->source_name);
    }
    x->object = gw_arena_strdup(f->a, object ? object : "");
    x->action = gw_arena_strdup(f->a, action ? action : "");
    x->sql = gw_arena_strdup(f->a, sql ? sql : "");
    va_list ap;
    va_start(ap, fmt);
    x->message = gw_arena_vprintf(f->a, fmt, ap);
    va_end(ap);
    gw_pb_add(f->a, f->out, findings, x);
}

#define INFO GW__SEVERITY__SEVERITY_INFO
#define WARN GW__SEVERITY__SEVERITY_WARNING
#define ERR  GW__SEVERITY__SEVERITY_ERROR

// ---- the server and the user

static char *
grant(struct pgt_findings *f, const PGresult *r, const char *what, const char *on)
{
    PGT_BUF b;
    gw_buf_init(&b, 8192);
    gw_buf_printf(&b, "GRANT %s ON %s TO ", what, on);
    gw_pg_ident(&b, pgt_text(r, 0, 0));
    return gw_arena_strdup(f->a, b.data);
}

static int
check_schema(struct pgt *t, struct pgt_findings *f, const char *schema, const PGresult *who, struct gw_err *err)
{
    PGT_BUF q;
    gw_buf_init(&q, 8192);
    gw_pg_ident(&q, schema);
    PGT_RES r = NULL;
    const char *p[] = {schema};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE'),"
                       " pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
                       " FROM pg_catalog.pg_namespace n WHERE n.nspname = $1");
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) == 0) {
        if (!pgt_true(who, 0, 1)) {
            PGT_BUF db;
            gw_buf_init(&db, 8192);
            gw_pg_ident(&db, pgt_text(who, 0, 2));
            pgt_find(f, ERR, NULL, schema, "grant the privilege, or create the schema for the user",
                     grant(f, who, "CREATE", gw_arena_printf(f->a, "DATABASE %s", db.data)),
                     "schema \"%s\" is not there, and user \"%s\" may not create schemas in database "
                     "\"%s\"",
                     schema, pgt_text(who, 0, 0), pgt_text(who, 0, 2));
        }
    } else if (!pgt_true(r, 0, 0) || !pgt_true(r, 0, 1)) {
        pgt_find(f, ERR, NULL, schema, "grant the privilege",
                 grant(f, who, "CREATE, USAGE", gw_arena_printf(f->a, "SCHEMA %s", q.data)),
                 "user \"%s\" may not create tables in schema \"%s\"", pgt_text(who, 0, 0), schema);
    }
    return GW_OK;
}

static int
check_schemas(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, const PGresult *who, struct gw_err *err)
{
    int rc = check_schema(t, f, t->control, who, err);
    for (size_t i = 0; rc == GW_OK && i < cat->n_tables; i++) {
        const char *schema = pgt_clip(f->a, pgt_schema(cat->tables[i]));
        bool seen = strcmp(schema, t->control) == 0;
        for (size_t k = 0; k < i && !seen; k++) {
            seen = strcmp(pgt_clip(f->a, pgt_schema(cat->tables[k])), schema) == 0;
        }
        rc = seen ? GW_OK : check_schema(t, f, schema, who, err);
    }
    return rc;
}

static int
check_server(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, struct gw_err *err)
{
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 0, NULL,
                       "SELECT current_user,"
                       " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),"
                       " pg_catalog.current_database(), pg_catalog.pg_is_in_recovery()");
    if (rc != GW_OK) {
        return rc;
    }
    if (pgt_true(r, 0, 3)) {
        pgt_find(f, ERR, NULL, "", "name the primary server", NULL, "the target is a standby: it is read-only");
    }
    if (!t->utf8) {
        pgt_find(f, WARN, NULL, "", "create the target database with ENCODING 'UTF8'", NULL,
                 "the encoding of database \"%s\" is %s: rows with characters that it lacks are refused",
                 pgt_text(r, 0, 2), PQparameterStatus(t->c, "server_encoding"));
    }
    return check_schemas(t, f, cat, r, err);
}

// ---- tables

static void
check_names(struct pgt_findings *f, const Gw__Table *t)
{
    const char *names[] = {pgt_schema(t), t->name};
    for (size_t i = 0; i < 2; i++) {
        if (pgt_too_long(names[i])) {
            pgt_find(f, WARN, t, names[i], gw_arena_printf(f->a, "it is called \"%s\"", pgt_clip(f->a, names[i])), NULL,
                     "%s name \"%s\" is longer than 63 bytes", i ? "table" : "schema", names[i]);
        }
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        const char *name = t->columns[i]->name;
        if (pgt_too_long(name)) {
            pgt_find(f, WARN, t, name, gw_arena_printf(f->a, "it is called \"%s\"", pgt_clip(f->a, name)), NULL,
                     "name of column \"%s\" is longer than 63 bytes", name);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(pgt_clip(f->a, name), pgt_clip(f->a, t->columns[k]->name)) == 0) {
                pgt_find(f, ERR, t, name, "rename one of them", NULL,
                         "columns \"%s\" and \"%s\" have the same name on the target", t->columns[k]->name, name);
            }
        }
    }
}

static void
check_column(struct pgt_findings *f, const Gw__Table *t, const Gw__Column *c)
{
    const char *note = pgt_type_note(t, c->type);
    if (note) {
        pgt_find(f, INFO, t, c->name, NULL, NULL, "column \"%s\": %s", c->name, note);
    }
    const char *refused = pgt_default_refused(t, c);
    if (refused) {
        pgt_find(f, WARN, t, c->name, "the column gets no default", NULL, "default of column \"%s\" is %s: %s", c->name,
                 refused, pgt_set(c->default_native) ? c->default_native : c->default_text);
    }
    if (pgt_native(t)) {
        return;
    }
    if (c->on_update_now) {
        pgt_find(f, WARN, t, c->name, "write a trigger if the application relies on it", NULL,
                 "column \"%s\" is set to the current time by every update at the source; "
                 "PostgreSQL has no such clause",
                 c->name);
    }
    if (pgt_set(c->generated) && !pgt_keep_generated(t, c)) {
        pgt_find(f, WARN, t, c->name, "it becomes a plain column with the source's values", NULL,
                 "the expression of generated column \"%s\" is in the source's dialect", c->name);
    } else if (pgt_set(c->generated) && !c->generated_stored) {
        pgt_find(f, INFO, t, c->name, "it is stored", NULL, "generated column \"%s\" is virtual at the source",
                 c->name);
    }
}

static void
check_left_out(struct pgt_findings *f, const Gw__Table *t, const Gw__Column *c)
{
    if (c->left_out && !pgt_keep_generated(t, c) && c->not_null && c->default_kind == GW__DEFAULT_KIND__DEFAULT_NONE &&
        c->identity == GW__IDENTITY__IDENTITY_NONE) {
        pgt_find(f, ERR, t, c->name, "migrate the column too", NULL,
                 "column \"%s\" is left out of the rows, is NOT NULL and has no default", c->name);
    }
}

static void
check_objects(struct pgt_findings *f, const Gw__Table *t)
{
    for (size_t i = 0; i < t->n_indexes; i++) {
        const Gw__Index *x = t->indexes[i];
        const char *why = pgt_index_refused(t, x);
        if (why) {
            pgt_find(f, WARN, t, x->name, "it is not made", NULL, "%s \"%s\": %s",
                     x->is_unique ? "unique index" : "index", x->name, why);
            continue;
        }
        const char *name = pgt_index_object(f->a, t, i);
        if (pgt_set(x->name) && strcmp(name, x->name) != 0) {
            pgt_find(f, INFO, t, x->name, gw_arena_printf(f->a, "it is called \"%s\"", name), NULL,
                     "index \"%s\": names of indexes belong to the schema here", x->name);
        }
        for (size_t p = 0; p < x->n_parts; p++) {
            if (x->parts[p]->prefix_length) {
                pgt_find(f, INFO, t, x->name, "it is made on an expression", NULL,
                         "index \"%s\" covers the first %u of column \"%s\"", x->name, x->parts[p]->prefix_length,
                         x->parts[p]->column);
            }
        }
    }
    for (size_t i = 0; i < t->n_checks; i++) {
        const char *why = pgt_check_refused(t, t->checks[i]);
        if (why) {
            pgt_find(f, WARN, t, t->checks[i]->name, "it is not made", NULL, "check \"%s\": %s", t->checks[i]->name,
                     why);
        }
    }
}

static bool
in_catalog(const Gw__Catalog *cat, const char *schema, const char *name)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(pgt_schema(cat->tables[i]), schema) == 0 && strcmp(cat->tables[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int
check_references(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                 struct gw_err *err)
{
    for (size_t i = 0; i < table->n_foreign_keys; i++) {
        const Gw__ForeignKey *k = table->foreign_keys[i];
        const char *schema = pgt_fk_schema(table, k);
        if (in_catalog(cat, schema, k->ref_table)) {
            continue;
        }
        bool there = false;
        PGT_RES r = NULL;
        const char *p[] = {pgt_clip(f->a, schema), pgt_clip(f->a, k->ref_table)};
        int rc = pgt_query(t, &r, err, 2, p,
                           "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c"
                           " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                           " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p'))");
        if (rc != GW_OK) {
            return rc;
        }
        there = pgt_true(r, 0, 0);
        pgt_find(f, WARN, table, k->name,
                 there ? "it is checked against the table that is on the target"
                       : "select that table too; the key cannot be made otherwise",
                 NULL, "foreign key \"%s\" refers to table \"%s.%s\", which is not part of the task", k->name, schema,
                 k->ref_table);
    }
    return GW_OK;
}

static void
check_clash(struct pgt_findings *f, const Gw__Catalog *cat, size_t i)
{
    const Gw__Table *t = cat->tables[i];
    for (size_t k = 0; k < i; k++) {
        const Gw__Table *o = cat->tables[k];
        if (strcmp(pgt_clip(f->a, o->name), pgt_clip(f->a, t->name)) == 0 &&
            strcmp(pgt_clip(f->a, pgt_schema(o)), pgt_clip(f->a, pgt_schema(t))) == 0) {
            pgt_find(f, ERR, t, "", "select only one of them", NULL,
                     "table \"%s.%s\" has the same name on the target as \"%s.%s\"", t->source_schema, t->source_name,
                     o->source_schema, o->source_name);
        }
    }
}

// "s"."name" out of "CREATE TYPE s.name AS …"; NULL for other statements.
static char *
made_type(struct gw_arena *a, const char *sql)
{
    static const char *const starts[] = {"CREATE TYPE ", "CREATE DOMAIN "};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t n = strlen(starts[i]);
        const char *as = strncmp(sql, starts[i], n) == 0 ? strstr(sql + n, " AS ") : NULL;
        if (as) {
            return gw_arena_memdup0(a, sql + n, (size_t)(as - sql) - n);
        }
    }
    return NULL;
}

// A type of the same name that is there already is taken for the same: a domain of a smaller scale would round.
static int
check_types(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    for (size_t i = 0; pgt_native(table) && i < table->n_needs; i++) {
        char *name = made_type(f->a, table->needs[i]);
        const char *p[] = {name};
        PGT_RES r = NULL;
        int rc = !name ? GW_OK
                       : pgt_query(t, &r, err, 1, p,
                                   "SELECT " GW_PG_TYPE_DDL " FROM pg_catalog.pg_type t"
                                   " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
                                   " WHERE t.oid = pg_catalog.to_regtype($1)");
        if (rc != GW_OK) {
            return rc;
        }
        if (r && PQntuples(r) == 1 && strcmp(pgt_text(r, 0, 0), table->needs[i]) != 0) {
            pgt_find(f, ERR, table, name, "drop or rename the one on the target, or make it the same", NULL,
                     "type %s is on the target already and is another one there: %s", name, pgt_text(r, 0, 0));
        }
    }
    return GW_OK;
}

// The same of collations: another one holds other texts to be equal, and sorts them in another order.
static int
check_collations(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    for (size_t i = 0; pgt_native(table) && i < table->n_needs; i++) {
        const char *p[] = {table->needs[i]};
        PGT_RES r = NULL;
        int rc = strncmp(p[0], GW_PG_COLLATION_START, strlen(GW_PG_COLLATION_START)) != 0
                     ? GW_OK
                     : pgt_query(t, &r, err, 1, p,
                                 "SELECT " GW_PG_COLLATION_DDL ", pg_catalog.format('%%I.%%I', n.nspname, l.collname)"
                                 " FROM pg_catalog.pg_collation l"
                                 " JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace"
                                 " WHERE pg_catalog.starts_with($1, pg_catalog.format('" GW_PG_COLLATION_START
                                 "%%I.%%I (', n.nspname, l.collname)) AND l.collencoding IN (-1, (SELECT encoding"
                                 " FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))",
                                 GW_PG_COLLATION_LOCALE(t->version), GW_PG_COLLATION_RULES(t->version));
        if (rc != GW_OK) {
            return rc;
        }
        for (int k = 0; r && k < PQntuples(r); k++) {
            if (strcmp(pgt_text(r, k, 0), table->needs[i]) != 0) {
                pgt_find(f, ERR, table, pgt_text(r, k, 1), "drop or rename the one on the target, or make it the same",
                         NULL, "collation %s is on the target already and is another one there: %s", pgt_text(r, k, 1),
                         pgt_text(r, k, 0));
            }
        }
    }
    return GW_OK;
}

static int
check_table(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, size_t i, bool resuming, struct gw_err *err)
{
    const Gw__Table *table = cat->tables[i];
    check_names(f, table);
    check_clash(f, cat, i);
    if (table->n_columns > PGT_COLUMNS_MAX) {
        pgt_find(f, ERR, table, "", "leave columns out", NULL, "%zu columns: a table has at most %d", table->n_columns,
                 PGT_COLUMNS_MAX);
    }
    if (strcmp(pgt_schema(table), t->control) == 0) {
        for (size_t k = 0; pgt_control_tables[k]; k++) {
            if (strcmp(table->name, pgt_control_tables[k]) == 0) {
                pgt_find(f, ERR, table, "", "set ControlSchema to another schema", NULL,
                         "table \"%s.%s\" is one of the control tables", t->control, table->name);
            }
        }
    }
    for (size_t k = 0; k < table->n_columns; k++) {
        check_column(f, table, table->columns[k]);
        check_left_out(f, table, table->columns[k]);
    }
    check_objects(f, table);
    int rc = check_references(t, f, cat, table, err);
    rc = rc == GW_OK ? check_types(t, f, table, err) : rc;
    rc = rc == GW_OK ? check_collations(t, f, table, err) : rc;
    return rc == GW_OK ? pgt_preflight_existing(t, f, cat, table, resuming, err) : rc;
}

// A table that would be loaded into itself would be emptied first. The identity is what the source says of itself, in
// the same words: whatever way either was reached.
static int
check_itself(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, struct gw_err *err)
{
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 0, NULL,
                       "SELECT pg_catalog.format('postgresql:%%s/%%s/%%s', s.system_identifier, d.oid, d.datname)"
                       " FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d"
                       " WHERE d.datname = pg_catalog.current_database()");
    if (rc != GW_OK || strcmp(pgt_text(r, 0, 0), cat->identity) != 0) {
        return rc;
    }
    for (size_t i = 0; i < cat->n_tables; i++) {
        for (size_t k = 0; k < cat->n_tables; k++) {
            const Gw__Table *to = cat->tables[i], *from = cat->tables[k];
            if (strcmp(pgt_schema(to), from->source_schema) == 0 && strcmp(to->name, from->source_name) == 0) {
                pgt_find(f, ERR, NULL, "", "set TargetSchema to another schema, or name another database", NULL,
                         "source and target are the same database, and table \"%s.%s\" would be loaded into itself",
                         from->source_schema, from->source_name);
                return GW_OK;
            }
        }
    }
    return GW_OK;
}

int
pgt_preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
              struct gw_err *err)
{
    struct pgt *t = self;
    struct pgt_findings f = {.a = a, .out = findings};
    int rc = check_server(t, &f, cat, err);
    rc = rc == GW_OK ? check_itself(t, &f, cat, err) : rc;
    for (size_t i = 0; rc == GW_OK && i < cat->n_tables; i++) {
        rc = check_table(t, &f, cat, i, resuming, err);
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "examine the target");
}
