// What only the text of a CREATE statement says: generated columns' expressions, checks, expression indexes.
//
// sqlite_schema.sql is the statement as it was typed (https://www.sqlite.org/schematab.html), comments included, but
// always `CREATE TABLE name …` in front. SQLite has accepted it, so that only its nesting has to be followed.
#include "common/db/lite/ddl.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum token_kind { T_END, T_WORD, T_QUOTED, T_OPEN, T_CLOSE, T_COMMA, T_OTHER };
struct token {
    enum token_kind kind;
    const char *at;
    size_t len;
};

static const char *
skip_blank(const char *p)
{
    for (;;) {
        if (isspace((unsigned char)*p)) {
            p++;
        } else if (p[0] == '-' && p[1] == '-') {
            p += strcspn(p, "\n");
        } else if (p[0] == '/' && p[1] == '*') {
            const char *end = strstr(p + 2, "*/");
            p = end ? end + 2 : p + strlen(p);
        } else {
            return p;
        }
    }
}

// Reads the token at *p and moves *p behind it.
static struct token
next(const char **p)
{
    const char *at = skip_blank(*p), *end = at + 1;
    enum token_kind kind = T_OTHER;
    unsigned char c = (unsigned char)*at;
    if (!c) {
        kind = T_END;
        end = at;
    } else if (c == '"' || c == '\'' || c == '`' || c == '[') {
        char close = c == '[' ? ']' : (char)c;
        kind = T_QUOTED;
        while (*end && (*end != close || (c != '[' && end[1] == close))) {
            end += *end == close ? 2 : 1;
        }
        end += *end != 0;
    } else if (isalnum(c) || c == '_' || c == '$' || c >= 0x80) {
        kind = T_WORD;
        while (isalnum((unsigned char)*end) || *end == '_' || *end == '$' || (unsigned char)*end >= 0x80) {
            end++;
        }
    } else {
        kind = c == '(' ? T_OPEN : c == ')' ? T_CLOSE : c == ',' ? T_COMMA : T_OTHER;
    }
    *p = end;
    return (struct token){.kind = kind, .at = at, .len = (size_t)(end - at)};
}

static bool
is(const struct token *t, const char *word)
{
    return t->kind == T_WORD && strlen(word) == t->len && strncasecmp(t->at, word, t->len) == 0;
}

static char *
dequote(struct gw_arena *a, const struct token *t)
{
    if (t->kind != T_QUOTED || t->len < 2) {
        return gw_arena_memdup0(a, t->at, t->len);
    }
    char *s = gw_arena_alloc(a, t->len), *to = s;
    char close = t->at[0] == '[' ? ']' : t->at[0];
    for (const char *p = t->at + 1; p < t->at + t->len - 1; p++) {
        *to++ = *p;
        if (*p == close && close != ']') {
            p++; // a doubled quote
        }
    }
    *to = 0;
    return s;
}

// *p stands behind an opening parenthesis: the text up to its partner, *p behind that. NULL if there is none.
static char *
inside(struct gw_arena *a, const char **p)
{
    const char *start = *p;
    for (int depth = 1;;) {
        struct token t = next(p);
        depth += (t.kind == T_OPEN) - (t.kind == T_CLOSE);
        if (t.kind == T_END) {
            return NULL;
        }
        if (depth == 0) {
            return gw_arena_memdup0(a, start, (size_t)(t.at - start));
        }
    }
}

static void
add(struct gw_arena *a, struct gw_lite_ddl_item **items, size_t *n, const char *name, const char *expr)
{
    struct gw_lite_ddl_item *it = gw_arena_push(a, items, n, sizeof **items);
    *it = (struct gw_lite_ddl_item){.name = name, .expr = expr};
}

// One column or table constraint of the body. *p is behind the comma (*more) or closing parenthesis that ended it.
static bool
parse_item(struct gw_arena *a, const char **p, struct gw_lite_ddl *ret, bool *more)
{
    static const char *const constraints[] = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"};
    const char *peek = *p;
    struct token t = next(&peek);
    bool column = true;
    for (size_t i = 0; i < sizeof constraints / sizeof *constraints; i++) {
        column = column && !is(&t, constraints[i]);
    }
    const char *column_name = "", *name = "";
    if (column) {
        column_name = dequote(a, &t);
        *p = peek;
    }
    struct token before = {.kind = T_END};
    for (;; before = t) {
        t = next(p);
        if (t.kind == T_END) {
            return false;
        }
        if (t.kind == T_COMMA || t.kind == T_CLOSE) {
            *more = t.kind == T_COMMA;
            return true;
        }
        if (is(&before, "CONSTRAINT")) {
            name = dequote(a, &t);
            t.kind = T_OTHER; // a constraint may be named like a keyword
        } else if (t.kind == T_OPEN) {
            char *expr = inside(a, p);
            if (!expr) {
                return false;
            }
            if (is(&before, "CHECK")) {
                add(a, &ret->checks, &ret->n_checks, name, expr);
            } else if (column && is(&before, "AS")) {
                add(a, &ret->generated, &ret->n_generated, column_name, expr);
            }
            name = is(&before, "CHECK") ? "" : name;
        }
    }
}

bool
gw_lite_ddl_table(struct gw_arena *a, const char *sql, struct gw_lite_ddl *ret)
{
    const char *p = sql;
    struct token create = next(&p), table = next(&p);
    next(&p); // the name
    const char *body = skip_blank(p);
    struct token open = next(&p);
    if (!is(&create, "CREATE") || !is(&table, "TABLE") || open.kind != T_OPEN) {
        return false;
    }
    struct gw_lite_ddl d = {.body = gw_arena_strdup(a, body)};
    for (bool more = true; more;) {
        if (!parse_item(a, &p, &d, &more)) {
            return false;
        }
    }
    *ret = d;
    return true;
}

// A key part's text without COLLATE name, ASC, DESC at its end.
static bool
parse_part(struct gw_arena *a, const char **p, const char **ret, bool *more)
{
    const char *start = skip_blank(*p), *end = start;
    struct token before = {.kind = T_END};
    for (bool in_expr = true;;) {
        struct token t = next(p);
        if (t.kind == T_END) {
            return false;
        }
        if (t.kind == T_COMMA || t.kind == T_CLOSE) {
            *ret = gw_arena_memdup0(a, start, (size_t)(end - start));
            *more = t.kind == T_COMMA;
            return true;
        }
        if (t.kind == T_OPEN && !inside(a, p)) {
            return false;
        }
        in_expr = in_expr && (before.kind == T_END || !(is(&t, "COLLATE") || is(&t, "ASC") || is(&t, "DESC")));
        end = in_expr ? *p : end;
        before = t;
    }
}

bool
gw_lite_ddl_index(struct gw_arena *a, const char *sql, struct gw_lite_ddl_index *ret)
{
    const char *p = sql;
    struct token t = next(&p);
    if (!is(&t, "CREATE")) {
        return false;
    }
    t = next(&p);
    if (is(&t, "UNIQUE")) {
        t = next(&p);
    }
    next(&p); // the name
    struct token on = next(&p);
    next(&p); // the table
    struct token open = next(&p);
    if (!is(&t, "INDEX") || !is(&on, "ON") || open.kind != T_OPEN) {
        return false;
    }
    struct gw_lite_ddl_index d = {.predicate = ""};
    for (bool more = true; more;) {
        const char *part = NULL;
        if (!parse_part(a, &p, &part, &more)) {
            return false;
        }
        *(const char **)gw_arena_push(a, &d.parts, &d.n_parts, sizeof *d.parts) = part;
    }
    t = next(&p);
    if (is(&t, "WHERE")) {
        d.predicate = gw_arena_strdup(a, skip_blank(p));
    }
    *ret = d;
    return true;
}
