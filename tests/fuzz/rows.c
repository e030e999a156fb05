// COPY text: any value returns as it went in; rows are cut to their limits and to nothing else.
#include "common/copytext.h"
#include "tests/fuzz/fuzz.h"
#include "transform/driver.h"

enum { FIELDS_MAX = 8, OUT_MAX = 1 << 22 };

static void
value_returns(const char *value, size_t len, struct gw_buf *row, struct gw_buf *back)
{
    gw_buf_reset(row);
    gw_buf_reset(back);
    gw_copy_put_field(row, value, len);
    gw_buf_putc(row, '\t');
    gw_copy_put_bytes(row, value, len);
    gw_buf_putc(row, '\n');
    gw_assert(gw_copy_row_len(row->data, row->len) == row->len);
    struct gw_copy_field f[2];
    gw_assert(gw_copy_split(row->data, row->len, f, 2) == 2 && !f[0].null && !f[1].null);
    gw_copy_unescape(back, f[0].at, f[0].len);
    gw_assert(back->len == len && (len == 0 || memcmp(back->data, value, len) == 0));
    gw_buf_reset(back);
    gw_copy_unescape(back, f[1].at, f[1].len);
    gw_assert(back->len == 2 + 2 * len && memcmp(back->data, "\\x", 2) == 0);
}

// Every field of the result is the whole value, or at most its limit of it.
static void
check_cut(const struct gw_buf *out, const uint64_t *max, const bool *hex, size_t n, struct gw_buf *value)
{
    size_t at = 0;
    while (at < out->len) {
        size_t len = gw_copy_row_len(out->data + at, out->len - at);
        struct gw_copy_field f[FIELDS_MAX];
        gw_assert(len && gw_copy_split(out->data + at, len, f, FIELDS_MAX) == n);
        for (size_t i = 0; i < n; i++) {
            gw_buf_reset(value);
            gw_copy_unescape(value, f[i].at, f[i].len);
            gw_assert(f[i].null || !max[i] || value->len <= (hex[i] ? 2 + 2 * max[i] : max[i]));
        }
        at += len;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    size_t n = 1 + input_byte(&in) % FIELDS_MAX;
    uint64_t max[FIELDS_MAX];
    bool hex[FIELDS_MAX];
    for (size_t i = 0; i < n; i++) {
        uint8_t b = input_byte(&in);
        max[i] = b >> 2;
        hex[i] = b & 1;
    }
    struct gw_buf row, back, out;
    gw_buf_init(&row, OUT_MAX);
    gw_buf_init(&back, OUT_MAX);
    gw_buf_init(&out, OUT_MAX);
    value_returns((const char *)in.at, in.left, &row, &back);

    uint64_t cut = 0;
    struct gw_err err = {0};
    const char *rows = (const char *)in.at;
    if (gw_cut_rows(rows, in.left, max, hex, n, &out, &cut, &err) == GW_OK) {
        check_cut(&out, max, hex, n, &back);
        gw_assert(cut || (out.len == in.left && (!out.len || memcmp(out.data, rows, out.len) == 0)));
        // Once more: nothing is left to cut.
        gw_buf_reset(&row);
        uint64_t again = 0;
        gw_assert(gw_cut_rows(out.len ? out.data : "", out.len, max, hex, n, &row, &again, &err) == GW_OK);
        gw_assert(again == 0 && row.len == out.len && (!row.len || memcmp(row.data, out.data, row.len) == 0));
    } else {
        gw_assert(err.cls == GW_BUG && err.message[0]);
    }
    gw_buf_fini(&row);
    gw_buf_fini(&back);
    gw_buf_fini(&out);
    return 0;
}
