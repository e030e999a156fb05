// What SHOW CREATE TABLE says, taken apart.
//
// The server writes the statement itself, always in one form (names in backticks, strings in single quotes), so only
// quotes and nesting have to be followed. Parts for other versions stand in /*!40000 … */ and /*M! … */ and count as text.
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/mysql_source.h"

const char *
my_ddl_skip(const char *p)
{
    while (isspace((unsigned char)*p)) {
        p++;
    }
    return p;
}

// p stands on a quote: what stands behind its partner.
static const char *
skip_quoted(const char *p)
{
    char quote = *p++;
    while (*p) {
        if (*p == '\\' && quote != '`' && p[1]) {
            p += 2;
        } else if (*p == quote && p[1] == quote) {
            p += 2;
        } else if (*p == quote) {
            return p + 1;
        } else {
            p++;
        }
    }
    return p;
}

static bool
is_quote(char c)
{
    return c == '`' || c == '\'' || c == '"';
}

// p stands on an opening parenthesis: its partner, NULL if there is none.
static const char *
partner(const char *p)
{
    for (int depth = 0; *p;) {
        if (is_quote(*p)) {
            p = skip_quoted(p);
            continue;
        }
        depth += (*p == '(') - (*p == ')');
        if (depth == 0) {
            return p;
        }
        p++;
    }
    return NULL;
}

char *
my_ddl_inside(struct gw_arena *a, const char **p)
{
    const char *open = my_ddl_skip(*p), *close = *open == '(' ? partner(open) : NULL;
    if (!close) {
        return NULL;
    }
    *p = close + 1;
    return gw_arena_memdup0(a, open + 1, (size_t)(close - open - 1));
}

char *
my_ddl_name(struct gw_arena *a, const char **p)
{
    const char *at = my_ddl_skip(*p);
    if (*at != '`') {
        return NULL;
    }
    const char *end = skip_quoted(at);
    char *s = gw_arena_alloc(a, (size_t)(end - at)), *to = s;
    for (const char *q = at + 1; q < end - 1; q++) {
        *to++ = *q;
        q += *q == '`';
    }
    *to = 0;
    *p = end;
    return s;
}

char *
my_ddl_bytes(struct gw_arena *a, const char **p, size_t *ret_len)
{
    const char *at = my_ddl_skip(*p);
    if (*at != '\'') {
        return NULL;
    }
    const char *end = skip_quoted(at);
    char *s = gw_arena_alloc(a, (size_t)(end - at)), *to = s;
    for (const char *q = at + 1; q < end - 1; q++) {
        if (*q == '\'') {
            q++;
        } else if (*q == '\\' && q + 1 < end - 1) {
            q++;
            *to++ = *q == 'n'   ? '\n'
                    : *q == 't' ? '\t'
                    : *q == 'r' ? '\r'
                    : *q == 'b' ? '\b'
                    : *q == '0' ? 0
                    : *q == 'Z' ? 26
                                : *q;
            continue;
        }
        *to++ = *q;
    }
    *to = 0;
    *ret_len = (size_t)(to - s);
    *p = end;
    return s;
}

char *
my_ddl_string(struct gw_arena *a, const char **p)
{
    size_t len = 0;
    return my_ddl_bytes(a, p, &len);
}

static bool
is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

const char *
my_ddl_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; *p;) {
        if (is_quote(*p)) {
            p = skip_quoted(p);
        } else if (*p == '(') {
            const char *close = partner(p);
            if (!close) {
                return NULL;
            }
            p = close + 1;
        } else if (strncasecmp(p, word, n) == 0 && !is_word(p[n]) && (p == text || !is_word(p[-1]))) {
            return p + n;
        } else if (is_word(*p)) {
            while (is_word(*p)) {
                p++;
            }
        } else {
            p++;
        }
    }
    return NULL;
}

char *
my_ddl_expression(struct gw_arena *a, const char *item, const char *word)
{
    const char *p = my_ddl_word(item, word);
    char *expr = p ? my_ddl_inside(a, &p) : NULL;
    return expr ? expr : gw_arena_strdup(a, "");
}

// The option `NAME=value` is taken out of the text.
static void
drop_option(char *text, const char *name)
{
    const char *behind = my_ddl_word(text, name);
    if (!behind || *my_ddl_skip(behind) != '=') {
        return;
    }
    char *start = text + (behind - text) - strlen(name);
    const char *end = my_ddl_skip(my_ddl_skip(behind) + 1);
    if (is_quote(*end)) {
        end = skip_quoted(end);
    } else {
        while (*end && !isspace((unsigned char)*end)) {
            end++;
        }
    }
    while (isspace((unsigned char)*end)) {
        end++;
    }
    memmove(start, end, strlen(end) + 1);
}

static void
trim_end(char *s)
{
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1])) {
        s[--n] = 0;
    }
}

// "ENGINE=InnoDB …\n/*!50100 PARTITION BY …\n(…) */" on MySQL, the same without the comment on MariaDB.
static void
parse_tail(struct gw_arena *a, const char *tail, struct my_ddl *ret)
{
    char *options = gw_arena_strdup(a, my_ddl_skip(tail));
    const char *behind = my_ddl_word(options, "PARTITION");
    ret->partition_by = "";
    if (behind) {
        char *by = options + (behind - options) - strlen("PARTITION");
        char *text = gw_arena_strdup(a, by);
        char *comment = NULL;
        for (char *p = options; p < by; p++) {
            comment = p[0] == '/' && p[1] == '*' ? p : comment;
        }
        *(comment ? comment : by) = 0;
        trim_end(text);
        size_t n = strlen(text);
        if (comment && n >= 2 && strcmp(text + n - 2, "*/") == 0) {
            text[n - 2] = 0;
            trim_end(text);
        }
        ret->partition_by = text;
    }
    char *versions = strstr(options, "WITH SYSTEM VERSIONING"); // its history is not copied
    if (versions) {
        memset(versions, ' ', strlen("WITH SYSTEM VERSIONING"));
    }
    drop_option(options, "AUTO_INCREMENT");
    drop_option(options, "COMMENT");
    trim_end(options);
    ret->options = options;
}

bool
my_ddl_parse(struct gw_arena *a, const char *sql, struct my_ddl *ret)
{
    const char *p = sql;
    while (*p && *p != '(') {
        p = is_quote(*p) ? skip_quoted(p) : p + 1;
    }
    const char *close = *p ? partner(p) : NULL;
    if (!close) {
        return false;
    }
    struct my_ddl d = {0};
    for (const char *at = my_ddl_skip(p + 1); at < close;) {
        const char *end = at;
        while (end < close && *end != ',') {
            end = is_quote(*end) ? skip_quoted(end) : *end == '(' ? partner(end) + 1 : end + 1;
        }
        char *item = gw_arena_memdup0(a, at, (size_t)(end - at));
        trim_end(item);
        *(const char **)gw_arena_push(a, &d.items, &d.n_items, sizeof *d.items) = item;
        at = my_ddl_skip(end + (end < close));
    }
    parse_tail(a, close + 1, &d);
    *ret = d;
    return true;
}
