// CREATE TABLE. From an equal engine the native texts are used; from any other the table is made of kinds.
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "myt.h"

enum { COLUMN_COMMENT_MAX = 1024, TABLE_COMMENT_MAX = 2048 };

// ---- AUTO_INCREMENT

const Gw__Column *
myt_auto_column(const struct myt *t, const Gw__Table *table)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        const Gw__Column *c = table->columns[i];
        if (c->identity == GW__IDENTITY__IDENTITY_NONE || c->left_out) {
            continue;
        }
        enum myt_family f = myt_type_family(t, table, c);
        if (f == MYT_INTEGER || (myt_native(table) && f == MYT_NUMBER)) {
            return c; // a table has at most one here
        }
    }
    return NULL;
}

static bool
leads(const Gw__Index *x, const char *column)
{
    return x->n_parts > 0 && strcmp(x->parts[0]->column, column) == 0 && x->parts[0]->prefix_length == 0 &&
           (!myt_set(x->method) || strcasecmp(x->method, "btree") == 0);
}

bool
myt_auto_needs_key(const struct myt *t, const Gw__Table *table)
{
    const Gw__Column *c = myt_auto_column(t, table);
    return c && !(table->n_primary_key > 0 && strcmp(table->primary_key[0], c->name) == 0);
}

// The server wants a key that begins with the column as long as the column counts: the table's own, if it has one.
static void
put_auto_key(struct gw_buf *sql, struct myt *t, const Gw__Table *table)
{
    if (!myt_auto_needs_key(t, table)) {
        return;
    }
    MYT_ARENA a;
    gw_arena_init(&a);
    const Gw__Column *c = myt_auto_column(t, table);
    gw_buf_puts(sql, ",\n  ");
    for (size_t i = 0; i < table->n_indexes; i++) {
        const Gw__Index *x = table->indexes[i];
        if (leads(x, c->name) && !myt_index_refused(t, table, x)) {
            myt_index_sql(sql, t, table, x, myt_index_object(&a, table, i));
            return;
        }
    }
    myt_put(t, sql, "KEY $i ($i)", myt_fit(&a, gw_arena_printf(&a, "%s_auto", c->name)), c->name);
}

// ---- defaults

static bool
expressions(const struct myt *t)
{
    return t->server.mariadb || t->server.version >= 80013;
}

static bool
is_lettered(const Gw__Type *type)
{
    return type->kind == GW__KIND__KIND_CHAR || type->kind == GW__KIND__KIND_VARCHAR ||
           type->kind == GW__KIND__KIND_TEXT;
}

static bool
is_number_text(const char *s)
{
    s += *s == '-' || *s == '+';
    bool digit = false;
    for (; *s; s++) {
        digit = digit || isdigit((unsigned char)*s);
        if (!isdigit((unsigned char)*s) && !strchr(".eE+-", *s)) {
            return false;
        }
    }
    return digit;
}

static bool
is_date_text(const char *s)
{
    for (size_t i = 0; i < 10; i++) {
        if (i == 4 || i == 7 ? s[i] != '-' : !isdigit((unsigned char)s[i])) {
            return false;
        }
    }
    return isdigit((unsigned char)s[strlen(s) - 1]) && strncmp(s, "0000", 4) != 0 && !strstr(s, "-00");
}

static bool
is_hex_text(const char *s)
{
    return s[0] == '\\' && s[1] == 'x' && strlen(s) % 2 == 0 &&
           strspn(s + 2, "0123456789abcdefABCDEF") == strlen(s + 2);
}

static const char *
literal_refused(const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    enum myt_family f = myt_type_family(t, table, c);
    const char *s = c->default_text;
    switch (c->type->kind) {
    case GW__KIND__KIND_BOOL: return strchr("tf01", s[0]) && s[0] && !s[1] ? NULL : "neither true nor false";
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_TIMESTAMP: return is_date_text(s) ? NULL : "a date that does not exist here";
    case GW__KIND__KIND_TIMESTAMPTZ:
        return strlen(s) > 13 && strcmp(s + strlen(s) - 3, "+00") == 0 ? NULL : "a date that does not exist here";
    case GW__KIND__KIND_GEOMETRY: return "a geometry";
    default:
        if ((f == MYT_INTEGER || f == MYT_NUMBER) && !is_number_text(s)) {
            return "not a number here";
        }
        if ((f == MYT_BYTES || f == MYT_BLOB) && !is_hex_text(s)) {
            return "not written as bytes";
        }
        if (f == MYT_BIT && (!*s || strspn(s, "01") != strlen(s))) {
            return "not a string of bits";
        }
        return (f == MYT_TEXT || f == MYT_BLOB) && !expressions(t) ? "text of any length has no default here" : NULL;
    }
}

const char *
myt_default_refused(const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    if (c->left_out || (myt_native(table) && myt_set(c->default_native))) {
        return NULL;
    }
    switch (c->default_kind) {
    case GW__DEFAULT_KIND__DEFAULT_EXPRESSION: return "an expression of the source's dialect";
    case GW__DEFAULT_KIND__DEFAULT_LITERAL: return literal_refused(t, table, c);
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP:
    case GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE: {
        enum myt_family f = myt_type_family(t, table, c);
        if (f != MYT_TIME && !is_lettered(c->type)) {
            return "the current time in a column that is no time";
        }
        return c->type->kind != GW__KIND__KIND_TIMESTAMP && !expressions(t) ? "an expression" : NULL;
    }
    default: return NULL;
    }
}

static void
put_literal(struct gw_buf *sql, enum myt_family f, const Gw__Column *c)
{
    const char *s = c->default_text;
    bool lob = f == MYT_TEXT || f == MYT_BLOB; // these take no plain literal
    gw_buf_puts(sql, lob ? " DEFAULT (" : " DEFAULT ");
    if (c->type->kind == GW__KIND__KIND_BOOL) {
        gw_buf_puts(sql, s[0] == 't' || s[0] == '1' ? "1" : "0");
    } else if (f == MYT_BYTES || f == MYT_BLOB) {
        gw_buf_printf(sql, "x'%s'", s + 2);
    } else if (f == MYT_BIT) {
        gw_buf_printf(sql, "b'%s'", s);
    } else {
        size_t n = strlen(s) - (c->type->kind == GW__KIND__KIND_TIMESTAMPTZ ? 3 : 0);
        gw_my_literal(sql, s, n);
    }
    gw_buf_puts(sql, lob ? ")" : "");
}

static unsigned
fraction(const Gw__Type *type)
{
    return type->has_scale && type->precision < 6 ? type->precision : 6;
}

static void
put_now(struct gw_buf *sql, const Gw__Column *c)
{
    bool date = c->default_kind == GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE;
    unsigned digits = fraction(c->type);
    switch (c->type->kind) {
    case GW__KIND__KIND_TIMESTAMP:
        gw_buf_printf(sql, date ? " DEFAULT (CURRENT_DATE)" : " DEFAULT CURRENT_TIMESTAMP(%u)", digits);
        break;
    case GW__KIND__KIND_TIMESTAMPTZ: // the column holds UTC
        gw_buf_printf(sql, date ? " DEFAULT (UTC_DATE())" : " DEFAULT (UTC_TIMESTAMP(%u))", digits);
        break;
    case GW__KIND__KIND_TIME: gw_buf_printf(sql, " DEFAULT (CURRENT_TIME(%u))", digits); break;
    case GW__KIND__KIND_DATE: gw_buf_puts(sql, " DEFAULT (CURRENT_DATE)"); break;
    default: // as SQLite writes it
        gw_buf_printf(sql, " DEFAULT (DATE_FORMAT(UTC_TIMESTAMP(), '%s'))", date ? "%Y-%m-%d" : "%Y-%m-%d %H:%i:%s");
    }
}

static void
put_native_default(struct gw_buf *sql, enum myt_family f, const Gw__Column *c)
{
    bool wrap = c->default_native[0] != '(' && strcasecmp(c->default_native, "NULL") != 0 &&
                (c->default_kind == GW__DEFAULT_KIND__DEFAULT_EXPRESSION || f == MYT_TEXT || f == MYT_BLOB);
    gw_buf_printf(sql, wrap ? " DEFAULT (%s)" : " DEFAULT %s", c->default_native);
}

static void
put_default(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    enum myt_family f = myt_type_family(t, table, c);
    if (myt_native(table) && myt_set(c->default_native)) {
        put_native_default(sql, f, c);
    } else if (!myt_default_refused(t, table, c)) {
        switch (c->default_kind) {
        case GW__DEFAULT_KIND__DEFAULT_LITERAL: put_literal(sql, f, c); break;
        case GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP:
        case GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE: put_now(sql, c); break;
        default: break;
        }
    }
}

// ---- columns

// At most `max` characters: the server refuses longer comments.
static void
put_comment(struct gw_buf *sql, const char *before, const char *text, size_t max)
{
    if (!myt_set(text)) {
        return;
    }
    size_t n = 0, bytes = 0;
    for (; text[bytes]; bytes++) {
        n += ((unsigned char)text[bytes] & 0xC0) != 0x80;
        if (n > max) {
            break;
        }
    }
    gw_buf_puts(sql, before);
    gw_my_literal(sql, text, bytes);
}

static void
put_on_update(struct gw_buf *sql, const Gw__Column *c)
{
    const char *open = strchr(c->type->native, '(');
    gw_buf_puts(sql, " ON UPDATE CURRENT_TIMESTAMP");
    if (open) {
        gw_buf_printf(sql, "%s", open); // its digits of a second, as in the type
    }
}

void
myt_column_sql(struct gw_buf *sql, struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    gw_my_ident(sql, c->name);
    gw_buf_putc(sql, ' ');
    myt_type(sql, t, table, c);
    if (myt_native(table) && c->left_out && myt_set(c->generated)) {
        gw_buf_printf(sql, " GENERATED ALWAYS AS (%s) %s", c->generated, c->generated_stored ? "STORED" : "VIRTUAL");
        gw_buf_puts(sql, c->not_null && !t->server.mariadb ? " NOT NULL" : "");
    } else {
        bool counts = myt_auto_column(t, table) == c;
        // NULL is said: a TIMESTAMP column may otherwise be NOT NULL by itself.
        gw_buf_puts(sql, c->not_null || counts || myt_in_pk(table, c->name) ? " NOT NULL" : " NULL");
        if (counts) {
            gw_buf_puts(sql, " AUTO_INCREMENT");
        } else {
            put_default(sql, t, table, c);
        }
        if (c->on_update_now && myt_native(table)) {
            put_on_update(sql, c);
        }
    }
    put_comment(sql, " COMMENT ", c->comment, COLUMN_COMMENT_MAX);
}

static void
put_json_checks(struct gw_buf *sql, const struct myt *t, const Gw__Table *table)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        Gw__Kind k = table->columns[i]->type->kind;
        if (!t->server.mariadb && !myt_type_native(t, table, table->columns[i]) &&
            (k == GW__KIND__KIND_JSON || k == GW__KIND__KIND_JSONB)) {
            myt_put(t, sql, ",\n  CHECK (JSON_VALID($i))", table->columns[i]->name);
        }
    }
}

// ---- the table

void
myt_create_table(struct gw_buf *sql, struct myt *t, const Gw__Table *table)
{
    bool native = myt_native(table);
    gw_buf_puts(sql, "CREATE TABLE ");
    myt_tname(sql, t, table);
    gw_buf_puts(sql, " (");
    for (size_t i = 0; i < table->n_columns; i++) {
        gw_buf_puts(sql, i ? ",\n  " : "\n  ");
        myt_column_sql(sql, t, table, table->columns[i]);
    }
    if (table->n_primary_key > 0) {
        gw_buf_puts(sql, ",\n  PRIMARY KEY (");
        myt_idents(sql, table->n_primary_key, table->primary_key);
        gw_buf_putc(sql, ')');
    }
    put_auto_key(sql, t, table);
    put_json_checks(sql, t, table);
    gw_buf_putc(sql, ')');
    if (native && myt_set(table->native_options)) {
        myt_put_options(sql, t, table->native_options);
    } else {
        gw_buf_printf(sql, " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE %s ROW_FORMAT=DYNAMIC",
                      myt_default_collation(t));
    }
    if (!strcasestr(table->native_options, "COMMENT=")) {
        put_comment(sql, " COMMENT=", table->comment, TABLE_COMMENT_MAX);
    }
    if (native && myt_set(table->partition_by)) { // the whole clause, with the list
        gw_buf_printf(sql, "\n %s%s", myt_word(table->partition_by, "PARTITION") ? "" : "PARTITION BY ",
                      table->partition_by);
    }
}
