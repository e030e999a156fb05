#include "common/url.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *scheme, *engine;
    bool file; // the rest is a path
} schemes[] = {
    {"postgresql", "postgresql", false}, {"postgres", "postgresql", false}, {"mysql", "mysql", false},
    {"mariadb", "mysql", false},         {"sqlite", "sqlite", true},        {"memory", "memory", false},
};

static int
hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// NULL if an escape is malformed or hides a NUL.
static char *
decode(struct gw_arena *a, const char *s, size_t n)
{
    char *out = gw_arena_alloc(a, n + 1), *to = out;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '%') {
            *to++ = s[i];
            continue;
        }
        int hi = i + 2 < n ? hex(s[i + 1]) : -1, lo = i + 2 < n ? hex(s[i + 2]) : -1;
        if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) {
            return NULL;
        }
        *to++ = (char)(hi * 16 + lo);
        i += 2;
    }
    *to = 0;
    return out;
}

static int
malformed(struct gw_err *err, const char *what)
{
    gw_err_set(err, GW_CONFIG, NULL, "url has a malformed %s", what);
    gw_err_hint(err, "scheme://user@host:port/database?key=value, special characters as %%XX");
    return GW_CONFIG;
}

static int
holds_password(struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, NULL, "url holds a password");
    gw_err_hint(err, "name it by \"password-env\" or \"password-file\" instead");
    return GW_CONFIG;
}

// password=, and what unlocks a key: sslpassword=. A passfile= is only a path.
static bool
names_password(const char *key)
{
    static const char *const words[] = {"password", "passwd", "passphrase", "pwd"};
    bool yes = false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        yes = yes || strcasestr(key, words[i]);
    }
    return yes;
}

static int
parse_params(const char *q, struct gw_arena *a, Gw__Endpoint *ret, struct gw_err *err)
{
    while (q && *q) {
        size_t len = strcspn(q, "&");
        const char *eq = memchr(q, '=', len);
        if (!eq || eq == q) {
            return malformed(err, "parameter");
        }
        Gw__Setting *s = gw_pb_new(a, Gw__Setting, gw__setting__init);
        s->key = decode(a, q, (size_t)(eq - q));
        s->value = decode(a, eq + 1, len - (size_t)(eq - q) - 1);
        if (!s->key || !s->value) {
            return malformed(err, "parameter");
        }
        if (names_password(s->key)) {
            return holds_password(err);
        }
        gw_pb_add(a, ret, params, s);
        q += len + (q[len] == '&');
    }
    return GW_OK;
}

static int
parse_port(const char *s, size_t n, Gw__Endpoint *ret, struct gw_err *err)
{
    uint32_t port = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || (port = port * 10 + (uint32_t)(s[i] - '0')) > 65535) {
            return malformed(err, "port");
        }
    }
    ret->port = port;
    return GW_OK;
}

static int
parse_authority(const char *s, size_t n, struct gw_arena *a, Gw__Endpoint *ret, struct gw_err *err)
{
    const char *at = memrchr(s, '@', n);
    if (at) {
        size_t user = (size_t)(at - s);
        if (memchr(s, ':', user)) {
            return holds_password(err);
        }
        ret->user = decode(a, s, user);
        n -= user + 1;
        s = at + 1;
    }
    const char *host_end = s + n, *colon = NULL;
    if (n && *s == '[') { // IPv6
        const char *close = memchr(s, ']', n);
        if (!close) {
            return malformed(err, "host");
        }
        ret->host = decode(a, s + 1, (size_t)(close - s) - 1);
        colon = close + 1 < host_end ? close + 1 : NULL;
        if (colon && *colon != ':') {
            return malformed(err, "host");
        }
    } else {
        colon = n ? memchr(s, ':', n) : NULL;
        ret->host = decode(a, s, colon ? (size_t)(colon - s) : n);
    }
    if (!ret->host || !ret->user) {
        return malformed(err, "host or user");
    }
    return colon ? parse_port(colon + 1, (size_t)(host_end - colon) - 1, ret, err) : GW_OK;
}

int
gw_url_parse(const char *url, struct gw_arena *a, Gw__Endpoint *ret, struct gw_err *err)
{
    const char *colon = strchr(url, ':');
    size_t scheme = colon ? (size_t)(colon - url) : 0;
    bool file = false;
    for (size_t i = 0; colon && i < sizeof schemes / sizeof *schemes; i++) {
        if (strlen(schemes[i].scheme) == scheme && strncasecmp(url, schemes[i].scheme, scheme) == 0) {
            ret->engine = gw_arena_strdup(a, schemes[i].engine);
            file = schemes[i].file;
        }
    }
    if (!colon || !ret->engine[0]) {
        gw_err_set(err, GW_CONFIG, NULL, "url names no known engine");
        gw_err_hint(err, "postgresql://, mysql://, mariadb:// or sqlite:");
        return GW_CONFIG;
    }
    ret->url = gw_arena_strdup(a, url);
    const char *rest = colon + 1;
    bool authority = strncmp(rest, "//", 2) == 0;
    rest += authority ? 2 : 0;
    const char *query = strchr(rest, '?');
    size_t len = query ? (size_t)(query - rest) : strlen(rest);
    int r = query ? parse_params(query + 1, a, ret, err) : GW_OK;
    if (r != GW_OK) {
        return r;
    }
    if (file) {
        ret->database = decode(a, rest, len);
        return ret->database && ret->database[0] ? GW_OK : malformed(err, "path");
    }
    if (!authority) {
        return malformed(err, "host");
    }
    const char *slash = memchr(rest, '/', len);
    size_t host_len = slash ? (size_t)(slash - rest) : len;
    if (slash && memchr(slash, '@', len - host_len)) { // user:pass/word@host
        return malformed(err, "database");
    }
    ret->database = slash ? decode(a, slash + 1, len - host_len - 1) : ret->database;
    if (!ret->database) {
        return malformed(err, "database");
    }
    return parse_authority(rest, host_len, a, ret, err);
}
