#include "cli/parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/format.h"

enum { BETWEEN = 2 };

void
gw_parts_add(struct gw_parts *ps, int rank, enum gw_ink ink, const char *fmt, ...)
{
    if (ps->n == GW_PARTS_MAX) {
        return;
    }
    struct gw_part *p = &ps->p[ps->n++];
    p->rank = rank;
    p->ink = ink;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->text, sizeof p->text, fmt, ap);
    va_end(ap);
}

static size_t
parts_width(const struct gw_parts *ps, bool utf8)
{
    size_t w = 0;
    for (size_t i = 0; i < ps->n; i++) {
        w += gw_text_width(ps->p[i].text, utf8) + (i ? BETWEEN : 0);
    }
    return w;
}

void
gw_parts_put(struct gw_buf *out, struct gw_parts *ps, size_t width, const struct gw_style *style)
{
    while (ps->n > 1 && parts_width(ps, style->utf8) > width) {
        size_t worst = 0;
        for (size_t i = 1; i < ps->n; i++) {
            worst = ps->p[i].rank >= ps->p[worst].rank ? i : worst;
        }
        memmove(&ps->p[worst], &ps->p[worst + 1], (ps->n - worst - 1) * sizeof *ps->p);
        ps->n--;
    }
    for (size_t i = 0; i < ps->n; i++) {
        gw_text_fill(out, ' ', i ? BETWEEN : 0);
        gw_ink(out, style, ps->p[i].ink);
        gw_text_cut(out, ps->p[i].text, width, style->utf8);
        if (ps->p[i].ink != GW_INK_PLAIN) {
            gw_ink(out, style, GW_INK_PLAIN);
        }
    }
}
