// Transactions that are still running, kept aside on disk until they commit.
//
// The server (version 14 and later) sends a large transaction in parts while it runs, parts of several transactions in turn. Each
// transaction's messages go to a file of its own (common/scratch.h: nameless, gone with the process), in the order in which
// they came, as blocks of LZ4. What is rolled back is cut off: of each subtransaction it is known where its first message
// lies, and behind that lie only messages of itself and of what is rolled back with it, until its rollback is told.
//
// Nothing of it needs to outlive the process: the server forgets nothing that was not confirmed, and sends it again.
//
// Memory: two blocks, one message, 24 bytes a subtransaction, and the last Relation message of each relation a transaction touched.
// Disk: at most `limit` bytes of all transactions together; beyond it, or when the disk is full, GW_CONFIG.
//
// Relation messages are the exception to cutting off. The server says once a (top-level) transaction what a relation looks like, even
// if it says so within a subtransaction that is rolled back later. So the last one that was cut off is put back in front of
// the relation's next change, unless the server has said it anew (as it does if a rolled back ALTER had changed it).
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

// A Relation message that was cut off and not put back by the end of a transaction that was committed: the server will not say it
// again, so it comes in front of the relation's next change, whosever that is. Hands it over (free it) and forgets it; NULL =
// there is none. To be forgotten, too, when the server does say what the relation looks like.
char *pgs_spill_late(struct pgs_spill *s, uint32_t oid, size_t *ret_len);

uint64_t pgs_spill_bytes(const struct pgs_spill *s); // on disk now

#endif
