// A growable byte buffer with a ceiling.
//
// `data` is NUL-terminated after every append (len does not count the NUL). Growth beyond `max` marks the
// buffer as overflowed and drops the append; check gw_buf_overflowed before use. Row data is bounded before
// it is appended, so an overflow there is a bug; text from outside is checked.
#ifndef GW_BUF_H
#define GW_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_buf {
    char *data;
    size_t len, cap, max;
    bool overflowed;
};

void gw_buf_init(struct gw_buf *b, size_t max);
void gw_buf_fini(struct gw_buf *b);
static inline void
gw_buf_reset(struct gw_buf *b)
{
    b->len = 0;
    b->overflowed = false;
}

// Makes room for n more bytes behind len and returns where they go; NULL (and overflowed) beyond max.
// The caller writes there and then adds to len itself (gw_buf_added).
char *gw_buf_room(struct gw_buf *b, size_t n);
static inline void
gw_buf_added(struct gw_buf *b, size_t n)
{
    b->len += n;
}
void gw_buf_put(struct gw_buf *b, const void *p, size_t n);
void gw_buf_puts(struct gw_buf *b, const char *s);
void gw_buf_putc(struct gw_buf *b, char c);
void gw_buf_printf(struct gw_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gw_buf_vprintf(struct gw_buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#endif
