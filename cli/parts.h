// A line made of parts, the least important of which give way where it is narrow.
#ifndef GW_CLI_PARTS_H
#define GW_CLI_PARTS_H

#include "cli/view.h"

enum { GW_PARTS_MAX = 16, GW_PART_SIZE = 160 };
struct gw_part {
    char text[GW_PART_SIZE];
    int rank; // the highest goes first; of equals, the last
    enum gw_ink ink;
};
struct gw_parts {
    struct gw_part p[GW_PARTS_MAX];
    size_t n;
};

// What does not fit a part is cut, a part too many is left out.
void gw_parts_add(struct gw_parts *ps, int rank, enum gw_ink ink, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
// Appends at most `width` columns. Parts that do not fit are removed from ps; the last one left is cut.
void gw_parts_put(struct gw_buf *out, struct gw_parts *ps, size_t width, const struct gw_style *style);

#endif
