// Tables as information_schema and SHOW CREATE TABLE say them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "capture/sources/mysql/mysql_source.h"

static const char *
text(MYSQL_ROW row, unsigned i)
{
    return row[i] ? row[i] : "";
}

void
my_find(struct gw_arena *a, Gw__Catalog *cat, const Gw__Table *t, Gw__Severity severity, const char *object,
        char *message, const char *action)
{
    Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    f->schema = t->source_schema;
    f->table = t->source_name;
    f->object = gw_arena_strdup(a, object);
    f->message = message;
    f->action = gw_arena_strdup(a, action);
    gw_pb_add(a, cat, findings, f);
}

Gw__Column *
my_column_of(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcasecmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

static void
put_of_table(struct gw_buf *sql, const Gw__Table *t)
{
    gw_buf_puts(sql, " WHERE table_schema = ");
    gw_my_literal(sql, t->source_schema, strlen(t->source_schema));
    gw_buf_puts(sql, " AND table_name = ");
    gw_my_literal(sql, t->source_name, strlen(t->source_name));
}

// ---- fingerprint -------------------------------------------------------------------------------

// The statement without AUTO_INCREMENT=, which every insert changes.
static uint64_t
hash_create(struct gw_arena *a, const char *sql, struct my_ddl *d)
{
    uint64_t hash = 0;
    if (!my_ddl_parse(a, sql, d)) {
        return XXH64(sql, strlen(sql), 1);
    }
    for (size_t i = 0; i < d->n_items; i++) {
        hash = XXH64(d->items[i], strlen(d->items[i]), hash + i);
    }
    hash = XXH64(d->options, strlen(d->options), hash);
    return XXH64(d->partition_by, strlen(d->partition_by), hash);
}

static int
hash_view(struct my_source *s, const Gw__Table *t, uint64_t *ret, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT column_name, column_type, collation_name FROM information_schema.columns");
    put_of_table(&sql, t);
    gw_buf_puts(&sql, " ORDER BY ordinal_position");
    int r = gw_my_query(s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    uint64_t hash = 0;
    r = my_hash_view_texts(s, t, &hash, err);
    if (r != GW_OK) {
        return r;
    }
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        for (unsigned i = 0; i < 3; i++) {
            hash = XXH64(text(row, i), strlen(text(row, i)), hash + i);
        }
    }
    *ret = hash;
    return GW_OK;
}

// When the table was made or altered last, in the server's time; 0 for a view.
static int
altered_at(struct my_source *s, const Gw__Table *t, unsigned long long *ret, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT UNIX_TIMESTAMP(create_time) FROM information_schema.tables");
    put_of_table(&sql, t);
    int r = gw_my_query(s->db, &res, sql.data, err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    *ret = row ? strtoull(text(row, 0), NULL, 10) : 0;
    return r;
}

int
my_fingerprint(struct my_source *s, struct gw_arena *a, const Gw__Table *t, char **ret, char **ret_sql,
               struct gw_err *err)
{
    uint64_t hash = 0;
    char *create = gw_arena_strdup(a, "");
    if (t->kind == GW__TABLE_KIND__TABLE_VIEW) {
        int r = hash_view(s, t, &hash, err);
        if (r != GW_OK) {
            return r;
        }
    } else {
        MY_RES res = NULL;
        MY_BUF sql;
        gw_buf_init(&sql, MY_SQL_MAX);
        gw_buf_puts(&sql, "SHOW CREATE TABLE ");
        gw_my_qname(&sql, t->source_schema, t->source_name);
        int r = gw_my_query(s->db, &res, sql.data, err);
        if (r != GW_OK) {
            return r;
        }
        MYSQL_ROW row = mysql_fetch_row(res);
        if (!row || mysql_num_fields(res) < 2) {
            return gw_err_set(err, GW_BUG, NULL, "SHOW CREATE TABLE says nothing");
        }
        create = gw_arena_strdup(a, text(row, 1));
        struct my_ddl ignored;
        hash = hash_create(a, create, &ignored);
    }
    unsigned long long altered = 0;
    int r = altered_at(s, t, &altered, err);
    if (r != GW_OK) {
        return r;
    }
    *ret = gw_arena_printf(a, "%016llx@%llu", (unsigned long long)hash, altered);
    if (ret_sql) {
        *ret_sql = create;
    }
    return GW_OK;
}

// ---- columns -----------------------------------------------------------------------------------

// The item of the CREATE text that makes the column; "" if there is none.
static const char *
item_of(struct gw_arena *a, const struct my_ddl *ddl, const char *column)
{
    for (size_t i = 0; i < ddl->n_items; i++) {
        const char *p = ddl->items[i];
        char *name = my_ddl_name(a, &p);
        if (name && strcmp(name, column) == 0) {
            return p;
        }
    }
    return "";
}

// MySQL declares the reference system behind the type; as a comment of its own it is ignored elsewhere.
static void
add_srid(struct gw_arena *a, Gw__Column *c, const char *item)
{
    const char *p = c->type->kind == GW__KIND__KIND_GEOMETRY ? my_ddl_word(item, "SRID") : NULL;
    if (p) {
        c->type->native = gw_arena_printf(a, "%s /*!80003 SRID %lu */", c->type->native, strtoul(p, NULL, 10));
    }
}

enum {
    NAME,
    DATA_TYPE,
    COLUMN_TYPE,
    CHARSET,
    COLLATION,
    LENGTH,
    OCTETS,
    PRECISION,
    SCALE,
    FRACTION,
    NULLABLE,
    DEFAULT,
    EXTRA,
    COMMENT
};
static const char columns_sql[] =
    "SELECT column_name, data_type, column_type, character_set_name, collation_name,"
    " character_maximum_length, character_octet_length, numeric_precision, numeric_scale, "
    "datetime_precision,"
    " is_nullable, column_default, extra, column_comment FROM information_schema.columns";

static Gw__Column *
column_from(struct my_source *s, struct gw_arena *a, MYSQL_ROW row, const struct my_ddl *ddl, bool *ret_default)
{
    Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
    struct my_type_facts f = {
        .data_type = text(row, DATA_TYPE),
        .column_type = text(row, COLUMN_TYPE),
        .charset = text(row, CHARSET),
        .collation = text(row, COLLATION),
        .length = strtoull(text(row, LENGTH), NULL, 10),
        .octets = strtoull(text(row, OCTETS), NULL, 10),
        .precision = (uint32_t)strtoul(text(row, PRECISION), NULL, 10),
        .scale = (int32_t)strtol(text(row, SCALE), NULL, 10),
        .fraction = (uint32_t)strtoul(text(row, FRACTION), NULL, 10),
        .has_scale = row[SCALE] != NULL,
    };
    const char *extra = text(row, EXTRA);
    c->name = gw_arena_strdup(a, text(row, NAME));
    c->type = gw_pb_new(a, Gw__Type, gw__type__init);
    my_type_map(a, &f, c->type);
    c->is_lob = my_type_is_lob(c->type);
    c->not_null = strcmp(text(row, NULLABLE), "NO") == 0;
    c->comment = gw_arena_strdup(a, text(row, COMMENT));
    const char *item = item_of(a, ddl, c->name);
    if (strcasestr(extra, " GENERATED")) {               // not DEFAULT_GENERATED
        c->generated = my_ddl_expression(a, item, "AS"); // empty for a period's ROW START: a plain column then
        c->generated_stored = strcasestr(extra, "STORED") || strcasestr(extra, "PERSISTENT");
    }
    if (strcasestr(extra, "auto_increment")) {
        c->identity = GW__IDENTITY__IDENTITY_AUTO;
        c->sequence_start = c->sequence_increment = 1;
    }
    add_srid(a, c, item);
    // A view's columns have the defaults of its tables, which are not its own.
    *ret_default = !item[0] || my_default(a, &s->server, c, row[DEFAULT], extra, item);
    return c;
}

static int
describe_columns(struct my_source *s, struct gw_arena *a, Gw__Table *t, const struct my_ddl *ddl, Gw__Catalog *cat,
                 struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, columns_sql);
    put_of_table(&sql, t);
    gw_buf_puts(&sql, " ORDER BY ordinal_position");
    int r = gw_my_query(s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        bool default_known = true;
        Gw__Column *c = column_from(s, a, row, ddl, &default_known);
        gw_pb_add(a, t, columns, c);
        if (!default_known) {
            my_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, c->name,
                    gw_arena_strdup(a, "the server does not tell the column's default exactly"),
                    "the target's column has no default");
        }
        if (strcasestr(text(row, EXTRA), "INVISIBLE")) {
            my_find(a, cat, t, GW__SEVERITY__SEVERITY_INFO, c->name, gw_arena_strdup(a, "the column is invisible"),
                    "it is copied, and visible on the target");
        }
    }
    // information_schema hides the columns that the user may not see; the CREATE text does not.
    size_t made = 0;
    for (size_t i = 0; i < ddl->n_items; i++) {
        made += ddl->items[i][0] == '`';
    }
    if (t->kind != GW__TABLE_KIND__TABLE_VIEW && made != t->n_columns) {
        my_find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "",
                gw_arena_printf(a, "%zu of its %zu columns can be seen", t->n_columns, made),
                "grant SELECT on the whole table");
    }
    return GW_OK;
}

// ---- tables ------------------------------------------------------------------------------------

static int
describe_options(struct my_source *s, struct gw_arena *a, Gw__Table *t, Gw__Catalog *cat, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT table_comment, engine, table_type, (SELECT transactions FROM "
                      "information_schema.engines e"
                      " WHERE e.engine = t.engine) FROM information_schema.tables t");
    put_of_table(&sql, t);
    int r = gw_my_query(s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    if (!row) {
        return gw_err_set(err, GW_CONFIG, "1146", "the table is gone");
    }
    bool view = t->kind == GW__TABLE_KIND__TABLE_VIEW;
    t->comment = gw_arena_strdup(a, view ? "" : text(row, 0));
    t->transactional = view || strcmp(text(row, 3), "YES") == 0;
    if (!t->transactional) {
        my_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "",
                gw_arena_printf(a, "its storage engine, %s, has no snapshots", text(row, 1)),
                "it is read as it is at that moment, whole, in one statement");
    }
    if (strcmp(text(row, 2), "SYSTEM VERSIONED") == 0) {
        my_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "", gw_arena_strdup(a, "the table is system-versioned"),
                "its present rows are copied, its history is not; the target's table has no versions");
    }
    return GW_OK;
}

static int
describe_partitions(struct my_source *s, struct gw_arena *a, Gw__Table *t, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT partition_name, subpartition_name, partition_description, data_length"
                      " FROM information_schema.partitions");
    put_of_table(&sql, t);
    gw_buf_puts(&sql, " ORDER BY partition_ordinal_position, subpartition_ordinal_position");
    int r = gw_my_query(s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    Gw__Partition *top = NULL;
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        if (!row[0]) {
            continue; // the one row of a table without partitions
        }
        uint64_t bytes = strtoull(text(row, 3), NULL, 10);
        if (!top || strcmp(top->name, row[0]) != 0) {
            top = gw_pb_new(a, Gw__Partition, gw__partition__init);
            top->schema = t->source_schema;
            top->name = gw_arena_strdup(a, row[0]);
            top->bound = gw_arena_strdup(a, text(row, 2));
            top->is_leaf = !row[1];
            gw_pb_add(a, t, partitions, top);
        }
        top->bytes += bytes;
        if (row[1]) {
            Gw__Partition *sub = gw_pb_new(a, Gw__Partition, gw__partition__init);
            sub->schema = t->source_schema;
            sub->name = gw_arena_strdup(a, row[1]);
            sub->parent = top->name;
            sub->bytes = bytes;
            sub->is_leaf = true;
            gw_pb_add(a, t, partitions, sub);
        }
    }
    return GW_OK;
}

// A statement that reads nothing shows whether it may be read.
static int
try_read(struct my_source *s, const Gw__Table *t, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT ");
    for (size_t i = 0; i < t->n_columns; i++) {
        gw_buf_puts(&sql, i ? ", " : "");
        gw_my_ident(&sql, t->columns[i]->name);
    }
    my_from(&sql, t, "");
    gw_buf_puts(&sql, " LIMIT 0");
    return gw_my_query(s->db, &res, sql.data, err);
}

static int
describe_table(struct my_source *s, struct gw_arena *a, Gw__Table *t, Gw__Catalog *cat, struct gw_err *err)
{
    struct my_ddl ddl = {.options = "", .partition_by = ""};
    char *create = NULL;
    t->source_schema = t->schema;
    t->source_name = t->name;
    t->engine = gw_arena_strdup(a, "mysql");
    int r = describe_options(s, a, t, cat, err);
    r = r == GW_OK ? my_fingerprint(s, a, t, &t->fingerprint, &create, err) : r;
    if (r != GW_OK) {
        return r;
    }
    if (create[0] && !my_ddl_parse(a, create, &ddl)) {
        return gw_err_set(err, GW_CONFIG, NULL, "its definition cannot be read");
    }
    r = describe_columns(s, a, t, &ddl, cat, err);
    if (r == GW_OK && t->n_columns == 0) {
        r = gw_err_set(err, GW_CONFIG, NULL, "it has no columns that can be seen");
    }
    if (r != GW_OK) {
        return r;
    }
    my_objects(a, t, &ddl, cat);
    t->native_options = gw_arena_strdup(a, ddl.options);
    t->partition_by = gw_arena_strdup(a, ddl.partition_by);
    if (ddl.partition_by[0]) {
        r = describe_partitions(s, a, t, err);
    }
    return r == GW_OK ? try_read(s, t, err) : r;
}

static void
warn_of_locks(struct gw_arena *a, Gw__Catalog *cat)
{
    Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
    f->severity = GW__SEVERITY__SEVERITY_INFO;
    f->message =
        gw_arena_strdup(a, "ALTER TABLE and the like wait for readers: where a table was read, until the load ends, "
                           "and whoever uses the table next waits behind them");
    f->action = gw_arena_strdup(a, "grant BINLOG ADMIN (before MariaDB 10.5: SUPER) to the user, "
                                   "and they wait for a chunk at most");
    gw_pb_add(a, cat, findings, f);
}

// What an old image holds: everything, or the primary key. A session may have other settings; the stream says so then.
static int
row_image(struct my_source *s, bool *ret_log, bool *ret_full, struct gw_err *err)
{
    MY_RES res = NULL;
    int r = gw_my_query(s->db, &res, "SELECT @@log_bin, @@GLOBAL.binlog_row_image", err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    *ret_log = row && strcmp(text(row, 0), "1") == 0;
    *ret_full = row && strncasecmp(text(row, 1), "FULL", 4) == 0; // MariaDB: FULL_NODUP too
    return r;
}

static void
set_identity(struct gw_arena *a, Gw__Table *t, bool full)
{
    size_t n = full ? t->n_columns : t->n_primary_key;
    for (size_t i = 0; i < n; i++) {
        gw_pb_add(a, t, identity, full ? t->columns[i]->name : t->primary_key[i]);
    }
}

int
my_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct my_source *s = self;
    bool log = false, full = false;
    int logged = row_image(s, &log, &full, err);
    if (logged != GW_OK) {
        return gw_err_wrap(err, "describe");
    }
    if (s->keeps_locks) {
        warn_of_locks(a, cat);
    }
    for (size_t i = 0; i < cat->n_tables; i++) {
        struct gw_err cause = {0};
        int r = describe_table(s, a, cat->tables[i], cat, &cause);
        if (r == GW_CONFIG) { // gone, no privilege, a view over a missing table: this table, not the task
            my_find(a, cat, cat->tables[i], GW__SEVERITY__SEVERITY_ERROR, "", gw_arena_strdup(a, cause.message),
                    "leave it out or mend it");
        } else if (r != GW_OK) {
            if (err) {
                *err = cause;
            }
            return gw_err_wrap(err, "describe table \"%s.%s\"", cat->tables[i]->schema, cat->tables[i]->name);
        }
        if (r == GW_OK && log && cat->tables[i]->kind != GW__TABLE_KIND__TABLE_VIEW) {
            set_identity(a, cat->tables[i], full);
        }
    }
    return GW_OK;
}
