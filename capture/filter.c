#include "capture/filter.h"

#include <stdlib.h>
#include <string.h>

#include "common/key.h"

enum { FIRST = -1 }; // the stream's first snapshot: no transaction of the stream is visible in it

struct part {
    const Gw__Chunk *chunk;
    int token;
};

struct ftable {
    const Gw__Table *source;
    struct part *parts; // in the order of their keys; one without bounds: the whole table
    size_t parts_n;
    bool keyed;
    size_t *column; // of the key, as indexes into a tuple
    Gw__Kind *kind;
    size_t columns_n;
};

struct gw_filter {
    const struct gw_source_ops *ops;
    struct ftable *tables;
    size_t tables_n;
    struct {
        const char *text;
        bool known;
        enum gw_visible visible; // of the transaction in hand
    } * tokens;
    size_t tokens_n;
    char *transaction;
};

// ---- making ------------------------------------------------------------------------------------

static int
token_of(struct gw_filter *f, const char *text, const char *first)
{
    if (first[0] && strcmp(text, first) == 0) {
        return FIRST;
    }
    for (size_t i = 0; i < f->tokens_n; i++) {
        if (strcmp(f->tokens[i].text, text) == 0) {
            return (int)i;
        }
    }
    f->tokens = realloc(f->tokens, (f->tokens_n + 1) * sizeof *f->tokens);
    gw_assert(f->tokens);
    f->tokens[f->tokens_n].text = text;
    f->tokens[f->tokens_n].known = false;
    return (int)f->tokens_n++;
}

// Where a column stands in a tuple.
static bool
find_column(const Gw__Table *t, const char *name, size_t *ret, Gw__Kind *kind)
{
    size_t at = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            *ret = at;
            *kind = t->columns[i]->type->kind;
            return !t->columns[i]->left_out && gw_key_comparable(t->engine, t->columns[i]);
        }
        at += !t->columns[i]->left_out;
    }
    return false;
}

static struct gw_value
bound_value(const Gw__Bound *b, size_t i)
{
    return (struct gw_value){b->values[i], (uint32_t)strlen(b->values[i]), GW_PRESENT};
}

// <key> <=> bound, over the columns that both have.
static int
cmp_bound(const struct ftable *t, const struct gw_value *key, const Gw__Bound *b)
{
    for (size_t i = 0; i < t->columns_n && i < b->n_values; i++) {
        int c = gw_key_cmp(t->kind[i], key[t->column[i]], bound_value(b, i));
        if (c) {
            return c;
        }
    }
    return 0;
}

static const struct ftable *sorting; // qsort has no context; one thread

static int
by_lower_bound(const void *x, const void *y)
{
    const Gw__Bound *a = ((const struct part *)x)->chunk->lo, *b = ((const struct part *)y)->chunk->lo;
    if (!a || !b) {
        return (a != NULL) - (b != NULL);
    }
    for (size_t i = 0; i < sorting->columns_n && i < a->n_values && i < b->n_values; i++) {
        int c = gw_key_cmp(sorting->kind[i], bound_value(a, i), bound_value(b, i));
        if (c) {
            return c;
        }
    }
    return 0;
}

static int
set_key(struct ftable *t, const Gw__Chunk *c, struct gw_err *err)
{
    t->columns_n = c->n_columns;
    t->column = calloc(t->columns_n + 1, sizeof *t->column);
    t->kind = calloc(t->columns_n + 1, sizeof *t->kind);
    gw_assert(t->column && t->kind);
    for (size_t i = 0; i < t->columns_n; i++) {
        if (!find_column(t->source, c->columns[i], &t->column[i], &t->kind[i])) {
            return gw_err_set(err, GW_BUG, NULL,
                              "table \"%s.%s\" was read in several snapshots by column \"%s\","
                              " whose order is not known here",
                              t->source->source_schema, t->source->source_name, c->columns[i]);
        }
    }
    return GW_OK;
}

static int
set_table(struct gw_filter *f, struct ftable *t, const Gw__StreamTable *st, const char *first, struct gw_err *err)
{
    t->source = st->source;
    if (st->n_chunks == 0) {
        return GW_OK; // all in the first snapshot
    }
    const Gw__Chunk *c = st->chunks[0];
    t->keyed = !st->one_snapshot && c->by == GW__CHUNK_BY__BY_KEY;
    if (!t->keyed && !st->one_snapshot && st->n_chunks > 1) {
        return gw_err_set(err, GW_BUG, NULL, "table \"%s.%s\" was read in several snapshots, and not by a key",
                          t->source->source_schema, t->source->source_name);
    }
    t->parts_n = t->keyed ? st->n_chunks : 1;
    t->parts = calloc(t->parts_n, sizeof *t->parts);
    gw_assert(t->parts);
    for (size_t i = 0; i < t->parts_n; i++) {
        t->parts[i] = (struct part){st->chunks[i], token_of(f, st->chunks[i]->snapshot, first)};
    }
    int r = t->keyed ? set_key(t, c, err) : GW_OK;
    if (r == GW_OK && t->keyed) {
        sorting = t;
        qsort(t->parts, t->parts_n, sizeof *t->parts, by_lower_bound);
    }
    return r;
}

int
gw_filter_new(struct gw_filter **ret, const struct gw_source_ops *ops, Gw__StreamTable *const *tables, size_t n,
              const char *first, struct gw_err *err)
{
    struct gw_filter *f = calloc(1, sizeof *f);
    gw_assert(f);
    f->ops = ops;
    f->tables = calloc(n + 1, sizeof *f->tables);
    gw_assert(f->tables);
    f->tables_n = n;
    int r = GW_OK;
    for (size_t i = 0; i < n && r == GW_OK; i++) {
        r = set_table(f, &f->tables[i], tables[i], first, err);
    }
    if (r != GW_OK) {
        gw_filter_free(f);
        return r;
    }
    *ret = f;
    return GW_OK;
}

struct gw_filter *
gw_filter_free(struct gw_filter *f)
{
    for (size_t i = 0; f && i < f->tables_n; i++) {
        free(f->tables[i].parts);
        free(f->tables[i].column);
        free(f->tables[i].kind);
    }
    if (f) {
        free(f->tables);
        free(f->tokens);
        free(f->transaction);
        free(f);
    }
    return NULL;
}

// ---- asking ------------------------------------------------------------------------------------

void
gw_filter_begin(struct gw_filter *f, const char *transaction)
{
    if (!f->tokens_n) {
        return; // nobody will ask
    }
    free(f->transaction);
    f->transaction = strdup(transaction);
    gw_assert(f->transaction);
    for (size_t i = 0; i < f->tokens_n; i++) {
        f->tokens[i].known = false;
    }
}

static int
ask(struct gw_filter *f, int token, enum gw_visible *ret, struct gw_err *err)
{
    if (token == FIRST) {
        *ret = GW_INVISIBLE;
        return GW_OK;
    }
    if (!f->tokens[token].known) {
        int r = f->ops->tx_visible(f->tokens[token].text, f->transaction, &f->tokens[token].visible, err);
        if (r != GW_OK) {
            return gw_err_wrap(err, "find out whether transaction %s is in snapshot %s", f->transaction,
                               f->tokens[token].text);
        }
        f->tokens[token].known = true;
    }
    *ret = f->tokens[token].visible;
    return GW_OK;
}

// The part that holds a key; NULL: none does.
static const struct part *
part_of(const struct ftable *t, const struct gw_value *row)
{
    size_t lo = 0, hi = t->parts_n; // the first part that begins behind the key
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const Gw__Bound *b = t->parts[mid].chunk->lo;
        if (!b || cmp_bound(t, row, b) >= 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == 0) {
        return NULL;
    }
    const struct part *p = &t->parts[lo - 1];
    int c = p->chunk->hi ? cmp_bound(t, row, p->chunk->hi) : -1;
    return c < 0 || (c == 0 && p->chunk->hi_inclusive) ? p : NULL;
}

static int
ask_row(struct gw_filter *f, const struct ftable *t, const struct gw_value *row, enum gw_visible *ret,
        struct gw_err *err)
{
    for (size_t i = 0; t->keyed && i < t->columns_n; i++) {
        if (row[t->column[i]].given != GW_PRESENT) {
            return gw_err_set(err, GW_BUG, NULL, "a change of table \"%s.%s\" does not tell its key",
                              t->source->source_schema, t->source->source_name);
        }
    }
    const struct part *p = t->keyed ? part_of(t, row) : &t->parts[0];
    if (!p) {
        *ret = GW_INVISIBLE;
        return GW_OK;
    }
    return ask(f, p->token, ret, err);
}

int
gw_filter_row(struct gw_filter *f, uint32_t table, Gw__ChangeKind kind, const struct gw_value *before,
              const struct gw_value *after, struct gw_seen *ret, struct gw_err *err)
{
    const struct ftable *t = &f->tables[table];
    struct gw_seen seen = {GW_INVISIBLE, GW_INVISIBLE};
    int r = GW_OK;
    if (t->parts_n) {
        if (kind != GW__CHANGE_KIND__CHANGE_DELETE) {
            r = ask_row(f, t, after, &seen.new_row, err);
        }
        if (r == GW_OK && kind != GW__CHANGE_KIND__CHANGE_INSERT) {
            r = ask_row(f, t, before ? before : after, &seen.old_row, err);
        }
    }
    if (r == GW_OK) {
        *ret = seen;
    }
    return r;
}

static bool
open_ended(const struct ftable *t)
{
    return !t->parts[0].chunk->lo && !t->parts[t->parts_n - 1].chunk->hi;
}

int
gw_filter_table(struct gw_filter *f, uint32_t table, enum gw_visible *ret, struct gw_err *err)
{
    const struct ftable *t = &f->tables[table];
    enum gw_visible all = GW_INVISIBLE;
    for (size_t i = 0; i < t->parts_n; i++) {
        enum gw_visible one;
        int r = ask(f, t->parts[i].token, &one, err);
        if (r != GW_OK) {
            return r;
        }
        if (i && one != all) {
            all = GW_UNSURE;
            break;
        }
        all = one;
    }
    // Rows that came beyond the planned ends are the stream's alone: no snapshot tells that those are gone, too.
    if (all == GW_VISIBLE && t->keyed && !open_ended(t)) {
        all = GW_UNSURE;
    }
    *ret = all;
    return GW_OK;
}
