// What is said at the end: tables, totals, findings, what to do next. For people, or as JSON for programs.
#ifndef GW_CLI_REPORT_H
#define GW_CLI_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/session.h"
#include "cli/view.h"
#include "common/buf.h"

enum { GW_REPORT_MAX = 64 << 20 };

struct gw_report {
    const Gw__Status *status; // NULL = none came
    const Gw__Task *task;     // NULL = the task file could not be read
    const char *task_path;    // as given
    const char *state;        // folder, as the user knows it; NULL = not to be mentioned
    int exit_code;
    bool ended; // the status is the end
    int64_t elapsed_us;
    const struct gw_err *err; // of the processes or the task file; NULL or GW_OK = nothing
    const struct gw_session_child *children;
    size_t children_n;
    bool verbose;
    struct gw_style style; // width 0: not a terminal, nothing is cut
};

void gw_report_run(struct gw_buf *out, const struct gw_report *r);
// Notices, warnings and errors, the same ones of several tables together. With `all`, also what loses nothing.
void gw_report_findings(struct gw_buf *out, const struct gw_report *r, bool all);
// The table of `godwit tables`; at_us: when the status was taken, 0 = now.
void gw_report_tables(struct gw_buf *out, const struct gw_report *r, bool summary);
// "godwit: message [code]", detail and hint, to stderr.
void gw_report_error(const struct gw_err *err);
void gw_report_failure(const Gw__Failure *f);

// Owned by the caller. Keys of tables are those of DMS's table statistics.
json_t *gw_report_json(const struct gw_report *r);
// Prints it on stdout, indented. False: it could not be written.
bool gw_report_print_json(json_t *json);

#endif
