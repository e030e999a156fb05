// What a table is on SQLite: declared types, CREATE TABLE, names.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apply/targets/sqlite/sqlite_target.h"

enum size_form { NO_SIZE, LENGTH, DIGITS };

// The name decides the affinity, and the affinity what SQLite does to a value: TEXT keeps every text as it is, NUMERIC would
// turn '1.10' into 1.1 and '01' into 1. So exact decimals, bits and JSON get a name with TEXT in it; dates and uuids are
// never taken for numbers, and keep the names that people and libraries know. A SQLite source reads these names back.
static const struct {
    Gw__Kind kind;
    const char *declared;
    enum size_form size;
} types[] = {
    {GW__KIND__KIND_BOOL, "BOOLEAN", NO_SIZE},
    {GW__KIND__KIND_INT8, "TINYINT", NO_SIZE},
    {GW__KIND__KIND_INT16, "SMALLINT", NO_SIZE},
    {GW__KIND__KIND_INT24, "MEDIUMINT", NO_SIZE},
    {GW__KIND__KIND_INT32, "INTEGER", NO_SIZE},
    {GW__KIND__KIND_INT64, "BIGINT", NO_SIZE},
    {GW__KIND__KIND_NUMERIC, "DECIMAL_TEXT", DIGITS},
    {GW__KIND__KIND_FLOAT32, "FLOAT", NO_SIZE},
    {GW__KIND__KIND_FLOAT64, "DOUBLE", NO_SIZE},
    {GW__KIND__KIND_CHAR, "CHAR", LENGTH},
    {GW__KIND__KIND_VARCHAR, "VARCHAR", LENGTH},
    {GW__KIND__KIND_TEXT, "TEXT", NO_SIZE},
    {GW__KIND__KIND_BINARY, "BLOB", LENGTH},
    {GW__KIND__KIND_VARBINARY, "BLOB", LENGTH},
    {GW__KIND__KIND_BLOB, "BLOB", NO_SIZE},
    {GW__KIND__KIND_DATE, "DATE", NO_SIZE},
    {GW__KIND__KIND_TIME, "TIME", NO_SIZE},
    {GW__KIND__KIND_TIMETZ, "TIMETZ", NO_SIZE},
    {GW__KIND__KIND_TIMESTAMP, "TIMESTAMP", NO_SIZE},
    {GW__KIND__KIND_TIMESTAMPTZ, "TIMESTAMPTZ", NO_SIZE},
    {GW__KIND__KIND_DURATION, "DURATION_TEXT", NO_SIZE},
    {GW__KIND__KIND_YEAR, "YEAR", NO_SIZE},
    {GW__KIND__KIND_UUID, "UUID", NO_SIZE},
    {GW__KIND__KIND_JSON, "JSON_TEXT", NO_SIZE},
    {GW__KIND__KIND_JSONB, "JSON_TEXT", NO_SIZE},
    {GW__KIND__KIND_BIT, "BIT_TEXT", LENGTH},
    {GW__KIND__KIND_VARBIT, "VARBIT_TEXT", LENGTH},
    {GW__KIND__KIND_GEOMETRY, "BLOB", NO_SIZE},
}; // all others: TEXT

static bool
is_sqlite(const Gw__Table *t)
{
    return strcmp(t->engine, "sqlite") == 0;
}

bool
lite_is_rowid(const Gw__Table *t, const Gw__Column *c)
{
    if (t->n_primary_key != 1 || strcmp(t->primary_key[0], c->name) != 0 || c->left_out) {
        return false;
    }
    if (is_sqlite(t)) {
        return c->identity == GW__IDENTITY__IDENTITY_AUTO;
    }
    bool integer = c->type->kind >= GW__KIND__KIND_INT8 && c->type->kind <= GW__KIND__KIND_INT64;
    bool beyond = c->type->kind == GW__KIND__KIND_INT64 && c->type->is_unsigned;
    return integer && (!beyond || c->identity != GW__IDENTITY__IDENTITY_NONE);
}

void
lite_declare(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    const Gw__Type *type = c->type;
    if (lite_is_rowid(t, c)) {
        gw_buf_puts(sql, "INTEGER");
    } else if (is_sqlite(t)) {
        gw_buf_puts(sql, type->native);
    } else if (type->kind == GW__KIND__KIND_INT64 && type->is_unsigned) {
        // No affinity: integers as far as 64 bits with a sign go, text beyond. INTEGER would make a float of that.
        gw_buf_puts(sql, "UBIG_BLOB");
    } else {
        const char *name = "TEXT";
        enum size_form size = NO_SIZE;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            if (types[i].kind == type->kind) {
                name = types[i].declared;
                size = types[i].size;
            }
        }
        gw_buf_puts(sql, name);
        if (size == LENGTH && type->length) {
            gw_buf_printf(sql, "(%llu)", (unsigned long long)type->length);
        } else if (size == DIGITS && type->precision) {
            gw_buf_printf(sql, "(%u,%d)", type->precision, type->scale);
        }
    }
}

static void
put_names(struct gw_buf *sql, char *const *names, size_t n)
{
    gw_buf_putc(sql, '(');
    for (size_t i = 0; i < n; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_lite_ident(sql, names[i]);
    }
    gw_buf_putc(sql, ')');
}

// ---- columns -----------------------------------------------------------------------------------

static void
put_literal(struct gw_buf *sql, const Gw__Column *c)
{
    const char *v = c->default_text;
    size_t n = strlen(v);
    Gw__Kind k = c->type->kind;
    bool number = (k >= GW__KIND__KIND_INT8 && k <= GW__KIND__KIND_INT64) || k == GW__KIND__KIND_YEAR ||
                  k == GW__KIND__KIND_FLOAT32 || k == GW__KIND__KIND_FLOAT64;
    bool bytes = k == GW__KIND__KIND_BINARY || k == GW__KIND__KIND_VARBINARY || k == GW__KIND__KIND_BLOB;
    double real = 0;
    if (k == GW__KIND__KIND_BOOL) {
        gw_buf_puts(sql, v[0] == 't' ? "1" : "0");
    } else if (bytes && n >= 2 && v[0] == '\\' && v[1] == 'x' && strspn(v + 2, "0123456789abcdef") == n - 2) {
        gw_buf_printf(sql, "X'%s'", v + 2);
    } else if (number && gw_lite_parse_real(v, n, &real)) {
        gw_buf_printf(sql, "%s%s%s", v[0] == '-' ? "(" : "", v, v[0] == '-' ? ")" : "");
    } else {
        gw_lite_literal(sql, v, n);
    }
}

static void
put_default(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    if (is_sqlite(t) && c->default_native[0]) {
        gw_buf_printf(sql, " DEFAULT (%s)", c->default_native);
        return;
    }
    switch (c->default_kind) {
    case GW__DEFAULT_KIND__DEFAULT_LITERAL:
        gw_buf_puts(sql, " DEFAULT ");
        put_literal(sql, c);
        break;
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP:
        // CURRENT_TIMESTAMP is UTC, as text without a zone
        gw_buf_puts(sql, c->type->kind == GW__KIND__KIND_TIMESTAMPTZ
                             ? " DEFAULT (strftime('%Y-%m-%d %H:%M:%f+00', 'now'))"
                             : " DEFAULT CURRENT_TIMESTAMP");
        break;
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE: gw_buf_puts(sql, " DEFAULT CURRENT_DATE"); break;
    default: break; // none, NULL, or an expression that preflight has reported
    }
}

void
lite_column_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c)
{
    gw_lite_ident(sql, c->name);
    gw_buf_putc(sql, ' ');
    lite_declare(sql, t, c);
    if (lite_is_rowid(t, c)) {
        bool auto_increment = is_sqlite(t) ? strcmp(c->identity_options, "AUTOINCREMENT") == 0
                                           : c->identity != GW__IDENTITY__IDENTITY_NONE;
        gw_buf_puts(sql, auto_increment ? " PRIMARY KEY AUTOINCREMENT" : " PRIMARY KEY");
        return;
    }
    const char *expr = is_sqlite(t) ? c->generated : c->generated_portable;
    if (c->left_out && expr[0]) {
        gw_buf_printf(sql, " GENERATED ALWAYS AS (%s) %s", expr, c->generated_stored ? "STORED" : "VIRTUAL");
    } else {
        put_default(sql, t, c);
    }
    if (c->not_null) {
        gw_buf_puts(sql, " NOT NULL");
    }
    if (is_sqlite(t) && c->type->collation[0]) {
        gw_buf_puts(sql, " COLLATE ");
        gw_lite_ident(sql, c->type->collation);
    }
}

// ---- constraints -------------------------------------------------------------------------------

static bool
same_columns(char *const *a, size_t a_n, char *const *b, size_t b_n)
{
    size_t found = 0;
    for (size_t i = 0; i < a_n; i++) {
        for (size_t k = 0; k < b_n; k++) {
            found += strcasecmp(a[i], b[k]) == 0;
        }
    }
    return a_n == b_n && found == a_n;
}

// A key is kept if its parent is in the task and has a unique key over just these columns: with any other, every later
// write to either table would fail (https://www.sqlite.org/foreignkeys.html#fk_indexes).
bool
lite_key_kept(const Gw__ForeignKey *fk, const struct lite_parents *parents)
{
    const Gw__Table *p = parents->find(parents->arg, fk->ref_table);
    if (!p) {
        return false;
    }
    if (same_columns(p->primary_key, p->n_primary_key, fk->ref_columns, fk->n_ref_columns)) {
        return true;
    }
    for (size_t i = 0; i < p->n_indexes; i++) {
        const Gw__Index *ix = p->indexes[i];
        size_t found = 0;
        for (size_t k = 0; k < ix->n_parts; k++) {
            for (size_t j = 0; j < fk->n_ref_columns; j++) {
                found += ix->parts[k]->column[0] && ix->parts[k]->prefix_length == 0 &&
                         strcasecmp(ix->parts[k]->column, fk->ref_columns[j]) == 0;
            }
        }
        if (ix->is_unique && !ix->predicate[0] && !lite_index_refused(p, ix) && found == ix->n_parts &&
            found == fk->n_ref_columns) {
            return true;
        }
    }
    return false;
}

static bool
is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool
mentions(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += n) {
        if ((p == text || !is_word_char(p[-1])) && !is_word_char(p[n])) {
            return true;
        }
    }
    return false;
}

// Numbers that are stored as text compare as text here: '9' > '10'.
static bool
compares_otherwise(const Gw__Table *t, const char *text)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        bool number =
            c->type->kind == GW__KIND__KIND_NUMERIC || (c->type->kind == GW__KIND__KIND_INT64 && c->type->is_unsigned);
        if (number && mentions(text, c->name)) {
            return true;
        }
    }
    return false;
}

const char *
lite_check_text(const Gw__Table *t, const Gw__Check *c)
{
    if (is_sqlite(t)) {
        return c->native[0] ? c->native : NULL;
    }
    return c->portable[0] && !compares_otherwise(t, c->portable) ? c->portable : NULL;
}

static void
put_foreign_key(struct gw_buf *sql, const Gw__ForeignKey *fk)
{
    gw_buf_puts(sql, ",\n  FOREIGN KEY ");
    put_names(sql, fk->columns, fk->n_columns);
    gw_buf_puts(sql, " REFERENCES ");
    gw_lite_ident(sql, fk->ref_table);
    gw_buf_putc(sql, ' ');
    put_names(sql, fk->ref_columns, fk->n_ref_columns);
    // The five actions are spelled alike everywhere; anything else is not one of them.
    static const char *const actions[] = {"RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcasecmp(fk->on_delete, actions[i]) == 0) {
            gw_buf_printf(sql, " ON DELETE %s", actions[i]);
        }
        if (strcasecmp(fk->on_update, actions[i]) == 0) {
            gw_buf_printf(sql, " ON UPDATE %s", actions[i]);
        }
    }
    if (fk->deferrable) {
        gw_buf_puts(sql, fk->initially_deferred ? " DEFERRABLE INITIALLY DEFERRED" : " DEFERRABLE");
    }
}

bool
lite_native_text(const Gw__Table *t, const struct lite_parents *parents)
{
    if (!is_sqlite(t) || t->native_options[0] != '(') {
        return false;
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        bool renamed = i < t->n_source_columns && strcmp(t->source_columns[i], t->columns[i]->name) != 0;
        // A generated column whose values are copied is a plain one.
        if (renamed || (t->columns[i]->generated[0] && !t->columns[i]->left_out)) {
            return false;
        }
    }
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        // The text names the parent as the source does.
        const Gw__Table *p = parents->find(parents->arg, t->foreign_keys[i]->ref_table);
        if (!lite_key_kept(t->foreign_keys[i], parents) || !p || strcasecmp(p->name, p->source_name) != 0) {
            return false;
        }
    }
    return true;
}

void
lite_create_table(struct gw_buf *sql, const Gw__Table *t, const struct lite_parents *parents, bool native)
{
    gw_buf_puts(sql, "CREATE TABLE ");
    gw_lite_ident(sql, t->name);
    gw_buf_putc(sql, ' ');
    if (native) {
        gw_buf_puts(sql, t->native_options);
        return;
    }
    bool rowid_key = false;
    for (size_t i = 0; i < t->n_columns; i++) {
        gw_buf_puts(sql, i ? ",\n  " : "(\n  ");
        lite_column_sql(sql, t, t->columns[i]);
        rowid_key = rowid_key || lite_is_rowid(t, t->columns[i]);
    }
    if (t->n_primary_key && !rowid_key) {
        gw_buf_puts(sql, ",\n  PRIMARY KEY ");
        put_names(sql, t->primary_key, t->n_primary_key);
    }
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        if (lite_key_kept(t->foreign_keys[i], parents)) {
            put_foreign_key(sql, t->foreign_keys[i]);
        }
    }
    for (size_t i = 0; i < t->n_checks; i++) {
        const char *text = lite_check_text(t, t->checks[i]);
        if (text) {
            gw_buf_printf(sql, ",\n  CHECK (%s)", text);
        }
    }
    gw_buf_puts(sql, "\n)");
    const char *options = is_sqlite(t) ? strrchr(t->native_options, ')') : NULL;
    gw_buf_puts(sql, options ? options + 1 : "");
}

// ---- indexes -----------------------------------------------------------------------------------

const char *
lite_index_refused(const Gw__Table *t, const Gw__Index *ix)
{
    if (ix->method[0] && strcasecmp(ix->method, "btree") != 0 && strcasecmp(ix->method, "hash") != 0) {
        return "SQLite has no index of this method";
    }
    if (!is_sqlite(t) && ix->predicate[0]) {
        return "the predicate is in another engine's words";
    }
    if (ix->n_parts == 0) {
        return "it has no columns";
    }
    for (size_t i = 0; i < ix->n_parts; i++) {
        if (!ix->parts[i]->column[0] && (!is_sqlite(t) || !ix->parts[i]->expression[0])) {
            return "the expression is in another engine's words";
        }
        if (ix->parts[i]->prefix_length && ix->is_unique) {
            return "SQLite cannot make only a prefix of a column unique";
        }
    }
    return NULL;
}

char *
lite_index_name(struct gw_arena *a, const Gw__Table *t, const Gw__Index *ix)
{
    // An index is unique by name in the whole file, not in its table or schema.
    size_t n = strlen(t->name);
    bool has_prefix = strncasecmp(ix->name, t->name, n) == 0 && ix->name[n] == '_';
    if (is_sqlite(t) || has_prefix) {
        return gw_arena_strdup(a, ix->name);
    }
    return gw_arena_printf(a, "%s_%s", t->name, ix->name);
}
