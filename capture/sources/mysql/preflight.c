#include "capture/sources/mysql/stream.h"
int
my_stream_preflight(void *self, struct gw_arena *a, const Gw__Task *task, Gw__Catalog *cat, struct gw_err *err)
{
    (void)self;
    (void)a;
    (void)task;
    (void)cat;
    (void)err;
    return GW_OK;
}
