// Columns of a table that was there before the task: PostgreSQL rounds a numeric to the column's scale, a time to its
// precision and a float to its width without a word, so a narrower column is found here or never.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/expr.h"
#include "existing.h"

// A type as format_type() writes it, taken apart: "timestamp(3) without time zone" is base
// "timestamp without time zone", n 3.
struct shape {
    char base[80];
    long n, m; // -1: not given
};

static struct shape
shape_of(const char *text)
{
    struct shape s = {.n = -1, .m = -1};
    const char *open = strchr(text, '('), *close = open ? strchr(open, ')') : NULL;
    if (!close) {
        snprintf(s.base, sizeof s.base, "%s", text);
        return s;
    }
    char *end = NULL;
    s.n = strtol(open + 1, &end, 10);
    if (*end == ',') {
        s.m = strtol(end + 1, NULL, 10);
    } else if (strncmp(text, "numeric", 7) == 0) {
        s.m = 0;
    }
    snprintf(s.base, sizeof s.base, "%.*s%s", (int)(open - text), text, close + 1);
    return s;
}

// Pairs of different types whose fate is known. What is not here may be altered by the server: it is not tried.
static const struct {
    const char *need, *have;
    enum pgt_fit fit;
    const char *why;
} pairs[] = {
    {"smallint", "integer", PGT_FITS, NULL},
    {"smallint", "bigint", PGT_FITS, NULL},
    {"integer", "bigint", PGT_FITS, NULL},
    {"smallint", "real", PGT_FITS, NULL},
    {"smallint", "double precision", PGT_FITS, NULL},
    {"integer", "double precision", PGT_FITS, NULL},
    {"integer", "real", PGT_ALTERS, "integers beyond 2^24 would be rounded"},
    {"bigint", "real", PGT_ALTERS, "integers beyond 2^24 would be rounded"},
    {"bigint", "double precision", PGT_ALTERS, "integers beyond 2^53 would be rounded"},
    {"numeric", "real", PGT_ALTERS, "digits beyond the sixth would be rounded"},
    {"numeric", "double precision", PGT_ALTERS, "digits beyond the fifteenth would be rounded"},
    {"real", "double precision", PGT_FITS, NULL},
    {"double precision", "real", PGT_ALTERS, "digits beyond the sixth would be rounded"},
    {"character varying", "text", PGT_FITS, NULL},
    {"character", "text", PGT_FITS, NULL},
    {"character varying", "character", PGT_ALTERS, "blanks at the end of a value would be lost"},
    {"text", "character", PGT_ALTERS, "blanks at the end of a value would be lost"},
    {"json", "text", PGT_FITS, NULL},
    {"jsonb", "json", PGT_FITS, NULL},
    {"jsonb", "text", PGT_FITS, NULL},
    {"uuid", "text", PGT_FITS, NULL},
    {"inet", "text", PGT_FITS, NULL},
    {"json", "jsonb", PGT_CHANGES, "white space, the order of keys and duplicate keys would be lost"},
    {"bytea", "text", PGT_CHANGES, "bytes would become their hexadecimal text"},
    {"bytea", "character varying", PGT_CHANGES, "bytes would become their hexadecimal text"},
    {"date", "timestamp without time zone", PGT_FITS, NULL},
    {"timestamp without time zone", "date", PGT_ALTERS, "the time of day would be cut"},
    {"timestamp with time zone", "date", PGT_ALTERS, "the time of day would be cut"},
    {"timestamp without time zone", "time without time zone", PGT_ALTERS, "the date would be cut"},
    {"timestamp with time zone", "time without time zone", PGT_ALTERS, "the date would be cut"},
    {"timestamp without time zone", "timestamp with time zone", PGT_CHANGES, "local times would be taken for UTC"},
    {"timestamp with time zone", "timestamp without time zone", PGT_CHANGES,
     "the zone would be cut: times would be in UTC"},
    {"date", "timestamp with time zone", PGT_CHANGES, "dates would become midnight in UTC"},
    {"bit", "bit varying", PGT_FITS, NULL},
    {"smallint", "boolean", PGT_REFUSES, "values other than 0 and 1 are refused"},
    {"boolean", "text", PGT_CHANGES, "values would become the letters t and f"},
    {"uuid", "character varying", PGT_FITS, NULL},
    {"inet", "cidr", PGT_REFUSES, "addresses with bits to the right of the mask are refused"},
    {"text", "uuid", PGT_CHANGES, "upper case and braces would be lost; what is no uuid is refused"},
    {"character", "uuid", PGT_CHANGES, "upper case and braces would be lost; what is no uuid is refused"},
    {"character varying", "uuid", PGT_CHANGES, "upper case and braces would be lost; what is no uuid is refused"},
    {"text", "json", PGT_REFUSES, "what is no JSON is refused"},
    {"text", "jsonb", PGT_CHANGES, "white space, the order of keys and duplicate keys would be lost"},
    {"text", "xml", PGT_REFUSES, "what is no XML is refused"},
    {"timestamp without time zone", "text", PGT_FITS, NULL},
    {"timestamp with time zone", "text", PGT_FITS, NULL},
    {"date", "text", PGT_FITS, NULL},
    {"interval", "text", PGT_FITS, NULL},
    {"bit", "text", PGT_FITS, NULL},
    {"bit varying", "text", PGT_FITS, NULL},
    {"xml", "text", PGT_FITS, NULL},
    {"integer", "smallint", PGT_REFUSES, "greater numbers are refused"},
    {"bigint", "smallint", PGT_REFUSES, "greater numbers are refused"},
    {"bigint", "integer", PGT_REFUSES, "greater numbers are refused"},
    {"numeric", "bigint", PGT_REFUSES, "fractions and greater numbers are refused"},
    {"numeric", "integer", PGT_REFUSES, "fractions and greater numbers are refused"},
};

// Decimal digits that an integer type needs; 0 = not an integer type.
static long
integer_digits(const char *base)
{
    return strcmp(base, "smallint") == 0 ? 5 : strcmp(base, "integer") == 0 ? 10 : strcmp(base, "bigint") == 0 ? 19 : 0;
}

static enum pgt_fit
numeric_fit(const struct shape *need, const struct shape *have, const char **why)
{
    if (have->n < 0) {
        return PGT_FITS;
    }
    if (need->n < 0 || need->m > have->m) {
        *why = "digits behind the point would be rounded";
        return PGT_ALTERS;
    }
    if (need->n - need->m > have->n - have->m) {
        *why = "greater numbers are refused";
        return PGT_REFUSES;
    }
    return PGT_FITS;
}

static enum pgt_fit
same_base(const struct shape *need, const struct shape *have, const char **why)
{
    if (strcmp(need->base, "numeric") == 0) {
        return numeric_fit(need, have, why);
    }
    if (have->n < 0 || (need->n >= 0 && need->n == have->n)) {
        // bit without a length is bit(1), and character is character(1); format_type writes both with it.
        return PGT_FITS;
    }
    if (strncmp(need->base, "time", 4) == 0 || strcmp(need->base, "interval") == 0) {
        long precision = need->n < 0 ? 6 : need->n;
        *why = "fractions of seconds would be rounded";
        return have->n >= precision ? PGT_FITS : PGT_ALTERS;
    }
    if (strcmp(need->base, "bit") == 0) {
        *why = "bit strings of another length are refused";
        return PGT_REFUSES;
    }
    if (need->n < 0 || need->n > have->n) {
        bool bits = strcmp(need->base, "bit varying") == 0;
        *why = bits ? "longer bit strings are refused"
                    : "longer values are refused, and blanks beyond the length would be cut";
        return bits ? PGT_REFUSES : PGT_CHANGES;
    }
    return PGT_FITS;
}

enum pgt_fit
pgt_type_fit(const char *need_text, const char *have_text, const char **why)
{
    *why = NULL;
    if (strcmp(need_text, have_text) == 0) {
        return PGT_FITS;
    }
    struct shape need = shape_of(need_text), have = shape_of(have_text);
    if (strcmp(need.base, have.base) == 0) {
        return same_base(&need, &have, why);
    }
    long digits = integer_digits(need.base);
    if (digits && strcmp(have.base, "numeric") == 0) {
        struct shape as = {.n = digits, .m = 0};
        return numeric_fit(&as, &have, why);
    }
    bool floats = strcmp(need.base, "real") == 0 || strcmp(need.base, "double precision") == 0;
    if (floats && strcmp(have.base, "numeric") == 0 && have.n >= 0) {
        *why = "digits behind the point would be rounded";
        return PGT_ALTERS;
    }
    if (strcmp(have.base, "text") == 0 && (digits || floats || strcmp(need.base, "numeric") == 0)) {
        return PGT_FITS;
    }
    if (strcmp(need.base, "text") == 0 && strcmp(have.base, "character varying") == 0) {
        *why = "longer values are refused, and blanks beyond the length would be cut";
        return have.n < 0 ? PGT_FITS : PGT_CHANGES;
    }
    if (digits && integer_digits(have.base) > digits) {
        return PGT_FITS;
    }
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (strcmp(pairs[i].need, need.base) == 0 && strcmp(pairs[i].have, have.base) == 0) {
            *why = pairs[i].why;
            return pairs[i].fit;
        }
    }
    *why = "values might be altered on the way into it";
    return PGT_ALTERS;
}

// ---- the columns of a table

static int
find_row(const PGresult *r, const char *name)
{
    for (int i = 0; i < PQntuples(r); i++) {
        if (strcmp(pgt_text(r, i, 0), name) == 0) {
            return i;
        }
    }
    return -1;
}

static void
check_one(struct pgt_findings *f, const Gw__Table *t, const Gw__Column *c, const PGresult *r, int row)
{
    if (row < 0) {
        pgt_find(f, c->left_out ? WARN : ERR, t, c->name, "add the column, or use DROP_AND_CREATE", NULL,
                 "the table on the target has no column \"%s\"", c->name);
        return;
    }
    if (c->left_out && !pgt_text(r, row, 4)[0]) {
        pgt_find(f, ERR, t, c->name, "make it a generated column there, or use DROP_AND_CREATE", NULL,
                 "column \"%s\" is generated on the source and plain on the target: it would stay empty", c->name);
        return;
    }
    if (c->left_out) {
        if (pgt_set(c->generated) && !gw_expr_same(pgt_text(r, row, 5), c->generated, false)) {
            pgt_find(f, WARN, t, c->name, "the target computes its values: use DROP_AND_CREATE if the two differ", NULL,
                     "column \"%s\" is generated by (%s) on the target and by (%s) on the source", c->name,
                     pgt_text(r, row, 5), c->generated);
        }
        return;
    }
    if (pgt_text(r, row, 4)[0]) {
        pgt_find(f, ERR, t, c->name, "drop the expression, or use DROP_AND_CREATE", NULL,
                 "column \"%s\" is generated on the target, and cannot take the source's values", c->name);
        return;
    }
    if (pgt_true(r, row, 2) && !c->not_null) {
        pgt_find(f, WARN, t, c->name, "rows without a value are refused", NULL,
                 "column \"%s\" is NOT NULL on the target only", c->name);
    }
    PGT_BUF need;
    gw_buf_init(&need, 64 * 1024);
    pgt_type(&need, t, c->type);
    const char *why = NULL, *have = pgt_text(r, row, 1);
    enum pgt_fit fit = pgt_type_fit(need.data, have, &why);
    if (fit != PGT_FITS) {
        pgt_find(f, fit == PGT_ALTERS ? ERR : WARN, t, c->name,
                 fit == PGT_REFUSES ? "refused rows are recorded as such"
                                    : gw_arena_printf(f->a, "change the column to %s", need.data),
                 NULL, "column \"%s\" is %s on the target and would be %s: %s", c->name, have, need.data, why);
    }
}

int
pgt_preflight_columns(struct pgt *t, struct pgt_findings *f, const Gw__Table *table, const char *oid,
                      struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {oid};
    // A domain is as wide as what it is made of.
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT a.attname, CASE WHEN y.typtype = 'd'"
                       " THEN pg_catalog.format_type(y.typbasetype, y.typtypmod)"
                       " ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END, a.attnotnull,"
                       " a.atthasdef OR a.attidentity <> '', a.attgenerated,"
                       " coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')"
                       " FROM pg_catalog.pg_attribute a"
                       " JOIN pg_catalog.pg_type y ON y.oid = a.atttypid"
                       " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
                       " WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped"
                       " ORDER BY a.attnum");
    if (rc != GW_OK) {
        return rc;
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        const Gw__Column *c = table->columns[i];
        check_one(f, table, c, r, find_row(r, pgt_clip(f->a, c->name)));
    }
    for (int i = 0; i < PQntuples(r); i++) {
        bool known = false;
        for (size_t k = 0; k < table->n_columns && !known; k++) {
            known = strcmp(pgt_clip(f->a, table->columns[k]->name), pgt_text(r, i, 0)) == 0;
        }
        if (!known && pgt_true(r, i, 2) && !pgt_true(r, i, 3)) {
            pgt_find(f, ERR, table, pgt_text(r, i, 0), "give it a default", NULL,
                     "column \"%s\" of the table on the target is NOT NULL, has no default and is not "
                     "at the source",
                     pgt_text(r, i, 0));
        }
    }
    return GW_OK;
}
