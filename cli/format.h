// Numbers, times and names as people read them, and text that fits a column.
//
// One convention everywhere: decimal units (1 kB = 1000 B), three significant digits where a unit is used,
// thousands separators where it is not, UTC for points in time. Text of unknown origin (names, server
// messages) is made printable here: a table's name must not be able to drive the terminal.
// Everything appends to a gw_buf; nothing here does I/O.
#ifndef GW_CLI_FORMAT_H
#define GW_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum { GW_FMT_SIZE = 48 };
struct gw_fmt {
    char s[GW_FMT_SIZE];
};

struct gw_fmt gw_fmt_count(uint64_t n);        // 1,234,567
struct gw_fmt gw_fmt_short(uint64_t n);        // 9,876   183 k   1.24 M
struct gw_fmt gw_fmt_bytes(uint64_t n);        // 512 B   4.20 kB   1.24 GB
struct gw_fmt gw_fmt_duration(int64_t us);     // 4.2s   42s   1m 23s   2h 05m   3d 04h
struct gw_fmt gw_fmt_left(int64_t us);         // the same for an estimate: whole seconds, "over 30d"
struct gw_fmt gw_fmt_percent(double fraction); // 48%; 100% only for 1.0
struct gw_fmt gw_fmt_time(int64_t wall_us);    // 2026-01-02 03:04:05 UTC
struct gw_fmt gw_fmt_iso(int64_t wall_us);     // 2026-01-02T03:04:05.678Z

// Columns that the text takes on a terminal, after it has been made printable.
size_t gw_text_width(const char *s, bool utf8);
// Appends at most `width` columns of s; a longer one ends in "…" ("~" without UTF-8). Returns its width.
size_t gw_text_cut(struct gw_buf *out, const char *s, size_t width, bool utf8);
// The same, filled up with spaces to exactly `width`: on the right, or on the left for numbers.
void gw_text_left(struct gw_buf *out, const char *s, size_t width, bool utf8);
void gw_text_right(struct gw_buf *out, const char *s, size_t width, bool utf8);
// Appends all of s, printable, wrapped at words to `width` columns; lines after the first are indented.
void gw_text_wrap(struct gw_buf *out, const char *s, size_t width, size_t indent, bool utf8);
void gw_text_bar(struct gw_buf *out, double fraction, size_t width, bool utf8);
void gw_text_fill(struct gw_buf *out, char c, size_t n);
// Copies s without bytes that are not UTF-8 (each becomes U+FFFD): JSON takes nothing else.
void gw_text_utf8(struct gw_buf *out, const char *s);

#endif
