// A table as the stream tells it, against the table as the task knows it.
//
// Columns are matched by name. What does not fit (a column that is missing, new, or of another type; a table that has another
// name; an identity that no longer holds what was promised) means that the table was altered: alter.c says what it is now.
// Transactions that are older than the definition that the task has are read by name, also by what a column was called before.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mapping.h"
#include "stream.h"

// ---- the start's tables ------------------------------------------------------------------------

static bool
in_identity(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_identity; i++) {
        if (strcmp(t->identity[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void
table_init(struct gw_arena *a, const Gw__Table *t, struct pgs_streamed *x)
{
    size_t n = t->n_columns + 1;
    *x = (struct pgs_streamed){
        .t = t,
        .names = gw_arena_calloc(a, n, sizeof *x->names),
        .was = gw_arena_calloc(a, n, sizeof *x->was),
        .columns = gw_arena_calloc(a, n, sizeof *x->columns),
        .natives = gw_arena_calloc(a, n, sizeof *x->natives),
        .identity = gw_arena_calloc(a, n, sizeof *x->identity),
        .not_null = gw_arena_calloc(a, n, sizeof *x->not_null),
        .money = gw_arena_calloc(a, n, sizeof *x->money),
        .types = gw_arena_calloc(a, n, sizeof *x->types),
        .typmods = gw_arena_calloc(a, n, sizeof *x->typmods),
    };
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        if (c->left_out) {
            continue;
        }
        x->names[x->n] = pgs_source_name(t, i);
        x->was[x->n] = c->was;
        x->columns[x->n] = c;
        x->natives[x->n] = c->type->native;
        x->identity[x->n] = in_identity(t, x->names[x->n]) || in_identity(t, c->name);
        x->not_null[x->n] = c->not_null;
        x->money[x->n] = strcmp(c->type->native, "money") == 0; // read.c asks COPY for a number
        x->n++;
    }
}

static int
column_of(const struct pgs_streamed *x, const char *name, size_t guess)
{
    if (guess < x->n && strcmp(x->names[guess], name) == 0) {
        return (int)guess;
    }
    for (size_t i = 0; i < x->n; i++) {
        if (strcmp(x->names[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

// Oids of tables and types as they are now. Where a column is no longer what was described, its type stays unknown, and
// the first Relation message decides.
uint32_t
pgs_described_oid(const Gw__Table *t)
{
    return (uint32_t)strtoul(t->storage, NULL, 10);
}

static int
load_types(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    PGS_BUF values;
    gw_buf_init(&values, PGS_SQL_MAX);
    for (size_t i = 0; i < st->tables_n; i++) {
        gw_buf_printf(&values, "%s(%zu, ", i ? ", " : "", i);
        gw_pg_literal(&values, st->tables[i].t->source_schema);
        gw_buf_puts(&values, ", ");
        gw_pg_literal(&values, st->tables[i].t->source_name);
        gw_buf_putc(&values, ')');
    }
    PGS_RES r = NULL;
    int rc = st->tables_n == 0
                 ? GW_OK
                 : pgs_side_query(s, &r, err,
                                  "SELECT t.i, c.oid, a.attname, a.atttypid, a.atttypmod,"
                                  " pg_catalog.format_type(a.atttypid, a.atttypmod)"
                                  " FROM (VALUES %s) t(i, nsp, rel)"
                                  " JOIN pg_catalog.pg_namespace n ON n.nspname = t.nsp"
                                  " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.rel"
                                  " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
                                  " AND NOT a.attisdropped ORDER BY t.i, a.attnum",
                                  values.data);
    for (int i = 0, at = 0; r && i < PQntuples(r); i++) {
        struct pgs_streamed *x = &st->tables[pgs_u64(r, i, 0)];
        at = i && pgs_u64(r, i, 0) == pgs_u64(r, i - 1, 0) ? at : 0;
        int k = column_of(x, pgs_text(r, i, 2), (size_t)at);
        x->oid = x->oid ? x->oid : (uint32_t)pgs_u64(r, i, 1);
        if (k >= 0 && strcmp(x->natives[k], pgs_text(r, i, 5)) == 0) {
            x->types[k] = (uint32_t)pgs_u64(r, i, 3);
            x->typmods[k] = pgs_int(r, i, 4);
        }
        at = k + 1;
    }
    return rc;
}

int
pgs_tables_load(struct pgs *s, const struct gw_stream_start *start, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    struct gw_arena *a = &st->arena;
    for (size_t i = 0; i < st->relations.cap; i++) {
        st->relations.items[i].oid = 0;
    }
    for (size_t i = 0; i < st->tables_n; i++) {
        free(st->tables[i].reason);
    }
    st->relations.n = st->tables_n = 0;
    gw_arena_reset(a);
    size_t widest = 1, numbers = 0;
    st->tables = gw_arena_calloc(a, start->tables_n + 1, sizeof *st->tables);
    for (; st->tables_n < start->tables_n; st->tables_n++) {
        struct pgs_streamed *x = &st->tables[st->tables_n];
        table_init(a, start->tables[st->tables_n], x);
        x->oid = pgs_described_oid(x->t);
        int rc = x->t->altered_at[0] ? pgs_lsn_read(x->t->altered_at, &x->altered_at, err) : GW_OK;
        if (rc != GW_OK) {
            return rc;
        }
        size_t n = 0;
        for (size_t k = 0; k < x->n; k++) {
            n += x->money[k];
        }
        widest = x->n > widest ? x->n : widest;
        numbers = n > numbers ? n : numbers;
    }
    st->before = gw_arena_calloc(a, widest, sizeof *st->before);
    st->after = gw_arena_calloc(a, widest, sizeof *st->after);
    st->numbers = gw_arena_calloc(a, 2 * numbers + 1, sizeof *st->numbers);
    return load_types(s, err);
}

static void __attribute__((format(printf, 2, 0))) give_reason(struct pgs_streamed *x, const char *fmt, va_list ap)
{
    free(x->reason);
    int n = vasprintf(&x->reason, fmt, ap);
    gw_assert(n >= 0);
}

void
pgs_suspend(struct pgs_stream *st, size_t table, const char *fmt, ...)
{
    struct pgs_streamed *x = &st->tables[table];
    if (x->suspend) {
        return; // the first reason stays
    }
    va_list ap;
    va_start(ap, fmt);
    give_reason(x, fmt, ap);
    va_end(ap);
    x->suspend = true;
}

void
pgs_differs(struct pgs_stream *st, size_t table, const char *fmt, ...)
{
    struct pgs_streamed *x = &st->tables[table];
    st->unfit = true;
    if (st->trying || x->suspend || x->altered) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    give_reason(x, fmt, ap);
    va_end(ap);
    x->altered = st->altering = true;
}

// ---- relations by oid --------------------------------------------------------------------------

static struct pgs_relation *
place_of(const struct pgs_relations *all, uint32_t oid)
{
    size_t i = (oid * 2654435761u) & (all->cap - 1);
    while (all->items[i].oid && all->items[i].oid != oid) {
        i = (i + 1) & (all->cap - 1);
    }
    return &all->items[i];
}

struct pgs_relation *
pgs_relation_find(struct pgs_stream *st, uint32_t oid)
{
    struct pgs_relation *r = st->relations.cap ? place_of(&st->relations, oid) : NULL;
    return r && r->oid ? r : NULL;
}

static struct pgs_relation *
relation_add(struct pgs_relations *all, uint32_t oid)
{
    if (all->n * 2 >= all->cap) {
        struct pgs_relations more = {.cap = all->cap ? all->cap * 2 : 64, .n = all->n};
        more.items = calloc(more.cap, sizeof *more.items);
        gw_assert(more.items);
        for (size_t i = 0; i < all->cap; i++) {
            if (all->items[i].oid) {
                *place_of(&more, all->items[i].oid) = all->items[i];
            } else {
                free(all->items[i].map);
            }
        }
        free(all->items);
        *all = more;
    }
    struct pgs_relation *r = place_of(all, oid);
    all->n += r->oid == 0;
    r->oid = oid;
    return r;
}

// ---- a Relation message ------------------------------------------------------------------------

// The table that a relation is: by name; a relation that was one of ours under another name still is.
static int
table_of(const struct pgs_stream *st, const struct pgo_message *m, bool *ret_renamed)
{
    *ret_renamed = false;
    for (size_t i = 0; i < st->tables_n; i++) {
        const Gw__Table *t = st->tables[i].t;
        if (strcmp(t->source_name, m->name) == 0 && strcmp(t->source_schema, m->schema) == 0) {
            return (int)i;
        }
    }
    for (size_t i = 0; i < st->tables_n; i++) {
        if (st->tables[i].oid == m->relation) {
            *ret_renamed = true;
            return (int)i;
        }
    }
    return -1;
}

// The type as an operator knows it; "???" for one that is gone.
static int
type_text(struct pgs *s, const struct pgo_column *c, char *ret, size_t size, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err, "SELECT pg_catalog.format_type(%" PRIu32 ", %" PRId32 ")", c->type, c->typmod);
    if (rc == GW_OK) {
        snprintf(ret, size, "%s", pgs_text(r, 0, 0));
    }
    return rc;
}

// A column that the mapping dropped because LOBs do not travel is missed by nobody.
static int
is_lob_left_out(struct pgs *s, const Gw__Table *t, const struct pgo_column *c, bool *ret, struct gw_err *err)
{
    const Gw__Task *task = s->stream->task;
    const Gw__TableSettingsRule *rule = gw_mapping_table_settings(task, t->source_schema, t->source_name);
    bool none = rule && rule->lob_mode != GW__LOB_MODE__LOB_DEFAULT ? rule->lob_mode == GW__LOB_MODE__LOB_NONE
                                                                    : task->lob && !task->lob->support_lobs;
    *ret = false;
    if (!none) {
        return GW_OK;
    }
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err,
                            "SELECT n.nspname, b.typname, b.typtype FROM pg_catalog.pg_type t JOIN pg_catalog.pg_type b"
                            " ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END"
                            " JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace WHERE t.oid = %" PRIu32,
                            c->type);
    if (rc == GW_OK && PQntuples(r) == 1) {
        struct gw_arena a;
        gw_arena_init(&a);
        struct pgs_type p = {.schema = pgs_text(r, 0, 0),
                             .name = pgs_text(r, 0, 1),
                             .typtype = pgs_text(r, 0, 2),
                             .typmod = c->typmod,
                             .labels = "",
                             .elem_schema = "",
                             .elem_name = "",
                             .elem_typtype = "",
                             .elem_labels = ""};
        Gw__Type type = GW__TYPE__INIT;
        pgs_type_map(&a, &p, &type);
        *ret = pgs_type_is_lob(&type);
        gw_arena_fini(&a);
    }
    return rc;
}

// A column that does not travel: one that is left out, or one that the task does not know.
static int
check_unknown(struct pgs *s, size_t table, const struct pgo_column *c, struct gw_err *err)
{
    const Gw__Table *t = s->stream->tables[table].t;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(pgs_source_name(t, i), c->name) == 0) {
            return GW_OK;
        }
    }
    bool lob = false;
    char type[128] = "";
    int rc = is_lob_left_out(s, t, c, &lob, err);
    if (rc == GW_OK && !lob) {
        rc = type_text(s, c, type, sizeof type, err);
        if (rc == GW_OK) {
            pgs_differs(s->stream, table, "column \"%s\" (%s) was added on the source", c->name, type);
        }
    }
    return rc;
}

static int
check_known(struct pgs *s, size_t table, size_t k, const struct pgo_column *c, struct gw_err *err)
{
    struct pgs_streamed *x = &s->stream->tables[table];
    if (x->identity[k] && !c->key) {
        pgs_differs(s->stream, table, "column \"%s\" is no longer part of the table's replica identity", c->name);
    }
    if (x->types[k] == c->type && x->typmods[k] == c->typmod) {
        return GW_OK;
    }
    char type[128];
    int rc = type_text(s, c, type, sizeof type, err);
    if (rc == GW_OK && strcmp(type, x->natives[k]) == 0) {
        x->types[k] = c->type;
        x->typmods[k] = c->typmod;
    } else if (rc == GW_OK) {
        pgs_differs(s->stream, table, "column \"%s\" was %s and is %s now on the source", c->name, x->natives[k], type);
    }
    return rc;
}

// By its own name, or by what it was called before; what has neither is gone.
static void
match_by_name(struct pgs *s, struct pgs_relation *rel, const struct pgo_message *m)
{
    const struct pgs_streamed *x = &s->stream->tables[rel->table];
    const uint8_t *at = m->columns;
    for (uint16_t i = 0; i < m->columns_n; i++) {
        struct pgo_column c = pgo_column_next(&at);
        int k = column_of(x, c.name, i);
        for (size_t n = 0; k < 0 && n < x->n; n++) {
            k = x->was[n][0] && strcmp(x->was[n], c.name) == 0 ? (int)n : -1;
        }
        rel->map[i] = (int16_t)k;
    }
}

static int
match_columns(struct pgs *s, struct pgs_relation *rel, const struct pgo_message *m, struct gw_err *err)
{
    struct pgs_streamed *x = &s->stream->tables[rel->table];
    const uint8_t *at = m->columns;
    bool seen[INT16_MAX / 16] = {false}; // more than the columns of a PostgreSQL table
    int rc = GW_OK;
    for (uint16_t i = 0, guess = 0; rc == GW_OK && i < m->columns_n; i++) {
        struct pgo_column c = pgo_column_next(&at);
        int k = column_of(x, c.name, guess);
        rel->map[i] = (int16_t)k;
        rc = k < 0 ? check_unknown(s, (size_t)rel->table, &c, err)
                   : check_known(s, (size_t)rel->table, (size_t)k, &c, err);
        if (k >= 0) {
            // Both are in the order of the columns' numbers. Another order means other columns: names were exchanged, or a
            // column was dropped and made anew, and what is on the target is what the old ones held.
            if (k < guess) {
                pgs_differs(s->stream, (size_t)rel->table,
                            "its columns changed places at \"%s\": names were exchanged on the source, or a column was "
                            "dropped and made anew",
                            c.name);
            }
            seen[k] = true;
            guess = (uint16_t)(k + 1);
        }
    }
    for (size_t k = 0; rc == GW_OK && k < x->n; k++) {
        if (!seen[k] && x->columns[k]->generated[0]) { // and the target does not compute it
            pgs_suspend(s->stream, (size_t)rel->table,
                        "column \"%s\" is generated: the source's log does not hold its values", x->names[k]);
        } else if (!seen[k]) {
            pgs_differs(
                s->stream, (size_t)rel->table,
                "column \"%s\" (%s) is not in the stream: it was dropped or renamed on the source, or is generated",
                x->names[k], x->natives[k]);
        }
    }
    return rc;
}

int
pgs_relation_read(struct pgs *s, const struct pgo_message *m, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    bool renamed;
    int table = table_of(st, m, &renamed);
    struct pgs_relation *rel = relation_add(&st->relations, m->relation);
    rel->table = table;
    rel->n = m->columns_n;
    if (table < 0) {
        return GW_OK;
    }
    struct pgs_streamed *x = &st->tables[table];
    bool by_name = st->final <= x->altered_at;
    if (renamed && !by_name) {
        pgs_differs(st, (size_t)table, "it was renamed to \"%s.%s\" on the source", m->schema, m->name);
    }
    if (!renamed && !by_name && x->oid && x->oid != m->relation) {
        pgs_differs(st, (size_t)table, "another table has taken its name on the source");
    }
    if (m->columns_n > INT16_MAX / 16 || x->n > INT16_MAX / 16) {
        return gw_err_set(err, GW_BUG, NULL, "table \"%s.%s\" has %u columns", m->schema, m->name, m->columns_n);
    }
    if (rel->cap < m->columns_n) {
        free(rel->map);
        rel->map = calloc(m->columns_n, sizeof *rel->map);
        gw_assert(rel->map);
        rel->cap = m->columns_n;
    }
    st->trying = by_name;
    st->unfit = false;
    int rc = match_columns(s, rel, m, err);
    st->trying = false;
    rel->by_name = by_name && st->unfit;
    if (rc == GW_OK && rel->by_name) {
        match_by_name(s, rel, m);
    }
    return rc;
}

// ---- values ------------------------------------------------------------------------------------

// "-$1,234.50", as lc_monetary C writes it -> "-1234.50", as COPY of money::numeric does.
static void
to_number(struct pgs_stream *st, struct gw_value *v)
{
    char *out = st->numbers[st->numbers_n++];
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->len && n < sizeof *st->numbers; i++) {
        char c = v->data[i];
        if ((c >= '0' && c <= '9') || c == '.' || c == '-') {
            out[n++] = c;
        }
    }
    v->data = out;
    v->len = n;
}

static struct gw_value
filled(const Gw__Column *c)
{
    return c->has_fill ? (struct gw_value){c->fill, (uint32_t)strlen(c->fill), GW_PRESENT}
                       : (struct gw_value){.given = GW_NULL};
}

int
pgs_relation_values(struct pgs_stream *st, const struct pgs_relation *rel, const struct pgo_tuple *tuple, char kind,
                    struct gw_value *ret, struct gw_err *err)
{
    const struct pgs_streamed *x = &st->tables[rel->table];
    if (tuple->n != rel->n) {
        return gw_err_set(err, GW_BUG, NULL, "table \"%s.%s\": a row of %u values, and %u columns", x->t->source_schema,
                          x->t->source_name, tuple->n, rel->n);
    }
    // A partition may log less of the old row than its root promises; what counts is what each of them holds.
    bool whole = kind == 'N' || (kind == 'O' && x->t->kind != GW__TABLE_KIND__TABLE_PARTITIONED);
    bool fill = rel->by_name && st->m.kind == 'I';
    for (size_t k = 0; k < x->n; k++) { // a row of before a column came has what it has got since
        ret[k] = fill ? filled(x->columns[k]) : (struct gw_value){.given = GW_NOT_GIVEN};
    }
    const uint8_t *at = tuple->at;
    for (uint16_t i = 0; i < tuple->n; i++) {
        struct gw_value v = pgo_value_next(&at);
        int k = rel->map[i];
        if (k < 0 || (!whole && !x->identity[k])) {
            continue;
        }
        if (kind != 'N' && v.given == GW_NULL && x->identity[k] && x->not_null[k]) {
            // What is not logged reads as NULL. A partition with an identity of its own has come.
            pgs_suspend(st, (size_t)rel->table, "an old row of a partition lacks column \"%s\"", x->names[k]);
            return GW_AGAIN;
        }
        if (x->money[k] && v.given == GW_PRESENT) {
            to_number(st, &v);
        }
        ret[k] = v;
    }
    return GW_OK;
}
