// Control messages: whatever is unpacked can be packed, unpacked and read again.
#include "common/worker.h"
#include "tests/fuzz/fuzz.h"

static void
look_inside(const Gw__Control *c)
{
    struct gw_err err = {0};
    if (c->body_case == GW__CONTROL__BODY_REPLY && c->reply->failure) {
        gw_failure_to_err(c->reply->failure, &err);
        gw_assert(err.cls <= GW_BUG);
    } else if (c->body_case == GW__CONTROL__BODY_STREAM_FAILED && c->stream_failed->failure) {
        gw_failure_to_err(c->stream_failed->failure, &err);
        gw_assert(err.cls <= GW_BUG);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_arena a;
    gw_arena_init(&a);
    const Gw__Control *c = gw_control_unpack(&a, data, size);
    if (c) {
        look_inside(c);
        size_t n = gw__control__get_packed_size(c);
        uint8_t *packed = gw_arena_alloc(&a, n);
        gw_assert(gw__control__pack(c, packed) == n);
        const Gw__Control *again = gw_control_unpack(&a, packed, n);
        // protobuf-c takes an unknown field of number 0 in its long form, and not as it packs it.
        gw_assert(!again || again->body_case == c->body_case);
    }
    gw_arena_fini(&a);
    return 0;
}
