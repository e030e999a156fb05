// Tables as SQLite's own pragma functions describe them (https://www.sqlite.org/pragma.html).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "capture/sources/sqlite/sqlite_source.h"

// pragma_table_xinfo.hidden
enum { HIDDEN_NO = 0, HIDDEN_MODULE = 1, HIDDEN_VIRTUAL = 2, HIDDEN_STORED = 3 };

static void
find(struct gw_arena *a, Gw__Catalog *cat, const Gw__Table *t, Gw__Severity severity, const char *object,
     const char *message, const char *action)
{
    Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    f->schema = t->source_schema;
    f->table = t->source_name;
    f->object = gw_arena_strdup(a, object);
    f->message = gw_arena_strdup(a, message);
    f->action = gw_arena_strdup(a, action);
    gw_pb_add(a, cat, findings, f);
}

static Gw__Column *
column_of(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcasecmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

bool
lite_is_rowid_alias(const Gw__Table *t, const char *column)
{
    Gw__Column *c = column_of(t, column);
    return c && c->identity == GW__IDENTITY__IDENTITY_AUTO;
}

const char *
lite_rowid_name(const Gw__Table *t)
{
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    // Options stand behind the columns' closing parenthesis, and SQLite keeps no comment there.
    const char *options = strrchr(t->native_options, ')');
    if (t->kind != GW__TABLE_KIND__TABLE_PLAIN || (options && strcasestr(options, "WITHOUT"))) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!column_of(t, names[i])) {
            return names[i];
        }
    }
    return NULL;
}

int
lite_fingerprint(struct lite_source *s, struct gw_arena *a, const char *table, char **ret, struct gw_err *err)
{
    // The text of the statement, and the columns as they stand: those of a view follow its tables.
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT sql, type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE"
                           " AND type IN ('table', 'view') UNION ALL"
                           " SELECT name, type || hidden FROM pragma_table_xinfo(?1)",
                           "t", table);
    uint64_t hash = 0;
    size_t n = 0;
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        for (int i = 0; i < 2; i++, n++) {
            const void *text = sqlite3_column_text(q, i);
            size_t len = (size_t)sqlite3_column_bytes(q, i);
            hash = XXH64(text ? text : "", len, hash + n);
        }
    }
    sqlite3_finalize(q);
    if (rc != GW_END) {
        return rc;
    }
    *ret = n ? gw_arena_printf(a, "%016llx", (unsigned long long)hash) : gw_arena_strdup(a, "");
    return GW_OK;
}

// ---- columns -----------------------------------------------------------------------------------

// 'text', 12, -1.5, x'ab', TRUE, NULL, CURRENT_TIMESTAMP, or something else that only SQLite can compute.
static void
set_default(struct gw_arena *a, Gw__Column *c, const char *native)
{
    size_t n = strlen(native);
    double real = 0;
    bool is_bool = strcasecmp(native, "true") == 0 || strcasecmp(native, "false") == 0;
    c->default_native = gw_arena_strdup(a, native);
    c->default_kind = GW__DEFAULT_KIND__DEFAULT_EXPRESSION;
    if (strcasecmp(native, "NULL") == 0) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_NULL;
    } else if (strcasecmp(native, "CURRENT_TIMESTAMP") == 0) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP;
    } else if (strcasecmp(native, "CURRENT_DATE") == 0) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE;
    } else if (n >= 2 && native[0] == '\'' && native[n - 1] == '\'') {
        char *text = gw_arena_alloc(a, n), *to = text;
        for (const char *p = native + 1; p < native + n - 1; p++) {
            *to++ = *p;
            p += *p == '\'';
        }
        *to = 0;
        // A quoted number in a numeric column is stored as the number; that a bool reads t or f is all that differs.
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
        c->default_text = text;
    } else if (is_bool || gw_lite_parse_real(native, n, &real)) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
        const char *number = is_bool ? (native[0] | 32) == 't' ? "1" : "0" : native;
        c->default_text = gw_arena_strdup(a, number + (number[0] == '+'));
    }
    if (c->default_kind == GW__DEFAULT_KIND__DEFAULT_LITERAL && c->type->kind == GW__KIND__KIND_BOOL) {
        bool yes = strcmp(c->default_text, "1") == 0;
        if (yes || strcmp(c->default_text, "0") == 0) {
            c->default_text = gw_arena_strdup(a, yes ? "t" : "f");
        } else {
            c->default_kind = GW__DEFAULT_KIND__DEFAULT_EXPRESSION;
        }
    }
}

static int
describe_columns(struct lite_source *s, struct gw_arena *a, Gw__Table *t, const struct gw_lite_ddl *ddl,
                 struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT name, type, \"notnull\", dflt_value, hidden"
                           " FROM pragma_table_xinfo(?1) ORDER BY cid",
                           "t", t->source_name);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        int hidden = sqlite3_column_int(q, 4);
        if (hidden == HIDDEN_MODULE) {
            continue;
        }
        Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
        c->name = gw_lite_text(a, q, 0);
        c->type = gw_pb_new(a, Gw__Type, gw__type__init);
        lite_type_map(a, gw_lite_text(a, q, 1), s->text_types, c->type);
        c->not_null = sqlite3_column_int(q, 2) != 0;
        if (sqlite3_column_type(q, 3) != SQLITE_NULL) {
            set_default(a, c, gw_lite_text(a, q, 3));
        }
        for (size_t i = 0; i < ddl->n_generated; i++) {
            if (strcasecmp(ddl->generated[i].name, c->name) == 0) {
                c->generated = gw_arena_strdup(a, ddl->generated[i].expr);
                c->generated_stored = hidden == HIDDEN_STORED;
            }
        }
        Gw__Kind k = c->type->kind;
        c->is_lob =
            (k == GW__KIND__KIND_TEXT || k == GW__KIND__KIND_BLOB || k == GW__KIND__KIND_JSON) && c->type->length == 0;
        const char *collation = NULL;
        if (t->kind == GW__TABLE_KIND__TABLE_PLAIN &&
            sqlite3_table_column_metadata(s->db, "main", t->source_name, c->name, NULL, &collation, NULL, NULL, NULL) ==
                SQLITE_OK &&
            collation && strcasecmp(collation, "BINARY") != 0) {
            c->type->collation = gw_arena_strdup(a, collation);
        }
        gw_pb_add(a, t, columns, c);
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

static int
describe_primary_key(struct lite_source *s, struct gw_arena *a, Gw__Table *t, bool without_rowid, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT name, (SELECT count(*) FROM pragma_index_list(?1)"
                           " WHERE origin = 'pk')"
                           " FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk",
                           "t", t->source_name);
    bool has_index = false;
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        gw_pb_add(a, t, primary_key, gw_lite_text(a, q, 0));
        has_index = sqlite3_column_int(q, 1) > 0;
    }
    sqlite3_finalize(q);
    for (size_t i = 0; i < t->n_primary_key; i++) {
        Gw__Column *c = column_of(t, t->primary_key[i]);
        // Only there does a primary key imply NOT NULL; https://www.sqlite.org/lang_createtable.html#the_primary_key
        bool alias = t->n_primary_key == 1 && !has_index && !without_rowid;
        if (without_rowid || alias) {
            c->not_null = true;
        }
        if (alias) {
            int autoinc = 0;
            sqlite3_table_column_metadata(s->db, "main", t->source_name, c->name, NULL, NULL, NULL, NULL, &autoinc);
            c->identity = GW__IDENTITY__IDENTITY_AUTO;
            c->identity_options = gw_arena_strdup(a, autoinc ? "AUTOINCREMENT" : "");
            c->sequence_start = c->sequence_increment = 1;
        }
    }
    return rc == GW_END ? GW_OK : rc;
}

// ---- indexes and keys --------------------------------------------------------------------------

static int
describe_parts(struct lite_source *s, struct gw_arena *a, Gw__Table *t, Gw__Index *ix,
               const struct gw_lite_ddl_index *ddl, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT cid, name, \"desc\", coll FROM pragma_index_xinfo(?1)"
                           " WHERE key ORDER BY seqno",
                           "t", ix->name);
    for (size_t i = 0; rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK; i++) {
        Gw__IndexPart *p = gw_pb_new(a, Gw__IndexPart, gw__index_part__init);
        if (sqlite3_column_int(q, 0) == -2) {
            p->expression = gw_arena_strdup(a, i < ddl->n_parts ? ddl->parts[i] : "");
        } else {
            p->column = gw_lite_text(a, q, 1);
        }
        p->descending = sqlite3_column_int(q, 2) != 0;
        const Gw__Column *c = column_of(t, p->column);
        const char *coll = gw_lite_text(a, q, 3);
        const char *usual = c && c->type->collation[0] ? c->type->collation : "BINARY";
        if (strcasecmp(coll, usual) != 0) {
            p->collation = gw_arena_strdup(a, coll);
        }
        gw_pb_add(a, ix, parts, p);
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

static int
describe_indexes(struct lite_source *s, struct gw_arena *a, Gw__Table *t, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT l.name, l.\"unique\", l.origin, m.sql"
                           " FROM pragma_index_list(?1) l LEFT JOIN sqlite_schema m"
                           " ON m.type = 'index' AND m.name = l.name"
                           " WHERE l.origin <> 'pk' ORDER BY l.seq DESC",
                           "t", t->source_name);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        Gw__Index *ix = gw_pb_new(a, Gw__Index, gw__index__init);
        struct gw_lite_ddl_index ddl = {.predicate = ""};
        ix->name = gw_lite_text(a, q, 0);
        ix->is_unique = sqlite3_column_int(q, 1) != 0;
        ix->is_constraint = gw_lite_text(a, q, 2)[0] == 'u';
        const char *sql = gw_lite_text(a, q, 3);
        if (sql[0] && gw_lite_ddl_index(a, sql, &ddl)) {
            ix->predicate = (char *)(uintptr_t)ddl.predicate;
        }
        ix->native_ddl = (char *)(uintptr_t)sql;
        rc = describe_parts(s, a, t, ix, &ddl, err);
        if (ix->is_constraint) {
            // sqlite_autoindex_… is a reserved name
            struct gw_buf name;
            gw_buf_init(&name, 4096);
            gw_buf_printf(&name, "%s", t->source_name);
            for (size_t i = 0; i < ix->n_parts; i++) {
                gw_buf_printf(&name, "_%s", ix->parts[i]->column);
            }
            gw_buf_puts(&name, "_key");
            ix->name = gw_arena_strdup(a, name.data);
            gw_buf_fini(&name);
        }
        gw_pb_add(a, t, indexes, ix);
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

static int
describe_foreign_keys(struct lite_source *s, struct gw_arena *a, Gw__Table *t, struct gw_err *err)
{
    // A reference without columns means the parent's primary key.
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT f.id, f.\"table\", f.\"from\", coalesce(f.\"to\","
                           " (SELECT name FROM pragma_table_xinfo(f.\"table\") WHERE pk = f.seq + 1)),"
                           " f.on_update, f.on_delete"
                           " FROM pragma_foreign_key_list(?1) f ORDER BY f.id DESC, f.seq",
                           "t", t->source_name);
    int last = -1;
    Gw__ForeignKey *fk = NULL;
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        if (!fk || sqlite3_column_int(q, 0) != last) {
            last = sqlite3_column_int(q, 0);
            fk = gw_pb_new(a, Gw__ForeignKey, gw__foreign_key__init);
            fk->ref_table = gw_lite_text(a, q, 1);
            fk->on_update = gw_lite_text(a, q, 4);
            fk->on_delete = gw_lite_text(a, q, 5);
            fk->match = gw_arena_strdup(a, "SIMPLE"); // the only one that SQLite enforces
            fk->name = gw_arena_printf(a, "%s_%s_fkey", t->source_name, (const char *)sqlite3_column_text(q, 2));
            gw_pb_add(a, t, foreign_keys, fk);
        }
        gw_pb_add(a, fk, columns, gw_lite_text(a, q, 2));
        gw_pb_add(a, fk, ref_columns, gw_lite_text(a, q, 3));
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

// ---- tables ------------------------------------------------------------------------------------

static int
describe_plain(struct lite_source *s, struct gw_arena *a, Gw__Table *t, const char *sql, bool without_rowid,
               Gw__Catalog *cat, struct gw_err *err)
{
    struct gw_lite_ddl ddl = {.body = ""};
    if (t->kind == GW__TABLE_KIND__TABLE_PLAIN && !gw_lite_ddl_table(a, sql, &ddl)) {
        find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "", "the table's definition cannot be read",
             "checks and expressions of generated columns are left out");
    }
    t->native_options = gw_arena_strdup(a, ddl.body); // a SQLite target builds from this text
    int rc = describe_columns(s, a, t, &ddl, err);
    if (rc == GW_OK) {
        rc = describe_primary_key(s, a, t, without_rowid, err);
    }
    if (rc == GW_OK && t->kind == GW__TABLE_KIND__TABLE_PLAIN) {
        rc = describe_indexes(s, a, t, err);
    }
    if (rc == GW_OK && t->kind == GW__TABLE_KIND__TABLE_PLAIN) {
        rc = describe_foreign_keys(s, a, t, err);
    }
    for (size_t i = 0; i < ddl.n_checks; i++) {
        Gw__Check *c = gw_pb_new(a, Gw__Check, gw__check__init);
        c->name = ddl.checks[i].name[0] ? gw_arena_strdup(a, ddl.checks[i].name)
                                        : gw_arena_printf(a, "%s_check%zu", t->source_name, i + 1);
        c->native = gw_arena_strdup(a, ddl.checks[i].expr);
        gw_pb_add(a, t, checks, c);
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        if (c->type->kind == GW__KIND__KIND_OTHER) {
            find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, c->name, "the column holds values of any type",
                 "other engines receive their text; a text that looks like a number, and a blob, is "
                 "refused there unless the source setting text-types names the declared type");
        }
    }
    return rc;
}

static int
describe_table(struct lite_source *s, struct gw_arena *a, Gw__Table *t, Gw__Catalog *cat, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT l.wr, l.type, m.sql FROM pragma_table_list l"
                           " JOIN sqlite_schema m ON m.name = l.name AND m.type IN ('table', 'view')"
                           " WHERE l.schema = 'main' AND l.name = ?1",
                           "t", t->name);
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    t->schema = gw_arena_strdup(a, "");
    t->source_schema = gw_arena_strdup(a, "main");
    t->source_name = t->name;
    t->engine = gw_arena_strdup(a, "sqlite");
    t->transactional = true;
    if (rc == GW_END) {
        sqlite3_finalize(q);
        find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "", "the table is gone", "leave it out");
        return GW_OK;
    }
    if (rc == GW_OK) {
        bool wr = sqlite3_column_int(q, 0) != 0;
        if (strcmp(gw_lite_text(a, q, 1), "virtual") == 0) {
            find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "", "the table is virtual",
                 "its rows are copied into a plain table");
        }
        char *sql = gw_lite_text(a, q, 2);
        rc = describe_plain(s, a, t, sql, wr, cat, err);
    }
    sqlite3_finalize(q);
    if (rc == GW_OK) {
        rc = lite_fingerprint(s, a, t->source_name, &t->fingerprint, err);
    }
    if (rc == GW_OK && t->n_columns == 0) {
        find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "", "the table has no readable columns", "leave it out");
    }
    return rc;
}

int
lite_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct lite_source *s = self;
    int rc = GW_OK;
    for (size_t i = 0; i < cat->n_tables && rc == GW_OK; i++) {
        struct gw_err cause = {0};
        rc = describe_table(s, a, cat->tables[i], cat, &cause);
        if (rc == GW_CONFIG) {
            // A view over a missing table, a virtual table without its module: this table, not the task.
            find(a, cat, cat->tables[i], GW__SEVERITY__SEVERITY_ERROR, "", cause.message, "leave it out or mend it");
            rc = GW_OK;
        } else if (rc != GW_OK) {
            *err = cause;
            gw_err_wrap(err, "describe table \"%s\"", cat->tables[i]->name);
        }
    }
    return rc;
}
