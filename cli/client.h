// Asks a coordinator for its status, without ever waiting for it.
//
// At most one request is under way. A coordinator that does not answer in two seconds is asked again over a
// new connection, so that nothing piles up for one that is away. One thread; the ZeroMQ context is borrowed.
#ifndef GW_CLI_CLIENT_H
#define GW_CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "control.pb-c.h"

struct gw_client {
    void *zctx, *socket;
    char endpoint[256];
    struct gw_arena arenas[2]; // of the last status and of the one being received
    unsigned current;
    const Gw__Status *status; // the last one; lives until the next gw_client_receive
    size_t status_size;
    bool asked;
    int64_t asked_us, heard_us; // monotonic; heard: when a status last came, 0 = never
};

int gw_client_open(struct gw_client *c, void *zctx, const char *endpoint, struct gw_err *err);
void gw_client_close(struct gw_client *c);
// Sends a request unless one is under way.
int gw_client_ask(struct gw_client *c, struct gw_err *err);
// Reads what has come. GW_OK: a new status is in c->status; GW_AGAIN: nothing.
int gw_client_receive(struct gw_client *c, struct gw_err *err);
// Tells the coordinator that nothing more is wanted of it: its workers and then itself may end.
int gw_client_stop(struct gw_client *c, struct gw_err *err);
// Waits for a status until the deadline (for a client alone, without a loop around it). GW_AGAIN: none came.
int gw_client_wait(struct gw_client *c, int64_t deadline_us, struct gw_err *err);

#endif
