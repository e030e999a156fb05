// What can be worked out from one status and the ones before it: totals, shares, rates, time left.
//
// Rates are moving averages over about ten seconds. A table's share done is measured in chunks once enough of
// them are durable, because row counts in a catalogue are guesses; until then it is measured in rows.
#ifndef GW_CLI_PROGRESS_H
#define GW_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"

// "Completed" is a table that has its rows and keys, whether or not changes are carried to it.
enum gw_table_group { GW_QUEUED, GW_LOADING, GW_COMPLETED, GW_FAILED, GW_GROUPS };
// From the state as DMS words it. A word that is not known counts as loading: it is neither end.
enum gw_table_group gw_progress_group(const Gw__TableStatus *t);

// Changes are being carried right now, or would be if it had not been stopped. status may be NULL.
bool gw_progress_carries(const Gw__Status *s);
// The load has nothing more to do: what is told is the stream. Not without one.
bool gw_progress_streams(const Gw__Status *s);

struct gw_totals {
    uint64_t rows, bytes; // with what is in flight
    uint64_t rows_durable, bytes_durable;
    uint64_t rows_expected; // 0 = unknown
    uint64_t refused, truncated;
    uint64_t steps, steps_done;
    size_t groups[GW_GROUPS];
    double fraction; // of the rows, weighed by the tables' sizes; negative = unknown
    double weight;   // what fraction 1 is in `done_weight`
    double done_weight;
};
void gw_progress_totals(const Gw__Status *s, struct gw_totals *ret);
double gw_progress_fraction(const Gw__TableStatus *t);        // negative = unknown
uint64_t gw_progress_rows_expected(const Gw__TableStatus *t); // 0 = unknown

enum gw_figure { GW_ROWS, GW_BYTES, GW_WEIGHT, GW_CAPTURED, GW_APPLIED, GW_FIGURES };
struct gw_rate {
    uint32_t id;
    bool primed, streams; // streams: the changes, too, have been seen once
    int64_t at_us;
    double last[GW_FIGURES], per_s[GW_FIGURES];
};
struct gw_progress {
    struct gw_rate *tables;
    size_t n, cap;
    struct gw_rate total;
};
void gw_progress_init(struct gw_progress *p);
void gw_progress_fini(struct gw_progress *p);
// Takes in a status that arrived at now_us (monotonic).
void gw_progress_update(struct gw_progress *p, const Gw__Status *s, int64_t now_us);
const struct gw_rate *gw_progress_table(const struct gw_progress *p, uint32_t id); // NULL = not seen
// Microseconds left, -1 = cannot say.
int64_t gw_progress_left(const struct gw_rate *r, double fraction, double weight);
// A table's weight in the whole: 1.0 where nothing better is known.
double gw_progress_weight(const Gw__TableStatus *t);

#endif
