#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

void
gw_buf_init(struct gw_buf *b, size_t max)
{
    *b = (struct gw_buf){.max = max};
}

void
gw_buf_fini(struct gw_buf *b)
{
    free(b->data);
    *b = (struct gw_buf){0};
}

char *
gw_buf_room(struct gw_buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n) {
        b->overflowed = true;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < need) {
            cap *= 2;
        }
        char *p = realloc(b->data, cap);
        if (!p) {
            fprintf(stderr, "out of memory: %zu bytes\n", cap);
            abort();
        }
        b->data = p;
        b->cap = cap;
    }
    return b->data + b->len;
}

void
gw_buf_put(struct gw_buf *b, const void *p, size_t n)
{
    char *to = gw_buf_room(b, n);
    if (to) {
        memcpy(to, p, n);
        b->len += n;
        b->data[b->len] = 0;
    }
}

void
gw_buf_puts(struct gw_buf *b, const char *s)
{
    gw_buf_put(b, s, strlen(s));
}

void
gw_buf_putc(struct gw_buf *b, char c)
{
    gw_buf_put(b, &c, 1);
}

void
gw_buf_vprintf(struct gw_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    gw_assert(n >= 0);
    char *to = gw_buf_room(b, (size_t)n);
    if (to) {
        vsnprintf(to, (size_t)n + 1, fmt, ap);
        b->len += (size_t)n;
    }
}

void
gw_buf_printf(struct gw_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    gw_buf_vprintf(b, fmt, ap);
    va_end(ap);
}
