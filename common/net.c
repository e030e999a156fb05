#include "common/net.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
bad(const char *text, const char *why, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, NULL, "endpoint \"%.300s\" %s", text, why);
    gw_err_hint(err, "endpoints are ipc://PATH or tcp://HOST:PORT");
    return GW_CONFIG;
}

static bool
is_port(const char *s, size_t len)
{
    return (len == 1 && *s == '*') || (len > 0 && len <= 5 && strspn(s, "0123456789") == len);
}

// "HOST:PORT" with an optional pair of brackets around HOST.
static int
split(const char *text, const char *at, struct gw_endpoint *e, struct gw_err *err)
{
    const char *colon = strrchr(at, ':');
    if (!colon || !is_port(colon + 1, strlen(colon + 1))) {
        return bad(text, "has no port", err);
    }
    size_t len = (size_t)(colon - at);
    bool brackets = len > 2 && at[0] == '[' && at[len - 1] == ']';
    if (brackets) {
        at++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof e->host || (!brackets && memchr(at, ':', len))) {
        return bad(text, "has no host, or an IPv6 address without brackets", err);
    }
    memcpy(e->host, at, len);
    e->host[len] = 0;
    snprintf(e->port, sizeof e->port, "%s", colon + 1);
    return GW_OK;
}

int
gw_endpoint_parse(const char *text, struct gw_endpoint *ret, struct gw_err *err)
{
    struct gw_endpoint e = {0};
    if (strlen(text) >= sizeof e.address) {
        return bad(text, "is too long", err);
    }
    snprintf(e.address, sizeof e.address, "%s", text);
    if (strncmp(text, "ipc://", 6) == 0 && text[6]) {
        *ret = e;
        return GW_OK;
    }
    if (strncmp(text, "tcp://", 6) != 0) {
        return bad(text, "is neither ipc:// nor tcp://", err);
    }
    e.tcp = true;
    char *key = strchr(e.address, '#');
    if (key) {
        if (strlen(key + 1) != GW_KEY_TEXT - 1) {
            return bad(text, "has a key that is not 40 characters long", err);
        }
        memcpy(e.key, key + 1, GW_KEY_TEXT);
        *key = 0;
    }
    int r = split(text, e.address + 6, &e, err);
    if (r != GW_OK) {
        return r;
    }
    e.any = strcmp(e.host, "*") == 0 || strcmp(e.host, "0.0.0.0") == 0 || strcmp(e.host, "::") == 0;
    // A name may be resolved to anything tomorrow, but for this one.
    e.loopback = strcmp(e.host, "localhost") == 0 || strcmp(e.host, "::1") == 0 ||
                 (strncmp(e.host, "127.", 4) == 0 && strspn(e.host, "0123456789.") == strlen(e.host));
    *ret = e;
    return GW_OK;
}

static struct addrinfo *
resolve(const char *host, const char *port, int flags, int *why)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = flags}, *list = NULL;
    *why = getaddrinfo(host, port, &hints, &list);
    return *why == 0 ? list : NULL;
}

static bool
name_of(int fd, char *out, size_t size)
{
    struct sockaddr_storage mine;
    socklen_t len = sizeof mine;
    return getsockname(fd, (struct sockaddr *)&mine, &len) == 0 &&
           getnameinfo((struct sockaddr *)&mine, len, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) == 0;
}

int
gw_net_address_towards(const struct gw_endpoint *e, char *ret, size_t size, struct gw_err *err)
{
    int why = 0;
    struct addrinfo *list = resolve(e->host, strcmp(e->port, "*") == 0 ? "1" : e->port, AI_ADDRCONFIG, &why);
    if (!list) {
        return gw_err_set(err, GW_RETRY, NULL, "find host \"%s\": %s", e->host, gai_strerror(why));
    }
    bool found = false;
    why = EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a && !found; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            why = errno;
            continue;
        }
        if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            why = errno;
        } else {
            found = name_of(fd, ret, size);
        }
        close(fd);
    }
    freeaddrinfo(list);
    return found ? GW_OK : gw_err_set(err, GW_RETRY, NULL, "find a way to host \"%s\": %s", e->host, strerror(why));
}

bool
gw_net_is_own(const char *host)
{
    int why;
    struct addrinfo *a = resolve(host, NULL, AI_NUMERICHOST, &why);
    if (!a) {
        return false; // a name: not worth a look-up for each stream
    }
    // The kernel binds only to what is its own.
    int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool own = fd >= 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(a);
    return own;
}
