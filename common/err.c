#include "common/err.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
gw_err_set(struct gw_err *err, enum gw_class cls, const char *code, const char *fmt, ...)
{
    if (!err) {
        return cls;
    }
    // Build aside: an argument may point into *err.
    struct gw_err e = {.cls = cls};
    if (code) {
        snprintf(e.code, sizeof e.code, "%s", code);
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    *err = e;
    return cls;
}

int
gw_err_wrap(struct gw_err *err, const char *fmt, ...)
{
    if (!err) {
        return GW_BUG;
    }
    char what[sizeof err->message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    char whole[sizeof err->message * 2 + 4];
    snprintf(whole, sizeof whole, "%s: %s", what, err->message);
    snprintf(err->message, sizeof err->message, "%.*s", (int)sizeof err->message - 1, whole);
    return err->cls;
}

void
gw_err_detail(struct gw_err *err, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->detail, sizeof err->detail, fmt, ap);
        va_end(ap);
    }
}

void
gw_err_hint(struct gw_err *err, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->hint, sizeof err->hint, fmt, ap);
        va_end(ap);
    }
}

void
gw_err_clear(struct gw_err *err)
{
    if (err) {
        *err = (struct gw_err){0};
    }
}

int
gw_err_errno(struct gw_err *err, int errnum, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    char text[128];
    // GNU strerror_r: may return a static string instead of filling text.
    const char *why = strerror_r(errnum, text, sizeof text);
    bool final = errnum == ENOENT || errnum == EACCES || errnum == EPERM || errnum == ENOTDIR || errnum == EISDIR ||
                 errnum == EINVAL || errnum == ENAMETOOLONG || errnum == EROFS;
    char code[16];
    snprintf(code, sizeof code, "%s", strerrorname_np(errnum) ? strerrorname_np(errnum) : "");
    return gw_err_set(err, final ? GW_CONFIG : GW_RETRY, code, "%s: %s", what, why);
}

const char *
gw_class_name(enum gw_class cls)
{
    static const char *const names[] = {
        [GW_OK] = "ok",     [GW_AGAIN] = "again",   [GW_END] = "end",       [GW_RETRY] = "retry",
        [GW_DATA] = "data", [GW_CONFIG] = "config", [GW_FENCED] = "fenced", [GW_BUG] = "bug",
    };
    return (unsigned)cls < sizeof names / sizeof *names ? names[cls] : "unknown";
}

void
gw_assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "assertion failed: %s at %s:%d\n", what, file, line);
    abort();
}
