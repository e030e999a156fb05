#include "transform/changes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bus.h"
#include "common/change.h"
#include "transform/driver.h"

struct ctable {
    Gw__Tally came; // since the last tally
    size_t columns;
    uint64_t *max_bytes; // NULL: nothing is cut
    bool *is_hex;
    char *name;
};

struct gw_changes {
    struct ctable *tables; // by id: dense, they are numbered from 1
    size_t tables_n;
    bool cuts;
    struct gw_value *before, *after;
};

// ---- making ------------------------------------------------------------------------------------

static void
set_limits(struct gw_changes *c, struct ctable *t, const Gw__StreamTable *st)
{
    bool any = false;
    for (size_t i = 0; i < st->n_max_bytes; i++) {
        any = any || st->max_bytes[i];
    }
    if (!any) {
        return;
    }
    c->cuts = true;
    t->max_bytes = calloc(t->columns + 1, sizeof *t->max_bytes);
    t->is_hex = calloc(t->columns + 1, sizeof *t->is_hex);
    gw_assert(t->max_bytes && t->is_hex);
    for (size_t i = 0, k = 0; i < st->source->n_columns && k < t->columns; i++) {
        const Gw__Column *col = st->source->columns[i];
        if (!col->left_out) {
            t->max_bytes[k] = k < st->n_max_bytes ? st->max_bytes[k] : 0;
            t->is_hex[k++] = gw_is_hex(col);
        }
    }
}

struct gw_changes *
gw_changes_new(const Gw__StreamOpen *open)
{
    struct gw_changes *c = calloc(1, sizeof *c);
    gw_assert(c);
    size_t widest = 0;
    for (size_t i = 0; i < open->n_tables; i++) {
        size_t id = open->tables[i]->source->id;
        c->tables_n = id >= c->tables_n ? id + 1 : c->tables_n;
    }
    c->tables = calloc(c->tables_n + 1, sizeof *c->tables);
    gw_assert(c->tables);
    for (size_t i = 0; i < open->n_tables; i++) {
        const Gw__StreamTable *st = open->tables[i];
        struct ctable *t = &c->tables[st->source->id];
        gw__tally__init(&t->came);
        t->name = strdup(st->source->source_name);
        gw_assert(t->name);
        for (size_t k = 0; k < st->source->n_columns; k++) {
            t->columns += !st->source->columns[k]->left_out;
        }
        widest = t->columns > widest ? t->columns : widest;
        set_limits(c, t, st);
    }
    c->before = calloc(widest + 1, sizeof *c->before);
    c->after = calloc(widest + 1, sizeof *c->after);
    gw_assert(c->before && c->after);
    return c;
}

struct gw_changes *
gw_changes_free(struct gw_changes *c)
{
    if (c) {
        for (size_t i = 0; i < c->tables_n; i++) {
            free(c->tables[i].max_bytes);
            free(c->tables[i].is_hex);
            free(c->tables[i].name);
        }
        free(c->tables);
        free(c->before);
        free(c->after);
        free(c);
    }
    return NULL;
}

// ---- counting ----------------------------------------------------------------------------------

static int
compare(const struct ctable *t, const char *what, uint64_t sent, uint64_t came, struct gw_err *err)
{
    if (sent == came) {
        return GW_OK;
    }
    return gw_err_set(err, GW_BUG, NULL,
                      "conservation of changes: capture sent %" PRIu64 " %s of table \"%s\", %" PRIu64
                      " came to transform",
                      sent, what, t->name, came);
}

static int
check_tally(struct gw_changes *c, const struct gw_change *change, struct gw_err *err)
{
    const uint8_t *at = NULL;
    Gw__Tally sent;
    int r;
    while ((r = gw_change_tally(change, &at, &sent, err)) == GW_OK) {
        if (sent.table >= c->tables_n || !c->tables[sent.table].name) {
            return gw_err_set(err, GW_BUG, NULL, "tally of an unknown table %u", sent.table);
        }
        struct ctable *t = &c->tables[sent.table];
        r = compare(t, "inserts", sent.inserts, t->came.inserts, err);
        r = r == GW_OK ? compare(t, "updates", sent.updates, t->came.updates, err) : r;
        r = r == GW_OK ? compare(t, "deletes", sent.deletes, t->came.deletes, err) : r;
        r = r == GW_OK ? compare(t, "truncates", sent.truncates, t->came.truncates, err) : r;
        if (r != GW_OK) {
            return r;
        }
        gw__tally__init(&t->came);
    }
    for (size_t i = 0; r == GW_END && i < c->tables_n; i++) { // what came, and was not sent
        const Gw__Tally *came = &c->tables[i].came;
        if (came->inserts || came->updates || came->deletes || came->truncates) {
            return compare(&c->tables[i], "changes", 0, came->inserts + came->updates + came->deletes + came->truncates,
                           err);
        }
    }
    return r == GW_END ? GW_OK : r;
}

// ---- cutting -----------------------------------------------------------------------------------

// Shortens values in place: they point into the old payload.
static void
cut(const struct ctable *t, struct gw_value *v, uint64_t *n)
{
    for (size_t i = 0; i < t->columns; i++) {
        if (v[i].given == GW_PRESENT && t->max_bytes[i]) {
            size_t keep = gw_cut_value(v[i].data, v[i].len, t->max_bytes[i], t->is_hex[i]);
            *n += keep < v[i].len;
            v[i].len = (uint32_t)keep;
        }
    }
}

static int
put_cut(struct gw_changes *c, const struct gw_change *change, struct gw_buf *out, uint64_t *n, struct gw_err *err)
{
    const struct ctable *t = change->table && change->table < c->tables_n ? &c->tables[change->table] : NULL;
    if (!t || !t->max_bytes || !change->after.data) {
        gw_change_put_record(out, change->record);
        return GW_OK;
    }
    int r = gw_tuple_read(change->before, c->before, t->columns, err);
    r = r == GW_OK ? gw_tuple_read(change->after, c->after, t->columns, err) : r;
    if (r == GW_OK) {
        cut(t, c->after, n);
        gw_change_put_row(out, change->kind, change->table, change->unsure, change->before.data ? c->before : NULL,
                          c->after, t->columns);
    }
    return r;
}

static int
count(struct gw_changes *c, const struct gw_change *change, struct gw_err *err)
{
    if (change->kind == GW__CHANGE_KIND__CHANGE_TALLY) {
        return check_tally(c, change, err);
    }
    if (change->kind < GW__CHANGE_KIND__CHANGE_INSERT || change->kind > GW__CHANGE_KIND__CHANGE_TRUNCATE ||
        change->kind == GW__CHANGE_KIND__CHANGE_COMMIT) {
        return GW_OK;
    }
    if (change->table >= c->tables_n || !c->tables[change->table].name) {
        return gw_err_set(err, GW_BUG, NULL, "a change of an unknown table %u", change->table);
    }
    Gw__Tally *came = &c->tables[change->table].came;
    switch (change->kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT: came->inserts++; break;
    case GW__CHANGE_KIND__CHANGE_UPDATE: came->updates++; break;
    case GW__CHANGE_KIND__CHANGE_DELETE: came->deletes++; break;
    default: came->truncates++; break;
    }
    return GW_OK;
}

int
gw_changes_pass(struct gw_changes *c, zmq_msg_t *payload, uint64_t *cut_n, struct gw_err *err)
{
    struct gw_change_reader reader;
    struct gw_change change;
    struct gw_buf out;
    gw_buf_init(&out, GW_PAYLOAD_MAX);
    gw_change_reader_init(&reader, zmq_msg_data(payload), zmq_msg_size(payload));
    uint64_t n = 0;
    int r;
    while ((r = gw_change_next(&reader, &change, err)) == GW_OK) {
        r = count(c, &change, err);
        if (r == GW_OK && c->cuts) {
            r = put_cut(c, &change, &out, &n, err);
        }
        if (r != GW_OK) {
            break;
        }
    }
    if (r == GW_END && n) {
        zmq_msg_close(payload);
        gw_msg_take(payload, &out);
        *cut_n += n;
    }
    gw_buf_fini(&out);
    return r == GW_END ? GW_OK : r;
}
