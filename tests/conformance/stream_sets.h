// A registered task with a stream, and sets of changes written as COPY text: for the tests of the stream's slots.
#ifndef GW_CONFORM_STREAM_SETS_H
#define GW_CONFORM_STREAM_SETS_H

#include "target_table.h"

#define STREAM_START "0/1"

// Skips the test where the engine has no stream.
struct conform *stream_start(void **state);
// Registers the tables and a progress row, makes them and their keys. Returns the first.
Gw__Table *stream_ready(struct conform *c, Gw__Catalog *cat);
Gw__Progress *stream_claim(struct conform *c, void *self, bool in_order);
void stream_finish_keys(struct conform *c, const Gw__Table *t);

// Sets. `rows` is COPY text: for INSERT and UPDATE all given columns, for DELETE nothing; `keys` is COPY text of the key
// columns. Columns by name, joined by commas; NULL: all (of the key: the primary key).
struct gw_change_set *set_insert(struct conform *c, const Gw__Table *t, const char *columns, const char *rows);
struct gw_change_set *set_update(struct conform *c, const Gw__Table *t, const char *key, const char *keys,
                                 const char *columns, const char *rows);
struct gw_change_set *set_delete(struct conform *c, const Gw__Table *t, const char *key, const char *keys);
struct gw_change_set *set_truncate(struct conform *c, const Gw__Table *t);
struct gw_change_set *set_keyless(struct gw_change_set *set);
struct gw_change_set *set_unsure(struct gw_change_set *set);

// Applies it: it must succeed with this many rows.
void stream_apply(struct conform *c, void *self, const struct gw_change_set *set, uint64_t rows);
void stream_commit(struct conform *c, void *self, const char *position);
// A transaction of one set.
void stream_once(struct conform *c, void *self, const struct gw_change_set *set, uint64_t rows, const char *position);
const Gw__Progress *stream_stored(struct conform *c);

#endif
