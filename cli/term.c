#include "cli/term.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/format.h"
#include "common/err.h"

enum { OUT_MAX = 1 << 22 };

bool
gw_term_colour(int fd)
{
    // https://no-color.org: any value that is not empty turns colour off.
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && term && *term && strcmp(term, "dumb") != 0;
}

static void
measure(int fd, struct gw_style *s)
{
    struct winsize w = {0};
    s->width = 80;
    s->height = 24;
    if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row) {
        s->width = w.ws_col;
        s->height = w.ws_row;
    }
}

struct gw_style
gw_term_style(int fd)
{
    struct gw_style s = {.width = 0};
    setlocale(LC_CTYPE, "");
    s.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    s.colour = gw_term_colour(fd);
    if (isatty(fd)) {
        measure(fd, &s);
    }
    return s;
}

void
gw_term_open(struct gw_term *t, int fd)
{
    const char *term = getenv("TERM");
    *t = (struct gw_term){.fd = fd, .style = gw_term_style(fd)};
    t->live = isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
    gw_buf_init(&t->out, OUT_MAX);
}

void
gw_term_close(struct gw_term *t)
{
    gw_buf_fini(&t->out);
    free(t->widths);
    t->widths = NULL;
}

void
gw_term_resized(struct gw_term *t)
{
    if (t->live) {
        measure(t->fd, &t->style);
    }
}

static void
write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR) {
            continue;
        }
        if (k < 0 && errno == EAGAIN) {
            // Somebody made the terminal non-blocking; a second is ample for a screenful.
            struct pollfd item = {.fd = fd, .events = POLLOUT};
            if (poll(&item, 1, 1000) > 0) {
                continue;
            }
        }
        if (k < 0) {
            return; // the terminal is gone: the work is not
        }
        p += k;
        n -= (size_t)k;
    }
}

// Rows of the screen that the lines take now: a window that became narrower has wrapped them.
static size_t
rows_on_screen(const struct gw_term *t)
{
    size_t rows = 0, width = t->style.width ? t->style.width : 80;
    for (size_t i = 0; i < t->lines; i++) {
        rows += t->widths[i] > width ? (t->widths[i] + width - 1) / width : 1;
    }
    return rows;
}

static void
put_home(struct gw_term *t)
{
    size_t rows = rows_on_screen(t);
    gw_buf_putc(&t->out, '\r');
    if (rows) {
        gw_buf_printf(&t->out, "\x1b[%zuA", rows);
    }
}

// Columns of one line of a frame: colour codes take none.
static size_t
line_width(const char *p, const char *end, bool utf8)
{
    char plain[4096];
    size_t n = 0;
    for (; p < end && n + 1 < sizeof plain; p++) {
        if (*p == '\x1b') {
            while (p < end && *p != 'm') {
                p++;
            }
            continue;
        }
        plain[n++] = *p;
    }
    plain[n] = 0;
    return gw_text_width(plain, utf8);
}

static void
remember(struct gw_term *t, const struct gw_buf *frame, size_t lines)
{
    if (lines > t->widths_cap) {
        unsigned short *grown = realloc(t->widths, lines * sizeof *grown);
        gw_assert(grown);
        t->widths = grown;
        t->widths_cap = lines;
    }
    size_t i = 0;
    for (const char *p = frame->data, *nl; p && i < lines && (nl = strchr(p, '\n')); p = nl + 1) {
        t->widths[i++] = (unsigned short)line_width(p, nl, t->style.utf8);
    }
    t->lines = i;
}

void
gw_term_draw(struct gw_term *t, const struct gw_view *v)
{
    struct gw_buf frame;
    gw_buf_init(&frame, OUT_MAX / 2);
    size_t lines = gw_view_frame(&frame, v, &t->style);
    gw_buf_reset(&t->out);
    put_home(t);
    for (const char *p = frame.data, *nl; p && (nl = strchr(p, '\n')); p = nl + 1) {
        gw_buf_put(&t->out, p, (size_t)(nl - p));
        gw_buf_puts(&t->out, "\x1b[K\n");
    }
    gw_buf_puts(&t->out, "\x1b[J");
    write_all(t->fd, t->out.data, t->out.len);
    remember(t, &frame, lines);
    gw_buf_fini(&frame);
}

void
gw_term_clear(struct gw_term *t)
{
    if (!t->live || !t->lines) {
        return;
    }
    gw_buf_reset(&t->out);
    put_home(t);
    gw_buf_puts(&t->out, "\x1b[J");
    write_all(t->fd, t->out.data, t->out.len);
    t->lines = 0;
}

void
gw_term_above(struct gw_term *t, const char *text, size_t len)
{
    gw_term_clear(t);
    write_all(t->fd, text, len);
}
