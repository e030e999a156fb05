// What has become of the tables of the stream.
//
// The log tells names and types of columns, and that something is another than before; what it does not tell stands in the
// catalogue: what was renamed (a column keeps its number, a table its oid), what rows got that were there when a column came
// (attmissingval), whether rows were written anew (the relation's file). So a table that was altered is described as it is
// now. The position of now is read before: what was committed up to there may have other shapes on its way to this one, and is read by
// name; what comes behind it and does not fit is the next change.
//
// Tables that were dropped, renamed or made are looked for in the catalogue every few seconds: the log is silent about them.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mapping.h"
#include "stream.h"

static const int64_t look_us = 5 * GW_S;

struct look {
    struct pgs *s;
    struct pgs_stream *st;
    struct gw_arena *a;
    Gw__Catalog *cat; // the tables to be described
    struct origin {
        const struct pgs_streamed *from; // NULL = it is new
        const char *what;
    } * origins; // of each
};

// ---- which ---------------------------------------------------------------------------------------

static struct gw_altered *
add(struct look *l, const Gw__Table *from, const Gw__Table *to, const char *what)
{
    struct pgs_stream *st = l->st;
    struct gw_altered *x = gw_arena_push(l->a, &st->altered, &st->altered_n, sizeof *st->altered);
    *x = (struct gw_altered){.from = from, .to = to, .what = what};
    return x;
}

static void
to_describe(struct look *l, const struct pgs_streamed *from, const char *schema, const char *name, Gw__TableKind kind,
            const char *what)
{
    Gw__Table *t = gw_pb_new(l->a, Gw__Table, gw__table__init);
    t->schema = gw_arena_strdup(l->a, schema);
    t->name = gw_arena_strdup(l->a, name);
    t->kind = kind;
    size_t n = l->cat->n_tables;
    *(struct origin *)gw_arena_push(l->a, &l->origins, &n, sizeof *l->origins) = (struct origin){from, what};
    gw_pb_add(l->a, l->cat, tables, t);
}

// Nothing may be written to a table that was altered, and then the log tells nothing.
static bool
is_altered(const Gw__Table *t, const char *columns)
{
    return t->columns_hash[0] && strcmp(t->columns_hash, columns) != 0;
}

static int
look_at_known(struct look *l, struct gw_err *err)
{
    struct pgs_stream *st = l->st;
    PGS_BUF values;
    gw_buf_init(&values, PGS_SQL_MAX);
    for (size_t i = 0; i < st->tables_n; i++) {
        gw_buf_printf(&values, "%s(%zu, %" PRIu32 "::pg_catalog.oid)", i ? ", " : "", i, st->tables[i].oid);
    }
    PGS_RES r = NULL;
    int rc = st->tables_n == 0
                 ? GW_OK
                 : pgs_side_query(l->s, &r, err,
                                  "SELECT n.nspname, c.relname, " PGS_COLUMNS_HASH(
                                      "c.oid") " FROM (VALUES %s) t(i, oid)"
                                               " LEFT JOIN pg_catalog.pg_class c ON c.oid = t.oid"
                                               " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                                               " ORDER BY t.i",
                                  values.data);
    for (int i = 0; rc == GW_OK && r && i < PQntuples(r); i++) {
        const struct pgs_streamed *x = &st->tables[i];
        const char *schema = pgs_text(r, i, 0), *name = pgs_text(r, i, 1);
        if (x->suspended) {
            continue;
        }
        if (PQgetisnull(r, i, 1)) {
            add(l, x->t, NULL, "it was dropped");
        } else if (strcmp(schema, x->t->source_schema) != 0 || strcmp(name, x->t->source_name) != 0) {
            to_describe(l, x, schema, name, x->t->kind,
                        gw_arena_printf(l->a, "it was renamed to \"%s.%s\"", schema, name));
        } else if (x->altered || is_altered(x->t, pgs_text(r, i, 2))) {
            to_describe(l, x, schema, name, x->t->kind,
                        gw_arena_strdup(l->a, x->reason ? x->reason : "its columns are others"));
        }
    }
    return rc;
}

static bool
same_name(const Gw__Table *t, const char *schema, const char *name)
{
    return strcmp(t->source_schema, schema) == 0 && strcmp(t->source_name, name) == 0;
}

// A table under the name of a suspended one is that one's affair.
static bool
is_known(const struct look *l, uint32_t oid, const char *schema, const char *name)
{
    for (size_t i = 0; i < l->st->tables_n; i++) {
        const struct pgs_streamed *x = &l->st->tables[i];
        if (x->oid == oid || (x->suspended && same_name(x->t, schema, name))) {
            return true;
        }
    }
    for (size_t i = 0; i < l->st->others_n; i++) {
        if (same_name(l->st->others[i], schema, name)) {
            return true;
        }
    }
    return false;
}

static int
look_for_new(struct look *l, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc =
        pgs_side_query(l->s, &r, err,
                       "SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'"
                       " AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'"
                       " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'"
                       "::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e') ORDER BY 2, 3");
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        const char *schema = pgs_text(r, i, 1), *name = pgs_text(r, i, 2);
        Gw__TableKind kind =
            pgs_text(r, i, 3)[0] == 'p' ? GW__TABLE_KIND__TABLE_PARTITIONED : GW__TABLE_KIND__TABLE_PLAIN;
        int32_t order = 0;
        if (gw_mapping_selected(l->st->task, schema, name, kind, &order) &&
            !is_known(l, (uint32_t)pgs_u64(r, i, 0), schema, name)) {
            to_describe(l, NULL, schema, name, kind, "it was created");
        }
    }
    return rc;
}

// ---- what is exact -------------------------------------------------------------------------------

static const Gw__Column *
by_number(const Gw__Table *t, uint32_t number)
{
    for (size_t i = 0; number && i < t->n_columns; i++) {
        if (t->columns[i]->number == number) {
            return t->columns[i];
        }
    }
    return NULL;
}

static bool
same_storage(const Gw__Table *from, const Gw__Table *to)
{
    return from->storage[0] && strcmp(from->storage, to->storage) == 0;
}

// Why a column's values on the target cannot be known, or NULL.
static const char *
doubt_of_column(struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, Gw__Column *c)
{
    const Gw__Column *was = by_number(from, c->number);
    c->was = was ? gw_arena_strdup(a, was->name) : c->was;
    if (was && strcmp(was->type->native, c->type->native) != 0 && !same_storage(from, to)) {
        return gw_arena_printf(a, "column \"%s\" was %s and is %s, and its values were written anew", c->name,
                               was->type->native, c->type->native);
    }
    if (was || c->generated[0] || c->has_fill || same_storage(from, to)) {
        return NULL;
    }
    return gw_arena_printf(a, "column \"%s\" was added, and the table's rows were written anew", c->name);
}

// Rows of before are read by name: no name may have meant two columns.
static const char *
doubt_of_names(struct gw_arena *a, const Gw__Table *from, const Gw__Table *to)
{
    for (size_t i = 0; i < to->n_columns; i++) {
        const Gw__Column *c = to->columns[i];
        for (size_t k = 0; k < from->n_columns; k++) {
            const Gw__Column *was = from->columns[k];
            if (strcmp(was->name, c->name) == 0 && was->number != c->number) {
                return gw_arena_printf(a, "the name of column \"%s\" is another column's now", c->name);
            }
        }
    }
    return NULL;
}

static const char *
doubt_of_key(struct gw_arena *a, const Gw__Table *from, const Gw__Table *to)
{
    bool same = from->n_primary_key == to->n_primary_key;
    for (size_t i = 0; same && i < to->n_primary_key; i++) {
        const Gw__Column *c = pgs_column(to, to->primary_key[i]);
        same = c && strcmp(c->was, from->primary_key[i]) == 0;
    }
    return same ? NULL : gw_arena_printf(a, "the primary key is another one");
}

static const char *
doubt(struct gw_arena *a, const Gw__Table *from, Gw__Table *to)
{
    const char *why = NULL;
    for (size_t i = 0; !why && i < to->n_columns; i++) {
        why = doubt_of_column(a, from, to, to->columns[i]);
    }
    why = why ? why : doubt_of_names(a, from, to);
    return why ? why : doubt_of_key(a, from, to);
}

// ---- the whole -----------------------------------------------------------------------------------

static void
conclude(struct look *l, size_t i, const char *now)
{
    Gw__Table *to = l->cat->tables[i];
    const Gw__Table *from = l->origins[i].from ? l->origins[i].from->t : NULL;
    struct gw_altered *x = add(l, from, to, l->origins[i].what);
    int32_t order = 0;
    to->altered_at = gw_arena_strdup(l->a, now);
    if (from && !gw_mapping_selected(l->st->task, to->source_schema, to->source_name, to->kind, &order)) {
        x->refused = gw_arena_printf(l->a, "%s, which the task's rules do not include", l->origins[i].what);
    } else if (!to->n_identity) {
        x->refused = gw_arena_printf(l->a, "%s, and it has no replica identity: ALTER TABLE … REPLICA IDENTITY FULL",
                                     l->origins[i].what);
    } else if (from) {
        const char *why = doubt(l->a, from, to);
        x->refused = why ? gw_arena_printf(l->a, "%s: %s", l->origins[i].what, why) : NULL;
    }
    to->load_order = order;
}

static int
describe(struct look *l, const char *now, struct gw_err *err)
{
    int rc = pgs_describe(l->s, l->a, l->cat, err);
    for (size_t i = 0; rc == GW_OK && i < l->cat->n_tables; i++) {
        if (l->cat->tables[i]->fingerprint[0]) { // else it went meanwhile: the next look tells
            conclude(l, i, now);
        }
    }
    return rc;
}

int
pgs_altered_look(struct pgs *s, bool now, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    int64_t at = gw_now_us();
    if (!now && st->tables_at_us && at - st->tables_at_us < look_us) {
        return GW_OK;
    }
    st->tables_at_us = at;
    gw_arena_reset(&st->altered_arena);
    st->altered = NULL;
    st->altered_n = 0;
    struct look l = {.s = s, .st = st, .a = &st->altered_arena};
    l.cat = gw_pb_new(l.a, Gw__Catalog, gw__catalog__init);
    char *position = NULL;
    int rc = look_at_known(&l, err);
    rc = rc == GW_OK ? look_for_new(&l, err) : rc;
    if (rc == GW_OK && l.cat->n_tables) {
        rc = pgs_stream_now(s, l.a, &position, err);
        rc = rc == GW_OK ? describe(&l, position, err) : rc;
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "look for what has become of the tables");
}
