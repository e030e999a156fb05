// A connection to one receiver of rows, kept over many streams, with an eye on whether it stands.
//
// ZeroMQ mends a broken connection by itself, but what was on its way is gone, and the receiver will not take a stream on
// from the middle. So a sender must learn that its connection broke: the coordinator, who hears both ends, cannot know.
// Belongs to the thread that opened it.
#ifndef GW_LINK_H
#define GW_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum { GW_LINK_ENDED_MAX = 32 };

struct gw_link {
    char *endpoint; // owned
    void *socket;   // DEALER
    void *watch;    // PAIR, readable when something has happened to the connection
    bool up;
    bool suspect; // the owner's: no new stream goes over it
    int64_t changed_us;
    unsigned breaks; // so often it broke
    struct {
        uint64_t stream, epoch; // 0 = none
        unsigned breaks;
    } ended[GW_LINK_ENDED_MAX];
    unsigned ended_next;
};

int gw_link_open(struct gw_link *l, void *zctx, const char *endpoint, struct gw_err *err);
void gw_link_close(struct gw_link *l);
// Takes in what has happened.
void gw_link_look(struct gw_link *l);
// After a look: whether a stream that began when `breaks` was as given is lost on this link. GW_FENCED with
// GW_CODE_LINK, so that what the sender holds on to (its snapshot) is kept.
int gw_link_check(const struct gw_link *l, unsigned breaks, struct gw_err *err);

// The sender is done with a stream. Its last messages may still be on their way, or wait here for a connection: should
// that not be there any more, gw_link_take_lost says so, once. It may have arrived all the same: whoever is told knows.
void gw_link_ended(struct gw_link *l, uint64_t stream, uint64_t epoch, unsigned breaks);
bool gw_link_take_lost(struct gw_link *l, uint64_t *stream, uint64_t *epoch, struct gw_err *err);

#endif
