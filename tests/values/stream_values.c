// The load and the stream must store the same: stream_values SOURCE-URL TARGET-URL SCHEMA
//
// For each table of the source: its rows are loaded one by one, and read back from the target; then the table is emptied, the
// same rows are inserted as changes, one by one and all at once, and updated into rows without values; each time the same
// rows must be refused and the same text must be read back. At last each row must be found again by all its values.
// Passwords come from GW_SOURCE_PASSWORD and GW_TARGET_PASSWORD. One line a difference; exit code 1 if there is one.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/target.h"
#include "capture/source.h"
#include "common/copytext.h"
#include "common/url.h"

enum { ROWS_MAX = 4096, COLUMNS_MAX = 64 };

struct rows {
    char *at[ROWS_MAX];
    size_t len[ROWS_MAX], n;
};

static struct gw_arena arena;
static struct gw_err err;
static const struct gw_source_ops *source, *reader;
static const struct gw_target_ops *target;
static void *src, *dst;
static Gw__Task task = GW__TASK__INIT;
static int differences;
static size_t rows_n, refused_n;

static void
die(int rc, const char *what, const Gw__Table *t)
{
    fprintf(stderr, "%s %s: %s [%s] %s %s\n", what, t ? t->name : "", gw_class_name((enum gw_class)rc), err.code,
            err.message, err.detail);
    exit(2);
}
#define MUST(call, t)                                                                                                  \
    do {                                                                                                               \
        int rc_ = (call);                                                                                              \
        if (rc_ != GW_OK) {                                                                                            \
            die(rc_, #call, (t));                                                                                      \
        }                                                                                                              \
    } while (0)

static void
differ(const Gw__Table *t, const char *what, const char *row, size_t len)
{
    printf("%s: %s: %.*s\n", t->name, what, (int)(len > 200 ? 200 : len), row);
    differences++;
}

// ---- reading

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
read_rows(const struct gw_source_ops *ops, void *self, const Gw__Table *t, struct rows *out)
{
    char *token = NULL, *handle = NULL;
    Gw__TablePlan plan = GW__TABLE_PLAN__INIT;
    Gw__TableSettingsRule whole = GW__TABLE_SETTINGS_RULE__INIT;
    whole.parallel = GW__PARALLEL_TYPE__PARALLEL_NONE;
    MUST(ops->snapshot_begin(self, &arena, "", &token, &handle, &err), t);
    MUST(ops->plan(self, &arena, t, &whole, 1 << 30, 1, &plan, &err), t);
    MUST(ops->chunk_begin(self, t, plan.chunks[0], &err), t);
    struct gw_buf buf;
    gw_buf_init(&buf, 1 << 30);
    int rc = GW_OK;
    while (rc == GW_OK) {
        uint32_t n = 0;
        rc = ops->chunk_next(self, &buf, 1 << 30, UINT32_MAX, &n, &err);
    }
    if (rc != GW_END) {
        die(rc, "read", t);
    }
    out->n = 0;
    for (size_t at = 0, n; at < buf.len && out->n < ROWS_MAX; at += n) {
        n = gw_copy_row_len(buf.data + at, buf.len - at);
        out->len[out->n] = n;
        out->at[out->n++] = gw_arena_memdup0(&arena, buf.data + at, n);
    }
    gw_buf_fini(&buf);
}

// The table as it is on the target now, sorted.
static void
read_back(const Gw__Table *t, struct rows *out)
{
    void *self = calloc(1, reader->state_size);
    Gw__Catalog *cat = gw_pb_new(&arena, Gw__Catalog, gw__catalog__init);
    MUST(reader->open(self, task.target, getenv("GW_TARGET_PASSWORD"), &err), t);
    MUST(reader->list(self, &arena, cat, &err), t);
    Gw__Table *found = NULL;
    for (size_t i = 0; i < cat->n_tables; i++) {
        bool schema = !(target->caps & GW_TARGET_SCHEMAS) || strcmp(cat->tables[i]->schema, t->schema) == 0;
        found = schema && strcmp(cat->tables[i]->name, t->name) == 0 ? cat->tables[i] : found;
    }
    if (!found) {
        die(GW_BUG, "find", t);
    }
    cat->tables[0] = found;
    cat->n_tables = 1;
    MUST(reader->describe(self, &arena, cat, &err), t);
    read_rows(reader, self, cat->tables[0], out);
    qsort(out->at, out->n, sizeof *out->at, by_text);
    reader->close(self);
    free(self);
}

static void
compare(const Gw__Table *t, const char *what, const struct rows *want)
{
    static struct rows got;
    read_back(t, &got);
    for (size_t i = 0; i < want->n || i < got.n; i++) {
        const char *w = i < want->n ? want->at[i] : "", *g = i < got.n ? got.at[i] : "";
        if (strcmp(w, g) != 0) {
            differ(t, what, g, strlen(g));
            differ(t, "  where the load has", w, strlen(w));
            return;
        }
    }
}

// ---- sets

static struct gw_value *
values_of(const struct rows *rows, size_t columns)
{
    struct gw_value *out = gw_arena_calloc(&arena, rows->n * columns + 1, sizeof *out);
    struct gw_copy_field fields[COLUMNS_MAX];
    struct gw_buf plain;
    gw_buf_init(&plain, 1 << 30);
    for (size_t r = 0; r < rows->n; r++) {
        if (gw_copy_split(rows->at[r], rows->len[r], fields, COLUMNS_MAX) != columns) {
            die(GW_BUG, "split", NULL);
        }
        for (size_t i = 0; i < columns; i++) {
            gw_buf_reset(&plain);
            if (!fields[i].null) {
                gw_copy_unescape(&plain, fields[i].at, fields[i].len);
                out[r * columns + i] = (struct gw_value){
                    gw_arena_memdup0(&arena, plain.data ? plain.data : "", plain.len), (uint32_t)plain.len, GW_PRESENT};
            }
        }
    }
    gw_buf_fini(&plain);
    return out;
}

static uint64_t
apply(const Gw__Table *t, const struct gw_change_set *set, int *ret_rc)
{
    uint64_t n = 0;
    err = (struct gw_err){0};
    *ret_rc = target->stream_apply(dst, set, &n, &err);
    if (*ret_rc != GW_OK && *ret_rc != GW_DATA) {
        die(*ret_rc, "apply", t);
    }
    return n;
}

static int position;
static void
commit(const Gw__Table *t)
{
    char to[32];
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    snprintf(to, sizeof to, "%d", ++position);
    MUST(target->stream_commit(dst, to, &counts, &err), t);
    MUST(target->stream_begin(dst, &err), t);
}

static void
empty(const Gw__Table *t)
{
    int rc = GW_OK;
    struct gw_change_set set = {.table = t, .kind = GW__CHANGE_KIND__CHANGE_TRUNCATE};
    (void)apply(t, &set, &rc);
    if (rc != GW_OK) {
        die(rc, "empty", t);
    }
}

// ---- the load

static void
load(const Gw__Table *t, const struct rows *rows, bool *taken)
{
    Gw__Chunk chunk = GW__CHUNK__INIT, done = GW__CHUNK__INIT;
    chunk.table_id = t->id;
    chunk.generation = 1;
    uint64_t epoch = 0;
    struct gw_target_counts n = {.rows_read = rows->n};
    MUST(target->load_begin(dst, &arena, t, &chunk, true, &epoch, &done, &err), t);
    for (size_t r = 0; r < rows->n; r++) {
        int rc = target->load_write(dst, rows->at[r], rows->len[r], 1, &err);
        if (rc != GW_OK && rc != GW_DATA) {
            die(rc, "load", t);
        }
        taken[r] = rc == GW_OK;
        n.rows_written += taken[r];
        n.rows_refused += !taken[r];
    }
    rows_n += rows->n;
    refused_n += n.rows_refused;
    MUST(target->load_commit(dst, &n, "s", &err), t);
    Gw__Steps steps = GW__STEPS__INIT;
    MUST(target->finish_plan(dst, &arena, t, &steps, &err), t);
    for (size_t i = 0; i < steps.n_steps; i++) {
        if (steps.steps[i]->phase == GW__STEP_PHASE__STEP_KEYS) {
            MUST(target->finish_step(dst, t, steps.steps[i], 1, &err), t);
        }
    }
}

// ---- one table

static void
try_table(const Gw__Table *t, const struct rows *rows, const bool *taken)
{
    static struct rows want;
    uint32_t columns[COLUMNS_MAX], id = 0;
    size_t n = 0;
    for (uint32_t i = 0; i < t->n_columns; i++) {
        if (!t->columns[i]->left_out) {
            columns[n++] = i;
        }
    }
    const struct gw_value *all = values_of(rows, n);
    struct gw_value *good = gw_arena_calloc(&arena, rows->n * n + 1, sizeof *good), *ids, *nulls;
    size_t good_n = 0;
    int rc = GW_OK;
    read_back(t, &want);
    empty(t);
    struct gw_change_set set = {.table = t, .columns = columns, .columns_n = n, .n = 1};
    set.kind = GW__CHANGE_KIND__CHANGE_INSERT;
    for (size_t r = 0; r < rows->n; r++) {
        set.values = all + r * n;
        uint64_t got = apply(t, &set, &rc);
        if ((rc == GW_OK) != taken[r] || (rc == GW_OK && got != 1)) {
            differ(t, taken[r] ? "only the stream refuses" : "only the load refuses", rows->at[r], rows->len[r]);
            printf("  [%s] %s %s\n", err.code, err.message, err.detail);
        }
        if (taken[r]) {
            memcpy(good + good_n++ * n, all + r * n, n * sizeof *good);
        }
    }
    commit(t);
    compare(t, "inserted one by one", &want);
    // All at once.
    empty(t);
    set.values = good;
    set.n = good_n;
    if (good_n > 0 && (apply(t, &set, &rc) != good_n || rc != GW_OK)) {
        differ(t, "a set of all rows", err.message, strlen(err.message));
    }
    commit(t);
    compare(t, "inserted at once", &want);
    // Updated into.
    empty(t);
    ids = gw_arena_calloc(&arena, good_n + 1, sizeof *ids);
    nulls = gw_arena_calloc(&arena, good_n * n + 1, sizeof *nulls);
    for (size_t r = 0; r < good_n; r++) {
        ids[r] = nulls[r * n] = good[r * n];
    }
    set.values = nulls;
    if (good_n > 0 && apply(t, &set, &rc) == good_n) { // a type may not take NULL
        set.kind = GW__CHANGE_KIND__CHANGE_UPDATE;
        set.key = &id;
        set.key_n = 1;
        set.keys = ids;
        set.values = good;
        if (apply(t, &set, &rc) != good_n || rc != GW_OK) {
            differ(t, "an update of all rows", err.message, strlen(err.message));
        }
        commit(t);
        compare(t, "updated into", &want);
    }
    // Found again.
    set = (struct gw_change_set){.table = t, .key = columns, .key_n = n, .n = 1, .keyless = true};
    set.kind = GW__CHANGE_KIND__CHANGE_DELETE;
    for (size_t r = 0; r < good_n; r++) {
        set.keys = good + r * n;
        uint64_t got = apply(t, &set, &rc);
        if (rc != GW_OK || got != 1) {
            const struct gw_value *v = &good[r * n + n - 1];
            differ(t, "not found by its values", v->data ? v->data : "NULL", v->data ? v->len : 4);
            printf("  [%s] %s %s\n", err.code, err.message, err.detail);
        }
    }
    commit(t);
}

// ---- all of it

static Gw__Endpoint *
endpoint(const char *url)
{
    Gw__Endpoint *ep = gw_pb_new(&arena, Gw__Endpoint, gw__endpoint__init);
    MUST(gw_url_parse(url, &arena, ep, &err), NULL);
    return ep;
}

static void
open_all(char **argv)
{
    task.name = gw_arena_strdup(&arena, "values");
    task.uuid = gw_arena_strdup(&arena, "11111111-1111-4111-8111-111111111111");
    task.control_schema = gw_arena_strdup(&arena, "gwvalues");
    task.source = endpoint(argv[1]);
    task.target = endpoint(argv[2]);
    task.load = gw_pb_new(&arena, Gw__LoadSettings, gw__load_settings__init);
    task.load->prep_mode = GW__PREP_MODE__DROP_AND_CREATE;
    task.lob = gw_pb_new(&arena, Gw__LobSettings, gw__lob_settings__init);
    task.lob->support_lobs = true;
    task.errors = gw_pb_new(&arena, Gw__ErrorSettings, gw__error_settings__init);
    source = gw_source_find(task.source->engine);
    reader = gw_source_find(task.target->engine);
    target = gw_target_find(task.target->engine);
    src = calloc(1, source->state_size);
    dst = calloc(1, target->state_size);
    MUST(source->open(src, task.source, getenv("GW_SOURCE_PASSWORD"), &err), NULL);
    MUST(target->open(dst, &task, "00000000-0000-4000-8000-00000000000a", getenv("GW_TARGET_PASSWORD"), &err), NULL);
}

// What the mapping would do; tables that the target cannot have are left out.
static void
plan(Gw__Catalog *cat, const char *schema, Gw__TargetState *s)
{
    Gw__Catalog findings = GW__CATALOG__INIT;
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        t->id = (uint32_t)i + 1;
        t->schema = gw_arena_strdup(&arena, schema);
        for (size_t k = 0; k < t->n_columns; k++) {
            gw_pb_add(&arena, t, source_columns, t->columns[k]->name);
        }
    }
    MUST(target->preflight(dst, &arena, cat, false, &findings, &err), NULL);
    for (size_t i = 0; i < cat->n_tables; i++) {
        bool fine = true;
        for (size_t k = 0; k < findings.n_findings; k++) {
            const Gw__Finding *f = findings.findings[k];
            fine = fine &&
                   !(f->severity == GW__SEVERITY__SEVERITY_ERROR && strcmp(f->table, cat->tables[i]->source_name) == 0);
        }
        if (fine) {
            Gw__TablePlan *p = gw_pb_new(&arena, Gw__TablePlan, gw__table_plan__init);
            p->source = p->target = cat->tables[i];
            p->generation = 1;
            Gw__Chunk *c = gw_pb_new(&arena, Gw__Chunk, gw__chunk__init);
            c->table_id = cat->tables[i]->id;
            c->generation = 1;
            gw_pb_add(&arena, p, chunks, c);
            gw_pb_add(&arena, s, tables, p);
        }
    }
}

int
main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: stream_values SOURCE-URL TARGET-URL SCHEMA\n");
        return 2;
    }
    gw_arena_init(&arena);
    open_all(argv);
    Gw__Catalog *cat = gw_pb_new(&arena, Gw__Catalog, gw__catalog__init);
    MUST(source->list(src, &arena, cat, &err), NULL);
    MUST(source->describe(src, &arena, cat, &err), NULL);
    // Read as they are there, before they get the target's names.
    struct rows *rows = gw_arena_calloc(&arena, cat->n_tables + 1, sizeof *rows);
    for (size_t i = 0; i < cat->n_tables; i++) {
        read_rows(source, src, cat->tables[i], &rows[i]);
    }
    Gw__TargetState s = GW__TARGET_STATE__INIT;
    s.task = task.name;
    s.task_uuid = task.uuid;
    s.progress = gw_pb_new(&arena, Gw__Progress, gw__progress__init);
    s.progress->position = gw_arena_strdup(&arena, "0");
    plan(cat, argv[3], &s);
    MUST(target->state_drop(dst, &err), NULL); // a server may be shared by several runs
    MUST(target->state_register(dst, &s, &err), NULL);
    bool *taken = gw_arena_calloc(&arena, ROWS_MAX, sizeof *taken);
    for (size_t i = 0; i < s.n_tables; i++) {
        const Gw__Table *t = s.tables[i]->target;
        Gw__Progress progress = GW__PROGRESS__INIT;
        MUST(target->prepare(dst, t, 1, &err), t);
        load(t, &rows[t->id - 1], taken);
        MUST(target->stream_claim(dst, &arena, false, &progress, &err), t);
        MUST(target->stream_begin(dst, &err), t);
        try_table(t, &rows[t->id - 1], taken);
    }
    printf("%zu tables, %zu rows, %zu refused, %d differences\n", s.n_tables, rows_n, refused_n, differences);
    target->close(dst);
    source->close(src);
    return differences ? 1 : 0;
}
