// CREATE TABLE and what belongs to it: sequences, partitions, comments.
//
// From an equal engine the native texts are used as they are, and only names move (the schema may have been
// mapped). From any other engine the table is made of kinds.
#include <string.h>
#include <strings.h>

#include "pgt.h"

enum pgt_numbers
pgt_column_numbers(const Gw__Column *c)
{
    switch (c->identity) {
    case GW__IDENTITY__IDENTITY_ALWAYS:
    case GW__IDENTITY__IDENTITY_BY_DEFAULT:
    case GW__IDENTITY__IDENTITY_AUTO:
        // Identity columns are smallint, integer or bigint; BIGINT UNSIGNED is numeric here, and MySQL
        // counts in floating columns too.
        return pgt_type_is_integer(c->type) ? PGT_NUMBERS_IDENTITY : PGT_NUMBERS_SEQUENCE;
    case GW__IDENTITY__IDENTITY_SERIAL: return PGT_NUMBERS_SEQUENCE;
    default: return PGT_NUMBERS_NONE;
    }
}

// Where a thing of the source's own schema belongs on the target.
static const char *
map_schema(const Gw__Table *t, const char *schema)
{
    if (!pgt_set(schema) || strcmp(schema, t->source_schema) == 0) {
        return pgt_schema(t);
    }
    return schema;
}

void
pgt_column_sequence(struct gw_arena *a, const Gw__Table *t, const Gw__Column *c, char **schema, char **name)
{
    char *s = NULL, *n = NULL;
    if (pgt_native(t) && pgt_set(c->sequence_name) && pgt_split_name(a, c->sequence_name, &s, &n)) {
        *schema = gw_arena_strdup(a, map_schema(t, s));
        *name = n;
        return;
    }
    *schema = gw_arena_strdup(a, pgt_schema(t));
    *name = pgt_make_name(a, t->name, c->name, "_seq");
}

bool
pgt_keep_generated(const Gw__Table *t, const Gw__Column *c)
{
    return c->left_out && pgt_set(c->generated) && (pgt_native(t) || pgt_set(c->generated_portable));
}

// What the kind is to a default of the current time.
enum time_class { TIME_NONE, TIME_DATE, TIME_STAMP, TIME_TEXT };
static enum time_class
time_class(const Gw__Type *type)
{
    switch (type->kind) {
    case GW__KIND__KIND_DATE: return TIME_DATE;
    case GW__KIND__KIND_TIME:
    case GW__KIND__KIND_TIMETZ:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ: return TIME_STAMP;
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_VARCHAR:
    case GW__KIND__KIND_TEXT: return TIME_TEXT;
    default: return TIME_NONE;
    }
}

const char *
pgt_default_refused(const Gw__Table *t, const Gw__Column *c)
{
    if (pgt_native(t) || pgt_keep_generated(t, c)) {
        return NULL;
    }
    enum time_class tc = time_class(c->type);
    switch (c->default_kind) {
    case GW__DEFAULT_KIND__DEFAULT_EXPRESSION: return "an expression of the source's dialect";
    case GW__DEFAULT_KIND__DEFAULT_LITERAL:
        if ((tc == TIME_DATE || tc == TIME_STAMP) &&
            (strncmp(c->default_text, "0000", 4) == 0 || strstr(c->default_text, "-00"))) {
            return "a date that does not exist";
        }
        return NULL;
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP:
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE:
        return tc == TIME_NONE ? "the current time in a column that is no time" : NULL;
    default: return NULL;
    }
}

static void
put_now(struct gw_buf *sql, const Gw__Column *c)
{
    bool date = c->default_kind == GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE;
    if (time_class(c->type) == TIME_TEXT) {
        // As SQLite writes it.
        gw_buf_printf(sql, " DEFAULT pg_catalog.to_char(CURRENT_TIMESTAMP AT TIME ZONE 'UTC', '%s')",
                      date ? "YYYY-MM-DD" : "YYYY-MM-DD HH24:MI:SS");
    } else {
        gw_buf_puts(sql, date ? " DEFAULT CURRENT_DATE" : " DEFAULT CURRENT_TIMESTAMP");
    }
}

static void
put_nextval(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    char *schema, *name;
    pgt_column_sequence(&a, t, c, &schema, &name);
    PGT_BUF q;
    gw_buf_init(&q, 4096);
    pgt_qname(&q, schema, name);
    gw_buf_puts(sql, " DEFAULT pg_catalog.nextval(");
    gw_pg_literal(sql, q.data);
    gw_buf_puts(sql, "::pg_catalog.regclass)");
}

static void
put_sequence_options(struct gw_buf *sql, const Gw__Column *c)
{
    if (c->sequence_start != 0) {
        gw_buf_printf(sql, " START WITH %lld", (long long)c->sequence_start);
    }
    if (c->sequence_increment != 0) {
        gw_buf_printf(sql, " INCREMENT BY %lld", (long long)c->sequence_increment);
    }
    if (pgt_set(c->identity_options)) {
        gw_buf_printf(sql, " %s", c->identity_options);
    }
}

static void
put_identity(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    gw_buf_printf(sql, " GENERATED %s AS IDENTITY",
                  c->identity == GW__IDENTITY__IDENTITY_ALWAYS ? "ALWAYS" : "BY DEFAULT");
    if (!pgt_native(t)) {
        return;
    }
    PGT_ARENA a;
    gw_arena_init(&a);
    gw_buf_puts(sql, " (");
    if (pgt_set(c->sequence_name)) {
        char *schema, *name;
        pgt_column_sequence(&a, t, c, &schema, &name);
        gw_buf_puts(sql, "SEQUENCE NAME ");
        pgt_qname(sql, schema, name);
    }
    size_t before = sql->len;
    put_sequence_options(sql, c);
    if (sql->len == before && !pgt_set(c->sequence_name)) {
        gw_buf_puts(sql, "INCREMENT BY 1"); // the parentheses may not be empty
    }
    gw_buf_putc(sql, ')');
}

void
pgt_default_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    if (pgt_native(t) && pgt_set(c->default_native)) {
        gw_buf_printf(sql, " DEFAULT %s", c->default_native);
        return;
    }
    if (pgt_default_refused(t, c)) {
        return;
    }
    switch (c->default_kind) {
    case GW__DEFAULT_KIND__DEFAULT_LITERAL:
        gw_buf_puts(sql, " DEFAULT ");
        gw_pg_literal(sql, c->default_text);
        break;
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP:
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE: put_now(sql, c); break;
    default: break;
    }
}

void
pgt_column_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    pgt_ident(sql, c->name);
    gw_buf_putc(sql, ' ');
    pgt_type(sql, t, c->type);
    if (pgt_native(t) && pgt_set(c->type->collation)) {
        gw_buf_printf(sql, " COLLATE %s", c->type->collation);
    }
    enum pgt_numbers numbers = pgt_column_numbers(c);
    if (pgt_keep_generated(t, c)) {
        gw_buf_printf(sql, " GENERATED ALWAYS AS (%s) STORED", pgt_native(t) ? c->generated : c->generated_portable);
    } else if (numbers == PGT_NUMBERS_IDENTITY) {
        put_identity(sql, t, c);
    } else if (numbers == PGT_NUMBERS_SEQUENCE) {
        put_nextval(sql, t, c);
    } else {
        pgt_default_sql(sql, t, c);
    }
    if (c->not_null) {
        gw_buf_puts(sql, " NOT NULL");
    }
}

// Before the table: the sequences that its defaults name. Behind it: who owns them.
static void
put_sequences(struct gw_buf *sql, const Gw__Table *t, bool before)
{
    PGT_ARENA a;
    gw_arena_init(&a);
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        if (pgt_column_numbers(c) != PGT_NUMBERS_SEQUENCE) {
            continue;
        }
        char *schema, *name;
        pgt_column_sequence(&a, t, c, &schema, &name);
        gw_buf_puts(sql, before ? "CREATE SEQUENCE IF NOT EXISTS " : "ALTER SEQUENCE ");
        pgt_qname(sql, schema, name);
        if (before) {
            put_sequence_options(sql, c);
        } else {
            gw_buf_puts(sql, " OWNED BY ");
            pgt_tname(sql, t);
            gw_buf_putc(sql, '.');
            pgt_ident(sql, c->name);
        }
        gw_buf_puts(sql, ";\n");
    }
}

static void
put_comments(struct gw_buf *sql, const Gw__Table *t)
{
    if (pgt_set(t->comment)) {
        gw_buf_puts(sql, "COMMENT ON TABLE ");
        pgt_tname(sql, t);
        gw_buf_puts(sql, " IS ");
        gw_pg_literal(sql, t->comment);
        gw_buf_puts(sql, ";\n");
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        if (pgt_set(t->columns[i]->comment)) {
            gw_buf_puts(sql, "COMMENT ON COLUMN ");
            pgt_tname(sql, t);
            gw_buf_putc(sql, '.');
            pgt_ident(sql, t->columns[i]->name);
            gw_buf_puts(sql, " IS ");
            gw_pg_literal(sql, t->columns[i]->comment);
            gw_buf_puts(sql, ";\n");
        }
    }
}

static void
put_partition_by(struct gw_buf *sql, const char *by)
{
    if (pgt_set(by)) {
        gw_buf_printf(sql, " %s%s", pgt_word(by, "PARTITION") ? "" : "PARTITION BY ", by);
    }
}

static const Gw__Partition *
find_partition(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_partitions; i++) {
        if (strcmp(t->partitions[i]->name, name) == 0) {
            return t->partitions[i];
        }
    }
    return NULL;
}

static void
put_partition(struct gw_buf *sql, const Gw__Table *t, const Gw__Partition *p)
{
    gw_buf_puts(sql, "CREATE TABLE ");
    pgt_qname(sql, map_schema(t, p->schema), p->name);
    gw_buf_puts(sql, " PARTITION OF ");
    const Gw__Partition *parent = pgt_set(p->parent) ? find_partition(t, p->parent) : NULL;
    if (parent && parent != p) {
        pgt_qname(sql, map_schema(t, parent->schema), parent->name);
    } else {
        pgt_tname(sql, t);
    }
    gw_buf_printf(sql, " %s", p->bound);
    put_partition_by(sql, p->partition_by);
    gw_buf_puts(sql, ";\n");
}

// How many steps below the root; a parent that is not in the list is the root.
static size_t
depth_of(const Gw__Table *t, const Gw__Partition *p)
{
    size_t depth = 0;
    while (p && pgt_set(p->parent) && depth < t->n_partitions) {
        p = find_partition(t, p->parent);
        depth++;
    }
    return depth;
}

// Parents first, otherwise in the source's order.
static void
put_partitions(struct gw_buf *sql, const Gw__Table *t)
{
    size_t left = t->n_partitions;
    for (size_t depth = 0; left > 0 && depth <= t->n_partitions; depth++) {
        for (size_t i = 0; i < t->n_partitions; i++) {
            if (depth_of(t, t->partitions[i]) == depth) {
                put_partition(sql, t, t->partitions[i]);
                left--;
            }
        }
    }
}

void
pgt_create_table(struct gw_buf *sql, const Gw__Table *t, bool with_pk, int version)
{
    (void)version;
    bool native = pgt_native(t);
    bool partitioned = native && pgt_set(t->partition_by);
    bool unlogged = native && pgt_word(t->native_options, "UNLOGGED");
    put_sequences(sql, t, true);
    gw_buf_printf(sql, "CREATE %sTABLE ", unlogged ? "UNLOGGED " : "");
    pgt_tname(sql, t);
    gw_buf_puts(sql, " (");
    for (size_t i = 0; i < t->n_columns; i++) {
        gw_buf_puts(sql, i ? ",\n  " : "\n  ");
        pgt_column_sql(sql, t, t->columns[i]);
    }
    if (with_pk && t->n_primary_key > 0) {
        PGT_ARENA a;
        gw_arena_init(&a);
        gw_buf_puts(sql, ",\n  CONSTRAINT ");
        pgt_ident(sql, pgt_pk_name(&a, t));
        gw_buf_puts(sql, " PRIMARY KEY (");
        pgt_idents(sql, t->n_primary_key, t->primary_key);
        gw_buf_putc(sql, ')');
    }
    gw_buf_putc(sql, ')');
    if (partitioned) {
        put_partition_by(sql, t->partition_by);
    }
    const char *options = native ? t->native_options : "";
    options += unlogged ? strlen("UNLOGGED") : 0;
    options += strspn(options, " ");
    if (pgt_set(options)) {
        gw_buf_printf(sql, " %s", options);
    }
    gw_buf_puts(sql, ";\n");
    if (partitioned) {
        put_partitions(sql, t);
    }
    put_sequences(sql, t, false);
    put_comments(sql, t);
}

bool
pgt_pk_after(const struct pgt *t, const Gw__Table *table)
{
    return table->n_primary_key > 0 && !(t->task->load && t->task->load->create_pk_after_load == GW__TRI__NO);
}
