// The control bus' packing, shared by workers, coordinator and command line (worker.h).
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/bus.h"
#include "common/worker.h"

int
gw_control_send(void *socket, const Gw__Control *c, struct gw_err *err)
{
    size_t size = gw__control__get_packed_size(c);
    zmq_msg_t msg;
    if (zmq_msg_init_size(&msg, size) != 0) {
        return gw_zmq_error(err, "make a control message");
    }
    gw__control__pack(c, zmq_msg_data(&msg));
    if (zmq_msg_send(&msg, socket, ZMQ_DONTWAIT) < 0) {
        int r = gw_zmq_error(err, "send control message");
        zmq_msg_close(&msg);
        return r;
    }
    return GW_OK;
}

const Gw__Control *
gw_control_unpack(struct gw_arena *a, const void *data, size_t len)
{
    return gw__control__unpack(gw_arena_pb(a), len, data);
}

void
gw_failure_from_err(Gw__Failure *f, const struct gw_err *err)
{
    gw__failure__init(f);
    f->cls = (uint32_t)err->cls;
    // protobuf-c takes char *, but packing does not write.
    f->code = (char *)(uintptr_t)err->code;
    f->message = (char *)(uintptr_t)err->message;
    f->detail = (char *)(uintptr_t)err->detail;
    f->hint = (char *)(uintptr_t)err->hint;
}

void
gw_failure_to_err(const Gw__Failure *f, struct gw_err *err)
{
    gw_err_set(err, f->cls <= GW_BUG ? (enum gw_class)f->cls : GW_BUG, f->code, "%s", f->message);
    gw_err_detail(err, "%s", f->detail);
    gw_err_hint(err, "%s", f->hint);
}

void
gw_uuid(char out[37])
{
    unsigned char b[16];
    size_t got = 0;
    while (got < sizeof b) {
        ssize_t n = getrandom(b + got, sizeof b - got, 0);
        gw_assert(n > 0 || errno == EINTR);
        got += n > 0 ? (size_t)n : 0;
    }
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); // version 4
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
