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
// Its columns and those that they refer to: "a`x`b`y"; MYT_FK_PAIRS is the same of KEY_COLUMN_USAGE.
char *myt_fk_pairs(struct gw_arena *a, const Gw__ForeignKey *f);
#define MYT_FK_PAIRS                                                                                                   \
    "GROUP_CONCAT(CONCAT(COLUMN_NAME, '`', REFERENCED_COLUMN_NAME) ORDER BY ORDINAL_POSITION SEPARATOR '`')"
void
myt_fk_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f, const char *name);
void
myt_check_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Check *c, const char *name);
// FULLTEXT and SPATIAL are built one at a time.
bool myt_index_alone(const Gw__Table *t, const Gw__Index *i);

// ---- indexes.c

struct myt_have_index {
    const char *name, *columns;
    bool unique, alone;
};
struct myt_have_indexes {
    struct myt_have_index *items;
    size_t n;
};
int myt_read_indexes(struct myt *t, struct gw_arena *a, const Gw__Table *table, struct myt_have_indexes *ret,
                     struct gw_err *err);
// CLASH: its name belongs to another index of the table.
enum myt_index_found { MYT_INDEX_MISSING, MYT_INDEX_THERE, MYT_INDEX_CLASH };
// Whether the table has its i-th index: the task made the table and its name is there (`ours`); or, of a table that was
// there before, an index of any name that does the work.
enum myt_index_found myt_find_index(const struct myt *t, struct gw_arena *a, const Gw__Table *table, size_t i,
                                    bool ours, const struct myt_have_indexes *have);

// A query that gives a row if a row of the table has no counterpart.
void myt_fk_orphans_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f);

#endif
