// Where a bus socket is: endpoints as text, and which of them leave this host.
//
//   ipc://PATH                 a Unix socket: the file's permissions guard it
//   tcp://HOST:PORT            HOST is a name, an address, or [an IPv6 address]
//   tcp://HOST:PORT#KEY        and whoever listens there proves that it holds the secret of KEY (common/curve.h)
//
// The key is part of the endpoint so that whoever is told where a process receives is told with it how to know it.
#ifndef GW_NET_H
#define GW_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

enum {
    GW_ENDPOINT_MAX = 320, // with its key
    GW_KEY_TEXT = 41,      // a CURVE key as Z85, with its NUL
};

struct gw_endpoint {
    bool tcp;
    bool loopback; // can be reached from this host only
    bool any;      // every address of this host ("*", 0.0.0.0, [::]): to be listened on, not to be connected to
    char host[256];
    char port[8];
    char address[GW_ENDPOINT_MAX]; // as ZeroMQ wants it: without the key
    char key[GW_KEY_TEXT];         // "" = none
};

// Anything that is not one of the forms above is CONFIG.
int gw_endpoint_parse(const char *text, struct gw_endpoint *ret, struct gw_err *err);
// Whether what is sent there can be seen on a network. Not for ipc and loopback.
static inline bool
gw_endpoint_leaves_host(const struct gw_endpoint *e)
{
    return e->tcp && !e->loopback;
}
// The address from which this host reaches `e`, which is the one by which hosts like that one reach it. Asks the
// routing table; sends nothing. RETRY: the name cannot be resolved, or there is no route, right now.
int gw_net_address_towards(const struct gw_endpoint *e, char *ret, size_t size, struct gw_err *err);
// Whether an address is one of this host's: what is sent there is not seen on a network.
bool gw_net_is_own(const char *host);

#endif
