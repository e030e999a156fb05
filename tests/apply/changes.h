// A task on the memory target, and changes for it written as text.
//
// Tables:  parent (id, u, v), key id, u unique      child (id, parent_id, w), key id, parent_id refers to parent
//          keyless (a, b)                           pair (a, b, c), key a and b
//
// A script is lines:
//   begin [name]        commit POSITION             keepalive POSITION         suspend TABLE REASON
//   insert TABLE after  update TABLE [(before)] after     delete TABLE before  truncate TABLE
//   tally TABLE inserts updates deletes truncates
// Values are words; `~` is not given, `-` is NULL. `?` in front of a line: the change is unsure.
#ifndef GW_TEST_CHANGES_H
#define GW_TEST_CHANGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apply/applier.h"
#include "apply/targets/memory/memory_target.h"

enum { PARENT = 1, CHILD, KEYLESS, PAIR, TABLES = 4 };

struct fixture {
    struct gw_arena arena;
    char dir[64], url_refuse[64];
    bool foreign_keys, in_order;
    Gw__Task *task;
    Gw__StreamTable *tables[TABLES];
    struct memory_target target;
    struct gw_buf trace;
    Gw__Progress progress; // of the last claim
    struct gw_applier applier;
    bool open;
    int64_t now_us; // a clock that the test drives
    struct gw_err err;
};

// Makes and registers the task. fixture_start claims the stream; call it again for a new job, as after a crash.
void fixture_init(struct fixture *f);
void fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f);  // closes the target: what was not committed is gone
void fixture_close(struct fixture *f); // the target alone, where somebody else has ended the applier
void fixture_fini(struct fixture *f);

// Encodes a script; returns how many records it has.
uint32_t script_encode(const char *script, struct gw_buf *out);
int feed_only(struct fixture *f, const char *script); // the class
void feed(struct fixture *f, const char *script);
void settle_all(struct fixture *f); // the stream's end

// Rows of a table: COPY text with spaces for tabs, sorted, joined by " | ".
const char *table_text(struct fixture *f, uint32_t table);
#define table_is(f, table, text) assert_string_equal(table_text((f), (table)), (text))
// Trace: lines of the memory target since the last call of trace_reset.
void trace_reset(struct fixture *f);
bool traced(const struct fixture *f, const char *line);
size_t trace_count(const struct fixture *f, const char *prefix);
// The lines of all files of changes that begin with '!'; how many.
size_t exceptions(struct fixture *f, struct gw_buf *out);
const Gw__Counts *counts_of(struct fixture *f, uint32_t table);

#endif
