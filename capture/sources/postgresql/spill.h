// Transactions that are still running, kept aside on disk until they commit.
//
// The server (version 14 and later) sends a large transaction in parts while it runs, parts of several transactions in turn. Each
// transaction's messages go to a file of its own (common/scratch.h: nameless, gone with the process), in the order in which
// they came, as blocks of LZ4. What is rolled back is cut off: of each subtransaction it is known where its first message
// lies, and behind that lie only messages of itself and of what is rolled back with it, until its rollback is told.
//
// Nothing of it needs to outlive the process: the server forgets nothing that was not confirmed, and sends it again.
//
// Memory: two blocks, one message, 32 bytes a subtransaction.
// Disk: at most `limit` bytes of all transactions together; beyond it, or when the disk is full, GW_CONFIG.
//
// A Relation message may be cut off, too. The server says it again: with each rollback that it tells, it forgets what it has said
// within that (top-level) transaction.
#ifndef GW_SOURCE_SPILL_H
#define GW_SOURCE_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct pgs_spill;

struct pgs_spill *pgs_spill_new(uint64_t limit_bytes);
void pgs_spill_free(struct pgs_spill *s); // takes NULL

// A part of transaction `xid` begins: what is put belongs to it, until stop.
int pgs_spill_start(struct pgs_spill *s, uint32_t xid, struct gw_err *err);
// One message: its kind, and its body without the transaction's number. `sub`: which subtransaction's, or xid itself.
int pgs_spill_put(struct pgs_spill *s, uint32_t sub, char kind, const void *body, size_t len, struct gw_err *err);
int pgs_spill_stop(struct pgs_spill *s, struct gw_err *err);
// `sub` == `xid`: all of it. What is not known was never sent: GW_OK.
int pgs_spill_abort(struct pgs_spill *s, uint32_t xid, uint32_t sub, struct gw_err *err);

// The transaction was committed: from here on `next` gives its messages (kind and body, until the next call), and at its end
// GW_END, with which it is gone. GW_BUG: it was never begun.
int pgs_spill_replay(struct pgs_spill *s, uint32_t xid, struct gw_err *err);
int pgs_spill_next(struct pgs_spill *s, const void **ret, size_t *ret_len, struct gw_err *err);

uint64_t pgs_spill_bytes(const struct pgs_spill *s); // on disk now

#endif
