#include "target_table.h"

#include <string.h>

Gw__Catalog *
target_catalog(struct conform *c)
{
    Gw__Catalog *cat = conform_memory_catalog(c, "memory://small?rows=0");
    Gw__Table *t = cat->tables[0];
    t->name = gw_arena_strdup(&c->arena, "small");
    t->columns[2] = t->columns[8]; // id, small, label
    t->n_columns = t->n_source_columns = 3;
    t->columns[1]->not_null = true;
    t->n_indexes = 0;
    return cat;
}

Gw__Table *
target_ready(struct conform *c, Gw__Catalog *cat, uint32_t chunks)
{
    conform_register(c, conform_state(c, cat, chunks));
    for (size_t i = 0; i < cat->n_tables; i++) {
        conform_ok(c, c->target->prepare(c->a, cat->tables[i], 1, &c->err));
    }
    return cat->tables[0];
}

Gw__Chunk *
target_chunk_of(struct conform *c, const Gw__Table *t, uint32_t generation, uint32_t no)
{
    Gw__Chunk *ch = gw_pb_new(&c->arena, Gw__Chunk, gw__chunk__init);
    ch->table_id = t->id;
    ch->generation = generation;
    ch->no = no;
    ch->bytes_estimate = CONFORM_ESTIMATE + no;
    ch->plan_id = gw_arena_strdup(&c->arena, CONFORM_PLAN);
    return ch;
}

Gw__TargetState *
target_stored(struct conform *c)
{
    Gw__TargetState *s = gw_pb_new(&c->arena, Gw__TargetState, gw__target_state__init);
    conform_ok(c, c->target->state_load(c->b, &c->arena, true, s, &c->err));
    return s;
}

const Gw__Chunk *
target_stored_chunk(struct conform *c, const Gw__Table *t, uint32_t no)
{
    Gw__TargetState *s = target_stored(c);
    for (size_t i = 0; i < s->n_tables; i++) {
        for (size_t k = 0; s->tables[i]->target->id == t->id && k < s->tables[i]->n_chunks; k++) {
            if (s->tables[i]->chunks[k]->no == no) {
                return s->tables[i]->chunks[k];
            }
        }
    }
    fail_msg("chunk %u is not in the state", no);
    return NULL;
}

uint64_t
target_begin(struct conform *c, void *self, const Gw__Table *t, const Gw__Chunk *ch, bool careful)
{
    uint64_t epoch = 0;
    Gw__Chunk done = GW__CHUNK__INIT;
    conform_ok(c, c->target->load_begin(self, &c->arena, t, ch, careful, &epoch, &done, &c->err));
    assert_true(epoch > 0);
    return epoch;
}

void
target_table_is(struct conform *c, const Gw__Table *t, const char *text)
{
    struct rows got = {0}, want = {0};
    conform_read_back(c, t, &got);
    rows_add(&want, text, strlen(text));
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
}
