// What is made after the rows: names and statements, shared by the plan and by its making.
#ifndef GW_TARGET_PGT_FINISH_H
#define GW_TARGET_PGT_FINISH_H

#include "pgt.h"

// Step kinds (plan.proto, Step.kind).
#define PGT_STEP_PK       "primary key"
#define PGT_STEP_INDEX    "index"
#define PGT_STEP_UNIQUE   "unique"
#define PGT_STEP_FK       "foreign key"
#define PGT_STEP_CHECK    "check"
#define PGT_STEP_SEQUENCE "sequence"
#define PGT_STEP_ANALYZE  "analyze"

// The i-th of its sort; names are made up where the source has none. All unquoted, in the arena.
char *pgt_index_object(struct gw_arena *a, const Gw__Table *t, size_t i);
char *pgt_fk_object(struct gw_arena *a, const Gw__Table *t, size_t i);
char *pgt_check_object(struct gw_arena *a, const Gw__Table *t, size_t i);
char *pgt_labels_object(struct gw_arena *a, const Gw__Table *t, const Gw__Column *c);
// Whether a check of the column's labels is wanted: an enumeration that became text.
bool pgt_has_labels(const Gw__Table *t, const Gw__Column *c);
bool pgt_partitioned(const Gw__Table *t);

// CREATE [UNIQUE] INDEX, or for an exclusion constraint the ALTER TABLE.
void pgt_index_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Index *i, const char *name);
bool pgt_index_exclusion(const Gw__Table *t, const Gw__Index *i);
void pgt_pk_index_sql(struct gw_buf *sql, const Gw__Table *t, const char *name);
// ALTER TABLE … ADD CONSTRAINT … USING INDEX; on a partitioned table, where that does not exist, the plain form.
void pgt_constraint_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Index *i, const char *name);
void pgt_pk_constraint_sql(struct gw_buf *sql, const Gw__Table *t, const char *name, bool using_index);
void pgt_fk_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__ForeignKey *f, const char *name);
void pgt_check_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Check *c, const char *name);
void pgt_labels_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c, const char *name);
const char *pgt_fk_schema(const Gw__Table *t, const Gw__ForeignKey *f);

#endif
