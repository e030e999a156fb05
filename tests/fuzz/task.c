// Task files: refused with a reason, or accepted whole; the same file always means the same.
#include "common/config.h"
#include "common/mapping.h"
#include "tests/fuzz/fuzz.h"

static void
check_whole(const Gw__Task *t)
{
    gw_assert(t->name[0] && t->mapping_hash[0] && t->n_selection > 0);
    gw_assert(t->source->engine[0] && t->target->engine[0]);
    gw_assert(t->batch_bytes && t->batch_bytes <= t->window_bytes && t->chunk_bytes);
    gw_assert(t->load->max_subtasks >= 1 && t->load->commit_rate >= 1);
    for (size_t i = 0; i < t->n_selection; i++) {
        gw_assert(t->selection[i]->schema && t->selection[i]->table && t->selection[i]->id);
    }
    for (size_t i = 0; i < t->n_table_settings; i++) {
        const Gw__TableSettingsRule *r = t->table_settings[i];
        gw_assert((r->parallel == GW__PARALLEL_TYPE__RANGES) == (r->n_boundaries > 0));
    }
    int32_t order;
    (void)gw_mapping_selected(t, "s", "t", GW__TABLE_KIND__TABLE_PLAIN, &order);
    (void)gw_mapping_table_settings(t, "s", "t");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__Task *t = NULL, *again = NULL;
    struct gw_err err = {0};
    int r = gw_config_parse("f", (const char *)data, size, &a, &t, &err);
    gw_assert(r == gw_config_parse("f", (const char *)data, size, &a, &again, &err));
    if (r == GW_OK) {
        check_whole(t);
        gw_assert(strcmp(t->mapping_hash, again->mapping_hash) == 0);
        gw_assert(gw_pb_dup(&a, t)); // it travels to every worker
    } else {
        gw_assert(r == GW_CONFIG && err.cls == GW_CONFIG && err.message[0] && !t && !again);
    }
    gw_arena_fini(&a);
    return 0;
}
