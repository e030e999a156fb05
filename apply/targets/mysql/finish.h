// What is made after the rows: names and statements, shared by the plan and by its making.
#ifndef GW_TARGET_MYT_FINISH_H
#define GW_TARGET_MYT_FINISH_H

#include "myt.h"

// Step kinds (plan.proto, Step.kind).
#define MYT_STEP_INDEXES  "index"
#define MYT_STEP_FK       "foreign key"
#define MYT_STEP_CHECK    "check"
#define MYT_STEP_SEQUENCE "sequence"
#define MYT_STEP_ANALYZE  "analyze"

// The i-th of its sort; names are made up where the source has none. All unquoted, in the arena.
char *myt_fk_object(struct gw_arena *a, const Gw__Table *t, size_t i);
char *myt_check_object(struct gw_arena *a, const Gw__Table *t, size_t i);
const char *myt_fk_schema(const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f);
void
myt_fk_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f, const char *name);
void
myt_check_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Check *c, const char *name);
// FULLTEXT and SPATIAL are built one at a time.
bool myt_index_alone(const Gw__Table *t, const Gw__Index *i);
// A query that gives a row if a row of the table has no counterpart.
void myt_fk_orphans_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f);

#endif
