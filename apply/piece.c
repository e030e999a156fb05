// A piece of a group: the changes as they came, and what they come to for each key.
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "apply/applier.h"

enum { SLOTS_MIN = 1024 };

void
gw_piece_init(struct gw_piece *p, size_t tables_n)
{
    *p = (struct gw_piece){0};
    gw_arena_init(&p->arena);
    p->slots_n = SLOTS_MIN;
    p->slots = calloc(p->slots_n, sizeof *p->slots);
    p->tables = calloc(tables_n + 1, sizeof(struct gw_applier_table *));
    gw_assert(p->slots && p->tables);
}

void
gw_piece_fini(struct gw_piece *p)
{
    gw_arena_fini(&p->arena);
    free(p->events);
    free(p->entries);
    free(p->slots);
    free(p->tables);
    free(p->transactions);
    *p = (struct gw_piece){0};
}

void
gw_piece_reset(struct gw_piece *p)
{
    for (size_t i = 0; i < p->entries_n; i++) {
        if (p->entries[i].key) {
            p->slots[p->entries[i].slot] = 0; // a small piece does not pay for what a large one has grown
        }
    }
    for (size_t i = 0; i < p->tables_n; i++) {
        p->tables[i]->first = p->tables[i]->last = 0;
    }
    p->events_n = p->entries_n = p->tables_n = p->transactions_n = 0;
    p->bytes = 0;
    p->ordered = false;
    gw_arena_reset(&p->arena);
}

// ---- keys --------------------------------------------------------------------------------------

static bool
has_key(const struct gw_applier_table *t, const struct gw_value *tuple)
{
    for (size_t i = 0; i < t->key_n; i++) {
        if (tuple[t->key[i]].given == GW_NOT_GIVEN) {
            return false;
        }
    }
    return true;
}

static bool
value_equal(const struct gw_value *a, const struct gw_value *b)
{
    return a->given == b->given &&
           (a->given != GW_PRESENT || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0));
}

uint64_t
gw_key_hash(const struct gw_applier_table *t, const struct gw_value *tuple)
{
    uint64_t h = (uint64_t)t->table->id * UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < t->key_n; i++) {
        const struct gw_value *v = &tuple[t->key[i]];
        h = v->given == GW_PRESENT ? XXH3_64bits_withSeed(v->data, v->len, h) : h + 1;
    }
    return h;
}

bool
gw_key_equal(const struct gw_applier_table *t, const struct gw_value *a, const struct gw_value *b)
{
    for (size_t i = 0; i < t->key_n; i++) {
        if (!value_equal(&a[t->key[i]], &b[t->key[i]])) {
            return false;
        }
    }
    return true;
}

// ---- reading -----------------------------------------------------------------------------------

static int
no_key(const struct gw_applier_table *t, struct gw_err *err)
{
    gw_err_set(err, GW_DATA, GW_CODE_NO_KEY, "change table \"%s\": the source has not said which row", t->table->name);
    gw_err_hint(err, "the source must log the old values of the key, or of the whole row if there is none");
    return GW_DATA;
}

int
gw_change_read(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, bool *ret_moves,
               struct gw_err *err)
{
    int r = gw_tuple_read(c->before, a->before, t->n, err);
    r = r == GW_OK ? gw_tuple_read(c->after, a->after, t->n, err) : r;
    if (r != GW_OK) {
        return gw_err_wrap(err, "table \"%s\"", t->table->name);
    }
    *ret_moves = false;
    bool insert = c->kind == GW__CHANGE_KIND__CHANGE_INSERT, update = c->kind == GW__CHANGE_KIND__CHANGE_UPDATE;
    if ((insert || update) && !c->after.data) {
        return gw_err_set(err, GW_BUG, NULL, "a change of table \"%s\" came without its row", t->table->name);
    }
    if (t->keyless) {
        return insert || c->before.data ? GW_OK : no_key(t, err);
    }
    if (insert) {
        // A key that the target itself would make up is a row that nobody finds again.
        return has_key(t, a->after) ? GW_OK : no_key(t, err);
    }
    // Of a key that stays, one image is enough; of one that changes in part, the rest is in the other.
    for (size_t i = 0; i < t->key_n; i++) {
        struct gw_value *old = &a->before[t->key[i]], *new = &a->after[t->key[i]];
        if (update && new->given == GW_NOT_GIVEN) {
            *new = *old;
        } else if (update && old->given == GW_NOT_GIVEN) {
            *old = *new;
        }
    }
    if (!has_key(t, a->before)) {
        return no_key(t, err);
    }
    *ret_moves = update && !gw_key_equal(t, a->before, a->after);
    return GW_OK;
}

// ---- entries -----------------------------------------------------------------------------------

static bool
entry_is(const struct gw_entry *e, uint64_t hash, const struct gw_applier_table *t, const struct gw_value *tuple)
{
    if (e->hash != hash || e->table != t) {
        return false;
    }
    for (size_t i = 0; i < t->key_n; i++) {
        if (!value_equal(&e->key[i], &tuple[t->key[i]])) {
            return false;
        }
    }
    return true;
}

// The slot of the key: its entry's, or the free one where it belongs.
static uint32_t
find_slot(const struct gw_piece *p, uint64_t hash, const struct gw_applier_table *t, const struct gw_value *tuple)
{
    size_t at = hash & (p->slots_n - 1);
    while (p->slots[at] && !entry_is(&p->entries[p->slots[at] - 1], hash, t, tuple)) {
        at = (at + 1) & (p->slots_n - 1);
    }
    return (uint32_t)at;
}

static void
grow_slots(struct gw_piece *p)
{
    free(p->slots);
    p->slots_n *= 2;
    p->slots = calloc(p->slots_n, sizeof *p->slots);
    gw_assert(p->slots);
    for (size_t i = 0; i < p->entries_n; i++) {
        if (!p->entries[i].key) {
            continue; // keyless: in no slot
        }
        size_t at = p->entries[i].hash & (p->slots_n - 1);
        while (p->slots[at]) {
            at = (at + 1) & (p->slots_n - 1);
        }
        p->slots[at] = (uint32_t)i + 1;
        p->entries[i].slot = (uint32_t)at;
    }
}

static void *
grown(void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return items;
    }
    *cap = *cap ? 2 * *cap : SLOTS_MIN;
    items = realloc(items, *cap * size);
    gw_assert(items);
    return items;
}

static struct gw_entry *
new_entry(struct gw_piece *p, struct gw_applier_table *t)
{
    p->entries = grown(p->entries, p->entries_n, &p->entries_cap, sizeof *p->entries);
    struct gw_entry *e = &p->entries[p->entries_n++];
    *e = (struct gw_entry){.table = t, .net = GW_NET_NOTHING};
    if (!t->first) {
        p->tables[p->tables_n++] = t;
        t->first = (uint32_t)p->entries_n;
    } else {
        p->entries[t->last - 1].next = (uint32_t)p->entries_n;
    }
    t->last = (uint32_t)p->entries_n;
    return e;
}

// The entry of a tuple's key; made if it is not there (*ret_new).
static struct gw_entry *
get_entry(struct gw_piece *p, struct gw_applier_table *t, const struct gw_value *tuple, bool *ret_new)
{
    if (2 * (p->entries_n + 1) > p->slots_n) {
        grow_slots(p);
    }
    uint64_t hash = gw_key_hash(t, tuple);
    uint32_t slot = find_slot(p, hash, t, tuple);
    *ret_new = p->slots[slot] == 0;
    if (!*ret_new) {
        return &p->entries[p->slots[slot] - 1];
    }
    struct gw_entry *e = new_entry(p, t);
    e->hash = hash;
    e->slot = slot;
    e->key = gw_arena_alloc(&p->arena, t->key_n * sizeof *e->key);
    p->bytes += t->key_n * sizeof *e->key + sizeof *e;
    for (size_t i = 0; i < t->key_n; i++) {
        e->key[i] = tuple[t->key[i]];
    }
    p->slots[slot] = (uint32_t)p->entries_n;
    return e;
}

static bool
complete(const struct gw_applier_table *t, const struct gw_value *row)
{
    for (size_t i = 0; i < t->n; i++) {
        if (row[i].given == GW_NOT_GIVEN) {
            return false;
        }
    }
    return true;
}

// What `from` gives and `row` does not.
static void
fill(const struct gw_applier_table *t, struct gw_value *row, const struct gw_value *from)
{
    for (size_t i = 0; i < t->n; i++) {
        row[i] = row[i].given == GW_NOT_GIVEN ? from[i] : row[i];
    }
}

bool
gw_piece_can_merge(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, bool moves)
{
    if (a->in_order || c->unsure || c->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE) {
        return false;
    }
    if (t->keyless) {
        return c->kind == GW__CHANGE_KIND__CHANGE_INSERT;
    }
    if (!moves) {
        return true;
    }
    // A delete of the old key would take away, on the target, what refers to it.
    if (t->referenced) {
        return false;
    }
    fill(t, a->after, a->before);
    if (!complete(t, a->after) && !a->piece.ordered) {
        uint32_t slot = find_slot(&a->piece, gw_key_hash(t, a->before), t, a->before);
        const struct gw_entry *old = a->piece.slots[slot] ? &a->piece.entries[a->piece.slots[slot] - 1] : NULL;
        if (old && old->row && old->net != GW_NET_NOTHING && old->net != GW_NET_DELETE) {
            fill(t, a->after, old->row);
        }
    }
    return complete(t, a->after);
}

// ---- merging -----------------------------------------------------------------------------------

// Later values over earlier ones. An event's own tuple stays as it came: it may have to be replayed.
static void
merge_row(struct gw_piece *p, struct gw_entry *e, const struct gw_value *row)
{
    size_t n = e->table->n;
    if (!e->owned) {
        struct gw_value *own = gw_arena_alloc(&p->arena, n * sizeof *own);
        p->bytes += n * sizeof *own;
        memcpy(own, e->row, n * sizeof *own);
        e->row = own;
        e->owned = true;
    }
    for (size_t i = 0; i < n; i++) {
        e->row[i] = row[i].given == GW_NOT_GIVEN ? e->row[i] : row[i];
    }
}

static bool
merge_insert(struct gw_entry *e, struct gw_value *row, bool new)
{
    if (new || e->net == GW_NET_NOTHING) {
        e->net = GW_NET_INSERT;
    } else if (e->net == GW_NET_DELETE) {
        // As one update it keeps what refers to the row; an insert that leaves columns to defaults must be one.
        e->net = complete(e->table, row) ? GW_NET_UPDATE : GW_NET_REPLACE;
    } else {
        return false;
    }
    e->row = row;
    e->owned = false;
    return true;
}

static bool
merge_update(struct gw_piece *p, struct gw_entry *e, struct gw_value *row, bool new)
{
    if (new) {
        e->net = GW_NET_UPDATE;
        e->row = row;
        return true;
    }
    if (e->net == GW_NET_NOTHING || e->net == GW_NET_DELETE) {
        return false;
    }
    merge_row(p, e, row);
    return true;
}

static bool
merge_delete(struct gw_entry *e, bool new)
{
    if (!new && (e->net == GW_NET_NOTHING || e->net == GW_NET_DELETE)) {
        return false;
    }
    e->net = !new && e->net == GW_NET_INSERT ? GW_NET_NOTHING : GW_NET_DELETE;
    return true;
}

// False: the changes contradict each other (a second insert of a row, an update of one that is gone). What the target makes
// of them in their order will tell.
static bool
merge(struct gw_piece *p, struct gw_event *ev)
{
    struct gw_applier_table *t = ev->table;
    bool new;
    if (t->keyless) { // inserts alone: each is a row of its own
        struct gw_entry *e = new_entry(p, t);
        e->net = GW_NET_INSERT;
        e->row = ev->after;
        return true;
    }
    struct gw_entry *e = get_entry(p, t, ev->kind == GW__CHANGE_KIND__CHANGE_INSERT ? ev->after : ev->before, &new);
    switch (ev->kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT: return merge_insert(e, ev->after, new);
    case GW__CHANGE_KIND__CHANGE_DELETE: return merge_delete(e, new);
    default: break;
    }
    if (!ev->moves) {
        return merge_update(p, e, ev->after, new);
    }
    if (!merge_delete(e, new)) {
        return false;
    }
    e = get_entry(p, t, ev->after, &new);
    return merge_insert(e, ev->after, new);
}

// ---- adding ------------------------------------------------------------------------------------

// The scratch tuple with what lies in the record moved to its copy.
static struct gw_value *
keep_tuple(struct gw_piece *p, const struct gw_value *from, size_t n, const struct gw_change *c, const char *copy)
{
    struct gw_value *to = gw_arena_alloc(&p->arena, n * sizeof *to);
    p->bytes += n * sizeof *to;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        if (from[i].given == GW_PRESENT && from[i].data >= c->record.data &&
            from[i].data <= c->record.data + c->record.len) {
            to[i].data = copy + (from[i].data - c->record.data);
        }
    }
    return to;
}

void
gw_piece_add(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, bool moves,
             uint32_t transaction)
{
    struct gw_piece *p = &a->piece;
    p->events = grown(p->events, p->events_n, &p->events_cap, sizeof *p->events);
    struct gw_event *ev = &p->events[p->events_n++];
    *ev = (struct gw_event){
        .table = t, .kind = (uint8_t)c->kind, .unsure = c->unsure, .moves = moves, .transaction = transaction};
    p->bytes += c->record.len + sizeof *ev;
    if (c->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE) {
        return;
    }
    char *copy = gw_arena_alloc(&p->arena, c->record.len);
    memcpy(copy, c->record.data, c->record.len);
    if (c->kind != GW__CHANGE_KIND__CHANGE_DELETE) {
        ev->after = keep_tuple(p, a->after, t->n, c, copy);
    }
    if (c->before.data) {
        ev->before = keep_tuple(p, a->before, t->n, c, copy);
    } else if (c->kind == GW__CHANGE_KIND__CHANGE_UPDATE) {
        ev->before = ev->after; // it names the row just as well: the key has not changed
    }
    if (!p->ordered && !merge(p, ev)) {
        p->ordered = true;
    }
}
