#include "common/plan.h"

#include <stdbool.h>
#include <string.h>
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

int
gw_plan_follows(const Gw__TablePlan *stored, const Gw__TablePlan *plan, struct gw_err *err)
{
    bool again = stored->ddls == plan->ddls && strcmp(stored->source->altered_at, plan->source->altered_at) == 0;
    if (again || stored->ddls + 1 == plan->ddls) {
        return GW_OK;
    }
    gw_err_set(err, GW_FENCED, NULL, "table \"%s.%s\" has another definition by now", plan->source->source_schema,
               plan->source->source_name);
    gw_err_hint(err, "does another godwit work on the same task?");
    return GW_FENCED;
}

const Gw__Column *
gw_plan_reused_name(const Gw__Table *from, const Gw__Table *to, int (*compare)(const char *, const char *))
{
    for (size_t i = 0; i < to->n_columns; i++) {
        const Gw__Column *c = to->columns[i];
        for (size_t k = 0; k < from->n_columns; k++) {
            const char *name = from->columns[k]->name;
            if (compare(c->name, name) == 0 && compare(c->was, name) != 0) {
                return c;
            }
        }
    }
    return NULL;
}
