#include "common/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_MAX = 4096 };

static int
from_file(const char *path, struct gw_arena *a, const char **ret, struct gw_err *err)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return gw_err_errno(err, errno, "read password file \"%s\"", path);
    }
    char text[SECRET_MAX + 1];
    size_t n = fread(text, 1, sizeof text, f);
    bool failed = ferror(f);
    fclose(f);
    if (failed || n > SECRET_MAX) {
        return gw_err_set(err, GW_CONFIG, NULL, "password file \"%s\" cannot be read or is too long", path);
    }
    if (memchr(text, 0, n)) {
        explicit_bzero(text, sizeof text);
        return gw_err_set(err, GW_CONFIG, NULL, "password file \"%s\" holds a NUL character", path);
    }
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r')) {
        n--;
    }
    *ret = gw_arena_memdup0(a, text, n);
    explicit_bzero(text, sizeof text);
    return GW_OK;
}

int
gw_secret_resolve(const Gw__Endpoint *ep, struct gw_arena *a, const char **ret, struct gw_err *err)
{
    if (ep->password_env[0]) {
        const char *v = getenv(ep->password_env);
        if (!v) {
            int r = gw_err_set(err, GW_CONFIG, NULL, "environment variable \"%s\" (password-env) is not set",
                               ep->password_env);
            gw_err_hint(err, "set it where the worker is started");
            return r;
        }
        *ret = gw_arena_strdup(a, v);
        return GW_OK;
    }
    if (ep->password_file[0]) {
        return from_file(ep->password_file, a, ret, err);
    }
    *ret = NULL;
    return GW_OK;
}
