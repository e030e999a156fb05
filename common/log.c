#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

static struct {
    char who[64];
    int fd;
    enum gw_log_level level, stderr_level;
} state = {.fd = -1, .level = GW_LOG_INFO, .stderr_level = GW_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

int
gw_log_open(const char *who, const char *path, struct gw_err *err)
{
    snprintf(state.who, sizeof state.who, "%s", who);
    const char *want = getenv("GODWIT_LOG");
    for (unsigned i = 0; want && i < sizeof level_names / sizeof *level_names; i++) {
        if (strcasecmp(want, level_names[i]) == 0) {
            state.level = (enum gw_log_level)i;
            if (state.stderr_level < state.level) {
                state.stderr_level = state.level;
            }
        }
    }
    if (!path) {
        return GW_OK;
    }
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return gw_err_errno(err, errno, "open log \"%s\"", path);
    }
    if (state.fd >= 0) {
        close(state.fd);
    }
    state.fd = fd;
    return GW_OK;
}

void
gw_log_stderr_level(enum gw_log_level level)
{
    state.stderr_level = level;
}

static void
write_line(enum gw_log_level level, const char *text)
{
    char line[4096];
    struct tm tm;
    int64_t now = gw_wall_us();
    time_t s = (time_t)(now / GW_S);
    gmtime_r(&s, &tm);
    int n = snprintf(line, sizeof line - 1, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s %s", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now % GW_S / GW_MS),
                     level_names[level], state.who, text);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line - 2 ? (size_t)n : sizeof line - 2;
    for (size_t i = 0; i < len; i++) {
        // A line is a line: server messages bring their own newlines.
        if (line[i] == '\n' || line[i] == '\r') {
            line[i] = ' ';
        }
    }
    line[len++] = '\n';
    // Nothing can be done about a log that cannot be written, and work must go on.
    if (level >= state.stderr_level) {
        (void)!write(STDERR_FILENO, line, len);
    }
    if (state.fd >= 0) {
        (void)!write(state.fd, line, len);
    }
}

void
gw_log(enum gw_log_level level, const char *fmt, ...)
{
    if (level < state.level) {
        return;
    }
    char text[3072];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    write_line(level, text);
}

void
gw_log_err(enum gw_log_level level, const struct gw_err *err, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    gw_log(level, "%s: %s%s%s%s class=%s%s%s%s%s", what, err->message, err->code[0] ? " [" : "", err->code,
           err->code[0] ? "]" : "", gw_class_name(err->cls), err->detail[0] ? " detail=" : "", err->detail,
           err->hint[0] ? " hint=" : "", err->hint);
}
