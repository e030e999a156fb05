// Where a password comes from. It is read by the process that needs it; the coordinator hands its own findings to workers
// that have none (Welcome), and only where nobody can listen.
#ifndef GW_SECRET_H
#define GW_SECRET_H

#include "common/arena.h"
#include "common/err.h"
#include "task.pb-c.h"

// password-env: a missing variable is CONFIG, naming it. password-file: the file without its trailing newline.
// Neither: *ret is NULL, the client library's own ways apply.
int gw_secret_resolve(const Gw__Endpoint *ep, struct gw_arena *a, const char **ret, struct gw_err *err);

#endif
