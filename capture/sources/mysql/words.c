#include "capture/sources/mysql/words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool
st_is_word(unsigned char c)
{
    return isalnum(c) || c == '_' || c == '$' || c >= 0x80 || c == '@';
}

static const char *
find(const char *p, const char *end, const char *what)
{
    const char *q = memmem(p, (size_t)(end - p), what, strlen(what));
    return q ? q + strlen(what) : end;
}

// Blanks and comments. What stands in /*! … */ and /*M! … */ is code: only its frame is skipped.
const char *
st_skip(const char *p, const char *end)
{
    while (p < end) {
        size_t left = (size_t)(end - p);
        if (isspace((unsigned char)*p)) {
            p++;
        } else if (left >= 3 && (memcmp(p, "/*!", 3) == 0 || (left >= 4 && memcmp(p, "/*M!", 4) == 0))) {
            p += p[2] == '!' ? 3 : 4;
            while (p < end && isdigit((unsigned char)*p)) {
                p++;
            }
        } else if (left >= 2 && memcmp(p, "*/", 2) == 0) {
            p += 2;
        } else if (left >= 2 && memcmp(p, "/*", 2) == 0) {
            p = find(p + 2, end, "*/");
        } else if (*p == '#' || (left >= 2 && memcmp(p, "--", 2) == 0 && (left == 2 || isspace((unsigned char)p[2])))) {
            p = find(p, end, "\n");
        } else {
            break;
        }
    }
    return p;
}

struct st_token
st_next(struct st_text *t)
{
    const char *p = t->at = st_skip(t->at, t->end);
    if (p >= t->end) {
        return (struct st_token){.what = ST_END, .at = p};
    }
    if (*p == '`' || *p == '"' || *p == '\'') {
        char quote = *p;
        const char *from = ++p;
        for (; p < t->end; p++) {
            if (*p == '\\' && quote != '`' && p + 1 < t->end) {
                p++;
            } else if (*p == quote) {
                if (p + 1 >= t->end || p[1] != quote) {
                    break;
                }
                p++;
            }
        }
        t->at = p < t->end ? p + 1 : p;
        // "a" is a name under ANSI_QUOTES: taken for one where a name is looked for.
        return (struct st_token){quote == '\'' ? ST_TEXT : ST_QUOTED, from, (size_t)(p - from), quote};
    }
    const char *from = p;
    while (p < t->end && st_is_word((unsigned char)*p)) {
        p++;
    }
    t->at = p > from ? p : p + 1;
    return (struct st_token){p > from ? ST_WORD : ST_MARK, from, (size_t)(t->at - from), 0};
}

bool
st_is(const struct st_token *k, const char *word)
{
    return k->what == ST_WORD && strlen(word) == k->len && strncasecmp(k->at, word, k->len) == 0;
}

bool
st_is_mark(const struct st_token *k, char c)
{
    return k->what == ST_MARK && *k->at == c;
}

bool
st_is_one_of(const struct st_token *k, const char *const *words)
{
    for (; *words; words++) {
        if (st_is(k, *words)) {
            return true;
        }
    }
    return false;
}

struct st_token
st_peek(const struct st_text *t)
{
    struct st_text copy = *t;
    return st_next(&copy);
}

bool
st_accept(struct st_text *t, const char *word)
{
    struct st_text copy = *t;
    struct st_token k = st_next(&copy);
    if (st_is(&k, word)) {
        *t = copy;
        return true;
    }
    return false;
}

void
st_accept_if_exists(struct st_text *t)
{
    if (st_accept(t, "IF")) {
        st_accept(t, "NOT");
        st_accept(t, "EXISTS");
    }
}

void
st_accept_wait(struct st_text *t)
{
    if (st_accept(t, "WAIT")) {
        st_next(t);
    } else {
        st_accept(t, "NOWAIT");
    }
}
