// Cuts a table into ranges of its rowid.
//
// An INTEGER PRIMARY KEY is the rowid and names a row for ever; a hidden rowid may be renumbered by VACUUM, so that its
// ranges must not be mixed between snapshots. Tables without a rowid, views and virtual tables are read whole.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/sqlite/sqlite_source.h"

enum { CHUNKS_MAX = 4096, EXTENTS_PER_CHUNK = 4, ROUNDS_MAX = 40 };

// A stretch of rowids that begins and ends with a row.
struct extent {
    int64_t lo, hi;
};
struct extents {
    struct extent *items;
    size_t n;
};

static uint64_t
width(const struct extent *e)
{
    return (uint64_t)e->hi - (uint64_t)e->lo + 1; // wraps to 0 for all of int64
}

struct probes {
    sqlite3_stmt *least_from, *greatest_below;
};

static int
probe(sqlite3_stmt *s, int64_t at, int64_t *ret, struct gw_err *err)
{
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, at);
    int rc = gw_lite_step(s, err);
    if (rc == GW_OK) {
        *ret = sqlite3_column_int64(s, 0);
    }
    sqlite3_reset(s);
    return rc;
}

// Halves every extent that is wider than `widest`, leaving out the gap in the middle: rowids are often sparse, and a range
// without rows must not count as a chunk's worth.
static int
refine(struct gw_arena *a, struct probes *p, struct extents *all, uint64_t widest, struct gw_err *err)
{
    struct extents out = {0};
    for (size_t i = 0; i < all->n; i++) {
        struct extent e = all->items[i];
        if (width(&e) - 1 >= widest && e.hi > e.lo) {
            int64_t middle = (int64_t)((uint64_t)e.lo + (width(&e) - 1) / 2 + 1);
            int64_t below = e.lo, from = e.hi;
            int rc = probe(p->greatest_below, middle, &below, err);
            rc = rc == GW_OK ? probe(p->least_from, middle, &from, err) : rc;
            if (rc != GW_OK) {
                // Both ends of an extent are rows of this very snapshot.
                return rc == GW_END ? gw_err_set(err, GW_BUG, NULL, "a row vanished from a snapshot") : rc;
            }
            *(struct extent *)gw_arena_push(a, &out.items, &out.n, sizeof *out.items) = (struct extent){e.lo, below};
            e.lo = from;
        }
        *(struct extent *)gw_arena_push(a, &out.items, &out.n, sizeof *out.items) = e;
    }
    *all = out;
    return GW_OK;
}

static uint64_t
total(const struct extents *all)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < all->n; i++) {
        uint64_t w = width(&all->items[i]);
        if (w == 0 || sum + w < sum) {
            return UINT64_MAX;
        }
        sum += w;
    }
    return sum;
}

static int
probes_open(struct lite_source *s, const Gw__Table *t, const char *rowid, struct probes *p, struct gw_err *err)
{
    struct gw_buf sql;
    gw_buf_init(&sql, 64 * 1024);
    int rc = GW_OK;
    for (int i = 0; i < 2 && rc == GW_OK; i++) {
        gw_buf_reset(&sql);
        gw_buf_printf(&sql, "SELECT %s FROM ", rowid);
        gw_lite_ident(&sql, t->source_name);
        gw_buf_printf(&sql, " WHERE %s %s ?1 ORDER BY %s %s LIMIT 1", rowid, i ? "<" : ">=", rowid, i ? "DESC" : "ASC");
        rc = gw_lite_query(s->db, i ? &p->greatest_below : &p->least_from, err, sql.data, "");
    }
    gw_buf_fini(&sql);
    return rc;
}

static char *
number(struct gw_arena *a, int64_t v)
{
    return gw_arena_printf(a, "%lld", (long long)v);
}

static Gw__Bound *
bound(struct gw_arena *a, char *value)
{
    Gw__Bound *b = gw_pb_new(a, Gw__Bound, gw__bound__init);
    gw_pb_add(a, b, values, value);
    return b;
}

static Gw__Chunk *
add_chunk(struct gw_arena *a, Gw__TablePlan *plan, const Gw__Table *t, Gw__ChunkBy by)
{
    Gw__Chunk *c = gw_pb_new(a, Gw__Chunk, gw__chunk__init);
    c->table_id = t->id;
    c->no = (uint32_t)plan->n_chunks;
    c->by = by;
    gw_pb_add(a, plan, chunks, c);
    return c;
}

// n chunks of about the same sum of widths.
static void
cut(struct gw_arena *a, const struct extents *all, uint64_t n, uint64_t bytes, const Gw__Table *t, Gw__ChunkBy by,
    const char *column, Gw__TablePlan *plan)
{
    uint64_t sum = total(all), share = sum / n + (sum % n != 0), left = 0;
    Gw__Chunk *c = NULL;
    for (size_t i = 0; i < all->n; i++) {
        struct extent e = all->items[i];
        for (;;) {
            if (left == 0) {
                char *at = number(a, e.lo);
                if (c) {
                    c->hi = bound(a, at);
                }
                c = add_chunk(a, plan, t, by);
                gw_pb_add(a, c, columns, gw_arena_strdup(a, column));
                c->lo = bound(a, at);
                c->bytes_estimate = bytes / n;
                left = share;
            }
            if (width(&e) != 0 && width(&e) <= left) {
                left -= width(&e);
                break;
            }
            e.lo = (int64_t)((uint64_t)e.lo + left);
            left = 0;
        }
    }
    c->hi = bound(a, number(a, all->items[all->n - 1].hi));
    c->hi_inclusive = true;
}

// ---- the user's rules --------------------------------------------------------------------------

static int
rule_refused(const Gw__TableSettingsRule *rule, const Gw__Table *t, const char *why, struct gw_err *err)
{
    return gw_err_set(err, GW_CONFIG, NULL, "rule \"%s\" for table \"%s\": %s", rule->id, t->source_name, why);
}

static Gw__Column *
find_column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcasecmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

// The bounds must ascend as SQLite will compare them, or a row would be in two chunks or in none.
static int
bounds_ascend(struct lite_source *s, const Gw__Table *t, const Gw__TableSettingsRule *rule, const Gw__Boundary *lo,
              const Gw__Boundary *hi, struct gw_err *err)
{
    struct gw_buf sql;
    gw_buf_init(&sql, 1024 * 1024);
    for (int side = 0; side < 2; side++) {
        gw_buf_puts(&sql, side ? " < (" : "SELECT (");
        for (size_t i = 0; i < rule->n_columns; i++) {
            const Gw__Column *c = find_column(t, rule->columns[i]);
            enum gw_lite_affinity aff = gw_lite_affinity(c->type->native);
            const char *v = (side ? hi : lo)->values[i];
            bool text = aff == GW_LITE_TEXT || aff == GW_LITE_BLOB;
            double real;
            gw_buf_puts(&sql, i ? ", " : "");
            if (!text && gw_lite_parse_real(v, strlen(v), &real)) {
                gw_buf_puts(&sql, v);
            } else {
                gw_lite_literal(&sql, v, strlen(v));
            }
            if (c->type->collation[0]) {
                gw_buf_puts(&sql, " COLLATE ");
                gw_lite_ident(&sql, c->type->collation);
            }
        }
        gw_buf_putc(&sql, ')');
    }
    int64_t yes = 0;
    int rc = gw_lite_int(s->db, &yes, 0, err, sql.data);
    gw_buf_fini(&sql);
    if (rc == GW_OK && !yes) {
        rc = rule_refused(rule, t, "its boundaries do not ascend", err);
    }
    return rc;
}

static int
plan_ranges(struct lite_source *s, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
            Gw__TablePlan *plan, struct gw_err *err)
{
    if (rule->n_columns == 0 || rule->n_boundaries == 0) {
        return rule_refused(rule, t, "ranges need columns and boundaries", err);
    }
    for (size_t i = 0; i < rule->n_columns; i++) {
        if (!find_column(t, rule->columns[i])) {
            return rule_refused(rule, t, "it names a column that the table does not have", err);
        }
    }
    for (size_t i = 0; i < rule->n_boundaries; i++) {
        if (rule->boundaries[i]->n_values != rule->n_columns) {
            return rule_refused(rule, t, "a boundary needs one value for each column", err);
        }
        int rc = i == 0 ? GW_OK : bounds_ascend(s, t, rule, rule->boundaries[i - 1], rule->boundaries[i], err);
        if (rc != GW_OK) {
            return rc;
        }
    }
    for (size_t i = 0; i <= rule->n_boundaries; i++) {
        Gw__Chunk *c = add_chunk(a, plan, t, GW__CHUNK_BY__BY_RANGE);
        for (size_t k = 0; k < rule->n_columns; k++) {
            gw_pb_add(a, c, columns, gw_arena_strdup(a, find_column(t, rule->columns[k])->name));
        }
        for (int side = 0; side < 2; side++) {
            if (side ? i == rule->n_boundaries : i == 0) {
                continue;
            }
            const Gw__Boundary *from = rule->boundaries[side ? i : i - 1];
            Gw__Bound *b = gw_pb_new(a, Gw__Bound, gw__bound__init);
            for (size_t k = 0; k < from->n_values; k++) {
                gw_pb_add(a, b, values, gw_arena_strdup(a, from->values[k]));
            }
            *(side ? &c->hi : &c->lo) = b;
        }
        c->with_nulls = i == rule->n_boundaries;
        c->bytes_estimate = t->bytes_estimate / (rule->n_boundaries + 1);
    }
    plan->one_snapshot = !(rule->n_columns == 1 && lite_is_rowid_alias(t, rule->columns[0]));
    return GW_OK;
}

// ---- by rowid ----------------------------------------------------------------------------------

static int
plan_by_rowid(struct lite_source *s, struct gw_arena *a, const Gw__Table *t, const char *rowid, uint64_t chunk_bytes,
              uint64_t chunks_wanted, Gw__TablePlan *plan, struct gw_err *err)
{
    struct probes p = {0};
    struct extents all = {0};
    int64_t lo = 0, hi = 0;
    uint64_t rows = 0, row_bytes = 0, n = 1, bytes = 0;
    int rc = probes_open(s, t, rowid, &p, err);
    rc = rc == GW_OK ? probe(p.least_from, INT64_MIN, &lo, err) : rc;
    if (rc == GW_OK) {
        // The greatest of all cannot be asked for with `<`.
        hi = INT64_MAX;
        if ((rc = probe(p.least_from, hi, &hi, err)) == GW_END) {
            rc = probe(p.greatest_below, INT64_MAX, &hi, err);
        }
    }
    if (rc == GW_OK) {
        *(struct extent *)gw_arena_push(a, &all.items, &all.n, sizeof *all.items) = (struct extent){lo, hi};
        rc = lite_estimate(s, t->source_name, rowid, &rows, &row_bytes, err);
    }
    if (rc == GW_OK) {
        bytes = rows * row_bytes;
        n = chunks_wanted ? chunks_wanted : bytes / (chunk_bytes ? chunk_bytes : 1) + 1;
        n = n > CHUNKS_MAX ? CHUNKS_MAX : n;
        for (int i = 0; n > 1 && i < ROUNDS_MAX && all.n < n * EXTENTS_PER_CHUNK && rc == GW_OK; i++) {
            rc = refine(a, &p, &all, total(&all) / (n * EXTENTS_PER_CHUNK) + 1, err);
        }
        n = n > total(&all) ? total(&all) : n;
    }
    sqlite3_finalize(p.least_from);
    sqlite3_finalize(p.greatest_below);
    if (rc == GW_OK) {
        bool alias = t->n_primary_key == 1 && lite_is_rowid_alias(t, t->primary_key[0]);
        cut(a, &all, n, bytes, t, alias ? GW__CHUNK_BY__BY_KEY : GW__CHUNK_BY__BY_CTID,
            alias ? t->primary_key[0] : rowid, plan);
        plan->one_snapshot = !alias;
    }
    return rc;
}

int
lite_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes,
          uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err)
{
    (void)lanes; // a chunk is small enough that lanes share them out
    struct lite_source *s = self;
    Gw__ParallelType how = rule ? rule->parallel : GW__PARALLEL_TYPE__PARALLEL_AUTO;
    Gw__TablePlan made = *plan;
    const char *rowid = lite_rowid_name(t);
    int rc = GW_END;
    if (how == GW__PARALLEL_TYPE__RANGES) {
        rc = plan_ranges(s, a, t, rule, &made, err);
    } else if (how == GW__PARALLEL_TYPE__PARTITIONS_LIST) {
        rc = rule_refused(rule, t, "SQLite has no partitions", err);
    } else if (how != GW__PARALLEL_TYPE__PARALLEL_NONE && rowid) {
        rc = plan_by_rowid(s, a, t, rowid, chunk_bytes, rule ? rule->number_of_partitions : 0, &made, err);
    }
    if (rc == GW_END) { // no rowid, no rows, or the user wants it whole
        Gw__Chunk *c = add_chunk(a, &made, t, GW__CHUNK_BY__BY_WHOLE);
        c->bytes_estimate = t->bytes_estimate;
        made.one_snapshot = false;
        rc = GW_OK;
    }
    if (rc == GW_OK) {
        *plan = made;
    }
    return rc;
}
