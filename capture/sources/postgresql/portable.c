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

struct reader {
    const char *p;
    struct token t; // the one in hand
    const Gw__Table *table;
    struct gw_buf *out;
    bool bad;
};

static struct token
scan(const char **p)
{
    const char *s = *p + strspn(*p, " \n\t");
    struct token t = {T_BAD, s, 1};
    static const char *const ops[] = {"::", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "(", ")", "[", "]", ",", NULL};
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

// Casts that change no value of what stands before them: a text to a text, a number to a wider one.
static void
skip_casts(struct reader *r, bool literal)
{
    static const char *const always[] = {"text", "character", "numeric", "bpchar", NULL};
    static const char *const literals[] = {"integer", "bigint", "smallint", "date", "timestamp", "double", NULL};
    while (take(r, "::")) {
        bool known = false;
        for (size_t i = 0; always[i]; i++) {
            known = known || is(r, always[i]);
        }
        for (size_t i = 0; literal && literals[i]; i++) {
            known = known || is(r, literals[i]);
        }
        if (!known) {
            r->bad = true;
            return;
        }
        next(r);
        while (is(r, "varying") || is(r, "precision") || is(r, "without") || is(r, "time") || is(r, "zone")) {
            next(r);
        }
        if (is(r, "(")) { // a size: the value may have been cut to it
            r->bad = true;
        }
        if (take(r, "[")) {
            r->bad = r->bad || !take(r, "]");
        }
    }
}

static void expression(struct reader *r);

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
    do {
        expression(r);
        if (is(r, ",")) {
            gw_buf_puts(r->out, ",");
        }
    } while (!r->bad && take(r, ","));
    r->bad = r->bad || !take(r, "]");
    gw_buf_puts(r->out, ")");
    while (!r->bad && depth > 0) {
        skip_casts(r, true);
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
    size_t n = t->len - 2;
    bool plain = t->kind == T_TEXT && t->len > 2 && is(r, "::") && n == strspn(digits, "-0123456789.");
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

static bool
is_column(const struct reader *r)
{
    for (size_t i = 0; i < r->table->n_columns; i++) {
        const char *name = r->table->columns[i]->name;
        if (strlen(name) == r->t.len && strncmp(name, r->t.at, r->t.len) == 0) {
            return true;
        }
    }
    return false;
}

static void
operand(struct reader *r)
{
    if (is(r, "(")) {
        put(r, &r->t);
        next(r);
        expression(r);
        if (!is(r, ")")) {
            r->bad = true;
            return;
        }
        gw_buf_puts(r->out, ")");
        next(r);
        skip_casts(r, false);
        return;
    }
    if (is(r, "-") || is(r, "NOT")) {
        put(r, &r->t);
        next(r);
        operand(r);
        return;
    }
    bool literal = r->t.kind == T_NUMBER || r->t.kind == T_TEXT;
    bool word = r->t.kind == T_WORD && (is(r, "true") || is(r, "false") || is(r, "NULL") || is_column(r));
    if (!literal && !word) {
        r->bad = true;
        return;
    }
    struct token value = r->t;
    next(r);
    if (!put_number(r, &value)) {
        put(r, &value);
    }
    if (is(r, "(")) { // a function that has a column's name
        r->bad = true;
    }
    skip_casts(r, literal);
}

static void
expression(struct reader *r)
{
    static const char *const between[] = {"=", "<>", "<=", ">=", "<", ">", "+", "-", "*", "AND", "OR", NULL};
    operand(r);
    while (!r->bad) {
        const char *op = NULL;
        for (size_t i = 0; between[i] && !op; i++) {
            op = is(r, between[i]) ? between[i] : NULL;
        }
        if (op) {
            next(r);
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
        } else {
            return;
        }
    }
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
    p += strspn(p, " ");
    return *p && strncmp(p, "::", 2) != 0 ? NULL : out;
}

static bool
cast_only(const char *s)
{
    // A type's name, with a size and perhaps [], and no operator behind it.
    return s[strspn(s, ":abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ \"().,[]")] == 0;
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
    if (strncmp(s, "NULL", 4) == 0) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_NULL;
        return;
    }
    const char *cast = strstr(s, "::");
    // A zone of the session would decide what an unzoned text means; arrays and the like are for an equal engine.
    bool plain = c->type->kind != GW__KIND__KIND_OTHER && c->type->kind != GW__KIND__KIND_ARRAY;
    char *text = plain && (!cast || s[0] != '\'' || cast_only(strrchr(s, '\'') + 1)) ? literal_text(a, s) : NULL;
    if (text) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
        c->default_text = text;
    }
}
