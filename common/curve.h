// Who may talk on the buses between hosts: CURVE keys, the files they are in, and who is let in.
//
// `godwit keygen` makes two files. coordinator.key holds the coordinator's pair of keys and the public keys that may
// join; worker.key holds the coordinator's public key and a pair that may join. A process has one identity: its pair.
// It proves it wherever it connects and wherever it listens, control bus and data bus alike; whoever it connects to
// proves the key that stands in the endpoint. A socket that listens lets in the keys that are admitted, and nothing
// else: an unknown key gets no answer, and a line in the log.
//
// The identity is set once, before any thread is started, and only read after that. Without one, a socket that
// leaves the host is refused, unless plain TCP was asked for by name.
//
//   # lines like this one are ignored
//   role coordinator | worker
//   public KEY                 this pair; keys are Z85, 40 characters
//   secret KEY
//   coordinator KEY            worker: whom to trust
//   admit KEY                  coordinator: who may join; any number of lines
#ifndef GW_CURVE_H
#define GW_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/net.h"

enum { GW_ADMITTED_MAX = 256, GW_KEY_BYTES = 32 };

struct gw_keys {
    bool is_coordinator;
    char public[GW_KEY_TEXT], secret[GW_KEY_TEXT];
    char coordinator[GW_KEY_TEXT]; // its public key; the coordinator's own is `public`
    char admitted[GW_ADMITTED_MAX][GW_KEY_TEXT];
    size_t admitted_n;
};

// CONFIG: not there, readable by everybody, or not a key file; the message says where.
int gw_keys_load(const char *path, struct gw_keys *ret, struct gw_err *err);
// Makes <dir>/coordinator.key and <dir>/worker.key, mode 0600, and the folder if need be. Never overwrites: where
// either is there already, nothing is written.
int gw_keys_make(const char *dir, struct gw_err *err);

// ---- this process ----------------------------------------------------------------------------------------
// keys: kept (not copied); NULL = none. plain: TCP without keys may leave the host.
void gw_identity_set(const struct gw_keys *keys, bool plain);
const struct gw_keys *gw_identity(void);
// Whether this process may use the endpoint as it is set up; CONFIG with what to do if not.
int gw_identity_allows(const struct gw_endpoint *e, struct gw_err *err);

// ---- sockets ---------------------------------------------------------------------------------------------
// Before bind and connect. Options hold for what is bound or connected from then on, so one socket may have plain and
// proven endpoints.
// The context's guard (gw_zap_start) must be there: without it this is a BUG, and nobody is let in.
int gw_curve_listen(void *zctx, void *socket, const struct gw_keys *keys, struct gw_err *err);
int gw_curve_connect(void *socket, const struct gw_keys *keys, const char *server_key, struct gw_err *err);

// ---- who is let in ---------------------------------------------------------------------------------------
// A thread that answers ZeroMQ's question whether a key may come in (ZAP, RFC 27). One per ZeroMQ context, started before
// the first socket of it listens. Belongs to the thread that started it; may be handed over as a socket may.
struct gw_zap;
struct gw_zap *gw_zap_start(void *zctx, const struct gw_keys *keys, struct gw_err *err);
// Lets in another key from the moment that it returns. False: not a key, or there are too many.
bool gw_zap_admit(struct gw_zap *z, const char *key);
bool gw_zap_runs(void *zctx);
void gw_zap_stop(struct gw_zap *z); // before the context is ended; NULL is fine

#endif
