// What both conformance programs share: endpoints of every engine, rows as sorted text, a table filled and read back.
#ifndef GW_CONFORM_H
#define GW_CONFORM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "apply/target.h"
#include "capture/source.h"

enum { CONFORM_TIMEOUT_S = 120 };

// One run of one test against one engine. Made by conform_start, freed by conform_end.
struct conform {
    const char *engine;
    struct gw_arena arena;
    char dir[64]; // of files that sqlite and memory make; removed at the end
    Gw__Task *task;
    struct gw_err err; // of the last call
    const struct gw_target_ops *target;
    void *a, *b;                        // two apply workers, open
    const struct gw_source_ops *source; // of the same engine, if there is one
    void *sources[4], *targets[8];      // open: closed where a test fails half-way
};

// The test's state is the engine's name. Skips the test (or fails it) where the engine has no endpoint.
struct conform *conform_start(void **state);
void conform_end(struct conform *c);
// Runs tests × engines. `names` are those of the registry.
struct conform_test {
    const char *name;
    void (*run)(void **state);
};
int conform_run(const char *program, const struct conform_test *tests, size_t n, const char *const *engines,
                size_t engines_n);

void *conform_open_target(struct conform *c, const char *owner);
void conform_close_target(struct conform *c, void **self);
void *conform_open_source(struct conform *c);
void conform_close_source(struct conform *c, void **self);

// Fails the test with the error's text unless r is `want`.
#define conform_is(c, r, want) conform_is_at((c), (r), (want), #r, __FILE__, __LINE__)
void conform_is_at(struct conform *c, int r, int want, const char *what, const char *file, int line);
#define conform_ok(c, r) conform_is((c), (r), GW_OK)
// One of two classes.
#define conform_either(c, r, one, two) conform_either_at((c), (r), (one), (two), #r, __FILE__, __LINE__)
void conform_either_at(struct conform *c, int r, int one, int two, const char *what, const char *file, int line);

// Rows of text, sorted, so that two of them compare as multisets.
struct rows {
    char **items;
    size_t n, cap;
};
void rows_add(struct rows *r, const char *text, size_t len); // any number of rows
void rows_equal(struct rows *got, struct rows *want);        // fails the test with the first difference
void rows_free(struct rows *r);

// The catalogue of the memory source at `url`, and its rows.
Gw__Catalog *conform_memory_catalog(struct conform *c, const char *url);
void conform_memory_rows(struct conform *c, const char *url, const Gw__Table *t, struct rows *out);
// Reads every row of a table that is in the target now, with the engine's source, or (memory) its files.
void conform_read_back(struct conform *c, const Gw__Table *t, struct rows *out);
// Reads all chunks of the plan; each chunk's rows are counted where `counts` is not NULL.
void conform_read_chunks(struct conform *c, const struct gw_source_ops *ops, void *self, const Gw__Table *t,
                         const Gw__TablePlan *plan, size_t want, uint32_t rows_max, struct rows *out, size_t *counts);

// Column `flag` as t and f: MySQL's BOOL is an integer of one digit, the same value under another kind.
void conform_spell_bools(const Gw__Table *t, struct rows *rows, size_t from);

// The task's uuid, unless a test says otherwise.
#define CONFORM_TASK "11111111-1111-4111-8111-111111111111"
// Of every chunk that the programs make.
#define CONFORM_PLAN "44444444-4444-4444-8444-444444444444"
enum { CONFORM_ESTIMATE = 4711 };
// A registered task of the tables: each with `chunks` empty chunks in its plan, generation 1.
Gw__TargetState *conform_state(struct conform *c, Gw__Catalog *cat, uint32_t chunks);
void conform_register(struct conform *c,
                      Gw__TargetState *state); // anything that was there is dropped before
// Loads text as one chunk of generation 1, from claim to commit.
void conform_load(struct conform *c, void *self, const Gw__Table *t, uint32_t no, const char *text, size_t len,
                  uint32_t rows);

#endif
