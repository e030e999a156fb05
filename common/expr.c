#include "common/expr.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

enum word_kind { W_END, W_NAME, W_LITERAL, W_SIGN };

struct word {
    enum word_kind kind;
    const char *at; // of names and literals: what is between the quotes
    size_t len;
};

static bool
of_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '.' || (unsigned char)c >= 0x80;
}

struct reader {
    const char *p;
    bool backslash;
};

// On the opening quote. A closing quote that is doubled is part of the text.
static struct word
quoted(struct reader *r)
{
    char close = *r->p == '[' ? ']' : *r->p;
    struct word w = {close == '\'' ? W_LITERAL : W_NAME, r->p + 1, 0};
    const char *q = w.at;
    while (*q && (*q != close || q[1] == close)) {
        bool escape = r->backslash && close == '\'' && *q == '\\' && q[1];
        q += *q == close || escape ? 2 : 1;
    }
    w.len = (size_t)(q - w.at);
    r->p = q + (*q != 0);
    return w;
}

static struct word
synonym(struct word w)
{
    static const char *const same[][2] = {{"lcase", "lower"}, {"ucase", "upper"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        if (w.len == strlen(same[i][0]) && strncasecmp(w.at, same[i][0], w.len) == 0) {
            return (struct word){w.kind, same[i][1], strlen(same[i][1])};
        }
    }
    return w;
}

static struct word
next(struct reader *r)
{
    for (;;) {
        while (isspace((unsigned char)*r->p)) {
            r->p++;
        }
        const char *s = r->p;
        if (!*s) {
            return (struct word){W_END, s, 0};
        }
        if (strchr("'\"`[", *s)) {
            return quoted(r);
        }
        struct word w = {of_name(*s) ? W_NAME : W_SIGN, s, 1};
        while (w.kind == W_NAME && of_name(s[w.len])) {
            w.len++;
        }
        r->p = s + w.len;
        // _utf8mb4'x' is 'x': the introducer depends on the session that made the column.
        if (!(w.kind == W_NAME && *s == '_' && *r->p == '\'')) {
            return w.kind == W_NAME ? synonym(w) : w;
        }
    }
}

static bool
is_sign(const struct word *w, char c)
{
    return w->kind == W_SIGN && *w->at == c;
}

// How many words there are but for the pairs of parentheses around all of them; the reader is moved behind those.
static size_t
words_inside(struct reader *r)
{
    struct reader ahead = *r;
    size_t n = 0, around = 0, depth = 0;
    bool begun = false; // a word that is no opening parenthesis was seen
    for (struct word w = next(&ahead); w.kind != W_END; w = next(&ahead), n++) {
        bool open = is_sign(&w, '('), close = is_sign(&w, ')');
        if (!open && !begun) {
            begun = true;
            around = depth;
        }
        if (!close && begun) { // pairs that are closed before it do not stand around it
            around = depth < around ? depth : around;
        }
        depth += open;
        depth -= close && depth > 0;
    }
    for (size_t i = 0; i < around; i++) {
        next(r);
    }
    return n - (2 * around < n ? 2 * around : n);
}

bool
gw_expr_same(const char *a, const char *b, bool backslash)
{
    struct reader ra = {a, backslash}, rb = {b, backslash};
    size_t n = words_inside(&ra);
    if (n != words_inside(&rb)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct word x = next(&ra), y = next(&rb);
        if (x.kind != y.kind || x.len != y.len) {
            return false;
        }
        bool exact = x.kind == W_LITERAL;
        if (exact ? memcmp(x.at, y.at, x.len) != 0 : strncasecmp(x.at, y.at, x.len) != 0) {
            return false;
        }
    }
    return true;
}
