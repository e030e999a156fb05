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

// p stands on the opening quote. A closing quote that is doubled is part of the text. MySQL's information_schema writes
// \' for both quotes of a literal.
static struct word
quoted(const char **p, bool escaped)
{
    char close = **p == '[' ? ']' : **p;
    struct word w = {close == '\'' ? W_LITERAL : W_NAME, *p + 1, 0};
    const char *q = w.at;
    while (*q && (*q != close || q[1] == close)) {
        q += *q == close ? 2 : 1;
    }
    w.len = (size_t)(q - w.at);
    w.len -= escaped && w.len && q[-1] == '\\';
    *p = q + (*q != 0);
    return w;
}

static struct word
next(const char **p)
{
    for (;;) {
        const char *s = *p;
        while (isspace((unsigned char)*s)) {
            s++;
        }
        bool escaped = s[0] == '\\' && s[1] == '\'';
        s += escaped;
        *p = s;
        if (!*s) {
            return (struct word){W_END, s, 0};
        }
        if (strchr("'\"`[", *s)) {
            return quoted(p, escaped);
        }
        struct word w = {of_name(*s) ? W_NAME : W_SIGN, s, 1};
        while (w.kind == W_NAME && of_name(s[w.len])) {
            w.len++;
        }
        *p = s + w.len;
        // _utf8mb4'x' is 'x': the introducer depends on the session that made the column.
        bool introducer = w.kind == W_NAME && *s == '_' && (**p == '\'' || strncmp(*p, "\\'", 2) == 0);
        if (!introducer) {
            return w;
        }
    }
}

static bool
is_sign(const struct word *w, char c)
{
    return w->kind == W_SIGN && *w->at == c;
}

// The words of a text, and how many pairs of parentheses stand around all the others: *p is moved behind those.
static size_t
words_inside(const char **text)
{
    const char *p = *text;
    size_t n = 0, around = 0, depth = 0;
    bool begun = false; // a word that is no opening parenthesis was seen
    for (struct word w = next(&p); w.kind != W_END; w = next(&p), n++) {
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
        next(text);
    }
    return n - 2 * around;
}

bool
gw_expr_same(const char *a, const char *b)
{
    size_t n = words_inside(&a);
    if (n != words_inside(&b)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct word x = next(&a), y = next(&b);
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
