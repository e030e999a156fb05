// Endpoint urls: refused with a reason that shows nothing of them, or taken apart into whole texts.
#include "common/url.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct gw_arena a;
    gw_arena_init(&a);
    const char *url = input_text(&in, &a);
    Gw__Endpoint ep = GW__ENDPOINT__INIT;
    struct gw_err err = {0};
    if (gw_url_parse(url, &a, &ep, &err) == GW_OK) {
        gw_assert(ep.engine[0] && strcmp(ep.url, url) == 0 && ep.port <= 65535);
        gw_assert(ep.host && ep.user && ep.database);
        for (size_t i = 0; i < ep.n_params; i++) {
            gw_assert(ep.params[i]->key && ep.params[i]->value);
            gw_assert(!strcasestr(ep.params[i]->key, "password"));
        }
        gw_assert(gw_pb_dup(&a, &ep));
    } else {
        gw_assert(err.cls == GW_CONFIG && err.message[0] && err.hint[0]);
        // The messages are the same few for all urls.
        gw_assert(strncmp(err.message, "url ", 4) == 0 && strlen(err.message) < 40);
    }
    gw_arena_fini(&a);
    return 0;
}
