// The picture of a running task: a few lines that fit a window, or one line for a log. Pure: text in, text out.
#ifndef GW_CLI_VIEW_H
#define GW_CLI_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/progress.h"
#include "common/buf.h"

struct gw_style {
    size_t width, height; // of the window; no line is wider than width - 1
    bool utf8, colour;
};

enum gw_ink { GW_INK_PLAIN, GW_INK_BOLD, GW_INK_DIM, GW_INK_GREEN, GW_INK_YELLOW, GW_INK_RED };
void gw_ink(struct gw_buf *out, const struct gw_style *style, enum gw_ink ink);

struct gw_view {
    const Gw__Status *status; // NULL: nothing has been heard yet
    const struct gw_progress *progress;
    int64_t elapsed_us; // of this run of the command
    int64_t silent_us;  // since the coordinator last answered; 0 = it answers
    const char *notice; // "stopping: …"; NULL = none
};

// Lines, each ended by a newline; at most style->height - 1 of them. Returns how many.
size_t gw_view_frame(struct gw_buf *out, const struct gw_view *v, const struct gw_style *style);
// One line without its newline: what a log is told every ten seconds.
void gw_view_line(struct gw_buf *out, const struct gw_view *v);
// "schema.table", or "table" where there is no schema. Into out, which is emptied first.
const char *gw_view_name(struct gw_buf *out, const char *schema, const char *name);

#endif
