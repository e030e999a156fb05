// The control tables: whether they are there, making them, and reading or writing what they hold.
#ifndef GW_TARGET_PGT_CONTROL_H
#define GW_TARGET_PGT_CONTROL_H

#include "pgt.h"

enum { PGT_LOCK_SPACE = 0x676f6477, PGT_LOCK_DDL = 1 }; // advisory locks of this program

// Of conditions: the task is the one that we work for, not one of the same name. $1 is its name, `n` the parameter that
// is its uuid.
#define PGT_OURS(n)      "EXISTS (SELECT FROM %1$s.tasks k WHERE k.task = $1 AND k.task_uuid = " n ")"
#define PGT_OTHER_GODWIT "does another godwit work on the same task?"

extern const char *const pgt_control_tables[]; // in an order in which they can be made; ends with NULL

int pgt_schema_exists(struct pgt *t, const char *schema, bool *ret, struct gw_err *err);
int pgt_schema_make(struct pgt *t, const char *schema, struct gw_err *err);
int pgt_control_make(struct pgt *t, struct gw_err *err);
// Ends every backend that still works on a chunk of the task.
int pgt_end_loads(struct pgt *t, struct gw_err *err);
// Inside a transaction.
int pgt_lock_ddl(struct pgt *t, struct gw_err *err);

// Of a row of `progress`, as selected by PGT_PROGRESS_COLUMNS from alias p: row 0 of r.
#define PGT_PROGRESS_COLUMNS "p.position, p.snapshot, p.epoch, p.counts, p.updated_us"
int pgt_progress_read(struct pgt *t, struct gw_arena *a, const PGresult *r, Gw__Progress *ret, struct gw_err *err);

// Appends \x and the hex digits of the packed message: bytea's own text form.
void pgt_hex(struct gw_buf *out, const void *msg);
// The same as a literal.
void pgt_put_bytes(struct gw_buf *sql, const void *msg);
// A message that a bytea column holds, in the arena; NULL if it holds none.
void *pgt_message(struct gw_arena *a, const ProtobufCMessageDescriptor *d, const PGresult *r, int row, int col);
int pgt_bad_blob(struct pgt *t, const char *table, struct gw_err *err);
// Inside a transaction: the row of a table, with its chunks and finished steps.
int pgt_insert_table(struct pgt *t, const Gw__TablePlan *tp, struct gw_err *err);

struct pgt_table_row {
    uint32_t generation;
    Gw__TableState state;
    enum pgt_made made;
    bool had_rows;
    bool durable; // a chunk of that generation is done
};
// The row of a table, locked until the end of the transaction. FENCED if the task is not ours any more, or has no such table.
int pgt_table_lock(struct pgt *t, uint32_t table_id, struct pgt_table_row *ret, struct gw_err *err);
int pgt_table_write(struct pgt *t, uint32_t table_id, uint32_t generation, Gw__TableState state, enum pgt_made made,
                    struct gw_err *err);

#endif
