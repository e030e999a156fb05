// Columns of a table that was there before the task. What LOAD DATA alters without a warning is found here or never: a
// float in a narrower one, a number in a float, blanks at the end of a CHAR, bytes in a column of text.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/expr.h"
#include "myt.h"

#define INFO GW__SEVERITY__SEVERITY_INFO
#define WARN GW__SEVERITY__SEVERITY_WARNING
#define ERR  GW__SEVERITY__SEVERITY_ERROR

// FITS: every value is kept. REFUSES: some may be refused, as rows. ALTERS: some would be changed in silence.
enum fit { FITS, REFUSES, ALTERS };

// A type as the server writes it, taken apart.
struct shape {
    char base[32];
    long n, m; // -1: not given
    bool is_unsigned;
};

static struct shape
shape_of(const char *text)
{
    struct shape s = {.n = -1, .m = -1};
    size_t i = 0;
    for (; isalnum((unsigned char)text[i]) && i + 1 < sizeof s.base; i++) {
        s.base[i] = (char)tolower((unsigned char)text[i]);
    }
    if (text[i] == '(' && isdigit((unsigned char)text[i + 1])) {
        char *end = NULL;
        s.n = strtol(text + i + 1, &end, 10);
        s.m = *end == ',' ? strtol(end + 1, NULL, 10) : -1;
    }
    s.is_unsigned = strcasestr(text, "unsigned") != NULL;
    return s;
}

static int
rank_of(const char *base, const char *const *ranks)
{
    for (int i = 0; ranks[i]; i++) {
        if (strcmp(base, ranks[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *const integers[] = {"tinyint", "smallint", "mediumint", "int", "bigint", NULL};
static const char *const texts[] = {"varchar", "tinytext", "text", "mediumtext", "longtext", NULL};
static const char *const blobs[] = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", NULL};
static const char *const times[] = {"date", "datetime", "timestamp", NULL};
static const char *const shapes[] = {
    "geometry",        "point",        "linestring",         "polygon",        "multipoint",
    "multilinestring", "multipolygon", "geometrycollection", "geomcollection", NULL};

static bool
is_float(const char *base)
{
    return strcmp(base, "float") == 0 || strcmp(base, "double") == 0;
}

static enum fit
into_float(const struct shape *need, const struct shape *have, const char **why)
{
    int r = rank_of(need->base, integers);
    bool wide = strcmp(have->base, "double") == 0;
    if (have->m >= 0) { // FLOAT(M,D)
        bool same = strcmp(need->base, have->base) == 0 && need->n == have->n && need->m == have->m;
        *why = r >= 0 ? "greater numbers are refused" : "numbers would be rounded to the digits behind the point";
        return same ? FITS : r >= 0 && r <= (wide ? 3 : 1) ? REFUSES : ALTERS;
    }
    if (strcmp(need->base, "float") == 0 || (wide && strcmp(need->base, "double") == 0) ||
        (r >= 0 && r <= (wide ? 3 : 1))) {
        return FITS;
    }
    *why = "numbers would be rounded";
    return ALTERS;
}

// From or into numbers.
static enum fit
number_fit(const struct shape *need, const struct shape *have, const char **why)
{
    static const long digits[] = {3, 5, 8, 10, 20};
    int rn = rank_of(need->base, integers), rh = rank_of(have->base, integers);
    *why = "numbers that do not fit are refused";
    if (is_float(have->base)) {
        return into_float(need, have, why);
    }
    if (rn >= 0 && rh >= 0) {
        bool wider = rh > rn && (need->is_unsigned || !have->is_unsigned);
        return wider || (rh == rn && need->is_unsigned == have->is_unsigned) ? FITS : REFUSES;
    }
    if (strcmp(have->base, "decimal") == 0 && !is_float(need->base)) {
        long n = rn >= 0 ? digits[rn] : need->n, m = rn >= 0 ? 0 : need->m;
        return n - m <= have->n - have->m && m <= have->m ? FITS : REFUSES; // what is rounded is a note, and refused
    }
    return REFUSES;
}

static enum fit
text_fit(const struct shape *need, const struct shape *have, const char **why)
{
    if (strcmp(have->base, "char") == 0) {
        if (strcmp(need->base, "char") == 0) {
            *why = "longer values are refused";
            return need->n <= have->n ? FITS : REFUSES;
        }
        *why = "blanks at the end of a value would be lost";
        return ALTERS;
    }
    static const long chars[] = {0, 255 / 4, 65535 / 4, 16777215 / 4, 2147483647};
    int rn = rank_of(need->base, texts), rh = rank_of(have->base, texts);
    long n = strcmp(need->base, "char") == 0 || rn == 0 ? need->n : rn > 0 ? chars[rn] : need->n;
    long h = rh == 0 ? have->n : chars[rh];
    *why = "longer values are refused";
    return n >= 0 && n <= h ? FITS : REFUSES;
}

static enum fit
blob_fit(const struct shape *need, const struct shape *have, const char **why)
{
    if (strcmp(have->base, "binary") == 0) {
        *why = "shorter values would be filled up with zeros";
        return strcmp(need->base, "binary") == 0 && need->n == have->n ? FITS : ALTERS;
    }
    static const long bytes[] = {0, 0, 255, 65535, 16777215, 4294967295L};
    int rn = rank_of(need->base, blobs), rh = rank_of(have->base, blobs);
    *why = "longer values are refused";
    return (rn <= 1 ? need->n : bytes[rn]) <= (rh <= 1 ? have->n : bytes[rh]) ? FITS : REFUSES;
}

static enum fit
type_fit(const char *need_text, const char *have_text, const char **why)
{
    *why = NULL;
    struct shape need = shape_of(need_text), have = shape_of(have_text);
    bool num_need = rank_of(need.base, integers) >= 0 || is_float(need.base) || strcmp(need.base, "decimal") == 0;
    bool num_have = rank_of(have.base, integers) >= 0 || is_float(have.base) || strcmp(have.base, "decimal") == 0;
    bool txt_need = rank_of(need.base, texts) >= 0 || strcmp(need.base, "char") == 0;
    bool txt_have = rank_of(have.base, texts) >= 0 || strcmp(have.base, "char") == 0;
    bool bin_need = rank_of(need.base, blobs) >= 0, bin_have = rank_of(have.base, blobs) >= 0;
    if (num_have && num_need) {
        return number_fit(&need, &have, why);
    }
    if (bin_have && bin_need) {
        return blob_fit(&need, &have, why);
    }
    if (txt_have && (txt_need || strcmp(need.base, "enum") == 0 || strcmp(need.base, "json") == 0)) {
        if (strcmp(need.base, "json") == 0) {
            snprintf(need.base, sizeof need.base, "longtext");
        }
        return text_fit(&need, &have, why);
    }
    if (txt_have && (bin_need || rank_of(need.base, shapes) >= 0 || strcmp(need.base, "bit") == 0 ||
                     strcmp(need.base, "tinyint") == 0)) {
        *why = "values would be in the form in which they travel";
        return ALTERS;
    }
    if (txt_have && strcmp(have.base, "char") != 0) {
        *why = "longer values are refused"; // dates, numbers, uuids: their text
        return REFUSES;
    }
    if (strcmp(have.base, "enum") == 0 && (txt_need || strcmp(need.base, "enum") == 0)) {
        *why = "labels that it does not have are refused";
        return strcasecmp(need_text, have_text) == 0 ? FITS : REFUSES;
    }
    if (rank_of(need.base, times) >= 0 && rank_of(have.base, times) >= 0) {
        *why = "values that it cannot hold are refused"; // fractions and times of day are looked at row by row
        return strcmp(need.base, have.base) == 0 && have.n >= need.n ? FITS : REFUSES;
    }
    if (strcmp(need.base, have.base) == 0) {
        *why = "values that it cannot hold are refused";
        if (strcmp(need.base, "time") == 0) {
            return strcasecmp(need_text, have_text) == 0 ? FITS : REFUSES; // looked at row by row
        }
        if (strcmp(need.base, "set") == 0 || strcmp(need.base, "bit") == 0) {
            *why = "a value would mean something else there";
            return strcasecmp(need_text, have_text) == 0 ? FITS : ALTERS;
        }
        return FITS;
    }
    if (strcmp(need.base, "geometry") == 0) {
        *why = "values of another kind are refused";
        return REFUSES;
    }
    *why = "the types have nothing in common";
    return ALTERS;
}

bool
myt_type_fits(const char *need, const char *have, const char **ret_why)
{
    return type_fit(need, have, ret_why) == FITS;
}

// ---- the columns of a table

static MYSQL_ROW
find_row(MYSQL_RES *r, const char *name)
{
    mysql_data_seek(r, 0);
    for (MYSQL_ROW row; (row = mysql_fetch_row(r));) {
        if (myt_same_name(myt_text(row, 0), name)) {
            return row;
        }
    }
    return NULL;
}

enum { NAME, TYPE, NULLABLE, HAS_DEFAULT, EXTRA, GENERATED, DATA_TYPE };

static bool
is_generated(MYSQL_ROW row)
{
    return myt_text(row, GENERATED)[0] != 0;
}

// MySQL's information_schema has it once more escaped than SHOW CREATE TABLE.
static const char *
expression(const struct myt *t, struct gw_arena *a, MYSQL_ROW row)
{
    char *text = gw_arena_strdup(a, myt_text(row, GENERATED)), *to = text;
    if (t->server.mariadb) {
        return text;
    }
    for (const char *p = text; *p; p++) {
        bool escaped = *p == '\\' && p[1];
        p += escaped;
        *to++ = escaped && *p == 'n' ? '\n' : *p;
    }
    *to = 0;
    return text;
}

static void
check_one(const struct myt *t, struct myt_findings *f, const Gw__Table *table, const Gw__Column *c, MYSQL_ROW row)
{
    if (!row) {
        myt_find(f, c->left_out ? WARN : ERR, table, c->name, "add the column, or use DROP_AND_CREATE", NULL,
                 "the table on the target has no column \"%s\"", c->name);
        return;
    }
    if (c->left_out) {
        if (!is_generated(row)) {
            myt_find(f, ERR, table, c->name, "make it a generated column there, or use DROP_AND_CREATE", NULL,
                     "column \"%s\" is generated on the source and plain on the target: its values would be missing",
                     c->name);
        } else if (myt_set(c->generated)) {
            const char *here = expression(t, f->a, row);
            if (!gw_expr_same(here, c->generated, true)) {
                myt_find(f, WARN, table, c->name,
                         "the target computes its values: use DROP_AND_CREATE if the two differ", NULL,
                         "column \"%s\" is generated by (%s) on the target and by (%s) on the source", c->name, here,
                         c->generated);
            }
        }
        return;
    }
    if (is_generated(row)) {
        myt_find(f, ERR, table, c->name, "drop the expression, or use DROP_AND_CREATE", NULL,
                 "column \"%s\" is generated on the target, and cannot take the source's values", c->name);
        return;
    }
    bool not_null = strcmp(myt_text(row, NULLABLE), "NO") == 0;
    if (not_null && !c->not_null && !myt_in_pk(table, c->name)) {
        // These two put a value of their own where NULL comes, without a warning.
        bool fills = strcasecmp(myt_text(row, DATA_TYPE), "timestamp") == 0 ||
                     strcasestr(myt_text(row, EXTRA), "auto_increment");
        myt_find(f, fills ? ERR : WARN, table, c->name, fills ? "allow NULL in it" : "rows without a value are refused",
                 NULL, "column \"%s\" is NOT NULL on the target only", c->name);
    }
    MYT_BUF need;
    gw_buf_init(&need, 1 << 20);
    myt_type(&need, t, table, c);
    const char *why = NULL, *have = myt_text(row, TYPE);
    enum fit fit = type_fit(need.data, have, &why);
    if (c->type->kind == GW__KIND__KIND_VARBIT && strcasecmp(myt_text(row, DATA_TYPE), "bit") == 0) {
        fit = ALTERS;
        why = "bit strings of other lengths would be filled up";
    }
    if (fit != FITS) {
        myt_find(f, fit == ALTERS ? ERR : WARN, table, c->name,
                 fit == REFUSES ? "refused rows are recorded as such"
                                : gw_arena_printf(f->a, "change the column to %s", need.data),
                 NULL, "column \"%s\" is %s on the target and would be %s: %s", c->name, have, need.data, why);
    }
}

int
myt_preflight_columns(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "TABLE_SCHEMA", myt_schema(t, table), "TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT IS NOT NULL, EXTRA,"
                       " GENERATION_EXPRESSION, DATA_TYPE FROM information_schema.COLUMNS WHERE $s"
                       " ORDER BY ORDINAL_POSITION",
                       where.data);
    if (rc != GW_OK) {
        return rc;
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        check_one(t, f, table, table->columns[i], find_row(r, table->columns[i]->name));
    }
    mysql_data_seek(r, 0);
    for (MYSQL_ROW row; (row = mysql_fetch_row(r));) {
        bool known = false;
        for (size_t k = 0; k < table->n_columns && !known; k++) {
            known = myt_same_name(table->columns[k]->name, myt_text(row, NAME));
        }
        bool fills =
            myt_u64(row, HAS_DEFAULT) || strcasestr(myt_text(row, EXTRA), "auto_increment") || is_generated(row);
        if (!known && strcmp(myt_text(row, NULLABLE), "NO") == 0 && !fills) {
            myt_find(f, ERR, table, myt_text(row, NAME), "give it a default", NULL,
                     "column \"%s\" of the table on the target is NOT NULL, has no default and is not "
                     "at the source",
                     myt_text(row, NAME));
        }
    }
    return GW_OK;
}
