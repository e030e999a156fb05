// A small table in the target under test, and what its state says: for the tests of one engine.
#ifndef GW_CONFORM_TARGET_TABLE_H
#define GW_CONFORM_TARGET_TABLE_H

#include "conform.h"

// The values of a load that every engine can hold.
#define TARGET_SEED "memory://seed?rows=40&width=12"

// id, small NOT NULL, label: a row whose `small` is NULL is refused by every engine that looks at values; the one that takes
// all is told to refuse what contains "poison".
Gw__Catalog *target_catalog(struct conform *c);
Gw__Table *target_ready(struct conform *c, Gw__Catalog *cat, uint32_t chunks);
Gw__Chunk *target_chunk_of(struct conform *c, const Gw__Table *t, uint32_t generation, uint32_t no);
Gw__TargetState *target_stored(struct conform *c);
const Gw__Chunk *target_stored_chunk(struct conform *c, const Gw__Table *t, uint32_t no);
uint64_t target_begin(struct conform *c, void *self, const Gw__Table *t, const Gw__Chunk *ch, bool careful);
void target_table_is(struct conform *c, const Gw__Table *t, const char *text);

#endif
