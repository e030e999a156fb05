// The lines of a frame while they are drawn: what view.c and view_stream.c share.
#ifndef GW_CLI_FRAME_H
#define GW_CLI_FRAME_H

#include "cli/parts.h"
#include "cli/progress.h"
#include "cli/view.h"

enum { GW_FRAME_GAP = 2, GW_FRAME_NAME_LEAST = 8, GW_FRAME_NAME_MOST = 48 };

struct gw_frame {
    struct gw_buf *out;
    const struct gw_view *v;
    const struct gw_style *style;
    struct gw_totals totals;
    size_t width, lines, lines_max;
    struct gw_buf name; // scratch
};

bool gw_frame_full(const struct gw_frame *f);
void gw_frame_end_line(struct gw_frame *f);
void gw_frame_text(struct gw_frame *f, enum gw_ink ink, const char *text); // a whole line, cut
void gw_frame_cell(struct gw_frame *f, const char *text, size_t width);    // after a gap, to the right
void gw_frame_parts(struct gw_frame *f, struct gw_parts *ps);              // a whole line

// view_stream.c: the head of a stream and its lines. `keep`: lines that must stay free below.
void gw_stream_head(const struct gw_view *v, struct gw_parts *ps);
void gw_stream_lines(struct gw_frame *f, size_t keep);
void gw_stream_tables(struct gw_frame *f, size_t keep);
void gw_stream_line(struct gw_buf *out, const struct gw_view *v, const struct gw_style *style); // all of it, for a log

#endif
