// The control tables: whether they are there, making them, and reading or writing what they hold.
#ifndef GW_TARGET_MYT_CONTROL_H
#define GW_TARGET_MYT_CONTROL_H

#include "myt.h"

extern const char *const myt_control_tables[]; // ends with NULL

int myt_control_exists(struct myt *t, const char *table, bool *ret, struct gw_err *err);
int myt_schema_exists(struct myt *t, const char *schema, bool *ret, struct gw_err *err);
// Commits implicitly.
int myt_schema_make(struct myt *t, const char *schema, struct gw_err *err);
int myt_control_make(struct myt *t, struct gw_err *err);
// One maker at a time of what tables share. Waited for a moment: GW_AGAIN with GW_CODE_LOCKED. Released by myt_unlock_ddl.
int myt_lock_ddl(struct myt *t, struct gw_err *err);
void myt_unlock_ddl(struct myt *t);

// Of a row of `progress`, as selected by MYT_PROGRESS_COLUMNS.
#define MYT_PROGRESS_COLUMNS "position, snapshot, epoch, counts, updated_us"
int myt_progress_read(struct myt *t, struct gw_arena *a, MYSQL_RES *r, MYSQL_ROW row, Gw__Progress *ret,
                      struct gw_err *err);

// A packed message as a literal.
void myt_put_message(struct gw_buf *sql, const void *msg);
// A message that a column holds, in the arena; NULL if it holds none.
void *myt_message(struct gw_arena *a, const ProtobufCMessageDescriptor *d, MYSQL_RES *r, MYSQL_ROW row, unsigned col);
int myt_bad_blob(struct myt *t, const char *table, struct gw_err *err);
// Inside a transaction: the row of a table, with its chunks and finished steps.
int myt_insert_table(struct myt *t, const Gw__TablePlan *tp, struct gw_err *err);
int myt_insert_chunks(struct myt *t, uint32_t table_id, uint32_t generation, size_t n, Gw__Chunk **chunks,
                      struct gw_err *err);
// Of conditions: the task is the one that we work for, not one of the same name. Takes its name and its uuid. Read without
// a lock: whoever takes the task away deletes its tables' rows first.
#define MYT_OURS         "EXISTS (SELECT 1 FROM $c.tasks k WHERE k.task = $l AND k.task_uuid = $l)"
#define MYT_OTHER_GODWIT "does another godwit work on the same task?"

struct myt_table_row {
    uint32_t generation;
    Gw__TableState state;
    enum myt_made made;
    bool had_rows;
    bool durable; // a chunk of that generation is done
};
// The row of a table, locked until the end of the transaction. FENCED if the task is not ours any more, or has no such table.
int myt_table_lock(struct myt *t, uint32_t table_id, struct myt_table_row *ret, struct gw_err *err);
int myt_table_write(struct myt *t, uint32_t table_id, uint32_t generation, Gw__TableState state, enum myt_made made,
                    struct gw_err *err);

#endif
