// Cuts a table into chunks of about equal bytes.
//
//   by key   an integer, uuid, time or text first column of the primary key, unless reading in its order would jump
//            about in a large table. Chunks of different snapshots may be mixed: a load that was killed redoes only
//            what was in flight.
//   by ctid  the rest: block ranges, all in one snapshot (rows move). Before version 14 the server cannot read a
//            range of blocks alone; the table is then read whole.
//   whole    views, foreign tables, small tables.
// A partitioned table is cut partition by partition.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgs.h"

enum {
    CHUNKS_MAX = 20000,
    SAMPLES_PER_CHUNK = 40, // pages
    BLOCK = 8192,
};
// Beyond this, a key whose order is not the table's order costs more seeks than a restart is worth.
static const uint64_t jumpy_bytes_max = 4ULL << 30;
static const double correlation_min = 0.8;

static Gw__Chunk *
add_chunk(struct gw_arena *a, Gw__TablePlan *plan, Gw__ChunkBy by, const Gw__Partition *p)
{
    Gw__Chunk *c = gw_pb_new(a, Gw__Chunk, gw__chunk__init);
    c->by = by;
    c->no = (uint32_t)plan->n_chunks;
    if (p) {
        c->partition_schema = gw_arena_strdup(a, p->schema);
        c->partition = gw_arena_strdup(a, p->name);
    }
    gw_pb_add(a, plan, chunks, c);
    return c;
}

static Gw__Bound *
bound(struct gw_arena *a, const char *value)
{
    Gw__Bound *b = gw_pb_new(a, Gw__Bound, gw__bound__init);
    gw_pb_add(a, b, values, gw_arena_strdup(a, value));
    return b;
}

static int rule_refused(const Gw__TableSettingsRule *rule, const Gw__Table *t, struct gw_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int
rule_refused(const Gw__TableSettingsRule *rule, const Gw__Table *t, struct gw_err *err, const char *fmt, ...)
{
    char why[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return gw_err_set(err, GW_CONFIG, NULL, "rule %s for table \"%s.%s\": %s", rule->id, t->source_schema,
                      t->source_name, why);
}

// ---- sizes -------------------------------------------------------------------------------------

struct size {
    uint64_t blocks, bytes;
    bool heap;
    double correlation; // of the key; 1 where nothing is known
};

static void
put_regclass(struct gw_buf *sql, const char *schema, const char *name)
{
    PGS_BUF q;
    gw_buf_init(&q, 64 * 1024);
    gw_pg_qname(&q, schema, name);
    gw_pg_literal(sql, q.data);
    gw_buf_puts(sql, "::pg_catalog.regclass");
}

static int
measure(struct pgs *s, const char *schema, const char *name, const char *key, struct size *ret, struct gw_err *err)
{
    PGS_BUF rel, sch, tab, col;
    gw_buf_init(&rel, 64 * 1024);
    gw_buf_init(&sch, 4096);
    gw_buf_init(&tab, 4096);
    gw_buf_init(&col, 4096);
    put_regclass(&rel, schema, name);
    gw_pg_literal(&sch, schema);
    gw_pg_literal(&tab, name);
    gw_pg_literal(&col, key ? key : "");
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err,
                       "SELECT pg_catalog.pg_relation_size(c.oid) / %d, pg_catalog.pg_table_size(c.oid),"
                       " c.relkind IN ('r', 'm') AND coalesce(m.amname = 'heap', true),"
                       " coalesce((SELECT abs(correlation) FROM pg_catalog.pg_stats WHERE schemaname = %s"
                       " AND tablename = %s AND attname = %s), 1)"
                       " FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam"
                       " WHERE c.oid = %s",
                       (int)BLOCK, sch.data, tab.data, col.data, rel.data);
    if (rc == GW_OK && PQntuples(r) == 1) {
        *ret = (struct size){pgs_u64(r, 0, 0), pgs_u64(r, 0, 1), pgs_true(r, 0, 2), strtod(pgs_text(r, 0, 3), NULL)};
    }
    return rc;
}

static uint64_t
chunks_for(uint64_t bytes, uint64_t chunk_bytes, const Gw__TableSettingsRule *rule)
{
    uint64_t n = rule && rule->number_of_partitions ? rule->number_of_partitions
                                                    : (bytes + chunk_bytes / 2) / (chunk_bytes ? chunk_bytes : 1);
    return n < 1 ? 1 : n > CHUNKS_MAX ? CHUNKS_MAX : n;
}

// ---- by ctid -----------------------------------------------------------------------------------

static void
cut_blocks(struct gw_arena *a, Gw__TablePlan *plan, const Gw__Partition *p, const struct size *size, uint64_t n)
{
    n = n > size->blocks ? size->blocks : n;
    n = n ? n : 1;
    for (uint64_t i = 0; i < n; i++) {
        Gw__Chunk *c = add_chunk(a, plan, GW__CHUNK_BY__BY_CTID, p);
        c->lo = bound(a, gw_arena_printf(a, "%llu", (unsigned long long)(size->blocks * i / n)));
        c->hi = bound(a, gw_arena_printf(a, "%llu", (unsigned long long)(size->blocks * (i + 1) / n)));
        c->bytes_estimate = size->bytes / n;
    }
    plan->one_snapshot = true;
}

// ---- by key ------------------------------------------------------------------------------------

// Kinds whose order the server and an index agree on, and whose text is exact.
static const Gw__Column *
split_key(const Gw__Table *t)
{
    static const Gw__Kind kinds[] = {
        GW__KIND__KIND_INT16,       GW__KIND__KIND_INT32,   GW__KIND__KIND_INT64,
        GW__KIND__KIND_UUID,        GW__KIND__KIND_DATE,    GW__KIND__KIND_TIMESTAMP,
        GW__KIND__KIND_TIMESTAMPTZ, GW__KIND__KIND_VARCHAR, GW__KIND__KIND_TEXT,
    };
    const Gw__Column *c = t->n_primary_key ? pgs_column(t, t->primary_key[0]) : NULL;
    bool text = c && (c->type->kind == GW__KIND__KIND_TEXT || c->type->kind == GW__KIND__KIND_VARCHAR);
    // Not citext, name or a domain: their operators are found by search_path, which is empty here.
    if (text && strcmp(c->type->native, "text") != 0 && strncmp(c->type->native, "character varying", 17) != 0) {
        return NULL;
    }
    for (size_t i = 0; c && i < sizeof kinds / sizeof *kinds; i++) {
        if (c->type->kind == kinds[i]) {
            return c;
        }
    }
    return NULL;
}

// The stored size of a row, without reading what is stored out of line.
static void
put_weight(struct gw_buf *sql, const Gw__Table *t)
{
    gw_buf_puts(sql, "28");
    for (size_t i = 0; i < t->n_columns; i++) {
        if (!t->columns[i]->left_out) {
            gw_buf_puts(sql, " + coalesce(pg_catalog.pg_column_size(");
            gw_pg_ident(sql, t->columns[i]->name);
            gw_buf_puts(sql, "), 0)");
        }
    }
}

static void
put_from(struct gw_buf *sql, const Gw__Table *t, const Gw__Partition *p)
{
    Gw__Chunk at = GW__CHUNK__INIT;
    if (p) {
        at.partition_schema = p->schema;
        at.partition = p->name;
    }
    pgs_from(sql, t, &at);
}

static int
key_ends(struct pgs *s, struct gw_arena *a, const Gw__Table *t, const Gw__Partition *p, const Gw__Column *key,
         char **ret_lo, char **ret_hi, struct gw_err *err)
{
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    for (int end = 0; end < 2; end++) {
        // Qualified, or ORDER BY would take the output column, and sort numbers as texts.
        gw_buf_puts(&sql, end ? " UNION ALL (SELECT x." : "(SELECT x.");
        gw_pg_ident(&sql, key->name);
        gw_buf_printf(&sql, "::pg_catalog.text AS k, %d FROM ", end);
        put_from(&sql, t, p);
        gw_buf_puts(&sql, " x ORDER BY x.");
        gw_pg_ident(&sql, key->name);
        gw_buf_puts(&sql, end ? " DESC LIMIT 1) ORDER BY 2" : " LIMIT 1)");
    }
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err, "%s", sql.data);
    if (rc == GW_OK && PQntuples(r) == 2) {
        *ret_lo = pgs_dup(a, r, 0, 0);
        *ret_hi = pgs_dup(a, r, 1, 0);
    }
    return rc;
}

// Pages are sampled; the sample's rows, in order of the key and weighed by their bytes, are cut into n shares.
static int
sample_bounds(struct pgs *s, const Gw__Table *t, const Gw__Partition *p, const Gw__Column *key, uint64_t n,
              uint64_t blocks, PGresult **ret, struct gw_err *err)
{
    double percent = 100.0 * (double)(n * SAMPLES_PER_CHUNK) / (double)(blocks ? blocks : 1);
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_buf_puts(
        &sql, "SELECT DISTINCT ON (y.b) y.k::pg_catalog.text FROM (SELECT k, pg_catalog.floor((sum(w) OVER (ORDER BY k)"
              " - w)::pg_catalog.float8 ");
    gw_buf_printf(&sql, "* %llu / sum(w) OVER ()) AS b FROM (SELECT ", (unsigned long long)n);
    gw_pg_ident(&sql, key->name);
    gw_buf_puts(&sql, " AS k, ");
    put_weight(&sql, t);
    gw_buf_puts(&sql, " AS w FROM ");
    put_from(&sql, t, p);
    if (percent < 100) {
        gw_buf_printf(&sql, " TABLESAMPLE SYSTEM (%.6f) REPEATABLE (1)", percent);
    }
    gw_buf_puts(&sql, ") x) y ORDER BY y.b, y.k");
    return pgs_query(s, ret, err, "%s", sql.data);
}

// The chunks must hold every row of the snapshot, as the server compares: asked again with the bounds as texts, the
// way in which the chunks will be read. Two look-ups in the key's index.
static int
check_ends(struct pgs *s, const Gw__Table *t, const Gw__Partition *p, const Gw__Column *key, const char *lo,
           const char *hi, struct gw_err *err)
{
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_buf_puts(&sql, "SELECT true");
    for (int end = 0; end < 2; end++) {
        gw_buf_puts(&sql, " AND NOT EXISTS (SELECT 1 FROM ");
        put_from(&sql, t, p);
        gw_buf_puts(&sql, " x WHERE x.");
        gw_pg_ident(&sql, key->name);
        gw_buf_puts(&sql, end ? " > " : " < ");
        gw_pg_literal(&sql, end ? hi : lo);
        gw_buf_printf(&sql, "::%s)", key->type->native);
    }
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err, "%s", sql.data);
    if (rc == GW_OK && !pgs_true(r, 0, 0)) {
        rc = gw_err_set(err, GW_BUG, NULL, "table \"%s.%s\" has rows outside of the ends of its key \"%s\"",
                        t->source_schema, t->source_name, key->name);
    }
    return rc;
}

static int
cut_keys(struct pgs *s, struct gw_arena *a, const Gw__Table *t, const Gw__Partition *p, const Gw__Column *key,
         const struct size *size, uint64_t n, Gw__TablePlan *plan, struct gw_err *err)
{
    char *lo = NULL, *hi = NULL;
    int rc = key_ends(s, a, t, p, key, &lo, &hi, err);
    if (rc != GW_OK) {
        return rc;
    }
    if (!lo) { // no rows
        add_chunk(a, plan, GW__CHUNK_BY__BY_WHOLE, p);
        return GW_OK;
    }
    if ((rc = check_ends(s, t, p, key, lo, hi, err)) != GW_OK) {
        return rc;
    }
    PGS_RES r = NULL;
    if (n > 1 && (rc = sample_bounds(s, t, p, key, n, size->blocks, &r, err)) != GW_OK) {
        return rc;
    }
    // The first share begins at the least key that there is; a share that begins where the one before did is empty.
    const char *from = lo;
    int shares = r ? PQntuples(r) : 0;
    for (int i = 1; i <= shares || i == 1; i++) {
        const char *to = i < shares ? pgs_text(r, i, 0) : NULL;
        if (to && strcmp(to, from) == 0) {
            continue;
        }
        Gw__Chunk *c = add_chunk(a, plan, GW__CHUNK_BY__BY_KEY, p);
        gw_pb_add(a, c, columns, gw_arena_strdup(a, key->name));
        c->lo = bound(a, from);
        c->hi = bound(a, to ? to : hi);
        c->hi_inclusive = !to;
        c->bytes_estimate = size->bytes / n;
        from = c->hi->values[0];
    }
    return GW_OK;
}

// ---- one relation ------------------------------------------------------------------------------

static int
cut_relation(struct pgs *s, struct gw_arena *a, const Gw__Table *t, const Gw__Partition *p,
             const Gw__TableSettingsRule *rule, uint64_t chunk_bytes, Gw__TablePlan *plan, struct gw_err *err)
{
    const Gw__Column *key = split_key(t);
    struct size size = {.correlation = 1};
    int rc =
        measure(s, p ? p->schema : t->source_schema, p ? p->name : t->source_name, key ? key->name : NULL, &size, err);
    if (rc != GW_OK) {
        return rc;
    }
    uint64_t n = chunks_for(size.bytes, chunk_bytes, rule);
    bool in_order = size.correlation >= correlation_min || size.bytes <= jumpy_bytes_max;
    if (!size.heap || n == 1) {
        Gw__Chunk *c = add_chunk(a, plan, GW__CHUNK_BY__BY_WHOLE, p);
        c->bytes_estimate = size.bytes;
        return GW_OK;
    }
    if (key && in_order) {
        return cut_keys(s, a, t, p, key, &size, n, plan, err);
    }
    if (s->version < 140000) {
        Gw__Chunk *c = add_chunk(a, plan, GW__CHUNK_BY__BY_WHOLE, p);
        c->bytes_estimate = size.bytes;
        return GW_OK;
    }
    cut_blocks(a, plan, p, &size, n);
    return GW_OK;
}

// ---- the user's rules --------------------------------------------------------------------------

static const Gw__Partition *
partition_named(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_partitions; i++) {
        if (strcmp(t->partitions[i]->name, name) == 0) {
            return t->partitions[i];
        }
    }
    return NULL;
}

static bool
is_below(const Gw__Table *t, const Gw__Partition *p, const char *name)
{
    for (size_t depth = 0; p && depth <= t->n_partitions; depth++) {
        if (strcmp(p->name, name) == 0) {
            return true;
        }
        p = p->parent[0] ? partition_named(t, p->parent) : NULL;
    }
    return false;
}

static int
check_list(const Gw__Table *t, const Gw__TableSettingsRule *rule, char *const *names, size_t n, struct gw_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!partition_named(t, names[i])) {
            return rule_refused(rule, t, err, "there is no partition \"%s\"", names[i]);
        }
    }
    return GW_OK;
}

static bool
is_listed(const Gw__Table *t, const Gw__Partition *p, const Gw__TableSettingsRule *rule)
{
    for (size_t i = 0; i < rule->n_partitions; i++) {
        if (is_below(t, p, rule->partitions[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < rule->n_subpartitions; i++) {
        if (is_below(t, p, rule->subpartitions[i])) {
            return true;
        }
    }
    return false;
}

// Listed partitions are a chunk each. The others are cut as usual: a table is never loaded in part.
static int
plan_partitions(struct pgs *s, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
                uint64_t chunk_bytes, Gw__TablePlan *plan, struct gw_err *err)
{
    bool list = rule && rule->parallel == GW__PARALLEL_TYPE__PARTITIONS_LIST;
    bool each = rule && (rule->parallel == GW__PARALLEL_TYPE__PARTITIONS_AUTO ||
                         rule->parallel == GW__PARALLEL_TYPE__SUBPARTITIONS_AUTO);
    int rc = GW_OK;
    if (list && t->kind != GW__TABLE_KIND__TABLE_PARTITIONED) {
        return rule_refused(rule, t, err, "the table has no partitions");
    }
    if (list) {
        rc = check_list(t, rule, rule->partitions, rule->n_partitions, err);
        rc = rc == GW_OK ? check_list(t, rule, rule->subpartitions, rule->n_subpartitions, err) : rc;
    }
    for (size_t i = 0; rc == GW_OK && i < t->n_partitions; i++) {
        const Gw__Partition *p = t->partitions[i];
        if (!p->is_leaf) {
            continue;
        }
        if (each || (list && is_listed(t, p, rule))) {
            Gw__Chunk *c = add_chunk(a, plan, GW__CHUNK_BY__BY_PARTITION, p);
            c->bytes_estimate = p->bytes;
        } else {
            rc = cut_relation(s, a, t, p, NULL, chunk_bytes, plan, err);
        }
    }
    if (rc == GW_OK && plan->n_chunks == 0) {
        add_chunk(a, plan, GW__CHUNK_BY__BY_WHOLE, NULL);
    }
    return rc;
}

// The bounds must ascend as the server compares them, or a row would be in two chunks or in none.
static int
check_ascending(struct pgs *s, const Gw__Table *t, const Gw__TableSettingsRule *rule, struct gw_err *err)
{
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    gw_buf_puts(&sql, "SELECT true");
    for (size_t i = 0; i < rule->n_boundaries; i++) {
        // The first one is compared with itself, to see that it can be read.
        for (int side = 0; side < 2; side++) {
            const Gw__Boundary *b = rule->boundaries[side || !i ? i : i - 1];
            gw_buf_puts(&sql, side ? (i ? " < ROW(" : " = ROW(") : " AND ROW(");
            for (size_t k = 0; k < b->n_values; k++) {
                gw_buf_puts(&sql, k ? ", " : "");
                gw_pg_literal(&sql, b->values[k]);
                gw_buf_printf(&sql, "::%s", pgs_column(t, rule->columns[k])->type->native);
            }
            gw_buf_putc(&sql, ')');
        }
    }
    PGS_RES r = NULL;
    struct gw_err cause = {0};
    int rc = pgs_query(s, &r, &cause, "%s", sql.data);
    if (rc == GW_DATA || rc == GW_CONFIG) {
        return rule_refused(rule, t, err, "a boundary cannot be read: %s", cause.message);
    }
    if (rc != GW_OK) {
        *err = cause;
        return rc;
    }
    return pgs_true(r, 0, 0) ? GW_OK : rule_refused(rule, t, err, "its boundaries do not ascend");
}

static int
plan_ranges(struct pgs *s, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
            Gw__TablePlan *plan, struct gw_err *err)
{
    for (size_t i = 0; i < rule->n_columns; i++) {
        if (!pgs_column(t, rule->columns[i])) {
            return rule_refused(rule, t, err, "the table has no column \"%s\"", rule->columns[i]);
        }
    }
    int rc = check_ascending(s, t, rule, err);
    for (size_t i = 0; rc == GW_OK && i <= rule->n_boundaries; i++) {
        Gw__Chunk *c = add_chunk(a, plan, GW__CHUNK_BY__BY_RANGE, NULL);
        for (size_t k = 0; k < rule->n_columns; k++) {
            gw_pb_add(a, c, columns, gw_arena_strdup(a, rule->columns[k]));
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
    // A value that changes between two snapshots moves its row from one range to another.
    bool key = rule->n_columns == 1 && t->n_primary_key > 0 && strcmp(rule->columns[0], t->primary_key[0]) == 0;
    plan->one_snapshot = !key;
    return rc;
}

int
pgs_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes,
         uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err)
{
    (void)lanes; // chunks are small: lanes share them out
    struct pgs *s = self;
    Gw__TablePlan made = *plan;
    Gw__ParallelType how = rule ? rule->parallel : GW__PARALLEL_TYPE__PARALLEL_AUTO;
    int rc = s->in_snapshot ? gw_pg_exec(s->c, err, "SAVEPOINT godwit_locks") : GW_OK;
    if (rc != GW_OK) {
        return rc;
    }
    if (how == GW__PARALLEL_TYPE__RANGES) {
        rc = plan_ranges(s, a, t, rule, &made, err);
    } else if (how == GW__PARALLEL_TYPE__PARALLEL_NONE) {
        Gw__Chunk *c = add_chunk(a, &made, GW__CHUNK_BY__BY_WHOLE, NULL);
        c->bytes_estimate = t->bytes_estimate;
        rc = GW_OK;
    } else if (t->kind == GW__TABLE_KIND__TABLE_PARTITIONED || how == GW__PARALLEL_TYPE__PARTITIONS_LIST) {
        rc = plan_partitions(s, a, t, rule, chunk_bytes, &made, err);
    } else {
        rc = cut_relation(s, a, t, NULL, rule, chunk_bytes, &made, err);
    }
    if (rc == GW_OK && s->in_snapshot) {
        rc = pgs_unlock(s, err);
    }
    if (rc == GW_OK) {
        *plan = made;
    }
    return rc;
}
