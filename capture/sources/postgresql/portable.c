// Expressions in words that every engine reads.
//
// PostgreSQL prints expressions with its own casts: ((status)::text = ANY ((ARRAY['a'::character varying])::text[])).
// A small reader goes through the tokens and keeps only what means the same everywhere; at the first token that it
// does not know it gives up, and the caller reports the expression as one that cannot be carried.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pgs.h"

enum token_kind { T_END, T_WORD, T_NUMBER, T_TEXT, T_OP, T_BAD };

struct token {
    enum token_kind kind;
    const char *at;
    size_t len;
};

// What a cast may be taken away from: a number's text is not how another engine writes that number.
enum value { V_OTHER, V_EXACT, V_TEXT, V_INTEGER_LITERAL, V_FRACTION_LITERAL, V_TEXT_LITERAL };

enum { DEPTH_MAX = 200 };

struct reader {
    const char *p;
    struct token t; // the one in hand
    const Gw__Table *table;
    struct gw_buf *out;
    unsigned depth;
    bool bad;
};

static struct token
scan(const char **p)
{
    const char *s = *p + strspn(*p, " \n\t");
    struct token t = {T_BAD, s, 1};
    static const char *const ops[] = {"::", "<>", "<=", ">=", "=", "<", ">", "+",
                                      "-",  "*",  "(",  ")",  "[", "]", ",", NULL};
    if (!*s) {
        t.kind = T_END;
        t.len = 0;
    } else if (isalpha((unsigned char)*s) || *s == '_') {
        t.kind = T_WORD;
        while (isalnum((unsigned char)s[t.len]) || s[t.len] == '_') {
            t.len++;
        }
    } else if (isdigit((unsigned char)*s)) {
        t.kind = T_NUMBER;
        while (isdigit((unsigned char)s[t.len]) || s[t.len] == '.') {
            t.len++;
        }
    } else if (*s == '\'') {
        while (s[t.len] && (s[t.len] != '\'' || s[t.len + 1] == '\'')) {
            t.len += s[t.len] == '\'' ? 2 : 1;
        }
        t.kind = s[t.len] == '\'' && !memchr(s, '\\', t.len) ? T_TEXT : T_BAD;
        t.len += s[t.len] == '\'';
    } else {
        for (size_t i = 0; ops[i]; i++) {
            if (strncmp(s, ops[i], strlen(ops[i])) == 0) {
                t.kind = T_OP;
                t.len = strlen(ops[i]);
                break;
            }
        }
    }
    *p = s + t.len;
    return t;
}

static void
next(struct reader *r)
{
    r->t = scan(&r->p);
}

static bool
is(const struct reader *r, const char *text)
{
    return (r->t.kind == T_OP || r->t.kind == T_WORD) && r->t.len == strlen(text) &&
           strncasecmp(r->t.at, text, r->t.len) == 0;
}

static bool
take(struct reader *r, const char *text)
{
    bool yes = is(r, text);
    if (yes) {
        next(r);
    }
    return yes;
}

static void
put(struct reader *r, const struct token *t)
{
    gw_buf_puts(r->out, r->out->len && r->out->data[r->out->len - 1] != '(' ? " " : "");
    gw_buf_put(r->out, t->at, t->len);
}

static void
put_text(struct reader *r, const char *text)
{
    struct token t = {T_WORD, text, strlen(text)};
    put(r, &t);
}

static bool
is_one_of(const struct reader *r, const char *const *words)
{
    bool yes = false;
    for (size_t i = 0; words[i]; i++) {
        yes = yes || is(r, words[i]);
    }
    return yes;
}

// The type's name behind :: in hand, with all its words. A size behind it may have cut the value.
static void
skip_type(struct reader *r, bool array)
{
    static const char *const more[] = {"varying", "precision", "without", "time", "zone", NULL};
    next(r);
    while (is_one_of(r, more)) {
        next(r);
    }
    r->bad = r->bad || is(r, "(");
    if (array && take(r, "[")) {
        r->bad = r->bad || !take(r, "]");
    }
}

// Casts that change nothing of what stands before them: a text to a text, an exact number to a wider one, and those
// that only tell a literal's type. What is left of the value is returned.
static enum value
skip_casts(struct reader *r, enum value v)
{
    static const char *const texts[] = {"text", "character", "bpchar", NULL};
    static const char *const integers[] = {"integer", "bigint", "smallint", NULL};
    static const char *const fractions[] = {"numeric", "double", NULL};
    static const char *const times[] = {"date", "timestamp", NULL};
    while (!r->bad && take(r, "::")) {
        bool text = is_one_of(r, texts), fraction = is_one_of(r, fractions);
        bool same = (text && (v == V_TEXT || v == V_TEXT_LITERAL)) || (is(r, "numeric") && v == V_EXACT) ||
                    (fraction && (v == V_INTEGER_LITERAL || v == V_FRACTION_LITERAL)) ||
                    (is_one_of(r, integers) && v == V_INTEGER_LITERAL) || (is_one_of(r, times) && v == V_TEXT_LITERAL);
        if (!same) {
            r->bad = true;
            return V_OTHER;
        }
        // '2020-01-01'::date has its type now; the words are as free as before only in a text.
        v = text ? V_TEXT : v == V_TEXT_LITERAL ? V_OTHER : V_EXACT;
        skip_type(r, false);
    }
    return v;
}

// (ARRAY['a'::character varying, …])::text[]: the elements have shown that they are texts or numbers.
static void
skip_array_casts(struct reader *r, enum value elements)
{
    static const char *const texts[] = {"text", "character", "bpchar", NULL};
    while (!r->bad && take(r, "::")) {
        bool same = is_one_of(r, texts) ? elements == V_TEXT : is(r, "numeric") && elements == V_EXACT;
        r->bad = !same;
        skip_type(r, true);
    }
}

static enum value expression(struct reader *r);

// = ANY (ARRAY[…]) and <> ALL (ARRAY[…]), with or without a cast around the array.
static void
membership(struct reader *r, const char *word)
{
    put_text(r, word);
    next(r); // ANY or ALL
    int depth = 0;
    while (take(r, "(")) {
        depth++;
    }
    if (!take(r, "ARRAY") || !take(r, "[")) {
        r->bad = true;
        return;
    }
    gw_buf_puts(r->out, " (");
    enum value elements = V_OTHER;
    bool first = true;
    do {
        enum value v = expression(r);
        bool number = v == V_INTEGER_LITERAL || v == V_FRACTION_LITERAL;
        v = number ? V_EXACT : v == V_TEXT_LITERAL ? V_TEXT : v;
        elements = first || v == elements ? v : V_OTHER;
        first = false;
        if (is(r, ",")) {
            gw_buf_puts(r->out, ",");
        }
    } while (!r->bad && take(r, ","));
    r->bad = r->bad || !take(r, "]");
    gw_buf_puts(r->out, ")");
    while (!r->bad && depth > 0) {
        skip_array_casts(r, elements);
        r->bad = r->bad || !take(r, ")");
        depth--;
    }
}

// '-5'::integer is how PostgreSQL prints a negative number.
static bool
put_number(struct reader *r, const struct token *t)
{
    static const char *const numbers[] = {"integer", "bigint", "smallint", "numeric", "double", NULL};
    const char *digits = t->at + 1;
    size_t n = t->len - 2, sign = *digits == '-';
    bool plain = t->kind == T_TEXT && n > sign && is(r, "::") && isdigit((unsigned char)digits[sign]) &&
                 n - sign == strspn(digits + sign, "0123456789.");
    const char *p = r->p;
    struct token type = scan(&p);
    for (size_t i = 0; plain && numbers[i]; i++) {
        if (type.len == strlen(numbers[i]) && strncmp(type.at, numbers[i], type.len) == 0) {
            struct token number = {T_NUMBER, digits, n};
            put(r, &number);
            return true;
        }
    }
    return false;
}

// Whether the word in hand is a column; *ret is what its values are. CHAR is left out: its cast drops blanks.
static bool
is_column(const struct reader *r, enum value *ret)
{
    for (size_t i = 0; i < r->table->n_columns; i++) {
        const Gw__Column *c = r->table->columns[i];
        if (strlen(c->name) == r->t.len && strncmp(c->name, r->t.at, r->t.len) == 0) {
            Gw__Kind k = c->type ? c->type->kind : GW__KIND__KIND_UNKNOWN;
            bool text = k == GW__KIND__KIND_VARCHAR || k == GW__KIND__KIND_TEXT || k == GW__KIND__KIND_ENUM;
            bool exact = k >= GW__KIND__KIND_INT8 && k <= GW__KIND__KIND_NUMERIC;
            *ret = text ? V_TEXT : exact ? V_EXACT : V_OTHER;
            return true;
        }
    }
    return false;
}

static enum value
literal_value(const struct token *t)
{
    if (t->kind == T_NUMBER) {
        return memchr(t->at, '.', t->len) ? V_FRACTION_LITERAL : V_INTEGER_LITERAL;
    }
    return t->kind == T_TEXT ? V_TEXT_LITERAL : V_OTHER;
}

static enum value
parenthesized(struct reader *r)
{
    put(r, &r->t);
    next(r);
    enum value v = expression(r);
    if (!is(r, ")")) {
        r->bad = true;
        return V_OTHER;
    }
    gw_buf_puts(r->out, ")");
    next(r);
    return skip_casts(r, v);
}

static enum value
operand(struct reader *r)
{
    if (is(r, "(")) {
        return parenthesized(r);
    }
    if (is(r, "-") || is(r, "NOT")) {
        bool minus = is(r, "-");
        put(r, &r->t);
        next(r);
        if (++r->depth > DEPTH_MAX) {
            r->bad = true;
            return V_OTHER;
        }
        enum value v = operand(r);
        r->depth--;
        return minus && v != V_TEXT && v != V_TEXT_LITERAL ? v : V_OTHER;
    }
    enum value v = literal_value(&r->t);
    bool word = r->t.kind == T_WORD && (is(r, "true") || is(r, "false") || is(r, "NULL") || is_column(r, &v));
    if (v == V_OTHER && !word) {
        r->bad = true;
        return V_OTHER;
    }
    struct token value = r->t;
    next(r);
    if (put_number(r, &value)) {
        v = memchr(value.at, '.', value.len) ? V_FRACTION_LITERAL : V_INTEGER_LITERAL;
    } else {
        put(r, &value);
    }
    if (is(r, "(")) { // a function that has a column's name
        r->bad = true;
    }
    return skip_casts(r, v);
}

static enum value
expression(struct reader *r)
{
    static const char *const between[] = {"=", "<>", "<=", ">=", "<", ">", "+", "-", "*", "AND", "OR", NULL};
    if (++r->depth > DEPTH_MAX) {
        r->bad = true;
        return V_OTHER;
    }
    enum value v = operand(r);
    while (!r->bad) {
        const char *op = NULL;
        for (size_t i = 0; between[i] && !op; i++) {
            op = is(r, between[i]) ? between[i] : NULL;
        }
        if (op) {
            next(r);
            v = V_OTHER;
            if (strcmp(op, "=") == 0 && is(r, "ANY")) {
                membership(r, "IN");
            } else if (strcmp(op, "<>") == 0 && is(r, "ALL")) {
                membership(r, "NOT IN");
            } else {
                put_text(r, op);
                operand(r);
            }
        } else if (take(r, "IS")) {
            put_text(r, "IS");
            if (take(r, "NOT")) {
                put_text(r, "NOT");
            }
            r->bad = !take(r, "NULL");
            put_text(r, "NULL");
            v = V_OTHER;
        } else {
            break;
        }
    }
    r->depth--;
    return v;
}

char *
pgs_portable(struct gw_arena *a, const Gw__Table *t, const char *text)
{
    PGS_BUF out;
    gw_buf_init(&out, 1 << 20);
    struct reader r = {.p = text, .table = t, .out = &out};
    next(&r);
    bool check = take(&r, "CHECK"); // as pg_get_constraintdef writes it
    expression(&r);
    if (r.bad || (r.t.kind != T_END && !(check && is(&r, "NOT"))) || out.overflowed) {
        return NULL;
    }
    return gw_arena_strdup(a, out.data);
}

// ---- defaults ----------------------------------------------------------------------------------

static bool
cast_only(const char *s)
{
    // A type's name, with a size and perhaps [], and no operator behind it.
    return strncmp(s, "::", 2) == 0 &&
           s[strspn(s, ":abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ \"().,[]")] == 0;
}

// 'text'::type…, without any call: the text, unquoted.
static char *
literal_text(struct gw_arena *a, const char *s)
{
    const char *p = s;
    struct token t = scan(&p);
    bool minus = t.kind == T_OP && t.len == 1 && *t.at == '-';
    bool paren = t.kind == T_OP && t.len == 1 && *t.at == '(';
    if (paren) {
        t = scan(&p);
        minus = t.kind == T_OP && t.len == 1 && *t.at == '-';
    }
    if (minus) {
        t = scan(&p);
    }
    char *out = NULL;
    if (t.kind == T_NUMBER) {
        out = gw_arena_printf(a, "%s%.*s", minus ? "-" : "", (int)t.len, t.at);
    } else if (t.kind == T_TEXT && !minus) {
        out = gw_arena_alloc(a, t.len);
        size_t n = 0;
        for (size_t i = 1; i + 1 < t.len; i++) {
            out[n++] = t.at[i];
            i += t.at[i] == '\'';
        }
        out[n] = 0;
    } else if (t.kind == T_WORD && (strncasecmp(t.at, "true", t.len) == 0 || strncasecmp(t.at, "false", t.len) == 0)) {
        out = gw_arena_strdup(a, t.at[0] == 't' || t.at[0] == 'T' ? "t" : "f");
    }
    if (paren) {
        t = scan(&p);
    }
    // Nothing but a cast may follow.
    return !*p || cast_only(p) ? out : NULL;
}

// Whether the text is a value of the column's kind as it stands. PostgreSQL does not print the cast that an assignment
// makes: an integer column's DEFAULT 1.5 is 2, a text column's DEFAULT true is 'true'.
static bool
suits(Gw__Kind kind, const char *native, const char *text)
{
    bool quoted = native[0] == '\'';
    bool word = text[0] == 't' || text[0] == 'f';
    if (kind == GW__KIND__KIND_BOOL) {
        return quoted || word;
    }
    if (kind >= GW__KIND__KIND_INT8 && kind <= GW__KIND__KIND_INT64) {
        return text[0] && text[(text[0] == '-') + strspn(text + (text[0] == '-'), "0123456789")] == 0;
    }
    bool number = kind >= GW__KIND__KIND_NUMERIC && kind <= GW__KIND__KIND_FLOAT64;
    bool characters = kind >= GW__KIND__KIND_CHAR && kind <= GW__KIND__KIND_TEXT;
    return quoted || number || (characters && !word);
}

void
pgs_default(struct gw_arena *a, Gw__Column *c)
{
    static const struct {
        const char *text;
        Gw__DefaultKind kind;
    } clocks[] = {
        {"now()", GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP},
        {"CURRENT_TIMESTAMP", GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP},
        {"transaction_timestamp()", GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP},
        {"LOCALTIMESTAMP", GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP},
        {"CURRENT_DATE", GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE},
    };
    const char *s = c->default_native;
    if (!s[0]) {
        return;
    }
    c->default_kind = GW__DEFAULT_KIND__DEFAULT_EXPRESSION;
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        size_t n = strlen(clocks[i].text);
        if (strncmp(s, clocks[i].text, n) == 0 && (!s[n] || s[n] == '(')) {
            c->default_kind = clocks[i].kind;
            return;
        }
    }
    if (strncmp(s, "NULL", 4) == 0 && (!s[4] || s[4] == ':')) { // not NULLIF(…)
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_NULL;
        return;
    }
    // A zone of the session would decide what an unzoned text means; arrays and the like are for an equal engine.
    bool plain = c->type->kind != GW__KIND__KIND_OTHER && c->type->kind != GW__KIND__KIND_ARRAY;
    char *text = plain ? literal_text(a, s) : NULL;
    if (text && suits(c->type->kind, s, text)) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
        c->default_text = text;
    }
}
