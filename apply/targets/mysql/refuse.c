// Refused rows: into `exceptions`, in the transaction of the chunk or of the stream.
#include <stdlib.h>
#include <string.h>

#include "common/copytext.h"
#include "myt.h"

enum { ROW_TEXT_MAX = 1 << 30, PACKET_SPARE = 512 * 1024, STATEMENT_MAX = MYT_SQL_MAX };

// What is no UTF-8 (often the very reason for the refusal) as \xHH: nothing of the row is lost.
static void
put_storable(struct gw_buf *out, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t n = myt_utf8_len(p + i, len - i);
        if (n > 0) {
            gw_buf_put(out, p + i, n);
            i += n;
        } else {
            char esc[4] = {'\\', 'x', hex[p[i] >> 4], hex[p[i] & 15]};
            gw_buf_put(out, esc, sizeof esc);
            i++;
        }
    }
}

// "id=7, day=2024-02-30": the primary key's columns, as far as they are in the row.
static void
put_key(struct gw_buf *out, const Gw__Table *t, const char *row, size_t len)
{
    struct gw_copy_field *fields = calloc(t->n_columns + 1, sizeof *fields);
    gw_assert(fields);
    size_t n = gw_copy_split(row, len, fields, t->n_columns);
    for (size_t k = 0; k < t->n_primary_key; k++) {
        size_t at = 0;
        for (size_t i = 0; i < t->n_columns; i++) {
            const Gw__Column *c = t->columns[i];
            if (strcmp(c->name, t->primary_key[k]) == 0 && !c->left_out && at < n) {
                gw_buf_printf(out, "%s%s=", out->len ? ", " : "", c->name);
                put_storable(out, fields[at].at, fields[at].len);
            }
            at += c->left_out ? 0 : 1;
        }
    }
    free(fields);
}

static void
put_literal(struct gw_buf *sql, const struct gw_buf *text, bool keep)
{
    gw_buf_puts(sql, ", ");
    if (keep && !text->overflowed) {
        gw_my_literal(sql, text->data ? text->data : "", text->len);
    } else {
        gw_buf_puts(sql, "NULL");
    }
}

int
myt_refuse(struct myt *t, const Gw__Table *table, const uint64_t *chunk, const char *position,
           const struct gw_refused *r, struct gw_err *err)
{
    uint64_t packet = 0;
    int rc = myt_scalar(t, &packet, NULL, err, "SELECT @@max_allowed_packet");
    if (rc != GW_OK) {
        return rc;
    }
    MYT_BUF row, key, reason, sql;
    gw_buf_init(&row, ROW_TEXT_MAX);
    gw_buf_init(&key, 64 * 1024);
    gw_buf_init(&reason, 64 * 1024);
    gw_buf_init(&sql, (size_t)ROW_TEXT_MAX * 2);
    size_t len = r->len;
    if (len > 0 && r->row[len - 1] == '\n') {
        len--;
    }
    put_storable(&row, r->row, len);
    put_key(&key, table, r->row, len);
    const struct gw_err *why = r->why;
    if (why) {
        put_storable(&reason, why->message, strlen(why->message));
        if (why->detail[0]) {
            gw_buf_puts(&reason, ": ");
            put_storable(&reason, why->detail, strlen(why->detail));
        }
    }
    myt_put(t, &sql,
            "INSERT INTO $c.exceptions (task, source_schema, source_table, target_schema, target_table,"
            " code, key_text, reason, row_text$s) VALUES ($l, $l, $l, $l, $l, $l",
            // The load's statement does without the new column: the control tables may be an earlier version's.
            chunk ? ", chunk" : ", position", t->task->name, table->source_schema, table->source_name,
            myt_schema(t, table), table->name, why ? why->code : NULL);
    put_literal(&sql, &key, key.len > 0);
    put_literal(&sql, &reason, reason.len > 0);
    // A row that does not fit into one statement is told without its text. Escaping at most doubles it.
    put_literal(&sql, &row, row.len * 2 + PACKET_SPARE < packet && row.len * 2 + PACKET_SPARE < STATEMENT_MAX);
    if (chunk) {
        myt_put(t, &sql, ", $u)", *chunk);
    } else {
        myt_put(t, &sql, ", $l)", position);
    }
    if (sql.overflowed) {
        return gw_err_set(err, GW_BUG, "", "a refused row is longer than a statement");
    }
    rc = gw_my_exec(t->c, err, "%s", sql.data);
    return rc == GW_OK ? rc : gw_err_wrap(err, "record a refused row");
}

int
myt_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err)
{
    struct myt *t = self;
    const struct myt_load *l = &t->load;
    gw_assert(l->open && l->careful);
    uint64_t no = l->no;
    return myt_refuse(t, l->table, &no, NULL, r, err);
}
