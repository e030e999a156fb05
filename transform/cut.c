#include <string.h>

#include "common/copytext.h"
#include "transform/driver.h"

enum { COLUMNS_MAX = 4096 };

// The longest prefix of a UTF-8 text that is at most max bytes and ends between characters.
static size_t
text_prefix(const char *s, size_t len, uint64_t max)
{
    if (len <= max) {
        return len;
    }
    size_t n = (size_t)max;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

size_t
gw_cut_value(const char *value, size_t len, uint64_t max, bool is_hex)
{
    if (is_hex) {
        return len > 2 + 2 * max ? 2 + 2 * (size_t)max : len;
    }
    return text_prefix(value, len, max);
}

bool
gw_is_hex(const Gw__Column *c)
{
    Gw__Kind kind = c->type ? c->type->kind : GW__KIND__KIND_UNKNOWN;
    return kind == GW__KIND__KIND_BLOB || kind == GW__KIND__KIND_BINARY || kind == GW__KIND__KIND_VARBINARY;
}

// Appends the field, cut if it is longer. Returns whether it was cut.
static bool
put_cut(struct gw_buf *out, struct gw_buf *value, const struct gw_copy_field *f, uint64_t max, bool is_hex)
{
    // An escaped field is never shorter than its value: most need no look inside.
    if (f->null || max == 0 || f->len <= max) {
        gw_buf_put(out, f->at, f->len);
        return false;
    }
    gw_buf_reset(value);
    gw_copy_unescape(value, f->at, f->len);
    size_t keep = gw_cut_value(value->data, value->len, max, is_hex);
    if (keep == value->len) {
        gw_buf_put(out, f->at, f->len);
        return false;
    }
    gw_copy_put_field(out, value->data, keep);
    return true;
}

int
gw_cut_rows(const char *rows, size_t len, const uint64_t *max_bytes, const bool *is_hex, size_t n, struct gw_buf *out,
            uint64_t *cut, struct gw_err *err)
{
    static struct gw_copy_field fields[COLUMNS_MAX];
    struct gw_buf value;
    gw_buf_init(&value, out->max);
    int r = GW_OK;
    for (size_t at = 0; at < len && r == GW_OK;) {
        size_t row_len = gw_copy_row_len(rows + at, len - at);
        size_t got = row_len ? gw_copy_split(rows + at, row_len, fields, COLUMNS_MAX) : 0;
        if (got != n || got > COLUMNS_MAX) {
            r = gw_err_set(err, GW_BUG, NULL, "a row has %zu fields where %zu columns are due", got, n);
            break;
        }
        for (size_t i = 0; i < n; i++) {
            if (i) {
                gw_buf_putc(out, '\t');
            }
            *cut += put_cut(out, &value, &fields[i], max_bytes[i], is_hex[i]);
        }
        gw_buf_putc(out, '\n');
        at += row_len;
    }
    if (r == GW_OK && (out->overflowed || value.overflowed)) {
        r = gw_err_set(err, GW_BUG, NULL, "a batch of rows is too large");
    }
    gw_buf_fini(&value);
    return r;
}
