#include "tests/apply/changes.h"

#include <dirent.h>
#include <unistd.h>

extern const struct gw_target_ops gw_target_memory;

// ---- the task ----------------------------------------------------------------------------------

static void
add_column(struct gw_arena *a, Gw__Table *t, const char *name, bool not_null)
{
    Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
    c->name = gw_arena_strdup(a, name);
    c->not_null = not_null;
    c->type = gw_pb_new(a, Gw__Type, gw__type__init);
    c->type->kind = GW__KIND__KIND_TEXT;
    gw_pb_add(a, t, columns, c);
    gw_pb_add(a, t, source_columns, c->name);
}

static Gw__Table *
new_table(struct gw_arena *a, uint32_t id, const char *name, const char *const *columns, size_t n, size_t key_n)
{
    Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
    t->id = id;
    t->schema = t->source_schema = gw_arena_strdup(a, "s");
    t->name = t->source_name = gw_arena_strdup(a, name);
    for (size_t i = 0; i < n; i++) {
        add_column(a, t, columns[i], i < key_n);
    }
    for (size_t i = 0; i < key_n; i++) {
        gw_pb_add(a, t, primary_key, t->columns[i]->name);
    }
    return t;
}

static void
add_unique(struct gw_arena *a, Gw__Table *t, const char *column)
{
    Gw__Index *x = gw_pb_new(a, Gw__Index, gw__index__init);
    Gw__IndexPart *p = gw_pb_new(a, Gw__IndexPart, gw__index_part__init);
    x->name = gw_arena_printf(a, "%s_%s", t->name, column);
    x->is_unique = true;
    p->column = gw_arena_strdup(a, column);
    gw_pb_add(a, x, parts, p);
    gw_pb_add(a, t, indexes, x);
}

static void
add_foreign_key(struct gw_arena *a, Gw__Table *t, const char *column, const Gw__Table *parent)
{
    Gw__ForeignKey *fk = gw_pb_new(a, Gw__ForeignKey, gw__foreign_key__init);
    fk->name = gw_arena_printf(a, "%s_%s", t->name, column);
    fk->ref_schema = parent->schema;
    fk->ref_table = parent->name;
    gw_pb_add(a, fk, columns, gw_arena_strdup(a, column));
    gw_pb_add(a, fk, ref_columns, parent->primary_key[0]);
    gw_pb_add(a, t, foreign_keys, fk);
}

static void
make_tables(struct fixture *f)
{
    struct gw_arena *a = &f->arena;
    const char *const parent[] = {"id", "u", "v"}, *const child[] = {"id", "parent_id", "w"};
    const char *const keyless[] = {"a", "b"}, *const pair[] = {"a", "b", "c"};
    Gw__Table *t[TABLES] = {new_table(a, PARENT, "parent", parent, 3, 1), new_table(a, CHILD, "child", child, 3, 1),
                            new_table(a, KEYLESS, "keyless", keyless, 2, 0), new_table(a, PAIR, "pair", pair, 3, 2)};
    add_unique(a, t[0], "u");
    add_foreign_key(a, t[1], "parent_id", t[0]);
    for (size_t i = 0; i < TABLES; i++) {
        f->tables[i] = gw_pb_new(a, Gw__StreamTable, gw__stream_table__init);
        f->tables[i]->source = f->tables[i]->target = t[i];
    }
}

static void
add_param(struct fixture *f, const char *key, const char *value)
{
    Gw__Setting *s = gw_pb_new(&f->arena, Gw__Setting, gw__setting__init);
    s->key = gw_arena_strdup(&f->arena, key);
    s->value = gw_arena_strdup(&f->arena, value);
    gw_pb_add(&f->arena, f->task->target, params, s);
}

static void
check(struct fixture *f, int r, const char *what)
{
    if (r != GW_OK) {
        fail_msg("%s: %s [%s]", what, f->err.message, f->err.code);
    }
}

static void
register_task(struct fixture *f)
{
    struct gw_arena *a = &f->arena;
    Gw__TargetState *s = gw_pb_new(a, Gw__TargetState, gw__target_state__init);
    s->task = f->task->name;
    s->task_uuid = f->task->uuid;
    s->progress = gw_pb_new(a, Gw__Progress, gw__progress__init);
    s->progress->position = gw_arena_strdup(a, "0");
    for (size_t i = 0; i < TABLES; i++) {
        Gw__TablePlan *p = gw_pb_new(a, Gw__TablePlan, gw__table_plan__init);
        p->source = p->target = f->tables[i]->target;
        p->generation = 1;
        gw_pb_add(a, s, tables, p);
    }
    check(f, gw_target_memory.state_register(&f->target, s, &f->err), "register");
    for (size_t i = 0; i < TABLES; i++) {
        check(f, gw_target_memory.prepare(&f->target, f->tables[i]->target, 1, &f->err), "prepare");
    }
}

void
fixture_init(struct fixture *f)
{
    gw_arena_init(&f->arena);
    gw_buf_init(&f->trace, SIZE_MAX / 2);
    gw_buf_puts(&f->trace, "");
    snprintf(f->dir, sizeof f->dir, "/tmp/gw-apply-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    struct gw_arena *a = &f->arena;
    f->task = gw_pb_new(a, Gw__Task, gw__task__init);
    f->task->name = gw_arena_strdup(a, "t");
    f->task->uuid = gw_arena_strdup(a, "11111111-1111-4111-8111-111111111111");
    f->task->control_schema = gw_arena_strdup(a, "godwit");
    f->task->target = gw_pb_new(a, Gw__Endpoint, gw__endpoint__init);
    f->task->errors = gw_pb_new(a, Gw__ErrorSettings, gw__error_settings__init);
    f->task->errors->data_error = f->task->errors->data_truncation = GW__ERROR_POLICY__LOG_ERROR;
    f->task->errors->table_error = GW__ERROR_POLICY__SUSPEND_TABLE;
    f->task->errors->apply_insert = f->task->errors->apply_update = GW__ERROR_POLICY__LOG_ERROR;
    add_param(f, "dir", f->dir);
    if (f->url_refuse[0]) {
        add_param(f, "refuse", f->url_refuse);
    }
    if (f->foreign_keys) {
        add_param(f, "foreign-keys", "on");
    }
    make_tables(f);
    check(f, gw_target_memory.open(&f->target, f->task, "owner", NULL, &f->err), "open");
    register_task(f);
    f->now_us = 1000000;
    fixture_start(f);
}

void
fixture_start(struct fixture *f)
{
    if (!f->target.open) {
        check(f, gw_target_memory.open(&f->target, f->task, "owner", NULL, &f->err), "open");
    }
    f->target.stream.trace = &f->trace;
    check(f, gw_target_memory.stream_claim(&f->target, &f->arena, f->in_order, &f->progress, &f->err), "claim");
    check(f,
          gw_applier_init(&f->applier, &gw_target_memory, &f->target, f->task, f->tables, TABLES, f->in_order,
                          &f->progress, f->now_us, &f->err),
          "init");
    f->open = true;
}

void
fixture_close(struct fixture *f)
{
    gw_target_memory.close(&f->target);
}

void
fixture_stop(struct fixture *f)
{
    if (f->open) {
        gw_applier_fini(&f->applier);
        f->open = false;
    }
    fixture_close(f);
}

void
fixture_fini(struct fixture *f)
{
    fixture_stop(f);
    gw_arena_fini(&f->arena);
    gw_buf_fini(&f->trace);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

// ---- scripts -----------------------------------------------------------------------------------

static uint32_t
table_id(const char *name, size_t *ret_n)
{
    static const char *const names[] = {"", "parent", "child", "keyless", "pair"};
    static const size_t widths[] = {0, 3, 3, 2, 3};
    for (uint32_t i = 1; i <= TABLES; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_n = widths[i];
            return i;
        }
    }
    fail_msg("no table %s", name);
    return 0;
}

static char *
word(char **at)
{
    char *w = *at + strspn(*at, " ()");
    size_t n = strcspn(w, " ()");
    *at = w[n] ? w + n + 1 : w + n;
    w[n] = 0;
    return w;
}

static void
read_values(char **at, struct gw_value *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *w = word(at);
        assert_true(w[0] != 0);
        v[i] = strcmp(w, "~") == 0   ? (struct gw_value){.given = GW_NOT_GIVEN}
               : strcmp(w, "-") == 0 ? (struct gw_value){.given = GW_NULL}
                                     : (struct gw_value){w, (uint32_t)strlen(w), GW_PRESENT};
    }
}

static void
encode_row(const char *kind, char *at, bool unsure, struct gw_buf *out)
{
    struct gw_value before[3], after[3];
    size_t n = 0;
    uint32_t table = table_id(word(&at), &n);
    if (strcmp(kind, "insert") == 0) {
        read_values(&at, after, n);
        gw_change_put_row(out, GW__CHANGE_KIND__CHANGE_INSERT, table, unsure, NULL, after, n);
    } else if (strcmp(kind, "delete") == 0) {
        read_values(&at, before, n);
        gw_change_put_row(out, GW__CHANGE_KIND__CHANGE_DELETE, table, unsure, before, NULL, n);
    } else if (strcmp(kind, "update") == 0) {
        bool old = at[strspn(at, " ")] == '(';
        if (old) {
            read_values(&at, before, n);
        }
        read_values(&at, after, n);
        gw_change_put_row(out, GW__CHANGE_KIND__CHANGE_UPDATE, table, unsure, old ? before : NULL, after, n);
    } else if (strcmp(kind, "truncate") == 0) {
        gw_change_put_truncate(out, table);
    } else if (strcmp(kind, "suspend") == 0) {
        gw_change_put_suspend(out, table, at);
    } else if (strcmp(kind, "tally") == 0) {
        Gw__Tally t = GW__TALLY__INIT;
        t.table = table;
        t.inserts = strtoul(word(&at), NULL, 10);
        t.updates = strtoul(word(&at), NULL, 10);
        t.deletes = strtoul(word(&at), NULL, 10);
        t.truncates = strtoul(word(&at), NULL, 10);
        gw_change_put_tally(out, &t, 1);
    } else {
        fail_msg("what is %s?", kind);
    }
}

static void
encode_line(char *line, struct gw_buf *out)
{
    bool unsure = line[0] == '?';
    char *at = line + unsure;
    const char *kind = word(&at);
    if (strcmp(kind, "begin") == 0) {
        gw_change_put_begin(out, word(&at), 1700000000000000);
    } else if (strcmp(kind, "commit") == 0) {
        gw_change_put_commit(out, word(&at), 1700000000000000);
    } else if (strcmp(kind, "keepalive") == 0) {
        gw_change_put_keepalive(out, word(&at));
    } else {
        encode_row(kind, at, unsure, out);
    }
}

uint32_t
script_encode(const char *script, struct gw_buf *out)
{
    uint32_t n = 0;
    char *copy = strdup(script), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " ");
        if (line[0]) {
            encode_line(line, out);
            n++;
        }
    }
    free(copy);
    return n;
}

int
feed_only(struct fixture *f, const char *script)
{
    struct gw_buf b;
    gw_buf_init(&b, SIZE_MAX / 2);
    uint32_t n = script_encode(script, &b);
    gw_err_clear(&f->err);
    // Exactly as long as it is: reading beyond it is found.
    char *payload = malloc(b.len + 1);
    memcpy(payload, b.data, b.len);
    payload = realloc(payload, b.len ? b.len : 1);
    int r = gw_applier_take(&f->applier, payload, b.len, n, f->now_us, &f->err);
    memset(payload, 0xee, b.len); // nothing may point into it any more
    free(payload);
    gw_buf_fini(&b);
    return r;
}

void
feed(struct fixture *f, const char *script)
{
    check(f, feed_only(f, script), script);
}

void
settle_all(struct fixture *f)
{
    check(f, gw_applier_end(&f->applier, f->now_us, &f->err), "end");
}

// ---- looking -----------------------------------------------------------------------------------

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *
table_text(struct fixture *f, uint32_t table)
{
    const struct memory_rows *r = memory_rows_find(&f->target, table);
    char **lines = gw_arena_calloc(&f->arena, r->n + 1, sizeof *lines);
    size_t n = 0, total = 1;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->rows[i].live) {
            struct gw_buf b;
            gw_buf_init(&b, SIZE_MAX / 2);
            memory_rows_text(r, i, &b);
            lines[n] = gw_arena_memdup0(&f->arena, b.data, b.len - 1);
            for (char *p = lines[n]; *p; p++) {
                *p = *p == '\t' ? ' ' : *p;
            }
            total += b.len + 3;
            n++;
            gw_buf_fini(&b);
        }
    }
    qsort(lines, n, sizeof *lines, by_text);
    char *all = gw_arena_calloc(&f->arena, total, 1);
    for (size_t i = 0; i < n; i++) {
        strcat(strcat(all, i ? " | " : ""), lines[i]);
    }
    return all;
}

void
trace_reset(struct fixture *f)
{
    gw_buf_reset(&f->trace);
    gw_buf_puts(&f->trace, "");
}

bool
traced(const struct fixture *f, const char *line)
{
    return strstr(f->trace.data, line) != NULL;
}

size_t
trace_count(const struct fixture *f, const char *prefix)
{
    size_t n = 0;
    for (const char *p = f->trace.data; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        n += strncmp(p, prefix, strlen(prefix)) == 0;
    }
    return n;
}

size_t
exceptions(struct fixture *f, struct gw_buf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < f->target.log.n_changes; i++) {
        char path[MEMORY_PATH + 128], *text = NULL;
        size_t len = 0;
        snprintf(path, sizeof path, "%s/%s", f->target.path, f->target.log.changes[i]);
        check(f, memory_read_file(path, &f->arena, &text, &len, &f->err), "read changes");
        for (char *p = text, *end; p < text + len; p = end + 1) {
            end = strchr(p, '\n');
            if (p[0] == '!') {
                n++;
                gw_buf_put(out, p, (size_t)(end - p + 1));
            }
        }
    }
    return n;
}

const Gw__Counts *
counts_of(struct fixture *f, uint32_t table)
{
    for (size_t i = 0; i < f->applier.durable_counts.n_tables; i++) {
        if (f->applier.durable_counts.tables[i]->table == table) {
            return f->applier.durable_counts.tables[i];
        }
    }
    static const Gw__Counts none;
    return &none;
}
