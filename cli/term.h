// The terminal: whether there is one, its size, and lines that are redrawn in place below ordinary output.
#ifndef GW_CLI_TERM_H
#define GW_CLI_TERM_H

#include <stdbool.h>

#include "cli/view.h"
#include "common/buf.h"

struct gw_term {
    int fd;
    bool live; // lines can be redrawn
    struct gw_style style;
    struct gw_buf out;
    unsigned short *widths; // of the lines on the screen
    size_t lines, widths_cap;
};

// Sets the locale (characters only) and looks at fd. `live` needs a terminal that moves its cursor.
void gw_term_open(struct gw_term *t, int fd);
void gw_term_close(struct gw_term *t); // leaves the last lines where they are
void gw_term_resized(struct gw_term *t);
// Replaces the lines drawn before.
void gw_term_draw(struct gw_term *t, const struct gw_view *v);
void gw_term_clear(struct gw_term *t);
// Prints text (whole lines) above the lines; the next draw puts these back.
void gw_term_above(struct gw_term *t, const char *text, size_t len);
// Colour on this descriptor: a terminal, and NO_COLOR is not set.
bool gw_term_colour(int fd);
struct gw_style gw_term_style(int fd); // for output that is not redrawn; width 0 = not a terminal

#endif
