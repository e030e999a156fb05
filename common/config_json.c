#include "common/config_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"

enum { NEAR_MAX = 64 };

// ---- parsing -----------------------------------------------------------------------------------

// Blanks a comma that stands behind a value and that only white space parts from a closing bracket. Lines and
// columns stay as they are.
static void
blank_trailing_commas(char *text, size_t len)
{
    bool in_string = false, value = false; // value: something that a comma may follow has just ended
    char *comma = NULL;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == ',') {
            comma = value ? &text[i] : NULL;
            value = false;
        } else if (!strchr(" \t\r\n", c)) {
            bool closing = c == '}' || c == ']';
            if (closing && comma) {
                *comma = ' ';
            }
            comma = NULL;
            in_string = c == '"';
            value = c != '{' && c != '[' && c != ':';
        }
    }
}

json_t *
gw_json_parse(const char *name, const char *text, size_t len, struct gw_err *err)
{
    char *copy = malloc(len + 1);
    gw_assert(copy);
    memcpy(copy, text, len);
    copy[len] = 0;
    blank_trailing_commas(copy, len);
    json_error_t e;
    json_t *root = json_loadb(copy, len, JSON_REJECT_DUPLICATES, &e);
    free(copy);
    if (!root) {
        // jansson shows the text where it stopped. A text in quotes might be a password that does not belong here.
        char *shown = strstr(e.text, " near '\"");
        if (shown) {
            *shown = 0;
        }
        gw_err_set(err, GW_CONFIG, NULL, "%s: line %d, column %d: %s", name, e.line, e.column, e.text);
    }
    return root;
}

static void
put_path(struct gw_buf *b, const struct gw_json_path *p)
{
    if (!p) {
        return;
    }
    put_path(b, p->up);
    if (p->index >= 0) {
        gw_buf_printf(b, "[%d]", p->index);
    } else if (p->key) {
        gw_buf_printf(b, "%s%s", b->len ? "." : "", p->key);
    }
}

char *
gw_json_path_text(struct gw_arena *a, const struct gw_json_path *p)
{
    struct gw_buf b;
    gw_buf_init(&b, 4096);
    gw_buf_puts(&b, "");
    put_path(&b, p);
    char *s = gw_arena_strdup(a, b.data);
    gw_buf_fini(&b);
    return s;
}

int
gw_json_error(const struct gw_json_path *at, struct gw_err *err, const char *fmt, ...)
{
    char text[800];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct gw_arena a;
    gw_arena_init(&a);
    const char *path = gw_json_path_text(&a, at);
    gw_err_set(err, GW_CONFIG, NULL, "%s%s%s", path, path[0] ? ": " : "", text);
    gw_arena_fini(&a);
    return GW_CONFIG;
}

// ---- objects -----------------------------------------------------------------------------------

static size_t
distance(const char *a, const char *b)
{
    size_t n = strlen(b);
    size_t row[NEAR_MAX + 1];
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t cost = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
            diagonal = row[j];
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = cost < other ? cost : other;
        }
    }
    return row[n];
}

const char *
gw_json_nearest(const char *word, const struct gw_key *keys, size_t n)
{
    const char *best = NULL;
    size_t best_d = SIZE_MAX;
    if (strlen(word) > NEAR_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        size_t d = strlen(keys[i].name) <= NEAR_MAX ? distance(word, keys[i].name) : SIZE_MAX;
        if (d < best_d) {
            best_d = d;
            best = keys[i].name;
        }
    }
    return best && best_d <= strlen(word) / 2 + 1 ? best : NULL;
}

int
gw_json_object(json_t *object, const struct gw_key *keys, size_t n, void *ctx, const struct gw_json_path *at,
               struct gw_err *err)
{
    if (!json_is_object(object)) {
        return gw_json_error(at, err, "an object is needed here");
    }
    enum { KEYS_MAX = 128 };
    bool seen[KEYS_MAX] = {false};
    gw_assert(n <= KEYS_MAX);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < n && strcasecmp(keys[i].name, key) != 0) {
            i++;
        }
        if (i == n) {
            const char *near = gw_json_nearest(key, keys, n);
            gw_json_error(at, err, "unknown key \"%.80s\"", key);
            if (near) {
                gw_err_hint(err, "did you mean \"%s\"?", near);
            }
            return GW_CONFIG;
        }
        if (seen[i]) {
            return gw_json_error(at, err, "key \"%s\" is there twice", keys[i].name);
        }
        seen[i] = true;
        struct gw_json_path here = {at, keys[i].name, -1};
        int r = keys[i].set ? keys[i].set(ctx, &keys[i], value, &here, err) : GW_OK;
        if (r != GW_OK) {
            return r;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (keys[i].required && !seen[i]) {
            return gw_json_error(at, err, "key \"%s\" is missing", keys[i].name);
        }
    }
    return GW_OK;
}

// ---- values ------------------------------------------------------------------------------------

int
gw_json_bool(json_t *v, bool *ret, const struct gw_json_path *at, struct gw_err *err)
{
    const char *s = json_string_value(v);
    if (json_is_boolean(v) || (s && (strcasecmp(s, "true") == 0 || strcasecmp(s, "false") == 0))) {
        *ret = s ? strcasecmp(s, "true") == 0 : json_is_true(v);
        return GW_OK;
    }
    return gw_json_error(at, err, "true or false is needed here");
}

int
gw_json_int(json_t *v, long long min, long long max, long long *ret, const struct gw_json_path *at, struct gw_err *err)
{
    long long n = json_is_integer(v) ? json_integer_value(v) : 0;
    const char *s = json_string_value(v);
    char *end = NULL;
    errno = 0;
    if (s) {
        n = strtoll(s, &end, 10);
    }
    if (!json_is_integer(v) && (!s || end == s || *end || errno)) {
        return gw_json_error(at, err, "a whole number is needed here");
    }
    if (n < min || n > max) {
        return gw_json_error(at, err, "%lld is out of range: %lld to %lld", n, min, max);
    }
    *ret = n;
    return GW_OK;
}

// The shortest text that reads back as the same number: 0.1, not 0.10000000000000001.
static char *
real_text(struct gw_arena *a, double v)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    return gw_arena_strdup(a, text);
}

int
gw_json_string(json_t *v, struct gw_arena *a, char **ret, const struct gw_json_path *at, struct gw_err *err)
{
    if (json_is_integer(v)) {
        *ret = gw_arena_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v)) {
            return gw_json_error(at, err, "the text holds a NUL character");
        }
        *ret = gw_arena_strdup(a, json_string_value(v));
    } else if (json_is_real(v)) {
        *ret = real_text(a, json_real_value(v));
    } else {
        return gw_json_error(at, err, "a text is needed here");
    }
    return GW_OK;
}

int
gw_json_enum(json_t *v, const char *const *names, int *ret, const struct gw_json_path *at, struct gw_err *err)
{
    const char *s = json_string_value(v);
    char all[400] = "";
    for (int i = 0; names[i]; i++) {
        if (s && strcasecmp(s, names[i]) == 0) {
            *ret = i;
            return GW_OK;
        }
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    }
    return gw_json_error(at, err, "\"%.80s\" is not one of: %s", s ? s : "(not a text)", all);
}
