// Sets: what an engine takes in one statement or so. Net changes as sets: DELETEs, children first; then UPDATEs and INSERTs,
// parents first; rows of the same columns together.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apply/applier.h"

// Columns that a number of entries have in common.
struct mask {
    struct mask *next;
    uint32_t first, last; // entries, + 1
    uint64_t bits[];
};

// ---- one set -----------------------------------------------------------------------------------

static void
reserve(struct gw_value **items, size_t *cap, size_t n)
{
    if (n > *cap) {
        *cap = n < 2 * *cap ? 2 * *cap : n;
        *items = realloc(*items, *cap * sizeof **items);
        gw_assert(*items);
    }
}

void
gw_set_begin(struct gw_applier *a, struct gw_applier_table *t, Gw__ChangeKind kind, const uint64_t *mask)
{
    struct gw_set *s = &a->set;
    s->table = t;
    s->set = (struct gw_change_set){.table = t->table, .kind = kind};
    s->bytes = 0;
    for (size_t i = 0; mask && i < t->n; i++) {
        if (mask[i / 64] >> (i % 64) & 1) {
            s->tuple[s->set.columns_n] = (uint32_t)i;
            s->columns[s->set.columns_n++] = t->columns[i];
        }
    }
    bool keyed = kind == GW__CHANGE_KIND__CHANGE_UPDATE || kind == GW__CHANGE_KIND__CHANGE_DELETE;
    for (size_t i = 0; keyed && i < t->key_n; i++) {
        s->key_tuple[i] = t->key[i];
        s->key[i] = t->columns[t->key[i]];
        s->set.key_n++;
    }
    s->set.columns = s->columns;
    s->set.key = s->key;
}

void
gw_set_key(struct gw_applier *a, const struct gw_value *tuple)
{
    struct gw_set *s = &a->set;
    size_t n = 0;
    for (size_t i = 0; i < s->table->key_n; i++) {
        if (tuple[s->table->key[i]].given != GW_NOT_GIVEN) {
            s->key_tuple[n] = s->table->key[i];
            s->key[n++] = s->table->columns[s->table->key[i]];
        }
    }
    s->set.key_n = n;
    s->set.keyless = true;
}

static void
add_values(struct gw_set *s, const struct gw_value *row)
{
    size_t n = s->set.columns_n;
    reserve(&s->values, &s->values_cap, (s->set.n + 1) * n);
    struct gw_value *to = s->values + s->set.n * n;
    for (size_t i = 0; i < n; i++) {
        to[i] = row[s->tuple[i]];
        s->bytes += to[i].given == GW_PRESENT ? to[i].len : 0;
    }
}

// key: key_n values. NULL: as the columns of key_tuple.
static void
add_row(struct gw_applier *a, const struct gw_value *row, const struct gw_value *key, const struct gw_value *tuple)
{
    struct gw_set *s = &a->set;
    size_t n = s->set.key_n;
    if (s->set.columns_n) {
        add_values(s, row);
    }
    if (n) {
        reserve(&s->keys, &s->keys_cap, (s->set.n + 1) * n);
        struct gw_value *to = s->keys + s->set.n * n;
        for (size_t i = 0; i < n; i++) {
            to[i] = key ? key[i] : tuple[s->key_tuple[i]];
            s->bytes += to[i].given == GW_PRESENT ? to[i].len : 0;
        }
    }
    s->set.n++;
}

void
gw_set_add(struct gw_applier *a, const struct gw_value *row, const struct gw_value *key_tuple)
{
    add_row(a, row, NULL, key_tuple);
}

int
gw_set_apply(struct gw_applier *a, struct gw_err *err)
{
    struct gw_set *s = &a->set;
    s->set.values = s->values;
    s->set.keys = s->keys;
    s->rows = 0;
    return a->ops->stream_apply(a->self, &s->set, &s->rows, err);
}

void
gw_row_mask(const struct gw_applier_table *t, Gw__ChangeKind kind, const struct gw_value *row, bool moves,
            uint64_t *mask, size_t words)
{
    bool update = kind == GW__CHANGE_KIND__CHANGE_UPDATE && !t->keyless;
    memset(mask, 0, words * sizeof *mask);
    bool any = false;
    for (size_t i = 0; i < t->n; i++) {
        if (row[i].given != GW_NOT_GIVEN && (!update || moves || !t->is_key[i])) {
            mask[i / 64] |= UINT64_C(1) << (i % 64);
            any = true;
        }
    }
    // Only the key is given: writing it again still tells whether the row is there.
    for (size_t i = 0; !any && update && i < t->key_n; i++) {
        mask[t->key[i] / 64] |= UINT64_C(1) << (t->key[i] % 64);
    }
}

// ---- net changes -------------------------------------------------------------------------------

// Net changes touch just the rows that they name.
static int
apply_exactly(struct gw_applier *a, struct gw_err *err)
{
    struct gw_set *s = &a->set;
    if (s->set.n == 0) {
        return GW_OK;
    }
    int r = gw_set_apply(a, err);
    if (r == GW_OK && s->rows != s->set.n) {
        r = gw_err_set(err, GW_DATA, GW_CODE_NO_ROW, "%zu changes of table \"%s\" touched %" PRIu64 " rows", s->set.n,
                       s->table->table->name, s->rows);
    }
    s->set.n = 0;
    s->bytes = 0;
    return r;
}

static int
apply_entry(struct gw_applier *a, const struct gw_entry *e, struct gw_err *err)
{
    add_row(a, e->row, e->key, NULL);
    bool full = a->set.set.n >= GW_SET_ROWS || a->set.bytes >= GW_SET_BYTES;
    return full ? apply_exactly(a, err) : GW_OK;
}

static int
apply_deletes(struct gw_applier *a, struct gw_applier_table *t, struct gw_err *err)
{
    gw_set_begin(a, t, GW__CHANGE_KIND__CHANGE_DELETE, NULL);
    int r = GW_OK;
    for (uint32_t at = t->first; r == GW_OK && at;) {
        const struct gw_entry *e = &a->piece.entries[at - 1];
        if (e->net == GW_NET_DELETE || e->net == GW_NET_REPLACE) {
            r = apply_entry(a, e, err);
        }
        at = e->next;
    }
    return r == GW_OK ? apply_exactly(a, err) : r;
}

// Entries of a kind by the columns that they write.
static struct mask *
group_by_mask(struct gw_applier *a, struct gw_applier_table *t, Gw__ChangeKind kind)
{
    struct gw_piece *p = &a->piece;
    struct mask *all = NULL, *last = NULL, *m = NULL;
    size_t words = (t->n + 63) / 64;
    for (uint32_t at = t->first; at; at = p->entries[at - 1].next) {
        struct gw_entry *e = &p->entries[at - 1];
        bool insert = e->net == GW_NET_INSERT || e->net == GW_NET_REPLACE;
        if (kind == GW__CHANGE_KIND__CHANGE_INSERT ? !insert : e->net != GW_NET_UPDATE) {
            continue;
        }
        gw_row_mask(t, kind, e->row, false, a->mask, words);
        if (!m || memcmp(m->bits, a->mask, words * sizeof *m->bits) != 0) {
            for (m = all; m && memcmp(m->bits, a->mask, words * sizeof *m->bits) != 0;) {
                m = m->next;
            }
        }
        if (!m) {
            m = gw_arena_alloc(&p->arena, sizeof *m + words * sizeof *m->bits);
            *m = (struct mask){0};
            memcpy(m->bits, a->mask, words * sizeof *m->bits);
            *(last ? &last->next : &all) = m;
            last = m;
        }
        *(m->last ? &p->entries[m->last - 1].mask_next : &m->first) = at;
        m->last = at;
        e->mask_next = 0;
    }
    return all;
}

static int
apply_rows(struct gw_applier *a, struct gw_applier_table *t, Gw__ChangeKind kind, struct gw_err *err)
{
    int r = GW_OK;
    for (const struct mask *m = group_by_mask(a, t, kind); r == GW_OK && m; m = m->next) {
        gw_set_begin(a, t, kind, m->bits);
        for (uint32_t at = m->first; r == GW_OK && at;) {
            const struct gw_entry *e = &a->piece.entries[at - 1];
            r = apply_entry(a, e, err);
            at = e->mask_next;
        }
        r = r == GW_OK ? apply_exactly(a, err) : r;
    }
    return r;
}

static int
by_rank(const void *x, const void *y)
{
    const struct gw_applier_table *a = *(struct gw_applier_table *const *)x, *b = *(struct gw_applier_table *const *)y;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

int
gw_sets_apply(struct gw_applier *a, struct gw_err *err)
{
    struct gw_piece *p = &a->piece;
    qsort(p->tables, p->tables_n, sizeof *p->tables, by_rank);
    int r = GW_OK;
    for (size_t i = p->tables_n; r == GW_OK && i-- > 0;) {
        r = apply_deletes(a, p->tables[i], err);
    }
    for (size_t i = 0; r == GW_OK && i < p->tables_n; i++) {
        r = apply_rows(a, p->tables[i], GW__CHANGE_KIND__CHANGE_UPDATE, err);
        r = r == GW_OK ? apply_rows(a, p->tables[i], GW__CHANGE_KIND__CHANGE_INSERT, err) : r;
    }
    return r;
}
