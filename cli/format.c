#include "cli/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "common/clock.h"

// ---- numbers -----------------------------------------------------------------------------------

struct gw_fmt
gw_fmt_count(uint64_t n)
{
    struct gw_fmt f = {{0}};
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t o = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) {
            f.s[o++] = ',';
        }
        f.s[o++] = digits[i];
    }
    return f;
}

// n in steps of 1000 with three significant digits. 999,950 is 1.00 of the next unit, not "1000".
static struct gw_fmt
scaled(uint64_t n, const char *const *units, size_t units_n)
{
    struct gw_fmt f = {{0}};
    double v = (double)n;
    size_t u = 0;
    while (v >= 999.5 && u + 1 < units_n) {
        v /= 1000;
        u++;
    }
    if (u == 0) {
        snprintf(f.s, sizeof f.s, "%" PRIu64 "%s", n, units[0]);
    } else {
        snprintf(f.s, sizeof f.s, "%.*f%s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[u]);
    }
    return f;
}

struct gw_fmt
gw_fmt_short(uint64_t n)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    return n < 10000 ? gw_fmt_count(n) : scaled(n, units, sizeof units / sizeof *units);
}

struct gw_fmt
gw_fmt_bytes(uint64_t n)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};
    return scaled(n, units, sizeof units / sizeof *units);
}

struct gw_fmt
gw_fmt_percent(double fraction)
{
    struct gw_fmt f = {{0}};
    int p = fraction >= 1 ? 100 : fraction <= 0 ? 0 : (int)(fraction * 100);
    snprintf(f.s, sizeof f.s, "%d%%", p);
    return f;
}

// ---- times -------------------------------------------------------------------------------------

static struct gw_fmt
whole_seconds(int64_t s)
{
    struct gw_fmt f = {{0}};
    if (s < 60) {
        snprintf(f.s, sizeof f.s, "%" PRId64 "s", s);
    } else if (s < 3600) {
        snprintf(f.s, sizeof f.s, "%" PRId64 "m %02" PRId64 "s", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(f.s, sizeof f.s, "%" PRId64 "h %02" PRId64 "m", s / 3600, s / 60 % 60);
    } else {
        snprintf(f.s, sizeof f.s, "%" PRId64 "d %02" PRId64 "h", s / 86400, s / 3600 % 24);
    }
    return f;
}

struct gw_fmt
gw_fmt_duration(int64_t us)
{
    struct gw_fmt f = {{0}};
    us = us < 0 ? 0 : us;
    if (us < 9950 * GW_MS) {
        snprintf(f.s, sizeof f.s, "%.1fs", (double)us / (double)GW_S);
        return f;
    }
    return whole_seconds((us + GW_S / 2) / GW_S);
}

struct gw_fmt
gw_fmt_left(int64_t us)
{
    struct gw_fmt f = {"over 30d"};
    us = us < 0 ? 0 : us;
    return us > 30 * 86400 * GW_S ? f : whole_seconds((us + GW_S - 1) / GW_S);
}

struct gw_fmt
gw_fmt_time(int64_t wall_us)
{
    struct gw_fmt f = {{0}};
    struct tm tm;
    time_t s = (time_t)(wall_us / GW_S);
    if (gmtime_r(&s, &tm)) {
        strftime(f.s, sizeof f.s, "%Y-%m-%d %H:%M:%S UTC", &tm);
    }
    return f;
}

struct gw_fmt
gw_fmt_iso(int64_t wall_us)
{
    struct gw_fmt f = {{0}};
    struct tm tm;
    time_t s = (time_t)(wall_us / GW_S);
    if (gmtime_r(&s, &tm)) {
        size_t n = strftime(f.s, sizeof f.s, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(f.s + n, sizeof f.s - n, ".%03dZ", (int)(wall_us % GW_S / GW_MS));
    }
    return f;
}

// ---- text --------------------------------------------------------------------------------------

// One character of s: its code point and length in bytes; -1 and 1 for a byte that is not UTF-8
// (overlong forms, surrogates and beyond U+10FFFF included). s is not at its end.
static int32_t
decode(const char *s, size_t *len)
{
    const unsigned char *p = (const unsigned char *)s;
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
    *len = 1;
    if (n == 0) {
        return -1;
    }
    int32_t c = n == 1 ? p[0] : p[0] & (0xff >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) { // also stops at the terminating NUL
            return -1;
        }
        c = (c << 6) | (p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return -1;
    }
    *len = n;
    return c;
}

// Marks that would reorder or hide what stands next to them on the screen.
static bool
is_invisible(int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb);
}

// What is shown for one character: the bytes themselves, or "?". Returns its columns.
static size_t
shown(const char *s, bool utf8, const char **bytes, size_t *bytes_len, size_t *len)
{
    int32_t c = decode(s, len);
    *bytes = s;
    *bytes_len = *len;
    if (c >= 0 && !is_invisible(c) && (c < 0x80 || utf8)) {
        int w = c < 0x80 ? 1 : wcwidth((wchar_t)c);
        // A width that the C library does not know is taken for one column.
        return w < 0 ? 1 : (size_t)w;
    }
    *bytes = c == '\n' || c == '\t' || c == '\r' ? " " : "?";
    *bytes_len = 1;
    return 1;
}

size_t
gw_text_width(const char *s, bool utf8)
{
    size_t width = 0, len, bytes_len;
    const char *bytes;
    for (; *s; s += len) {
        width += shown(s, utf8, &bytes, &bytes_len, &len);
    }
    return width;
}

size_t
gw_text_cut(struct gw_buf *out, const char *s, size_t width, bool utf8)
{
    bool cut = gw_text_width(s, utf8) > width;
    size_t room = cut && width ? width - 1 : width, used = 0, len, bytes_len;
    const char *bytes;
    for (; *s; s += len) {
        size_t w = shown(s, utf8, &bytes, &bytes_len, &len);
        if (used + w > room) {
            break;
        }
        gw_buf_put(out, bytes, bytes_len);
        used += w;
    }
    if (cut && width) {
        gw_buf_puts(out, utf8 ? "…" : "~");
        used++;
    }
    return used;
}

void
gw_text_fill(struct gw_buf *out, char c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gw_buf_putc(out, c);
    }
}

void
gw_text_left(struct gw_buf *out, const char *s, size_t width, bool utf8)
{
    size_t used = gw_text_cut(out, s, width, utf8);
    gw_text_fill(out, ' ', width > used ? width - used : 0);
}

void
gw_text_right(struct gw_buf *out, const char *s, size_t width, bool utf8)
{
    size_t w = gw_text_width(s, utf8);
    gw_text_fill(out, ' ', width > w ? width - w : 0);
    gw_text_cut(out, s, width, utf8);
}

void
gw_text_wrap(struct gw_buf *out, const char *s, size_t width, size_t indent, bool utf8)
{
    size_t room = width > indent + 10 ? width - indent : 10;
    size_t at = 0, len, bytes_len;
    const char *bytes;
    while (*s) {
        // One word and the columns it takes.
        size_t n = 0, w = 0;
        for (; s[n] && s[n] != ' ' && s[n] != '\n'; n += len) {
            w += shown(s + n, utf8, &bytes, &bytes_len, &len);
        }
        if (at && w && at + 1 + w > room) {
            gw_buf_putc(out, '\n');
            gw_text_fill(out, ' ', indent);
            at = 0;
        } else if (at && w) {
            gw_buf_putc(out, ' ');
            at++;
        }
        for (size_t i = 0; i < n; i += len) {
            shown(s + i, utf8, &bytes, &bytes_len, &len);
            gw_buf_put(out, bytes, bytes_len);
        }
        at += w;
        s += n + (s[n] ? 1 : 0);
    }
}

void
gw_text_bar(struct gw_buf *out, double fraction, size_t width, bool utf8)
{
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double f = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    size_t n = (size_t)(f * (double)width * 8);
    for (size_t i = 0; i < width; i++) {
        size_t left = n > i * 8 ? n - i * 8 : 0;
        if (utf8) {
            gw_buf_puts(out, left >= 8 ? "█" : left ? eighths[left] : "░");
        } else {
            gw_buf_putc(out, left >= 8 ? '#' : '.');
        }
    }
}

void
gw_text_utf8(struct gw_buf *out, const char *s)
{
    for (size_t len; *s; s += len) {
        if (decode(s, &len) < 0) {
            gw_buf_puts(out, "\xef\xbf\xbd");
        } else {
            gw_buf_put(out, s, len);
        }
    }
}
