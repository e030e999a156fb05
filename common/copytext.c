#include "common/copytext.h"

#include <string.h>

enum { COUNTED = 1 << 20 };

// What stands behind the backslash for a byte; 0 = the byte stands for itself.
static const char escape_of[256] = {['\\'] = '\\', ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r'};

// A field is at most twice as long as its value. For a large value that is memory, and perhaps beyond the
// buffer's ceiling, for escapes that are not there: these are counted.
static size_t
room_for(const char *value, size_t len)
{
    if (len < COUNTED) {
        return len * 2;
    }
    size_t n = len;
    for (size_t i = 0; i < len; i++) {
        n += escape_of[(unsigned char)value[i]] != 0;
    }
    return n;
}

void
gw_copy_put_field(struct gw_buf *out, const char *value, size_t len)
{
    char *to = gw_buf_room(out, room_for(value, len));
    if (!to) {
        return;
    }
    char *start = to;
    for (size_t i = 0; i < len; i++) {
        char e = escape_of[(unsigned char)value[i]];
        if (e) {
            *to++ = '\\';
            *to++ = e;
        } else {
            *to++ = value[i];
        }
    }
    *to = 0;
    gw_buf_added(out, (size_t)(to - start));
}

void
gw_copy_put_bytes(struct gw_buf *out, const void *value, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = value;
    char *to = gw_buf_room(out, len * 2 + 3);
    if (!to) {
        return;
    }
    char *start = to;
    memcpy(to, "\\\\x", 3);
    to += 3;
    for (size_t i = 0; i < len; i++) {
        *to++ = digits[p[i] >> 4];
        *to++ = digits[p[i] & 15];
    }
    *to = 0;
    gw_buf_added(out, (size_t)(to - start));
}

size_t
gw_copy_row_len(const char *p, size_t n)
{
    const char *nl = n ? memchr(p, '\n', n) : NULL;
    return nl ? (size_t)(nl - p) + 1 : 0;
}

size_t
gw_copy_split(const char *row, size_t len, struct gw_copy_field *fields, size_t max)
{
    if (len && row[len - 1] == '\n') {
        len--;
    }
    size_t n = 0;
    const char *at = row, *end = row + len;
    for (;;) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        const char *stop = tab ? tab : end;
        if (n < max) {
            size_t flen = (size_t)(stop - at);
            fields[n] =
                (struct gw_copy_field){.at = at, .len = flen, .null = flen == 2 && at[0] == '\\' && at[1] == 'N'};
        }
        n++;
        if (!tab) {
            return n;
        }
        at = tab + 1;
    }
}

void
gw_copy_unescape(struct gw_buf *out, const char *field, size_t len)
{
    static const char byte_of[256] = {
        ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t', ['v'] = '\v'};
    char *to = gw_buf_room(out, len);
    if (!to) {
        return;
    }
    char *start = to;
    for (size_t i = 0; i < len; i++) {
        if (field[i] == '\\' && i + 1 < len) {
            char b = byte_of[(unsigned char)field[++i]];
            *to++ = b ? b : field[i];
        } else {
            *to++ = field[i];
        }
    }
    *to = 0;
    gw_buf_added(out, (size_t)(to - start));
}
