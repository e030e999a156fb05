// Refused rows: into `exceptions`, in the transaction of the chunk or of the stream.
#include <stdlib.h>
#include <string.h>

#include "apply/targets/sqlite/sqlite_target.h"

enum { KEY_TEXT_MAX = 64 * 1024 };

// "id=7, day=2024-02-30": the primary key's columns, as far as they are in the row.
static void
put_key(const Gw__Table *table, const struct gw_refused *r, struct gw_buf *key)
{
    struct gw_copy_field *fields = calloc(table->n_columns + 1, sizeof *fields);
    gw_assert(fields);
    size_t n = gw_copy_split(r->row, r->len, fields, table->n_columns);
    for (size_t k = 0; k < table->n_primary_key; k++) {
        size_t at = 0;
        for (size_t i = 0; i < table->n_columns; i++) {
            const Gw__Column *c = table->columns[i];
            if (!c->left_out && at < n && strcmp(c->name, table->primary_key[k]) == 0) {
                gw_buf_puts(key, key->len ? ", " : "");
                gw_buf_printf(key, "%s=", c->name);
                gw_copy_unescape(key, fields[at].at, fields[at].len);
            }
            at += c->left_out ? 0 : 1;
        }
    }
    free(fields);
}

#define INSERT(where)                                                                                                  \
    "INSERT INTO $exceptions (task, source_schema, source_table, target_schema, target_table, key_text, code, reason," \
    " row_text, at" where ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, CAST(?9 AS TEXT),"                                \
    " strftime('%Y-%m-%d %H:%M:%f', 'now'), ?10)"

int
lite_refuse(struct lite_target *t, const Gw__Table *table, const int64_t *chunk, const char *position,
            const struct gw_refused *r, struct gw_err *err)
{
    struct gw_buf key;
    gw_buf_init(&key, KEY_TEXT_MAX);
    put_key(table, r, &key);
    size_t len = r->len && r->row[r->len - 1] == '\n' ? r->len - 1 : r->len;
    const char *key_text = key.overflowed ? NULL : key.data;
    int rc;
    // The load's statement does without the new column: the control tables may be an earlier version's.
    if (chunk) {
        rc = gw_lite_run(t->db, err, lite_sql(t, INSERT(", chunk")), "ttttttttbi", t->task->name, table->source_schema,
                         table->source_name, table->schema, table->name, key_text, r->why->code, r->why->message,
                         r->row, len, *chunk);
    } else {
        rc = gw_lite_run(t->db, err, lite_sql(t, INSERT(", position")), "ttttttttbt", t->task->name,
                         table->source_schema, table->source_name, table->schema, table->name, key_text, r->why->code,
                         r->why->message, r->row, len, position);
    }
    gw_buf_fini(&key);
    return rc == GW_OK ? GW_OK : gw_err_wrap(err, "record a refused row of \"%s\"", table->name);
}
