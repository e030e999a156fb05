// Refused rows: into `exceptions`, in the transaction of the chunk or of the stream.
#include <stdlib.h>
#include <string.h>

#include "common/copytext.h"
#include "pgt.h"

enum { ROW_TEXT_MAX = 1 << 30 };

// Length of the UTF-8 character at p, 0 if there is none (RFC 3629: no overlong forms, no surrogates).
static size_t
utf8_len(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) {
        return p[0] ? 1 : 0;
    }
    size_t len = p[0] >= 0xF0 && p[0] <= 0xF4   ? 4
                 : p[0] >= 0xE0 && p[0] <= 0xEF ? 3
                 : p[0] >= 0xC2 && p[0] <= 0xDF ? 2
                                                : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F)) {
        return 0;
    }
    return len;
}

// What the server may not be able to store (often the very reason for the refusal) as \xHH, which COPY text has
// for any byte: nothing of the row is lost. A database of another encoding gets ASCII only.
static void
put_storable(struct gw_buf *out, const char *text, size_t len, bool utf8)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t n = p[i] < 0x80 || utf8 ? utf8_len(p + i, len - i) : 0;
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
put_key(struct gw_buf *out, const Gw__Table *t, const char *row, size_t len, bool utf8)
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
                put_storable(out, fields[at].at, fields[at].len, utf8);
            }
            at += c->left_out ? 0 : 1;
        }
    }
    free(fields);
}

int
pgt_refuse(struct pgt *t, const Gw__Table *table, const char *chunk, const char *position, const struct gw_refused *r,
           struct gw_err *err)
{
    PGT_BUF row, key;
    gw_buf_init(&row, ROW_TEXT_MAX);
    gw_buf_init(&key, ROW_TEXT_MAX);
    size_t len = r->len;
    if (len > 0 && r->row[len - 1] == '\n') {
        len--;
    }
    put_storable(&row, r->row, len, t->utf8);
    put_key(&key, table, r->row, len, t->utf8);
    PGT_BUF reason;
    gw_buf_init(&reason, 64 * 1024);
    const struct gw_err *why = r->why;
    if (why) {
        put_storable(&reason, why->message, strlen(why->message), t->utf8);
        if (why->detail[0]) {
            gw_buf_puts(&reason, ": ");
            put_storable(&reason, why->detail, strlen(why->detail), t->utf8);
        }
    }
    PGT_ARENA a;
    gw_arena_init(&a);
    const char *p[] = {t->task->name,
                       table->source_schema,
                       table->source_name,
                       pgt_clip(&a, pgt_schema(table)),
                       pgt_clip(&a, table->name),
                       chunk,
                       key.len ? key.data : NULL,
                       why ? why->code : NULL,
                       reason.len ? reason.data : NULL,
                       row.overflowed ? NULL
                       : row.len      ? row.data
                                      : "",
                       position};
    // The load's statement does without the column: the control tables may be an earlier version's.
    int rc = pgt_affect(t, NULL, err, position ? 11 : 10, p,
                        "INSERT INTO %s.exceptions (task, source_schema, source_table,"
                        " target_schema, target_table, chunk, key_text, code, reason, row_text%s)"
                        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10%s)",
                        t->ctl, position ? ", position" : "", position ? ", $11" : "");
    return rc == GW_OK ? rc : gw_err_wrap(err, "record a refused row");
}

int
pgt_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err)
{
    struct pgt *t = self;
    const struct pgt_load *l = &t->load;
    gw_assert(l->open && l->careful);
    struct pgt_num no;
    return pgt_refuse(t, l->table, pgt_num(&no, l->no), NULL, r, err);
}
