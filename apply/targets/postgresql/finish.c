// Making one finish step, unless it is there already, and recording it.
//
// Each ends in one transaction that makes the last of it and writes the row in `steps`. What comes before (the
// index of a constraint, a key that is not validated yet) is committed on its own and recognised when the step
// runs again: an index build of an hour is never rolled back for the sake of a short lock behind it, and two
// sessions that build on one table never wait for each other's locks while holding their own.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "control.h"
#include "finish.h"

struct job {
    struct pgt *t;
    const Gw__Table *table;
    const Gw__Step *step;
    uint32_t generation;
    enum pgt_made made;
    struct gw_arena *a;
};

static int
in_tx(struct job *j, const struct gw_buf *sql, struct gw_err *err)
{
    int rc = pgt_begin(j->t, err);
    // An index build or a lock behind somebody else's build may rightly take hours.
    rc = rc == GW_OK ? gw_pg_exec(j->t->c, err, "SET LOCAL lock_timeout = 0") : rc;
    rc = rc == GW_OK ? pgt_exec(j->t, sql, err) : rc;
    rc = rc == GW_OK ? pgt_commit(j->t, err) : rc;
    return pgt_end(j->t, rc);
}

// The last transaction: the statement (may be empty), and the record.
static int
record(struct job *j, const struct gw_buf *sql, struct gw_err *err)
{
    struct pgt_num id, gen, now;
    const char *p[] = {j->t->task->name,
                       pgt_num(&id, j->table->id),
                       pgt_num(&gen, j->generation),
                       j->step->name,
                       pgt_num(&now, (uint64_t)gw_wall_us()),
                       j->t->task->uuid};
    uint64_t n = 0;
    int rc = pgt_begin(j->t, err);
    rc = rc == GW_OK ? gw_pg_exec(j->t->c, err, "SET LOCAL lock_timeout = 0") : rc;
    rc = rc == GW_OK && sql ? pgt_exec(j->t, sql, err) : rc;
    rc = rc == GW_OK ? pgt_affect(j->t, &n, err, 6, p,
                                  "INSERT INTO %1$s.steps AS s (task, table_id, generation, name, done_us)"
                                  " SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT FROM %1$s.tables t"
                                  " WHERE t.task = $1 AND t.table_id = $2 AND t.generation = $3)"
                                  " AND " PGT_OURS("$6") " ON CONFLICT (task, table_id, generation, name)"
                                                         " DO UPDATE SET done_us = s.done_us",
                                  j->t->ctl)
                     : rc;
    if (rc == GW_OK && n != 1) {
        rc = gw_err_set(err, GW_FENCED, "", "generation %u is not the stored one", j->generation);
    }
    rc = rc == GW_OK ? pgt_commit(j->t, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.finish.after_step", err) : rc;
    return pgt_end(j->t, rc);
}

// ---- what is there

// A constraint of the table by name. *ret_oid may stay 0.
static int
find_constraint(struct job *j, const char *name, bool *ret_there, bool *ret_valid, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {pgt_clip(j->a, pgt_schema(j->table)), pgt_clip(j->a, j->table->name), pgt_clip(j->a, name)};
    int rc = pgt_query(j->t, &r, err, 3, p,
                       "SELECT k.convalidated FROM pg_catalog.pg_constraint k"
                       " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = $2 AND k.conname = $3");
    if (rc == GW_OK) {
        *ret_there = PQntuples(r) > 0;
        *ret_valid = *ret_there && pgt_true(r, 0, 0);
    }
    return rc;
}

enum taken { NAME_FREE, NAME_OURS, NAME_OTHER };
// Who has the relation name in the table's schema: nobody, an index of the table, or something else.
static int
find_index(struct job *j, const char *name, enum taken *ret, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {pgt_clip(j->a, pgt_schema(j->table)), pgt_clip(j->a, j->table->name), pgt_clip(j->a, name)};
    int rc = pgt_query(j->t, &r, err, 3, p,
                       "SELECT coalesce(tc.relname = $2, false) FROM pg_catalog.pg_class c"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
                       " LEFT JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid"
                       " WHERE n.nspname = $1 AND c.relname = $3");
    if (rc == GW_OK) {
        *ret = PQntuples(r) == 0 ? NAME_FREE : pgt_true(r, 0, 0) ? NAME_OURS : NAME_OTHER;
    }
    return rc;
}

static char *
name_array(struct job *j, size_t n, char *const *names)
{
    PGT_BUF b;
    gw_buf_init(&b, PGT_SQL_MAX);
    gw_buf_puts(&b, "ARRAY[");
    for (size_t i = 0; i < n; i++) {
        gw_buf_puts(&b, i ? ", " : "");
        gw_pg_literal(&b, pgt_clip(j->a, names[i]));
    }
    gw_buf_puts(&b, "]::pg_catalog.name[]");
    return gw_arena_strdup(j->a, b.data);
}

// On a table that was there before the task, an index of another name may already do the work.
static int
equal_index(struct job *j, bool unique, size_t n, char *const *columns, bool *ret, struct gw_err *err)
{
    *ret = false;
    if (j->made == PGT_MADE_OURS || n == 0) {
        return GW_OK;
    }
    PGT_RES r = NULL;
    const char *p[] = {pgt_tname_dup(j->a, j->table)};
    int rc = pgt_query(j->t, &r, err, 1, p,
                       "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i"
                       " WHERE i.indrelid = $1::pg_catalog.regclass AND i.indisvalid %s"
                       " AND i.indpred IS NULL AND i.indexprs IS NULL"
                       " AND (SELECT pg_catalog.array_agg(a.attname ORDER BY k.ord)"
                       "  FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY k(n, ord)"
                       "  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n"
                       "  WHERE k.ord <= i.indnkeyatts) = %s)",
                       unique ? "AND i.indisunique" : "", name_array(j, n, columns));
    if (rc == GW_OK) {
        *ret = pgt_true(r, 0, 0);
    }
    return rc;
}

static int
equal_fk(struct job *j, const Gw__ForeignKey *f, bool *ret, struct gw_err *err)
{
    *ret = false;
    if (j->made == PGT_MADE_OURS) {
        return GW_OK;
    }
    PGT_BUF ref;
    gw_buf_init(&ref, 4096);
    pgt_qname(&ref, pgt_fk_schema(j->table, f), f->ref_table);
    PGT_RES r = NULL;
    const char *p[] = {pgt_tname_dup(j->a, j->table), ref.data};
    int rc = pgt_query(j->t, &r, err, 2, p,
                       "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint k"
                       " WHERE k.contype = 'f' AND k.conrelid = $1::pg_catalog.regclass"
                       " AND k.confrelid = $2::pg_catalog.regclass AND k.convalidated"
                       " AND (SELECT pg_catalog.array_agg(a.attname ORDER BY c.ord)"
                       "  FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY c(n, ord)"
                       "  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid"
                       "   AND a.attnum = c.n) = %s)",
                       name_array(j, f->n_columns, f->columns));
    if (rc == GW_OK) {
        *ret = pgt_true(r, 0, 0);
    }
    return rc;
}

// ---- keys and indexes

// maintenance_work_mem is raised to a bound for the build (the server's default of 64 MB sorts on disk what 256 MB
// sorts in memory), never lowered: at most that much per apply worker at a time.
static void
put_memory(struct job *j, struct gw_buf *sql)
{
    const char *user = pgt_setting(j->t, "maintenance-work-mem");
    if (user) {
        gw_buf_puts(sql, "SET LOCAL maintenance_work_mem = ");
        gw_pg_literal(sql, user);
        gw_buf_puts(sql, "; ");
        return;
    }
    gw_buf_printf(sql,
                  "SELECT pg_catalog.set_config('maintenance_work_mem', '%dkB', true)"
                  " FROM pg_catalog.pg_settings"
                  " WHERE name = 'maintenance_work_mem' AND setting::pg_catalog.int8 < %d; ",
                  PGT_MEMORY_KB_MAX, PGT_MEMORY_KB_MAX);
}

// The name to use: the wanted one, or where something else has it (index names belong to the schema here) the
// spare. *ret_there: the table has its index already.
static int
choose_name(struct job *j, const char *want, char **ret, bool *ret_there, struct gw_err *err)
{
    char *names[] = {gw_arena_strdup(j->a, want), pgt_spare_name(j->a, j->table, want)};
    enum taken taken[2] = {NAME_OTHER, NAME_OTHER};
    for (size_t i = 0; i < 2; i++) {
        int rc = find_index(j, names[i], &taken[i], err);
        if (rc != GW_OK) {
            return rc;
        }
        if (taken[i] == NAME_OURS) {
            *ret = names[i];
            *ret_there = true;
            return GW_OK;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        if (taken[i] == NAME_FREE) {
            *ret = names[i];
            *ret_there = false;
            return GW_OK;
        }
    }
    return gw_err_set(err, GW_CONFIG, "", "name \"%s\" is taken in schema \"%s\"", want, pgt_schema(j->table));
}

// A violated key: the server's detail names a row's values, which do not belong into a report.
static int
key_error(struct job *j, size_t n, char *const *columns, struct gw_err *err)
{
    if (!err || (strcmp(err->code, "23505") != 0 && strcmp(err->code, "23503") != 0)) {
        return err ? (int)err->cls : GW_BUG;
    }
    err->detail[0] = 0;
    if (strcmp(err->code, "23505") == 0 && n > 0) {
        PGT_BUF b;
        gw_buf_init(&b, PGT_SQL_MAX);
        pgt_idents(&b, n, columns);
        gw_err_hint(err, "find them with: SELECT %s, count(*) FROM %s GROUP BY %s HAVING count(*) > 1", b.data,
                    pgt_tname_dup(j->a, j->table), b.data);
    }
    return (int)err->cls;
}

static int
make_pk(struct job *j, struct gw_err *err)
{
    const Gw__Table *table = j->table;
    PGT_RES r = NULL;
    const char *p[] = {pgt_tname_dup(j->a, table)};
    int rc = pgt_query(j->t, &r, err, 1, p,
                       "SELECT (SELECT pg_catalog.array_agg(a.attname ORDER BY c.ord)"
                       " FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY c(n, ord)"
                       " JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.n) = %s"
                       " FROM pg_catalog.pg_constraint k WHERE k.contype = 'p'"
                       " AND k.conrelid = $1::pg_catalog.regclass",
                       name_array(j, table->n_primary_key, table->primary_key));
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) > 0) {
        return pgt_true(r, 0, 0)
                   ? record(j, NULL, err)
                   : gw_err_set(err, GW_DATA, "", "the table on the target has a primary key of other columns");
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    char *name = NULL;
    bool there = false;
    rc = choose_name(j, pgt_pk_name(j->a, table), &name, &there, err);
    if (rc == GW_OK && !there && !pgt_partitioned(table)) {
        put_memory(j, &sql);
        pgt_pk_index_sql(&sql, table, name);
        rc = in_tx(j, &sql, err);
        rc = rc == GW_OK ? pgt_fault("apply.finish.pk_index", err) : rc;
    }
    if (rc == GW_OK) {
        gw_buf_reset(&sql);
        put_memory(j, &sql);
        pgt_pk_constraint_sql(&sql, table, name, !pgt_partitioned(table));
        rc = record(j, &sql, err);
    }
    return rc == GW_OK ? rc : key_error(j, table->n_primary_key, table->primary_key, err);
}

static const Gw__Index *
index_of(struct job *j)
{
    for (size_t i = 0; i < j->table->n_indexes; i++) {
        if (strcmp(pgt_index_object(j->a, j->table, i), j->step->object) == 0) {
            return j->table->indexes[i];
        }
    }
    return NULL;
}

static int
no_object(struct job *j, struct gw_err *err)
{
    return gw_err_set(err, GW_BUG, "", "step \"%s\" is not of table \"%s.%s\"", j->step->name, pgt_schema(j->table),
                      j->table->name);
}

// Columns of an index of plain columns; 0 otherwise.
static size_t
plain_columns(struct job *j, const Gw__Index *x, char ***ret)
{
    char **names = gw_arena_calloc(j->a, x->n_parts + 1, sizeof *names);
    for (size_t i = 0; i < x->n_parts; i++) {
        if (pgt_set(x->parts[i]->expression) || x->parts[i]->prefix_length) {
            return 0;
        }
        names[i] = x->parts[i]->column;
    }
    *ret = names;
    return pgt_set(x->predicate) ? 0 : x->n_parts;
}

static int
comment_index(struct job *j, const Gw__Index *x, const char *name, struct gw_buf *sql)
{
    if (pgt_set(x->comment)) {
        gw_buf_puts(sql, "; COMMENT ON INDEX ");
        pgt_qname(sql, pgt_schema(j->table), name);
        gw_buf_puts(sql, " IS ");
        gw_pg_literal(sql, x->comment);
    }
    return GW_OK;
}

static int
make_index_constraint(struct job *j, const Gw__Index *x, char *name, bool there, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    bool attached = false, valid = false;
    int rc = find_constraint(j, name, &attached, &valid, err);
    if (rc == GW_OK && attached) {
        return record(j, NULL, err);
    }
    if (rc == GW_OK && !there && !pgt_partitioned(j->table)) {
        put_memory(j, &sql);
        pgt_index_sql(&sql, j->table, x, name);
        rc = in_tx(j, &sql, err);
        rc = rc == GW_OK ? pgt_fault("apply.finish.unique_index", err) : rc;
    }
    if (rc == GW_OK) {
        gw_buf_reset(&sql);
        put_memory(j, &sql);
        pgt_constraint_sql(&sql, j->table, x, name);
        comment_index(j, x, name, &sql);
        rc = record(j, &sql, err);
    }
    return rc;
}

static int
make_index(struct job *j, struct gw_err *err)
{
    const Gw__Index *x = index_of(j);
    if (!x) {
        return no_object(j, err);
    }
    char **columns = NULL;
    size_t n = plain_columns(j, x, &columns);
    char *name = NULL;
    bool there = false, equal = false;
    int rc = choose_name(j, j->step->object, &name, &there, err);
    rc = rc == GW_OK ? equal_index(j, x->is_unique, n, columns, &equal, err) : rc;
    if (rc != GW_OK) {
        return rc;
    }
    if (there && !equal && n > 0 && j->made != PGT_MADE_OURS) {
        return gw_err_set(err, GW_DATA, "", "index \"%s\" is there on the target already, of other columns", name);
    }
    if (equal && !there) {
        return record(j, NULL, err);
    }
    if (pgt_index_constraint(j->table, x)) {
        rc = make_index_constraint(j, x, name, there, err);
    } else if (there) {
        return record(j, NULL, err);
    } else {
        PGT_BUF sql;
        gw_buf_init(&sql, PGT_SQL_MAX);
        put_memory(j, &sql);
        pgt_index_sql(&sql, j->table, x, name);
        comment_index(j, x, name, &sql);
        rc = record(j, &sql, err);
    }
    return rc == GW_OK ? rc : key_error(j, n, columns, err);
}

// ---- foreign keys and checks

// Makes the constraint unvalidated, commits, and validates it under a weaker lock.
static int
make_validated(struct job *j, const struct gw_buf *add, bool validate, struct gw_err *err)
{
    bool there = false, valid = false;
    int rc = find_constraint(j, j->step->object, &there, &valid, err);
    if (rc == GW_OK && !there) {
        rc = in_tx(j, add, err);
        rc = rc == GW_OK ? pgt_fault("apply.finish.not_validated", err) : rc;
    }
    if (rc != GW_OK) {
        return rc;
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    if (validate && !valid) {
        put_memory(j, &sql); // the key's check is a join that works in maintenance_work_mem
        gw_buf_puts(&sql, "ALTER TABLE ");
        pgt_tname(&sql, j->table);
        gw_buf_puts(&sql, " VALIDATE CONSTRAINT ");
        pgt_ident(&sql, j->step->object);
    }
    return record(j, &sql, err);
}

// That the referenced table is there and was loaded.
static int
check_referenced(struct job *j, const Gw__ForeignKey *f, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *schema = pgt_fk_schema(j->table, f);
    const char *p[] = {pgt_clip(j->a, schema), pgt_clip(j->a, f->ref_table), j->t->task->name};
    int rc = pgt_query(j->t, &r, err, 3, p,
                       "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c"
                       "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       "  WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')),"
                       " EXISTS (SELECT FROM %s.tables WHERE task = $3 AND target_schema = $1"
                       "  AND target_table = $2 AND state = 5)",
                       j->t->ctl);
    if (rc != GW_OK) {
        return rc;
    }
    if (!pgt_true(r, 0, 0)) {
        gw_err_set(err, GW_CONFIG, "", "it refers to table \"%s.%s\", which is not on the target", schema,
                   f->ref_table);
        gw_err_hint(err, "select that table too, or create it on the target and run the task again");
        return GW_CONFIG;
    }
    if (pgt_true(r, 0, 1)) {
        gw_err_set(err, GW_CONFIG, "", "it refers to table \"%s.%s\", which was not loaded", schema, f->ref_table);
        gw_err_hint(err, "see why that table is in error");
        return GW_CONFIG;
    }
    return GW_OK;
}

static int
make_fk(struct job *j, struct gw_err *err)
{
    const Gw__ForeignKey *f = NULL;
    for (size_t i = 0; i < j->table->n_foreign_keys; i++) {
        if (strcmp(pgt_fk_object(j->a, j->table, i), j->step->object) == 0) {
            f = j->table->foreign_keys[i];
        }
    }
    if (!f) {
        return no_object(j, err);
    }
    bool equal = false;
    int rc = check_referenced(j, f, err);
    rc = rc == GW_OK ? equal_fk(j, f, &equal, err) : rc;
    if (rc != GW_OK) {
        return rc;
    }
    if (equal) {
        return record(j, NULL, err);
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    pgt_fk_sql(&sql, j->table, f, j->step->object);
    rc = make_validated(j, &sql, !f->not_validated || pgt_partitioned(j->table), err);
    if (rc != GW_OK && err && strcmp(err->code, "42830") == 0) {
        gw_err_hint(err, "the referenced columns need a primary key or a unique constraint here");
    }
    return rc == GW_OK ? rc : key_error(j, 0, NULL, err);
}

static int
make_check(struct job *j, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    bool validate = true, found = false;
    for (size_t i = 0; i < j->table->n_checks && !found; i++) {
        const Gw__Check *c = j->table->checks[i];
        found = strcmp(pgt_check_object(j->a, j->table, i), j->step->object) == 0 && !pgt_check_refused(j->table, c);
        if (found) {
            validate = !c->not_validated;
            pgt_check_sql(&sql, j->table, c, j->step->object);
        }
    }
    for (size_t i = 0; i < j->table->n_columns && !found; i++) {
        const Gw__Column *c = j->table->columns[i];
        found = pgt_has_labels(j->table, c) && strcmp(pgt_labels_object(j->a, j->table, c), j->step->object) == 0;
        if (found && j->made != PGT_MADE_OURS) {
            return record(j, NULL, err); // the column may be of a real enumeration there
        }
        if (found) {
            pgt_labels_sql(&sql, j->table, c, j->step->object);
        }
    }
    int rc = found ? make_validated(j, &sql, validate, err) : no_object(j, err);
    if (rc == GW_DATA && err) {
        err->detail[0] = 0; // holds the row
    }
    return rc;
}

// ---- sequences

// The sequence of the column: what the catalogue says it owns, or its default takes numbers from, else the name we
// gave. "" = there is none.
static int
find_sequence(struct job *j, const Gw__Column *c, char **ret, struct gw_err *err)
{
    char *schema = NULL, *name = NULL;
    pgt_column_sequence(j->a, j->table, c, &schema, &name);
    PGT_BUF q;
    gw_buf_init(&q, 4096);
    pgt_qname(&q, schema, name);
    const char *p[] = {pgt_tname_dup(j->a, j->table), pgt_clip(j->a, c->name), q.data};
    PGT_RES r = NULL;
    int rc = pgt_query(j->t, &r, err, 3, p,
                       "SELECT coalesce(pg_catalog.pg_get_serial_sequence($1, $2),"
                       " (SELECT s.oid::pg_catalog.regclass::text FROM pg_catalog.pg_attribute a"
                       " JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum"
                       " JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass"
                       " AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
                       " JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'"
                       " WHERE a.attrelid = $1::pg_catalog.regclass AND a.attname = $2 LIMIT 1),"
                       " pg_catalog.to_regclass($3)::text, '')");
    if (rc == GW_OK) {
        *ret = gw_arena_strdup(j->a, pgt_text(r, 0, 0));
    }
    return rc;
}

// The next value: the greatest of what the source would hand out, of what is behind the last row, and of what the
// sequence itself is at. Downwards where it counts down. A value beyond the sequence's end leaves it exhausted.
static int
make_sequence(struct job *j, struct gw_err *err)
{
    const Gw__Column *c = pgt_column(j->table, j->step->object);
    if (!c) {
        return no_object(j, err);
    }
    char *seq = NULL;
    int rc = find_sequence(j, c, &seq, err);
    if (rc != GW_OK || !*seq) {
        return rc == GW_OK ? record(j, NULL, err) : rc;
    }
    PGT_BUF sql, column;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_init(&column, 4096);
    pgt_ident(&column, c->name);
    char next[24] = "NULL";
    if (c->sequence_next != 0) {
        snprintf(next, sizeof next, "%lld", (long long)c->sequence_next);
    }
    PGT_BUF literal;
    gw_buf_init(&literal, 4096);
    gw_pg_literal(&literal, seq);
    gw_buf_printf(&sql,
                  "SELECT pg_catalog.setval(%1$s::pg_catalog.regclass,"
                  " least(greatest(v.next, s.seqmin::numeric), s.seqmax::numeric)::pg_catalog.int8,"
                  " NOT (v.next BETWEEN s.seqmin AND s.seqmax))"
                  " FROM pg_catalog.pg_sequence s, LATERAL (SELECT CASE WHEN s.seqincrement > 0"
                  " THEN (SELECT greatest(%4$s::numeric, floor(max(%3$s))::numeric + 1,"
                  "  q.last_value::numeric + q.is_called::int * s.seqincrement) FROM %5$s)"
                  " ELSE (SELECT least(%4$s::numeric, ceil(min(%3$s))::numeric - 1,"
                  "  q.last_value::numeric + q.is_called::int * s.seqincrement) FROM %5$s) END"
                  " FROM %2$s q) v(next) WHERE s.seqrelid = %1$s::pg_catalog.regclass",
                  literal.data, seq, column.data, next, pgt_tname_dup(j->a, j->table));
    return record(j, &sql, err);
}

static int
make_analyze(struct job *j, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "ANALYZE ");
    pgt_tname(&sql, j->table);
    return record(j, &sql, err);
}

// ---- the slot

static const struct {
    const char *kind;
    int (*make)(struct job *j, struct gw_err *err);
} makers[] = {
    {PGT_STEP_PK, make_pk},           {PGT_STEP_INDEX, make_index}, {PGT_STEP_UNIQUE, make_index},
    {PGT_STEP_FK, make_fk},           {PGT_STEP_CHECK, make_check}, {PGT_STEP_SEQUENCE, make_sequence},
    {PGT_STEP_ANALYZE, make_analyze},
};

// What is stored: the generation must be ours. *ret_done: the step is recorded already.
static int
look(struct job *j, bool *ret_done, struct gw_err *err)
{
    struct pgt_num id, gen;
    const char *p[] = {j->t->task->name, pgt_num(&id, j->table->id), pgt_num(&gen, j->generation), j->step->name,
                       j->t->task->uuid};
    PGT_RES r = NULL;
    int rc = pgt_query(j->t, &r, err, 5, p,
                       "SELECT t.made, EXISTS (SELECT FROM %1$s.steps s WHERE s.task = t.task AND"
                       " s.table_id = t.table_id AND s.generation = t.generation AND s.name = $4)"
                       " FROM %1$s.tables t WHERE t.task = $1 AND t.table_id = $2"
                       " AND t.generation = $3 AND " PGT_OURS("$5"),
                       j->t->ctl);
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) == 0) {
        return gw_err_set(err, GW_FENCED, "", "generation %u is not the stored one", j->generation);
    }
    j->made = (enum pgt_made)pgt_u64(r, 0, 0);
    *ret_done = pgt_true(r, 0, 1);
    return GW_OK;
}

int
pgt_finish_step(void *self, const Gw__Table *table, const Gw__Step *s, uint32_t generation, struct gw_err *err)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    struct job j = {.t = self, .table = table, .step = s, .generation = generation, .a = &a};
    bool done = false;
    int rc = pgt_stream_leave(self, e);
    rc = rc == GW_OK ? look(&j, &done, e) : rc;
    if (rc == GW_OK && done) {
        return GW_OK;
    }
    for (size_t i = 0; rc == GW_OK && i < sizeof makers / sizeof *makers; i++) {
        if (strcmp(makers[i].kind, s->kind) == 0) {
            rc = makers[i].make(&j, e);
            done = true;
        }
    }
    if (rc == GW_OK && !done) {
        rc = gw_err_set(e, GW_BUG, "", "unknown kind of step \"%s\"", s->kind);
    }
    return pgt_end(j.t, rc);
}
