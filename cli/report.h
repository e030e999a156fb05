// What is said at the end: tables, totals, findings, what to do next. For people, or as JSON for programs.
#ifndef GW_CLI_REPORT_H
#define GW_CLI_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"
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
// The table of `godwit tables`. On a terminal columns give way; in a summary of very many tables those do that are well.
void gw_report_tables(struct gw_buf *out, const struct gw_report *r, bool summary);
// Position, transactions, changes, latency and log kept, a line or a few; nothing without a stream.
void gw_report_stream(struct gw_buf *out, const struct gw_report *r);
// How a task with a stream ended, where that is not told by the exit code alone; else NULL.
const char *gw_report_stream_verdict(const struct gw_report *r);
void gw_report_stream_next(struct gw_buf *out, const struct gw_report *r, const struct gw_totals *t);
// What a stream has on its source ("the replication slot and the publication"); NULL = nothing.
const char *gw_report_left_on_source(const Gw__Task *task);
const char *gw_report_control_schema(const struct gw_report *r);
// A line "label: text", wrapped, all of it indented.
void gw_report_indented(struct gw_buf *out, const struct gw_report *r, const char *label, const char *text, size_t by);
// "godwit: message [code]", detail and hint, to stderr.
void gw_report_error(const struct gw_err *err);
void gw_report_failure(const Gw__Failure *f);

// Owned by the caller. Keys of tables are those of DMS's table statistics.
json_t *gw_report_json(const struct gw_report *r);
// Prints it on stdout, indented. False: it could not be written.
bool gw_report_print_json(json_t *json);

#endif
