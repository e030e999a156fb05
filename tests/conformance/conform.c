#include "conform.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/targets/memory/memory_target.h"
#include "common/copytext.h"
#include "common/url.h"

static struct conform *current; // of the test that runs

// ---- endpoints ---------------------------------------------------------------------------------

static const char *
env_of(const char *engine, const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "GW_TEST_%s_%s", engine, what);
    for (char *p = name; *p; p++) {
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    }
    return getenv(name);
}

static const char *
url_of(struct conform *c, bool source)
{
    if (strcmp(c->engine, "sqlite") == 0) {
        return gw_arena_printf(&c->arena, "sqlite:%s/db?busy-timeout-ms=2000", c->dir);
    }
    if (strcmp(c->engine, "memory") == 0) {
        return source ? "memory://conform?tables=3&rows=3000,0,1"
                      : gw_arena_printf(&c->arena, "memory://conform?dir=%s/m&refuse=poison", c->dir);
    }
    return env_of(c->engine, "URL");
}

static Gw__Endpoint *
endpoint(struct conform *c, const char *url)
{
    Gw__Endpoint *ep = gw_pb_new(&c->arena, Gw__Endpoint, gw__endpoint__init);
    conform_ok(c, gw_url_parse(url, &c->arena, ep, &c->err));
    return ep;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

struct conform *
conform_start(void **state)
{
    const char *engine = *state;
    bool own = strcmp(engine, "sqlite") == 0 || strcmp(engine, "memory") == 0;
    if (!own && !env_of(engine, "URL")) {
        fprintf(stderr, "%s: no GW_TEST_…_URL\n", engine);
        if (getenv("GW_TEST_REQUIRE_ALL")) {
            fail_msg("engine %s has no endpoint, and GW_TEST_REQUIRE_ALL is set", engine);
        }
        skip();
    }
    alarm(CONFORM_TIMEOUT_S); // what hangs, fails
    struct conform *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->engine = engine;
    gw_arena_init(&c->arena);
    snprintf(c->dir, sizeof c->dir, "/tmp/gw-conform-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    c->target = gw_target_find(engine);
    c->source = gw_source_find(engine);

    Gw__Task *t = c->task = gw_pb_new(&c->arena, Gw__Task, gw__task__init);
    t->name = gw_arena_strdup(&c->arena, "conform's \"task\"");
    t->uuid = gw_arena_strdup(&c->arena, CONFORM_TASK);
    t->control_schema = gw_arena_strdup(&c->arena, "gwconform");
    t->mapping_hash = gw_arena_strdup(&c->arena, "h");
    t->load = gw_pb_new(&c->arena, Gw__LoadSettings, gw__load_settings__init);
    t->load->prep_mode = GW__PREP_MODE__DROP_AND_CREATE;
    t->load->commit_rate = 10000;
    t->lob = gw_pb_new(&c->arena, Gw__LobSettings, gw__lob_settings__init);
    t->lob->support_lobs = true;
    t->errors = gw_pb_new(&c->arena, Gw__ErrorSettings, gw__error_settings__init);
    t->chunk_bytes = 64 << 20;
    t->batch_bytes = 1 << 20;
    t->window_bytes = 8 << 20;
    t->source = endpoint(c, url_of(c, true));
    t->target = endpoint(c, url_of(c, false));
    current = c;
    if (c->target) {
        c->a = conform_open_target(c, "00000000-0000-4000-8000-00000000000a");
        c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
    }
    return c;
}

void
conform_end(struct conform *c)
{
    if (c->target) {
        conform_close_target(c, &c->a);
        conform_close_target(c, &c->b);
        void *last = conform_open_target(c, "00000000-0000-4000-8000-0000000000ff");
        conform_ok(c, c->target->state_drop(last, &c->err));
        conform_close_target(c, &last);
    }
    nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    gw_arena_fini(&c->arena);
    free(c);
    current = NULL;
    alarm(0);
}

// After a failure: what is left open would keep the next test from its tables.
static int
teardown(void **state)
{
    (void)state;
    struct conform *c = current;
    current = NULL;
    for (size_t i = 0; c && i < sizeof c->sources / sizeof *c->sources; i++) {
        if (c->sources[i]) {
            c->source->close(c->sources[i]);
            free(c->sources[i]);
        }
    }
    for (size_t i = 0; c && i < sizeof c->targets / sizeof *c->targets; i++) {
        if (c->targets[i]) {
            c->target->close(c->targets[i]);
            free(c->targets[i]);
        }
    }
    if (c) {
        nftw(c->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        gw_arena_fini(&c->arena);
        free(c);
    }
    return 0;
}

// Exchanges one pointer of a list for another.
static void
track(void **list, size_t n, const void *from, void *to)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == from) {
            list[i] = to;
            return;
        }
    }
}

int
conform_run(const char *program, const struct conform_test *tests, size_t n, const char *const *engines,
            size_t engines_n)
{
    struct CMUnitTest *all = calloc(n * engines_n, sizeof *all);
    size_t k = 0;
    const char *only = getenv("GW_TEST_ENGINE");
    for (size_t e = 0; e < engines_n; e++) {
        for (size_t i = 0; i < n && (!only || strcmp(only, engines[e]) == 0); i++) {
            char *name = NULL;
            if (asprintf(&name, "%s: %s", engines[e], tests[i].name) < 0) {
                abort();
            }
            all[k].name = name;
            all[k].test_func = tests[i].run;
            all[k].teardown_func = teardown;
            all[k++].initial_state = (void *)(uintptr_t)engines[e];
        }
    }
    int failed = _cmocka_run_group_tests(program, all, k, NULL, NULL);
    for (size_t i = 0; i < k; i++) {
        free((void *)(uintptr_t)all[i].name);
    }
    free(all);
    return failed;
}

void
conform_is_at(struct conform *c, int r, int want, const char *what, const char *file, int line)
{
    conform_either_at(c, r, want, want, what, file, line);
}

void
conform_either_at(struct conform *c, int r, int one, int two, const char *what, const char *file, int line)
{
    if (r != one && r != two) {
        fprintf(stderr, "%s:%d: %s: %s is %s, not %s: [%s] %s | %s\n", file, line, c->engine, what,
                gw_class_name((enum gw_class)r), gw_class_name((enum gw_class)one), c->err.code, c->err.message,
                c->err.detail);
        _fail(file, line);
    }
    c->err = (struct gw_err){0};
}

static const char *
password_of(const struct conform *c)
{
    return env_of(c->engine, "PASSWORD");
}

void *
conform_open_target(struct conform *c, const char *owner)
{
    void *self = calloc(1, c->target->state_size);
    assert_non_null(self);
    track(c->targets, sizeof c->targets / sizeof *c->targets, NULL, self);
    conform_ok(c, c->target->open(self, c->task, owner, password_of(c), &c->err));
    return self;
}

void
conform_close_target(struct conform *c, void **self)
{
    if (*self) {
        track(c->targets, sizeof c->targets / sizeof *c->targets, *self, NULL);
        c->target->close(*self);
        free(*self);
        *self = NULL;
    }
}

void *
conform_open_source(struct conform *c)
{
    assert_non_null(c->source);
    void *self = calloc(1, c->source->state_size);
    assert_non_null(self);
    track(c->sources, sizeof c->sources / sizeof *c->sources, NULL, self);
    conform_ok(c, c->source->open(self, c->task->source, password_of(c), &c->err));
    return self;
}

void
conform_close_source(struct conform *c, void **self)
{
    if (*self) {
        track(c->sources, sizeof c->sources / sizeof *c->sources, *self, NULL);
        c->source->close(*self);
        free(*self);
        *self = NULL;
    }
}

// ---- rows --------------------------------------------------------------------------------------

void
rows_add(struct rows *r, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = gw_copy_row_len(text + at, len - at);
        assert_true(n > 0); // whole rows only
        if (r->n == r->cap) {
            r->cap = r->cap ? r->cap * 2 : 1024;
            r->items = realloc(r->items, r->cap * sizeof *r->items);
            assert_non_null(r->items);
        }
        char *item = malloc(n);
        assert_non_null(item);
        for (size_t i = 0; i < n - 1; i++) { // a NUL would hide the rest
            item[i] = text[at + i] ? text[at + i] : '\1';
        }
        item[n - 1] = 0;
        r->items[r->n++] = item;
        at += n;
    }
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
rows_equal(struct rows *got, struct rows *want)
{
    struct rows *both[] = {got, want};
    for (size_t i = 0; i < 2; i++) {
        if (both[i]->n) {
            qsort(both[i]->items, both[i]->n, sizeof *both[i]->items, by_text);
        }
    }
    for (size_t i = 0; i < got->n && i < want->n; i++) {
        if (strcmp(got->items[i], want->items[i]) != 0) {
            fprintf(stderr, "got:  %s\nwant: %s\n", got->items[i], want->items[i]);
            fail_msg("row %zu in order differs", i);
        }
    }
    assert_int_equal(got->n, want->n);
}

void
rows_free(struct rows *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->items[i]);
    }
    free(r->items);
    *r = (struct rows){0};
}

void
conform_spell_bools(const Gw__Table *t, struct rows *rows, size_t from)
{
    size_t field = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        bool digits = strcmp(t->columns[i]->name, "flag") == 0 && t->columns[i]->type->kind == GW__KIND__KIND_INT8;
        for (size_t k = from; digits && !t->columns[i]->left_out && k < rows->n; k++) {
            struct gw_copy_field fields[64];
            assert_true(gw_copy_split(rows->items[k], strlen(rows->items[k]), fields, 64) > field);
            char *at = rows->items[k] + (fields[field].at - rows->items[k]);
            assert_true(fields[field].null || (fields[field].len == 1 && (*at == '0' || *at == '1')));
            *at = fields[field].null ? *at : *at == '1' ? 't' : 'f';
        }
        field += !t->columns[i]->left_out;
    }
}

void
conform_read_chunks(struct conform *c, const struct gw_source_ops *ops, void *self, const Gw__Table *t,
                    const Gw__TablePlan *plan, size_t want, uint32_t rows_max, struct rows *out, size_t *counts)
{
    struct gw_buf buf;
    gw_buf_init(&buf, 64 << 20);
    for (size_t i = 0; i < plan->n_chunks; i++) {
        conform_ok(c, ops->chunk_begin(self, t, plan->chunks[i], &c->err));
        int r = GW_OK;
        size_t before = out->n;
        while (r == GW_OK) {
            gw_buf_reset(&buf);
            uint32_t rows = 12345;
            r = ops->chunk_next(self, &buf, want, rows_max, &rows, &c->err);
            conform_either(c, r, GW_OK, GW_END);
            size_t had = out->n;
            rows_add(out, buf.data ? buf.data : "", buf.len);
            assert_int_equal(out->n - had, rows);
            assert_true(rows <= rows_max);
            assert_true(r == GW_END || buf.len >= want || rows == rows_max);
        }
        conform_spell_bools(t, out, before);
        if (counts) {
            counts[i] = out->n - before;
        }
    }
    gw_buf_fini(&buf);
}

// ---- tables ------------------------------------------------------------------------------------

static void *
open_memory(struct conform *c, const char *url)
{
    const struct gw_source_ops *ops = gw_source_find("memory");
    assert_non_null(ops);
    void *self = calloc(1, ops->state_size);
    assert_non_null(self);
    conform_ok(c, ops->open(self, endpoint(c, url), NULL, &c->err));
    return self;
}

Gw__Catalog *
conform_memory_catalog(struct conform *c, const char *url)
{
    const struct gw_source_ops *ops = gw_source_find("memory");
    void *self = open_memory(c, url);
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, ops->list(self, &c->arena, cat, &c->err));
    conform_ok(c, ops->describe(self, &c->arena, cat, &c->err));
    ops->close(self);
    free(self);
    for (size_t i = 0; i < cat->n_tables; i++) { // as the transform stage would
        Gw__Table *t = cat->tables[i];
        t->id = (uint32_t)i + 1;
        t->schema = gw_arena_strdup(&c->arena, "gwconf");
        for (size_t k = 0; k < t->n_columns; k++) {
            gw_pb_add(&c->arena, t, source_columns, t->columns[k]->name);
        }
    }
    return cat;
}

static void
read_whole(struct conform *c, const struct gw_source_ops *ops, void *self, const Gw__Table *t, struct rows *out)
{
    char *token = NULL, *handle = NULL;
    Gw__TablePlan plan = GW__TABLE_PLAN__INIT;
    Gw__TableSettingsRule whole = GW__TABLE_SETTINGS_RULE__INIT;
    whole.parallel = GW__PARALLEL_TYPE__PARALLEL_NONE;
    conform_ok(c, ops->snapshot_begin(self, &c->arena, "", &token, &handle, &c->err));
    conform_ok(c, ops->plan(self, &c->arena, t, &whole, 1 << 30, 1, &plan, &c->err));
    assert_int_equal(plan.n_chunks, 1);
    conform_read_chunks(c, ops, self, t, &plan, 1 << 20, UINT32_MAX, out, NULL);
}

void
conform_memory_rows(struct conform *c, const char *url, const Gw__Table *t, struct rows *out)
{
    const struct gw_source_ops *ops = gw_source_find("memory");
    void *self = open_memory(c, url);
    read_whole(c, ops, self, t, out);
    ops->close(self);
    free(self);
}

static void
read_file(const char *path, struct rows *out)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, f), size);
    fclose(f);
    rows_add(out, text, (size_t)size);
    free(text);
}

// While the task is there, its rows as its log says, with what a stream made of them.
static bool
read_memory_rows(struct conform *c, const Gw__Table *t, struct rows *out)
{
    struct memory_target *m = conform_open_target(c, "00000000-0000-4000-8000-0000000000ff");
    void *self = m;
    conform_ok(c, memory_log_open(m, &c->err));
    bool there = m->log.state && !m->log.dropped && memory_log_table(m, t->id);
    if (there) {
        conform_ok(c, memory_rows_load(m, &c->err));
        const struct memory_rows *r = memory_rows_find(m, t->id);
        struct gw_buf line;
        gw_buf_init(&line, 64 << 20);
        for (uint32_t i = 0; i < r->n; i++) {
            if (r->rows[i].live) {
                gw_buf_reset(&line);
                memory_rows_text(r, i, &line);
                rows_add(out, line.data, line.len);
            }
        }
        gw_buf_fini(&line);
    }
    conform_close_target(c, &self);
    return there;
}

// Afterwards, all files of the table.
static void
read_memory_files(struct conform *c, const Gw__Table *t, struct rows *out)
{
    char folder[256], path[640];
    snprintf(folder, sizeof folder, "%s/m/%s.%s", c->dir, t->schema, t->name);
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.' && strcmp(e->d_name, "columns") != 0 && !strstr(e->d_name, ".refused")) {
            read_file(path, out);
        }
    }
    closedir(d);
}

void
conform_read_back(struct conform *c, const Gw__Table *t, struct rows *out)
{
    if (strcmp(c->engine, "memory") == 0) {
        if (!read_memory_rows(c, t, out)) {
            read_memory_files(c, t, out);
        }
        return;
    }
    void *self = conform_open_source(c);
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->source->list(self, &c->arena, cat, &c->err));
    const Gw__Table *found = NULL;
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *it = cat->tables[i];
        bool schema = !(c->target->caps & GW_TARGET_SCHEMAS) || strcmp(it->schema, t->schema) == 0;
        if (schema && strcasecmp(it->name, t->name) == 0) {
            cat->tables[0] = it;
            found = it;
        }
    }
    assert_non_null(found);
    cat->n_tables = 1;
    conform_ok(c, c->source->describe(self, &c->arena, cat, &c->err));
    for (size_t i = 0; i < cat->n_findings; i++) {
        assert_true(cat->findings[i]->severity != GW__SEVERITY__SEVERITY_ERROR);
    }
    read_whole(c, c->source, self, found, out);
    conform_close_source(c, &self);
}

// ---- the task ----------------------------------------------------------------------------------

Gw__TargetState *
conform_state(struct conform *c, Gw__Catalog *cat, uint32_t chunks)
{
    Gw__TargetState *s = gw_pb_new(&c->arena, Gw__TargetState, gw__target_state__init);
    s->exists = true;
    s->task = c->task->name;
    s->task_uuid = c->task->uuid;
    s->mapping_hash = gw_arena_strdup(&c->arena, "a hash");
    s->source_identity = gw_arena_strdup(&c->arena, "memory:it's me");
    s->source_engine = gw_arena_strdup(&c->arena, "memory");
    s->started_us = 1700000000123456;
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__TablePlan *p = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
        p->source = p->target = cat->tables[i];
        p->generation = 1;
        for (uint32_t k = 0; k < chunks; k++) {
            Gw__Chunk *ch = gw_pb_new(&c->arena, Gw__Chunk, gw__chunk__init);
            ch->table_id = cat->tables[i]->id;
            ch->no = k;
            ch->generation = 1;
            ch->bytes_estimate = CONFORM_ESTIMATE + k;
            ch->plan_id = gw_arena_strdup(&c->arena, CONFORM_PLAN);
            gw_pb_add(&c->arena, p, chunks, ch);
        }
        gw_pb_add(&c->arena, s, tables, p);
    }
    return s;
}

void
conform_register(struct conform *c, Gw__TargetState *state)
{
    conform_ok(c, c->target->state_drop(c->a, &c->err));
    conform_ok(c, c->target->state_register(c->a, state, &c->err));
}

void
conform_load(struct conform *c, void *self, const Gw__Table *t, uint32_t no, const char *text, size_t len,
             uint32_t rows)
{
    Gw__Chunk chunk = GW__CHUNK__INIT, done = GW__CHUNK__INIT;
    chunk.table_id = t->id;
    chunk.no = no;
    chunk.generation = 1;
    chunk.bytes_estimate = CONFORM_ESTIMATE + no;
    chunk.plan_id = gw_arena_strdup(&c->arena, CONFORM_PLAN);
    uint64_t epoch = 0;
    conform_ok(c, c->target->load_begin(self, &c->arena, t, &chunk, false, &epoch, &done, &c->err));
    assert_true(epoch > 0);
    if (rows) {
        conform_ok(c, c->target->load_write(self, text, len, rows, &c->err));
    }
    struct gw_target_counts n = {.rows_read = rows, .rows_written = rows, .bytes = len};
    conform_ok(c, c->target->load_commit(self, &n, "a snapshot", &c->err));
}
