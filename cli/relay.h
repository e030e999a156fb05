// What the child processes say on stderr, on its way to the user: one pipe for all of them, line by line,
// less what is not worth a person's attention. The log files have everything.
#ifndef GW_CLI_RELAY_H
#define GW_CLI_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/term.h"
#include "common/buf.h"
#include "common/log.h"

enum { GW_RELAY_SEEN = 32, GW_RELAY_KEPT = 16 };

struct gw_relay {
    int read_fd, write_fd;
    enum gw_log_level least; // of log lines that are shown
    bool show;               // false: nothing is shown, errors are kept for gw_relay_tell
    struct gw_buf partial;
    struct {
        uint64_t hash;
        int64_t shown_us;
        uint32_t held_back;
    } seen[GW_RELAY_SEEN];
    size_t seen_at;
    char *kept[GW_RELAY_KEPT]; // the last errors, a ring
    size_t kept_n;
};

int gw_relay_open(struct gw_relay *r, enum gw_log_level least, bool show, struct gw_err *err);
void gw_relay_close(struct gw_relay *r);
// Reads what has come; what is to be shown is printed above the terminal's lines.
void gw_relay_read(struct gw_relay *r, struct gw_term *t);
// Prints the errors that were kept and not shown.
void gw_relay_tell(struct gw_relay *r, struct gw_term *t);

// One log line made readable: "03:04:05 warn capture-1: text". False: it is below `least`, or was just shown.
// A line that is no log line (a library's, an assertion's) is passed on whatever the level.
bool
gw_relay_line(struct gw_relay *r, const char *line, int64_t now_us, const struct gw_style *style, struct gw_buf *out);

#endif
