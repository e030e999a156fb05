// What DDL makes of the tables of the stream.
//
// A statement in the log is a transaction of its own. What it does to columns is read out of its text: which come, go, move or have
// another name, and what rows have got that were there. What it did not touch is what it was; what it gave a definition is
// taken from the table of now. So each change is told by itself, at its place, whatever came after it; where the table of now
// does not have such a column any more, it cannot be told, and the table is to be suspended.
//
// A table that was made, or has come under a selected name, is described as it is now and loaded.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/stream.h"
#include "common/mapping.h"

static struct gw_altered *
add(struct my_stream *st, const Gw__Table *from, const Gw__Table *to, const struct bl_query *q)
{
    struct gw_altered *x = gw_arena_push(&st->altered_arena, &st->altered, &st->altered_n, sizeof *st->altered);
    *x = (struct gw_altered){.from = from, .to = to};
    x->what = gw_arena_printf(&st->altered_arena, "%.*s", (int)(q->sql_len > 200 ? 200 : q->sql_len), q->sql);
    return x;
}

// As it is now; *ret NULL: there is no such table.
static int
describe(struct my_stream *st, const char *schema, const char *name, Gw__Table **ret, struct gw_err *err)
{
    struct gw_arena *a = &st->altered_arena;
    Gw__Catalog *all = gw_pb_new(a, Gw__Catalog, gw__catalog__init),
                *cat = gw_pb_new(a, Gw__Catalog, gw__catalog__init);
    *ret = NULL;
    int r = my_list(st->source, a, all, err);
    for (size_t i = 0; r == GW_OK && i < all->n_tables; i++) {
        const Gw__Table *t = all->tables[i];
        bool same = st->tables.fold ? strcasecmp(t->schema, schema) == 0 && strcasecmp(t->name, name) == 0
                                    : strcmp(t->schema, schema) == 0 && strcmp(t->name, name) == 0;
        if (same) {
            gw_pb_add(a, cat, tables, all->tables[i]);
            r = my_describe(st->source, a, cat, err);
            *ret = r == GW_OK && cat->tables[0]->fingerprint[0] ? cat->tables[0] : NULL;
            return r;
        }
    }
    return r;
}

static bool
is_selected(const struct my_stream *st, const char *schema, const char *name)
{
    int32_t order = 0;
    return gw_mapping_selected(st->start->task, schema, name, GW__TABLE_KIND__TABLE_PLAIN, &order);
}

static bool
is_other(const struct my_stream *st, const char *schema, const char *name)
{
    for (size_t i = 0; i < st->start->others_n; i++) {
        const Gw__Table *t = st->start->others[i];
        if (strcasecmp(t->source_schema, schema) == 0 && strcasecmp(t->source_name, name) == 0) {
            return true;
        }
    }
    return false;
}

static char *
position_of_now(struct my_stream *st)
{
    MY_BUF text;
    gw_buf_init(&text, MY_SQL_MAX);
    gw_buf_printf(&text, "%s:%llu;server=%s", st->at.file, (unsigned long long)st->at.pos, st->server);
    return gw_arena_strdup(&st->altered_arena, text.data);
}

// ---- columns -----------------------------------------------------------------------------------

struct item {
    const char *name;
    const Gw__Column *was;    // NULL: it is new
    const struct st_op *made; // what gave it its definition; NULL: it is as it was
};

struct plan {
    struct item *items; // in the table's order
    size_t n;
};

static struct item *
item_find(const struct plan *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcasecmp(p->items[i].name, name) == 0) {
            return &p->items[i];
        }
    }
    return NULL;
}

// Where an item goes: to the front, behind another, or to where it is. false: there is no such other.
static bool
place(struct plan *p, struct item *e, const struct st_op *op)
{
    if (op->place == ST_STAYS) {
        return true;
    }
    struct item moved = *e;
    size_t at = (size_t)(e - p->items);
    memmove(e, e + 1, (p->n - at - 1) * sizeof *e);
    p->n--;
    const struct item *after = op->place == ST_AFTER ? item_find(p, op->after) : NULL;
    size_t to = after ? (size_t)(after - p->items) + 1 : 0;
    memmove(&p->items[to + 1], &p->items[to], (p->n - to) * sizeof *p->items);
    p->items[to] = moved;
    p->n++;
    return after || op->place == ST_FIRST;
}

// Why what comes of it is not known, or NULL. There is room for one item more.
static const char *
apply_op(struct plan *p, const struct st_op *op)
{
    struct item *e = item_find(p, op->name), *other = item_find(p, op->to);
    switch (op->what) {
    case ST_ADD:
        if (e) {
            return NULL; // IF NOT EXISTS
        }
        e = &p->items[p->n++];
        *e = (struct item){.name = op->name, .made = op};
        break;
    case ST_DROP:
        if (e) {
            memmove(e, e + 1, (size_t)(&p->items[p->n] - e - 1) * sizeof *e);
            p->n--;
        }
        return NULL;
    case ST_RENAME:
        if (!e || (other && other != e)) {
            return e ? "names were exchanged" : NULL;
        }
        e->name = op->to;
        e->made = op->modifies ? op : e->made;
        break;
    case ST_MODIFY:
        if (!e) {
            return NULL; // IF EXISTS
        }
        e->made = op;
        break;
    }
    return place(p, e, op) ? NULL : "its columns changed places";
}

// What the rows have got that were there when a column came, or why that is not known.
static const char *
fill(struct gw_arena *a, const struct st_op *op, Gw__Column *c)
{
    c->has_fill = false;
    if (c->generated[0]) {
        return NULL;
    }
    if (op->has == ST_DEFAULT_OTHER || c->identity != GW__IDENTITY__IDENTITY_NONE) {
        return gw_arena_printf(a, "column \"%s\" came with values that the log does not have", c->name);
    }
    if (op->has == ST_DEFAULT_LITERAL) {
        bool same = c->default_kind == GW__DEFAULT_KIND__DEFAULT_LITERAL &&
                    (strcmp(c->default_text, op->value) == 0 ||
                     (op->value[0] && strspn(op->value, "+-.0123456789") == strlen(op->value) &&
                      strtod(op->value, NULL) == strtod(c->default_text, NULL)));
        if (!same) { // in a form of its own, or it was altered since
            return gw_arena_printf(a, "column \"%s\" came with default %s, which is not its default now", c->name,
                                   op->value);
        }
        c->has_fill = true;
        c->fill = c->default_text;
    } else if (c->not_null) { // the type's own value for nothing
        bool number = (c->type->kind >= GW__KIND__KIND_INT8 && c->type->kind <= GW__KIND__KIND_INT64) ||
                      c->type->kind == GW__KIND__KIND_FLOAT32 || c->type->kind == GW__KIND__KIND_FLOAT64;
        bool text = c->type->kind == GW__KIND__KIND_VARCHAR || c->type->kind == GW__KIND__KIND_TEXT;
        if (!number && !text) {
            return gw_arena_printf(a, "column \"%s\" came without a default, and may not be NULL", c->name);
        }
        c->has_fill = true;
        c->fill = gw_arena_strdup(a, number ? "0" : "");
    }
    return NULL;
}

static Gw__Column *
column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; t && i < t->n_columns; i++) {
        if (strcasecmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

// The columns that the statement has left. What it gave a definition is taken from the table of now.
static const char *
take_columns(struct gw_arena *a, const struct plan *p, const Gw__Table *now, Gw__Table *to)
{
    to->n_columns = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct item *e = &p->items[i];
        const Gw__Column *is = e->made ? column(now, e->name) : e->was;
        if (!is) {
            return gw_arena_printf(a, "column \"%s\" has been altered again since", e->name);
        }
        Gw__Column *c = gw_pb_dup(a, is);
        c->name = gw_arena_strdup(a, e->name);
        c->was = gw_arena_strdup(a, e->was ? e->was->name : "");
        c->left_out = false;
        const char *why = e->was ? NULL : fill(a, e->made, c);
        if (why) {
            return why;
        }
        gw_pb_add(a, to, columns, c);
    }
    return NULL;
}

// What columns are called now, in a list of names; those that are gone go.
static void
rename_list(struct gw_arena *a, const Gw__Table *to, char **names, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        for (size_t k = 0; k < to->n_columns; k++) {
            if (strcasecmp(to->columns[k]->was, names[i]) == 0) {
                names[kept++] = gw_arena_strdup(a, to->columns[k]->name);
                break;
            }
        }
    }
    *n = kept;
}

// Keys and indexes by their columns' new names. false: a column of the primary key is gone.
static bool
rename_keys(struct gw_arena *a, const Gw__Table *from, Gw__Table *to)
{
    size_t kept = 0;
    rename_list(a, to, to->primary_key, &to->n_primary_key);
    for (size_t i = 0; i < to->n_indexes; i++) {
        Gw__Index *x = to->indexes[i];
        size_t parts = 0;
        for (size_t k = 0; k < x->n_parts; k++) {
            char *name = x->parts[k]->column;
            size_t one = 1;
            if (name[0]) {
                rename_list(a, to, &name, &one);
                x->parts[k]->column = name;
            }
            parts += one;
        }
        if (parts == x->n_parts) {
            to->indexes[kept++] = x;
        }
    }
    to->n_indexes = kept;
    for (size_t i = 0; i < to->n_foreign_keys; i++) {
        rename_list(a, to, to->foreign_keys[i]->columns, &to->foreign_keys[i]->n_columns);
    }
    bool whole = from->n_identity == from->n_columns; // a log of whole rows
    to->n_identity = 0;
    for (size_t i = 0; i < (whole ? to->n_columns : to->n_primary_key); i++) {
        gw_pb_add(a, to, identity, whole ? to->columns[i]->name : to->primary_key[i]);
    }
    return to->n_primary_key == from->n_primary_key;
}

// ---- one table ---------------------------------------------------------------------------------

static int
alter_columns(struct my_stream *st, const Gw__Table *from, const struct st_alter *alter, const struct bl_query *q,
              struct gw_err *err)
{
    struct gw_arena *a = &st->altered_arena;
    struct plan p = {.items = gw_arena_calloc(a, from->n_columns + alter->n + 1, sizeof *p.items)};
    Gw__Table *now = NULL, *to = gw_pb_dup(a, from);
    const char *why = alter->other ? "it may have changed rows without a trace" : NULL;
    bool describes = false;
    for (; p.n < from->n_columns; p.n++) {
        p.items[p.n] = (struct item){.name = from->columns[p.n]->name, .was = from->columns[p.n]};
    }
    for (size_t i = 0; !why && i < alter->n; i++) {
        describes = describes || alter->ops[i].what == ST_ADD || alter->ops[i].modifies;
        why = apply_op(&p, &alter->ops[i]);
    }
    if (alter->renamed) {
        to->source_schema = to->schema = gw_arena_strdup(a, alter->schema);
        to->source_name = to->name = gw_arena_strdup(a, alter->table);
        why =
            why || is_selected(st, alter->schema, alter->table) ? why : "the task's rules do not include its new name";
    }
    int r = why || !describes ? GW_OK : describe(st, to->source_schema, to->source_name, &now, err);
    if (r != GW_OK) {
        return r;
    }
    why = why ? why : take_columns(a, &p, now, to);
    why = why ? why : rename_keys(a, from, to) ? NULL : "the primary key is another one";
    to->altered_at = position_of_now(st);
    struct gw_altered *x = add(st, from, to, q);
    x->refused = why ? gw_arena_printf(a, "it was altered (%s), and %s", x->what, why) : NULL;
    return GW_OK;
}

// Dropped, renamed, replaced.
static int
gone(struct my_stream *st, const Gw__Table *from, const struct st_statement *s, const struct bl_query *q,
     struct gw_err *err)
{
    struct st_made made;
    for (size_t i = 0; st_made_read(s, q->schema, q->schema_len, i, &made); i++) {
        bool ours =
            strcasecmp(made.from_schema, from->source_schema) == 0 && strcasecmp(made.from, from->source_name) == 0;
        bool taken =
            strcasecmp(made.schema, from->source_schema) == 0 && strcasecmp(made.table, from->source_name) == 0;
        if (taken) { // by another table: what online schema changes end with
            struct gw_altered *x = add(st, from, NULL, q);
            x->refused = gw_arena_printf(&st->altered_arena, "another table has taken its place: %s", x->what);
            return GW_OK;
        }
        struct st_made after;
        for (size_t k = i + 1; ours && st_made_read(s, q->schema, q->schema_len, k, &after); k++) {
            if (strcasecmp(after.table, from->source_name) == 0 && strcasecmp(after.schema, from->source_schema) == 0) {
                ours = false; // the same, seen from here: the next round says it
            }
        }
        if (ours) {
            struct st_alter alter = {.renamed = true};
            memcpy(alter.schema, made.schema, sizeof alter.schema);
            memcpy(alter.table, made.table, sizeof alter.table);
            return alter_columns(st, from, &alter, q, err);
        }
    }
    (void)add(st, from, NULL, q);
    return GW_OK;
}

int
my_altered_known(struct my_stream *st, uint32_t i, enum st_effect effect, const struct st_statement *s,
                 const struct bl_query *q, struct gw_err *err)
{
    const Gw__Table *from = st->tables.items[i].t;
    struct st_alter *alter = gw_arena_alloc(&st->altered_arena, sizeof *alter);
    bool is_alter = st_alter_read(s, q->schema, q->schema_len, alter);
    if (effect == ST_ALTERED || (is_alter && alter->renamed)) {
        alter->other = alter->other || !is_alter; // DROP INDEX `PRIMARY`
        return alter_columns(st, from, alter, q, err);
    }
    return gone(st, from, s, q, err);
}

// ---- new tables --------------------------------------------------------------------------------

static int
made(struct my_stream *st, const char *schema, const char *name, const struct bl_query *q, struct gw_err *err)
{
    Gw__Table *to = NULL;
    char *now = NULL;
    if (!is_selected(st, schema, name) || is_other(st, schema, name) ||
        my_tables_find(&st->tables, schema, name) >= 0) {
        return GW_OK;
    }
    // First: what comes meanwhile may be in both.
    int r = my_stream_now(st->source, &st->altered_arena, &now, err);
    r = r == GW_OK ? describe(st, schema, name, &to, err) : r;
    if (r != GW_OK || !to) {
        return r; // it is gone again
    }
    struct gw_altered *x = add(st, NULL, to, q);
    to->altered_at = now;
    x->refused = to->n_identity ? NULL : "the log does not tell its rows from each other";
    return GW_OK;
}

int
my_altered_new(struct my_stream *st, const struct st_statement *s, const struct bl_query *q, struct gw_err *err)
{
    struct st_made m;
    struct st_alter *alter = gw_arena_alloc(&st->altered_arena, sizeof *alter);
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && st_made_read(s, q->schema, q->schema_len, i, &m); i++) {
        bool ours = m.from[0] && my_tables_find(&st->tables, m.from_schema, m.from) >= 0;
        r = ours ? GW_OK : made(st, m.schema, m.table, q, err);
    }
    if (r == GW_OK && st->altered_n == 0 && st_alter_read(s, q->schema, q->schema_len, alter) && alter->renamed) {
        r = made(st, alter->schema, alter->table, q, err);
    }
    return r;
}
