#include "common/plan.h"

#include <stdbool.h>
#include <protobuf-c/protobuf-c.h>

Gw__Chunk
gw_plan_part(const Gw__Chunk *c)
{
    Gw__Chunk p = *c;
    p.generation = 0;
    p.done = false;
    p.epoch = 0;
    p.snapshot = (char *)protobuf_c_empty_string;
    p.rows_read = p.rows_written = p.rows_refused = p.bytes = p.values_truncated = 0;
    return p;
}
