// Chunks of a table: as the user's rule says, else by partition and by clustered key.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/mysql_source.h"

enum { CHUNKS_MAX = 4096 };

static Gw__Chunk *
add_chunk(struct gw_arena *a, Gw__TablePlan *plan, const Gw__Table *t, Gw__ChunkBy by, uint64_t bytes)
{
    Gw__Chunk *c = gw_pb_new(a, Gw__Chunk, gw__chunk__init);
    c->table_id = t->id;
    c->no = (uint32_t)plan->n_chunks;
    c->by = by;
    c->bytes_estimate = bytes;
    gw_pb_add(a, plan, chunks, c);
    return c;
}

static void
add_partition(struct gw_arena *a, Gw__TablePlan *plan, const Gw__Table *t, const char *name, uint64_t bytes)
{
    Gw__Chunk *c = add_chunk(a, plan, t, GW__CHUNK_BY__BY_PARTITION, bytes);
    c->partition = gw_arena_strdup(a, name);
}

static int
refuse(const Gw__TableSettingsRule *rule, struct gw_err *err, const char *why, const char *what)
{
    return gw_err_set(err, GW_CONFIG, NULL, "rule \"%s\" (parallel-load): %s%s", rule->id, why, what);
}

// ---- partitions --------------------------------------------------------------------------------

static const Gw__Partition *
partition_of(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_partitions; i++) {
        if (strcasecmp(t->partitions[i]->name, name) == 0) {
            return t->partitions[i];
        }
    }
    return NULL;
}

static bool
is_listed(const Gw__TableSettingsRule *rule, const Gw__Partition *p)
{
    for (size_t i = 0; i < rule->n_partitions; i++) {
        if (strcasecmp(rule->partitions[i], p->name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < rule->n_subpartitions; i++) {
        if (strcasecmp(rule->subpartitions[i], p->name) == 0) {
            return true;
        }
    }
    return false;
}

static bool
child_is_listed(const Gw__Table *t, const Gw__TableSettingsRule *rule, const Gw__Partition *top)
{
    for (size_t i = 0; i < t->n_partitions; i++) {
        if (strcmp(t->partitions[i]->parent, top->name) == 0 && is_listed(rule, t->partitions[i])) {
            return true;
        }
    }
    return false;
}

// Every partition is read, the listed ones and the others: the rule says how a table is read in parallel, not what of it.
// A partition that has listed subpartitions is read by subpartition.
static void
plan_by_partition(struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, bool by_leaf,
                  Gw__TablePlan *plan)
{
    for (size_t i = 0; i < t->n_partitions; i++) {
        const Gw__Partition *p = t->partitions[i];
        const Gw__Partition *top = p->parent[0] ? partition_of(t, p->parent) : p;
        bool leaves = by_leaf || (top && child_is_listed(t, rule, top) && !is_listed(rule, top));
        if (leaves ? p->is_leaf : !p->parent[0]) {
            add_partition(a, plan, t, p->name, p->bytes);
        }
    }
    // Every unique key of a partitioned table holds the partition's columns: with a primary key a row stays where it is as
    // long as it stays the same row.
    plan->one_snapshot = t->n_primary_key == 0;
}

static int
plan_list(struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, Gw__TablePlan *plan,
          struct gw_err *err)
{
    if (rule->n_partitions + rule->n_subpartitions == 0) {
        return refuse(rule, err, "it lists no partitions", "");
    }
    for (size_t i = 0; i < rule->n_partitions + rule->n_subpartitions; i++) {
        const char *name = i < rule->n_partitions ? rule->partitions[i] : rule->subpartitions[i - rule->n_partitions];
        if (!partition_of(t, name)) {
            return refuse(rule, err, "the table has no partition ", name);
        }
    }
    plan_by_partition(a, t, rule, false, plan);
    return GW_OK;
}

// ---- ranges ------------------------------------------------------------------------------------

// A boundary's value in the type of its column, so that the server can say which of two is greater. False: not of this type,
// or of one that has no order that can be relied on.
static bool
put_typed(struct gw_buf *sql, const Gw__Column *c, const char *value)
{
    const char *cast = NULL;
    char *end = NULL;
    switch (c->type->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64:
    case GW__KIND__KIND_NUMERIC:
    case GW__KIND__KIND_YEAR:
        (void)strtod(value, &end);
        if (!value[0] || *end || strspn(value, "+-.0123456789") != strlen(value)) {
            return false;
        }
        gw_buf_puts(sql, value);
        return true;
    case GW__KIND__KIND_DATE: cast = "DATE"; break;
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ: cast = "DATETIME(6)"; break;
    case GW__KIND__KIND_DURATION: cast = "TIME(6)"; break;
    case GW__KIND__KIND_UUID: cast = "UUID"; break;
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY: cast = "BINARY"; break;
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_VARCHAR:
        gw_buf_puts(sql, "CONVERT(");
        my_key_literal(sql, c, value);
        gw_buf_printf(sql, " USING %s) COLLATE %s", c->type->charset, c->type->collation);
        return true;
    default: return false;
    }
    gw_buf_puts(sql, "CAST(");
    my_key_literal(sql, c, value);
    gw_buf_printf(sql, " AS %s)", cast);
    return true;
}

// lo < hi, row-wise; or, without lo, that hi is a value at all.
static int
bounds_ascend(struct my_source *s, const Gw__TableSettingsRule *rule, const Gw__Column *const *cols,
              const Gw__Boundary *lo, const Gw__Boundary *hi, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    bool ok = true;
    for (size_t side = lo ? 0 : 1; side < 2; side++) {
        gw_buf_puts(&sql, side == 0 ? "SELECT (" : lo ? " < (" : "SELECT (");
        for (size_t i = 0; i < rule->n_columns; i++) {
            gw_buf_puts(&sql, i ? ", " : "");
            ok = ok && put_typed(&sql, cols[i], (side ? hi : lo)->values[i]);
        }
        gw_buf_puts(&sql, side == 0 ? ")" : lo ? ")" : ") IS NOT NULL");
    }
    if (!ok) {
        return refuse(rule, err, "a boundary is no value of its column, or the column's type has no ranges", "");
    }
    if (!lo && rule->n_columns > 1) {
        return GW_OK; // a row has no IS NOT NULL; the comparison with the next boundary shows it
    }
    int r = gw_my_query(s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    if (!row || !row[0] || strcmp(row[0], "1") != 0) {
        return refuse(rule, err, "its boundaries do not ascend, or one is no value of its column", "");
    }
    return GW_OK;
}

static Gw__Bound *
bound_of(struct gw_arena *a, const Gw__Boundary *from)
{
    Gw__Bound *b = gw_pb_new(a, Gw__Bound, gw__bound__init);
    for (size_t k = 0; k < from->n_values; k++) {
        gw_pb_add(a, b, values, gw_arena_strdup(a, from->values[k]));
    }
    return b;
}

static bool
in_primary_key(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_primary_key; i++) {
        if (strcmp(t->primary_key[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int
check_ranges(struct my_source *s, const Gw__TableSettingsRule *rule, const Gw__Column *const *cols, struct gw_err *err)
{
    for (size_t i = 0; i < rule->n_boundaries; i++) {
        if (rule->boundaries[i]->n_values != rule->n_columns) {
            return refuse(rule, err, "a boundary needs one value for each column", "");
        }
        int r = bounds_ascend(s, rule, cols, i ? rule->boundaries[i - 1] : NULL, rule->boundaries[i], err);
        if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

static int
plan_ranges(struct my_source *s, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
            Gw__TablePlan *plan, struct gw_err *err)
{
    if (rule->n_columns == 0 || rule->n_boundaries == 0) {
        return refuse(rule, err, "ranges need columns and boundaries", "");
    }
    const Gw__Column **cols = gw_arena_calloc(a, rule->n_columns, sizeof *cols);
    bool keyed = true;
    for (size_t i = 0; i < rule->n_columns; i++) {
        cols[i] = my_column_of(t, rule->columns[i]);
        if (!cols[i]) {
            return refuse(rule, err, "the table has no column ", rule->columns[i]);
        }
        keyed = keyed && in_primary_key(t, cols[i]->name);
    }
    int r = check_ranges(s, rule, cols, err);
    if (r != GW_OK) {
        return r;
    }
    for (size_t i = 0; i <= rule->n_boundaries; i++) {
        Gw__Chunk *c = add_chunk(a, plan, t, GW__CHUNK_BY__BY_RANGE, t->bytes_estimate / (rule->n_boundaries + 1));
        for (size_t k = 0; k < rule->n_columns; k++) {
            gw_pb_add(a, c, columns, cols[k]->name);
        }
        c->lo = i > 0 ? bound_of(a, rule->boundaries[i - 1]) : NULL;
        c->hi = i < rule->n_boundaries ? bound_of(a, rule->boundaries[i]) : NULL;
        c->with_nulls = i == rule->n_boundaries;
    }
    // A row whose column changes moves from one range to another, unless the column is what makes it that row.
    plan->one_snapshot = !keyed;
    return GW_OK;
}

// ---- as godwit thinks best ---------------------------------------------------------------------

static uint64_t
wanted(const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes)
{
    uint64_t n = rule && rule->number_of_partitions ? rule->number_of_partitions
                                                    : t->bytes_estimate / (chunk_bytes ? chunk_bytes : 1) + 1;
    return n > CHUNKS_MAX ? CHUNKS_MAX : n;
}

static int
plan_auto(struct my_source *s, struct gw_arena *a, const Gw__Table *t, uint64_t n, Gw__TablePlan *plan,
          struct gw_err *err)
{
    struct my_split what = {.t = t,
                            .partition = "",
                            .key = my_key_choose(a, t),
                            .n = n,
                            .rows = t->rows_estimate,
                            .bytes = t->bytes_estimate};
    plan->one_snapshot = !what.key.exact;
    if (n < 2 || t->n_partitions == 0) {
        return my_split(s, a, &what, plan, err);
    }
    plan->one_snapshot = plan->one_snapshot || t->n_primary_key == 0;
    for (size_t i = 0; i < t->n_partitions; i++) {
        const Gw__Partition *p = t->partitions[i];
        if (p->parent[0]) {
            continue; // read with its parent
        }
        double part = t->bytes_estimate ? (double)p->bytes / (double)t->bytes_estimate : 0;
        part = part > 1 ? 1 : part;
        what.partition = p->name;
        what.bytes = p->bytes;
        what.n = (uint64_t)((double)n * part + 0.5);
        what.rows = (uint64_t)((double)t->rows_estimate * part);
        int r = my_split(s, a, &what, plan, err);
        if (r == GW_END) {
            add_partition(a, plan, t, p->name, p->bytes);
        } else if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

static int
plan_it(struct my_source *s, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
        uint64_t chunk_bytes, Gw__TablePlan *plan, struct gw_err *err)
{
    Gw__ParallelType how = rule ? rule->parallel : GW__PARALLEL_TYPE__PARALLEL_AUTO;
    bool parts = how != GW__PARALLEL_TYPE__PARALLEL_AUTO && how != GW__PARALLEL_TYPE__PARALLEL_NONE;
    if (parts && !t->transactional && how != GW__PARALLEL_TYPE__PARTITIONS_AUTO &&
        how != GW__PARALLEL_TYPE__SUBPARTITIONS_AUTO) {
        return refuse(rule, err, "the table's storage engine has no snapshots: its parts would be of different moments",
                      "");
    }
    switch (how) {
    case GW__PARALLEL_TYPE__RANGES: return plan_ranges(s, a, t, rule, plan, err);
    case GW__PARALLEL_TYPE__PARTITIONS_LIST: return plan_list(a, t, rule, plan, err);
    case GW__PARALLEL_TYPE__PARALLEL_NONE: return GW_END;
    case GW__PARALLEL_TYPE__PARTITIONS_AUTO:
    case GW__PARALLEL_TYPE__SUBPARTITIONS_AUTO:
        if (t->n_partitions && t->transactional) {
            plan_by_partition(a, t, rule, how == GW__PARALLEL_TYPE__SUBPARTITIONS_AUTO, plan);
            return GW_OK;
        }
        break;
    default: break;
    }
    if (!t->transactional || t->kind == GW__TABLE_KIND__TABLE_VIEW) {
        return GW_END;
    }
    return plan_auto(s, a, t, wanted(t, rule, chunk_bytes), plan, err);
}

int
my_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes,
        uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err)
{
    (void)lanes; // a chunk is small enough that lanes share them out
    struct my_source *s = self;
    Gw__TablePlan made = *plan;
    gw_assert(s->in_snapshot && !s->rows);
    // The savepoint gives back the metadata lock of the table, see read.c.
    int r = gw_my_exec(s->db, err, "SAVEPOINT gw");
    r = r == GW_OK ? plan_it(s, a, t, rule, chunk_bytes, &made, err) : r;
    if (r == GW_OK || r == GW_END) {
        if (made.n_chunks == plan->n_chunks) { // nothing to cut by, few rows, or the user wants it whole
            add_chunk(a, &made, t, GW__CHUNK_BY__BY_WHOLE, t->bytes_estimate);
        }
        if (made.n_chunks == 1) {
            made.one_snapshot = false; // one chunk is always of one snapshot
        }
        r = gw_my_exec(s->db, err, "ROLLBACK TO SAVEPOINT gw");
    } else if (r == GW_AGAIN) {
        my_snapshot_end(s);
    }
    if (r == GW_OK) {
        *plan = made;
    }
    return r;
}
