// The memory source: tables whose rows are computed. The smallest engine there is, for tests without a server and
// as an example of the contract.
//
//   memory://name?tables=3&rows=1000,0,5&seed=7&width=40&poison=100
//     tables   how many: t1, t2 …                                  (1)
//     rows     of each table; the last number holds for the rest   (1000)
//     seed     other seeds, other values                           (1)
//     width    longest value of the text and binary columns, bytes (32)
//     poison   every so many-th row has a NUL byte in its text, which some targets cannot hold (0 = none)
//
// A value is a function of seed, table, row and column alone. So every session sees the same rows: the snapshot's token
// is made of what decides them, and can be shared by whoever has it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "capture/source.h"
#include "common/copytext.h"

enum { TABLES_MAX = 1000, CHUNKS_MAX = 4096, WIDTH_MAX = 16 * 1024 * 1024, NULL_EVERY = 11 };

struct memory {
    char name[128];
    uint32_t tables;
    uint64_t seed, width, poison;
    int64_t rows[TABLES_MAX];
    bool in_snapshot;
    // The chunk that is being read.
    const Gw__Table *table; // borrowed until the chunk ends; NULL = none
    uint32_t table_no;
    int64_t at, end; // id of the next row, and of the one behind the last
};

// ---- values ------------------------------------------------------------------------------------

static uint64_t
draw(const struct memory *m, int64_t id, size_t column)
{
    uint64_t key[3] = {m->table_no, (uint64_t)id, column};
    return XXH64(key, sizeof key, m->seed);
}

static void
put_text(struct gw_buf *out, const struct memory *m, int64_t id, uint64_t r)
{
    // Everything that has to be escaped, quoted or counted in bytes on some path.
    static const char *const words[] = {"plain", "\t",       "\n", "\\",  "\r",           "'",
                                        "\"",    "\xc3\xa9", " ",  "\\N", "\xe2\x82\xac", "\xf0\x9f\x90\xa6",
                                        ",",     "{",        "%s", ";"};
    size_t len = m->width ? (size_t)(r % (m->width + 1)) : 0;
    for (uint64_t k = r; len;) {
        k = k * 6364136223846793005u + 1442695040888963407u;
        const char *w = words[k >> 60];
        size_t n = strlen(w) <= len ? strlen(w) : 0;
        gw_copy_put_field(out, n ? w : "x", n ? n : 1);
        len -= n ? n : 1;
    }
    if (m->poison && (uint64_t)id % m->poison == 0) {
        gw_buf_putc(out, 0);
    }
}

static void
put_bytes(struct gw_buf *out, const struct memory *m, uint64_t r)
{
    static const char digits[] = "0123456789abcdef";
    gw_buf_puts(out, "\\\\x");
    for (uint64_t n = m->width ? r % (m->width + 1) : 0, k = r; n; n--) {
        k = k * 6364136223846793005u + 1442695040888963407u;
        gw_buf_putc(out, digits[k >> 60]);
        gw_buf_putc(out, digits[k >> 56 & 15]);
    }
}

static const struct {
    const char *name;
    Gw__Kind kind;
    uint32_t precision;
    int32_t scale;
} columns[] = {
    {"id", GW__KIND__KIND_INT64, 0, 0},        {"small", GW__KIND__KIND_INT32, 0, 0},
    {"amount", GW__KIND__KIND_NUMERIC, 20, 4}, {"ratio", GW__KIND__KIND_FLOAT64, 0, 0},
    {"flag", GW__KIND__KIND_BOOL, 0, 0},       {"born", GW__KIND__KIND_DATE, 0, 0},
    {"at", GW__KIND__KIND_TIMESTAMP, 6, 0},    {"uid", GW__KIND__KIND_UUID, 0, 0},
    {"label", GW__KIND__KIND_TEXT, 0, 0},      {"bytes", GW__KIND__KIND_BLOB, 0, 0},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static void
put_value(struct gw_buf *out, const struct memory *m, int64_t id, size_t i)
{
    uint64_t r = draw(m, id, i);
    unsigned year = 1970 + (unsigned)(r % 130), month = 1 + (unsigned)(r >> 8) % 12, day = 1 + (unsigned)(r >> 16) % 28;
    if (columns[i].kind == GW__KIND__KIND_INT64) {
        gw_buf_printf(out, "%" PRId64, id);
        return;
    }
    if (r >> 32 < UINT32_MAX / NULL_EVERY) {
        gw_copy_put_null(out);
        return;
    }
    switch (columns[i].kind) {
    case GW__KIND__KIND_INT32: gw_buf_printf(out, "%" PRId32, (int32_t)(uint32_t)r); break;
    case GW__KIND__KIND_NUMERIC:
        gw_buf_printf(out, "%s%" PRIu64 ".%04u", r & 1 ? "" : "-", 1 + r % UINT64_C(9000000000000000),
                      (unsigned)(r >> 20) % 10000);
        break;
    // An odd number of eighths: exact, and written alike by everyone.
    case GW__KIND__KIND_FLOAT64: gw_buf_printf(out, "%.3f", (double)((int32_t)(uint32_t)r / 8 * 2 + 1) / 8); break;
    case GW__KIND__KIND_BOOL: gw_buf_putc(out, r & 1 ? 't' : 'f'); break;
    case GW__KIND__KIND_DATE: gw_buf_printf(out, "%04u-%02u-%02u", year, month, day); break;
    case GW__KIND__KIND_TIMESTAMP:
        gw_buf_printf(out, "%04u-%02u-%02u %02u:%02u:%02u.%06u", year, month, day, (unsigned)(r >> 24) % 24,
                      (unsigned)(r >> 30) % 60, (unsigned)(r >> 36) % 60, 1 + (unsigned)(r >> 12) % 9 * 100001);
        break;
    case GW__KIND__KIND_UUID:
        gw_buf_printf(out, "%08x-%04x-4%03x-8%03x-%012" PRIx64, (unsigned)(r >> 32), (unsigned)(r & 0xffff),
                      (unsigned)(r >> 16 & 0xfff), (unsigned)(r >> 28 & 0xfff), (uint64_t)id & 0xffffffffffff);
        break;
    case GW__KIND__KIND_TEXT: put_text(out, m, id, r); break;
    default: put_bytes(out, m, r);
    }
}

// ---- open, catalogue ---------------------------------------------------------------------------

static void
memory_close(void *self)
{
    memset(self, 0, sizeof(struct memory));
}

static bool
whole(const char *s, char **end, int64_t max, int64_t *ret)
{
    long long v = strtoll(s, end, 10);
    *ret = v;
    return *s >= '0' && *s <= '9' && v <= max;
}

static bool
set_param(struct memory *m, const char *key, const char *value)
{
    char *end = NULL;
    int64_t v = 0;
    bool ok = whole(value, &end, INT64_C(1) << 48, &v);
    if (strcmp(key, "rows") == 0) {
        m->rows[0] = v;
        for (size_t i = 1; ok && i < TABLES_MAX; i++) {
            ok = *end != ',' || whole(end + 1, &end, INT64_C(1) << 48, &v);
            m->rows[i] = v;
        }
    } else if (strcmp(key, "tables") == 0) {
        m->tables = (uint32_t)v;
        ok = ok && v <= TABLES_MAX;
    } else if (strcmp(key, "seed") == 0) {
        m->seed = (uint64_t)v;
    } else if (strcmp(key, "width") == 0) {
        m->width = (uint64_t)v;
        ok = ok && v <= WIDTH_MAX;
    } else if (strcmp(key, "poison") == 0) {
        m->poison = (uint64_t)v;
    } else {
        return false;
    }
    return ok && *end == 0;
}

static int
memory_open(void *self, const Gw__Endpoint *ep, const char *password, struct gw_err *err)
{
    (void)password;
    struct memory *m = self;
    *m = (struct memory){.tables = 1, .seed = 1, .width = 32};
    snprintf(m->name, sizeof m->name, "%s", ep->host);
    set_param(m, "rows", "1000");
    for (size_t i = 0; i < ep->n_params; i++) {
        if (!set_param(m, ep->params[i]->key, ep->params[i]->value)) {
            return gw_err_set(err, GW_CONFIG, NULL, "memory source: parameter %s=%s is unknown or out of range",
                              ep->params[i]->key, ep->params[i]->value);
        }
    }
    return GW_OK;
}

// All that decides what the rows are.
static int
memory_identity(void *self, struct gw_arena *a, char **ret, struct gw_err *err)
{
    (void)err;
    struct memory *m = self;
    uint64_t hash = XXH64(m->rows, m->tables * sizeof *m->rows, m->seed) ^ (m->width << 32 | m->poison);
    *ret = gw_arena_printf(a, "memory:%s#%u.%016" PRIx64, m->name, m->tables, hash);
    return GW_OK;
}

static int
memory_list(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct memory *m = self;
    for (uint32_t i = 0; i < m->tables; i++) {
        Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
        t->schema = gw_arena_strdup(a, "main");
        t->name = gw_arena_printf(a, "t%u", i + 1);
        t->rows_estimate = (uint64_t)m->rows[i];
        t->bytes_estimate = t->rows_estimate * (140 + m->width * 3 / 2);
        gw_pb_add(a, cat, tables, t);
    }
    cat->engine = gw_arena_strdup(a, "memory");
    cat->server_version = gw_arena_strdup(a, "1");
    return memory_identity(m, a, &cat->identity, err);
}

static bool
table_no(const struct memory *m, const char *name, uint32_t *ret)
{
    char *end = NULL;
    long n = name[0] == 't' ? strtol(name + 1, &end, 10) : 0;
    *ret = (uint32_t)(n - 1);
    return n >= 1 && n <= (long)m->tables && *end == 0;
}

static int
memory_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        uint32_t no;
        t->source_schema = t->schema;
        t->source_name = t->name;
        if (!table_no(self, t->name, &no)) {
            Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
            f->severity = GW__SEVERITY__SEVERITY_ERROR;
            f->schema = t->source_schema;
            f->table = t->source_name;
            f->message = gw_arena_strdup(a, "the table is gone");
            gw_pb_add(a, cat, findings, f);
            continue;
        }
        for (size_t k = 0; k < COLUMNS; k++) {
            Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
            c->name = gw_arena_strdup(a, columns[k].name);
            c->type = gw_pb_new(a, Gw__Type, gw__type__init);
            c->type->kind = columns[k].kind;
            c->type->precision = columns[k].precision;
            c->type->scale = columns[k].scale;
            c->type->has_scale = columns[k].precision != 0;
            c->type->native = gw_arena_strdup(a, columns[k].name);
            c->is_lob = columns[k].kind == GW__KIND__KIND_TEXT || columns[k].kind == GW__KIND__KIND_BLOB;
            c->not_null = k == 0;
            c->identity = k == 0 ? GW__IDENTITY__IDENTITY_AUTO : GW__IDENTITY__IDENTITY_NONE;
            gw_pb_add(a, t, columns, c);
        }
        gw_pb_add(a, t, primary_key, gw_arena_strdup(a, "id"));
        Gw__Index *ix = gw_pb_new(a, Gw__Index, gw__index__init);
        Gw__IndexPart *part = gw_pb_new(a, Gw__IndexPart, gw__index_part__init);
        ix->name = gw_arena_printf(a, "%s_born_idx", t->name);
        part->column = gw_arena_strdup(a, "born");
        gw_pb_add(a, ix, parts, part);
        gw_pb_add(a, t, indexes, ix);
        t->engine = gw_arena_strdup(a, "memory");
        t->transactional = true;
        int r = memory_identity(self, a, &t->fingerprint, err);
        if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

static int
memory_sequences(void *self, Gw__Table *t, struct gw_err *err)
{
    (void)err;
    struct memory *m = self;
    uint32_t no;
    for (size_t i = 0; i < t->n_columns && table_no(m, t->source_name, &no); i++) {
        if (t->columns[i]->identity == GW__IDENTITY__IDENTITY_AUTO) {
            t->columns[i]->sequence_next = m->rows[no] + 1;
        }
    }
    return GW_OK;
}

// ---- snapshot, plan ----------------------------------------------------------------------------

static int
memory_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                      struct gw_err *err)
{
    struct memory *m = self;
    char *token = NULL;
    int r = memory_identity(m, a, &token, err);
    m->table = NULL;
    m->in_snapshot = false;
    if (r == GW_OK && handle && handle[0] && strcmp(handle, token) != 0) {
        return gw_err_set(err, GW_AGAIN, NULL, "snapshot \"%s\" is not of these rows", handle);
    }
    if (r == GW_OK) {
        m->in_snapshot = true;
        *ret_token = token;
        *ret_handle = gw_arena_strdup(a, token);
    }
    return r;
}

static Gw__Bound *
bound(struct gw_arena *a, int64_t id)
{
    Gw__Bound *b = gw_pb_new(a, Gw__Bound, gw__bound__init);
    gw_pb_add(a, b, values, gw_arena_printf(a, "%" PRId64, id));
    return b;
}

// The chunk starts where the last one of the plan has ended.
static Gw__Chunk *
add_chunk(struct gw_arena *a, Gw__TablePlan *plan, const Gw__Table *t, Gw__ChunkBy by, uint64_t bytes)
{
    Gw__Chunk *c = gw_pb_new(a, Gw__Chunk, gw__chunk__init);
    c->table_id = t->id;
    c->no = (uint32_t)plan->n_chunks;
    c->by = by;
    c->bytes_estimate = bytes;
    if (by != GW__CHUNK_BY__BY_WHOLE) {
        gw_pb_add(a, c, columns, gw_arena_strdup(a, "id"));
        c->lo = plan->n_chunks ? plan->chunks[plan->n_chunks - 1]->hi : NULL;
    }
    gw_pb_add(a, plan, chunks, c);
    return c;
}

static int
plan_ranges(struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, Gw__TablePlan *plan,
            struct gw_err *err)
{
    int64_t last = INT64_MIN, v = 0;
    bool ok = rule->n_columns == 1 && strcmp(rule->columns[0], "id") == 0 && rule->n_boundaries > 0;
    for (size_t i = 0; ok && i < rule->n_boundaries; i++, last = v) {
        char *end = NULL;
        ok = rule->boundaries[i]->n_values == 1 && whole(rule->boundaries[i]->values[0], &end, INT64_MAX, &v) &&
             *end == 0 && v > last;
        if (ok) {
            add_chunk(a, plan, t, GW__CHUNK_BY__BY_RANGE, t->bytes_estimate / (rule->n_boundaries + 1))->hi =
                bound(a, v);
        }
    }
    if (!ok) {
        return gw_err_set(err, GW_CONFIG, NULL, "rule \"%s\" for table \"%s\": only ascending ranges of column id",
                          rule->id, t->source_name);
    }
    add_chunk(a, plan, t, GW__CHUNK_BY__BY_RANGE, t->bytes_estimate / (rule->n_boundaries + 1));
    return GW_OK;
}

static int
memory_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes,
            uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err)
{
    (void)lanes;
    struct memory *m = self;
    Gw__ParallelType how = rule ? rule->parallel : GW__PARALLEL_TYPE__PARALLEL_AUTO;
    Gw__TablePlan made = *plan;
    uint32_t no;
    int r = GW_OK;
    gw_assert(m->in_snapshot);
    if (!table_no(m, t->source_name, &no)) {
        return gw_err_set(err, GW_CONFIG, NULL, "table \"%s\" is gone", t->source_name);
    }
    uint64_t rows = (uint64_t)m->rows[no], n = t->bytes_estimate / (chunk_bytes ? chunk_bytes : 1) + 1;
    n = rule && rule->number_of_partitions ? rule->number_of_partitions : n;
    n = n > CHUNKS_MAX ? CHUNKS_MAX : n;
    n = n > rows ? rows : n;
    if (how == GW__PARALLEL_TYPE__RANGES) {
        r = plan_ranges(a, t, rule, &made, err);
    } else if (how == GW__PARALLEL_TYPE__PARTITIONS_LIST) {
        r = gw_err_set(err, GW_CONFIG, NULL, "rule \"%s\" for table \"%s\": it has no partitions", rule->id,
                       t->source_name);
    } else if (how == GW__PARALLEL_TYPE__PARALLEL_NONE || n <= 1) {
        add_chunk(a, &made, t, GW__CHUNK_BY__BY_WHOLE, t->bytes_estimate);
    } else {
        for (uint64_t i = 0; i < n; i++) {
            Gw__Chunk *c = add_chunk(a, &made, t, GW__CHUNK_BY__BY_KEY, t->bytes_estimate / n);
            c->lo = c->lo ? c->lo : bound(a, 1);
            c->hi_inclusive = i == n - 1;
            c->hi =
                bound(a, c->hi_inclusive ? m->rows[no] : 1 + (int64_t)(rows / n * (i + 1) + rows % n * (i + 1) / n));
        }
    }
    if (r == GW_OK) {
        made.one_snapshot = false; // an id is the same row for ever
        *plan = made;
    }
    return r;
}

// ---- reading -----------------------------------------------------------------------------------

static int
memory_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    struct memory *m = self;
    gw_assert(m->in_snapshot && !m->table);
    struct gw_arena scratch;
    gw_arena_init(&scratch);
    char *now = NULL;
    uint32_t no = 0;
    int r = memory_identity(m, &scratch, &now, err);
    if (r == GW_OK && (strcmp(now, t->fingerprint) != 0 || !table_no(m, t->source_name, &no))) {
        r = gw_err_set(err, GW_CONFIG, NULL, "read table \"%s\": it has changed since the task began", t->source_name);
    }
    gw_arena_fini(&scratch);
    if (r != GW_OK) {
        return r;
    }
    // Ranges are those of DMS: without their lower bound, with their upper.
    bool range = c->by == GW__CHUNK_BY__BY_RANGE;
    int64_t lo = c->lo ? strtoll(c->lo->values[0], NULL, 10) + range : 1, end = m->rows[no] + 1;
    if (c->hi) {
        int64_t hi = strtoll(c->hi->values[0], NULL, 10);
        hi += (range || c->hi_inclusive) && hi < INT64_MAX;
        end = hi < end ? hi : end;
    }
    m->at = lo > 1 ? lo : 1;
    m->end = end;
    m->table = t;
    m->table_no = no;
    return GW_OK;
}

static void
put_row(const struct memory *m, struct gw_buf *out, int64_t id)
{
    for (size_t i = 0, n = 0; i < COLUMNS && i < m->table->n_columns; i++) {
        if (!m->table->columns[i]->left_out) {
            gw_buf_put(out, "\t", n++ ? 1 : 0);
            put_value(out, m, id, i);
        }
    }
    gw_buf_putc(out, '\n');
}

static int
memory_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows,
                  struct gw_err *err)
{
    struct memory *m = self;
    gw_assert(m->table);
    size_t start = out->len;
    uint32_t rows = 0;
    while (m->at < m->end && out->len < want && rows < rows_max) {
        size_t row = out->len;
        put_row(m, out, m->at);
        if (out->overflowed) { // behind other rows it may merely be the buffer's end
            out->len = row;
            out->overflowed = false;
            if (row > 0) {
                break;
            }
            out->len = start;
            return gw_err_set(err, GW_DATA, NULL, "row %" PRId64 " is larger than %zu bytes", m->at, out->max);
        }
        m->at++;
        rows++;
    }
    bool ended = m->at >= m->end;
    m->table = ended ? NULL : m->table;
    *ret_rows = rows;
    return ended ? GW_END : GW_OK;
}

static int
memory_chunk_cancel(void *self, struct gw_err *err)
{
    (void)err;
    ((struct memory *)self)->table = NULL;
    return GW_OK;
}

const struct gw_source_ops gw_source_memory = {
    .version = GW_SOURCE_VERSION,
    .name = "memory",
    .caps = GW_SOURCE_SHARED_SNAPSHOT | GW_SOURCE_SPLITS,
    .state_size = sizeof(struct memory),
    .open = memory_open,
    .close = memory_close,
    .identity = memory_identity,
    .list = memory_list,
    .describe = memory_describe,
    .snapshot_begin = memory_snapshot_begin,
    .plan = memory_plan,
    .chunk_begin = memory_chunk_begin,
    .chunk_next = memory_chunk_next,
    .chunk_cancel = memory_chunk_cancel,
    .sequences = memory_sequences,
};
