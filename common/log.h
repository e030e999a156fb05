// Structured log lines: `2026-01-02T03:04:05.678Z info capture-1 read chunk table="shop.orders" chunk=3`.
//
// Goes to stderr and, when gw_log_open was given one, to a file of the state folder. Drivers and mains log,
// once per failure; library code returns errors instead. Field names are stable: task, stage, worker, stream,
// table, chunk, position, epoch. Thread-safe (one write(2) a line). Never a password, never a row value.
#ifndef GW_LOG_H
#define GW_LOG_H

#include "common/err.h"

enum gw_log_level { GW_LOG_DEBUG, GW_LOG_INFO, GW_LOG_WARN, GW_LOG_ERROR };

// who: "capture-1"; copied. path: appended to, NULL for none. Level from GODWIT_LOG (debug, info, warn, error).
int gw_log_open(const char *who, const char *path, struct gw_err *err);
// Least level that still goes to stderr; the file gets everything from the level of GODWIT_LOG on.
void gw_log_stderr_level(enum gw_log_level level);
void gw_log(enum gw_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// "<what>: <message> [code] (detail; hint)"
void gw_log_err(enum gw_log_level level, const struct gw_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define gw_debug(...) gw_log(GW_LOG_DEBUG, __VA_ARGS__)
#define gw_info(...)  gw_log(GW_LOG_INFO, __VA_ARGS__)
#define gw_warn(...)  gw_log(GW_LOG_WARN, __VA_ARGS__)

#endif
