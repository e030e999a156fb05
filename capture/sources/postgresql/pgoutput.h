// The bytes of a logical replication stream (plugin pgoutput, protocol versions 1 and 2), taken apart.
//
// Pure: no I/O, no state, no allocation; everything handed out points into the caller's bytes and lives as long as they do.
// What comes from outside is believed only as far as its sizes have been checked: a malformed message is GW_BUG, never a
// read beyond its end. A tuple that pgo_message_read has accepted can be read without further checks.
//
// https://www.postgresql.org/docs/15/protocol-replication.html, …/protocol-logicalrep-message-formats.html
#ifndef GW_SOURCE_PGOUTPUT_H
#define GW_SOURCE_PGOUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/change.h"
#include "common/err.h"

// What a CopyData message of the server holds.
struct pgo_frame {
    char kind;           // 'w': data, 'k': keepalive
    bool reply;          // 'k': the server wants an answer at once
    uint64_t start, end; // 'w': of the data, and the log's end; 'k': only end, up to where everything has been sent
    const uint8_t *body; // 'w'
    size_t len;
};

struct pgo_tuple {
    const uint8_t *at; // the first value
    uint16_t n;
};

struct pgo_column {
    const char *name;
    uint32_t type; // oid
    int32_t typmod;
    bool key; // part of the replica identity
};

struct pgo_message {
    char
        kind; // 'B' begin, 'C' commit, 'O' origin, 'R' relation, 'Y' type, 'I' insert, 'U' update, 'D' delete, 'T' truncate,
              // 'M' message; of transactions in parts: 'S' part, 'E' end of the part, 'c' commit, 'A' rollback

    uint64_t lsn;     // B: of the commit to come; C, c: of the commit; M: of the message
    uint64_t end_lsn; // C, c: behind the commit
    int64_t time_us;  // B, C, c: since 1970
    uint32_t xid;     // B, S, c, A: top-level
    uint32_t sub;     // A: what is rolled back; xid: all
    bool first;       // S: the transaction's first part

    uint32_t relation;        // R, I, U, D
    const char *schema;       // R
    const char *name;         // R; M: prefix
    char identity;            // R: d, n, f, i
    uint16_t columns_n;       // R
    const uint8_t *columns;   // R: for pgo_column_next
    uint32_t relations_n;     // T
    const uint8_t *relations; // T: for pgo_relation_at
    bool cascade, restart;    // T

    char old_kind; // U, D: 'K' identity columns only (all others read as NULL), 'O' the whole row; U: 0 = none
    struct pgo_tuple old, new; // U, D; I, U

    bool transactional; // M
};

int pgo_frame_read(const void *bytes, size_t len, struct pgo_frame *ret, struct gw_err *err);
// The whole of `len` bytes must be the message.
int pgo_message_read(const void *bytes, size_t len, struct pgo_message *ret, struct gw_err *err);

// Between 'S' and 'E', every message but an origin's has the (sub)transaction's number behind its kind. What is left without it is a
// message as everywhere else: the kind, and `body`.
struct pgo_part {
    char kind;
    uint32_t xid; // 0: an origin's message, which has none
    const uint8_t *body;
    size_t len;
};
int pgo_part_read(const void *bytes, size_t len, struct pgo_part *ret, struct gw_err *err);

// Columns in order: *at starts as m->columns; call it m->columns_n times.
struct pgo_column pgo_column_next(const uint8_t **at);
uint32_t pgo_relation_at(const struct pgo_message *m, uint32_t i);

// Values in order: *at starts as t->at; call it t->n times. Unchanged TOAST is NOT_GIVEN.
struct gw_value pgo_value_next(const uint8_t **at);

#endif
