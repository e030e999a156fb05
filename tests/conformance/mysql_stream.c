#include "mysql_stream.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/copytext.h"

enum { PATIENCE_S = 40 };

void
log_run(struct log_fixture *f, const char *sql, ...)
{
    char text[16384];
    va_list ap;
    va_start(ap, sql);
    int n = vsnprintf(text, sizeof text, sql, ap);
    va_end(ap);
    assert_true(n > 0 && (size_t)n < sizeof text);
    conform_ok(f->c, gw_my_exec(f->db, &f->c->err, "%s", text));
}

struct log_fixture
log_start(void **state)
{
    struct log_fixture f = {.c = conform_start(state)};
    struct gw_my_server server;
    gw_buf_init(&f.lines, SIZE_MAX / 2);
    conform_ok(f.c, gw_my_connect(&f.db, f.c->task->source, getenv("GW_TEST_MYSQL_PASSWORD"),
                                  "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", 0, &server, &f.c->err));
    f.mariadb = server.mariadb;
    log_run(&f, "SET SESSION lock_wait_timeout = 20");
    log_run(&f, "DROP DATABASE IF EXISTS " SDB);
    log_run(&f, "CREATE DATABASE " SDB " CHARACTER SET utf8mb4");
    log_run(&f, "USE " SDB);
    return f;
}

void
log_forget(struct log_fixture *f)
{
    gw_buf_reset(&f->lines);
    f->commits = f->begins = 0;
}

void
log_end(struct log_fixture *f)
{
    if (f->self) {
        conform_close_source(f->c, &f->self);
    }
    log_run(f, "DROP DATABASE " SDB);
    f->db = gw_my_close(f->db);
    gw_buf_fini(&f->lines);
    free(f->positions);
    free(f->ends);
    free(f->transactions);
    conform_end(f->c);
}

void
log_needs(struct log_fixture *f, bool mariadb)
{
    if (f->mariadb != mariadb) {
        fprintf(stderr, "    only of %s\n", mariadb ? "MariaDB" : "MySQL");
        log_end(f);
        skip();
    }
}

void
log_open(struct log_fixture *f)
{
    struct conform *c = f->c;
    char *position = NULL, *handle = NULL;
    f->self = conform_open_source(c);
    Gw__Catalog *cat = f->cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->source->list(f->self, &c->arena, cat, &c->err));
    size_t kept = 0;
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(cat->tables[i]->schema, SDB) == 0) {
            cat->tables[kept++] = cat->tables[i];
        }
    }
    cat->n_tables = kept;
    conform_ok(c, c->source->describe(f->self, &c->arena, cat, &c->err));
    for (size_t i = 0; i < kept; i++) {
        cat->tables[i]->id = (uint32_t)i + 1;
    }
    f->start = (struct gw_stream_start){.task = c->task,
                                        .task_uuid = "55555555-5555-4555-8555-555555555555",
                                        .tables = cat->tables,
                                        .tables_n = cat->n_tables};
    conform_ok(c, c->source->stream_open(f->self, &c->arena, &f->start, &position, &handle, &c->err));
    assert_string_equal(handle, "");
    f->start.position = f->last = position;
}

void
log_begin(struct log_fixture *f)
{
    log_open(f);
    conform_ok(f->c, f->c->source->stream_begin(f->self, &f->start, &f->c->err));
}

int
log_try_again(struct log_fixture *f, const char *position)
{
    log_forget(f);
    if (f->self) {
        conform_close_source(f->c, &f->self);
    }
    f->self = conform_open_source(f->c);
    f->start.position = position;
    f->last = gw_arena_strdup(&f->c->arena, position);
    return f->c->source->stream_begin(f->self, &f->start, &f->c->err);
}

void
log_again(struct log_fixture *f, const char *position)
{
    conform_ok(f->c, log_try_again(f, position));
}

uint32_t
log_table(const struct log_fixture *f, const char *name)
{
    for (size_t i = 0; i < f->cat->n_tables; i++) {
        if (strcmp(f->cat->tables[i]->name, name) == 0) {
            return (uint32_t)i;
        }
    }
    fail_msg("no table %s", name);
    return 0;
}

// ---- lines -------------------------------------------------------------------------------------

static void
put_values(struct log_fixture *f, const struct gw_event *e, const struct gw_value *v)
{
    const Gw__Table *t = f->cat->tables[e->table];
    bool first = true;
    for (size_t i = 0, k = 0; i < t->n_columns; i++) {
        if (t->columns[i]->left_out) {
            continue;
        }
        gw_buf_puts(&f->lines, first ? "" : "|");
        first = false;
        if (v[k].given == GW_PRESENT) {
            gw_buf_put(&f->lines, v[k].data, v[k].len);
        } else {
            gw_buf_puts(&f->lines, v[k].given == GW_NULL ? "\\N" : "?");
        }
        k++;
    }
}

static void
copy_values(struct log_fixture *f, const struct gw_event *e, const struct gw_value *v)
{
    const Gw__Table *t = f->cat->tables[e->table];
    struct gw_buf row;
    size_t n = 0;
    gw_buf_init(&row, SIZE_MAX / 2);
    for (size_t i = 0; i < t->n_columns; i++) {
        n += !t->columns[i]->left_out;
    }
    for (size_t k = 0; k < n; k++) {
        gw_buf_puts(&row, k ? "\t" : "");
        if (v[k].given == GW_PRESENT) {
            gw_copy_put_field(&row, v[k].data, v[k].len);
        } else {
            gw_buf_puts(&row, v[k].given == GW_NULL ? "\\N" : "?");
        }
    }
    gw_buf_putc(&row, '\n');
    rows_add(f->copies, row.data, row.len);
    gw_buf_fini(&row);
}

static void
grow(struct log_fixture *f)
{
    size_t most = f->commits > f->begins ? f->commits : f->begins;
    if (most < f->cap) {
        return;
    }
    f->cap = f->cap ? f->cap * 2 : 64;
    f->positions = realloc(f->positions, f->cap * sizeof *f->positions);
    f->ends = realloc(f->ends, f->cap * sizeof *f->ends);
    f->transactions = realloc(f->transactions, f->cap * sizeof *f->transactions);
    assert_true(f->positions && f->ends && f->transactions);
}

// "A t -> name(id, b<a, c+7)": b was a, rows have got 7 in c. "R t why": it is refused.
static void
put_altered(struct log_fixture *f, const struct gw_event *e)
{
    struct gw_buf *b = &f->lines;
    for (size_t i = 0; i < e->altered_n; i++) {
        const struct gw_altered *x = &e->altered[i];
        if (x->refused) {
            gw_buf_printf(b, "R %s %s\n", x->from ? x->from->name : "", x->refused);
            continue;
        }
        gw_buf_printf(b, "A %s -> %s(", x->from ? x->from->name : "", x->to ? x->to->source_name : "");
        for (size_t k = 0; x->to && k < x->to->n_columns; k++) {
            const Gw__Column *c = x->to->columns[k];
            bool same = strcmp(c->was, c->name) == 0, fill = !c->was[0] && c->has_fill;
            gw_buf_printf(b, "%s%s%s%s%s%s", k ? ", " : "", c->name, same ? "" : "<", same ? "" : c->was,
                          fill ? "+" : "", fill ? c->fill : "");
        }
        gw_buf_puts(b, ")\n");
        for (size_t k = 0; k < f->cat->n_tables; k++) {
            if (f->cat->tables[k] == x->from && x->to) {
                f->cat->tables[k] = gw_pb_dup(&f->c->arena, x->to);
            }
        }
    }
}

static void
put_event(struct log_fixture *f, const struct gw_event *e)
{
    if (e->kind == GW__CHANGE_KIND__CHANGE_ALTERED) {
        put_altered(f, e);
        return;
    }
    bool of_table = e->kind == GW__CHANGE_KIND__CHANGE_INSERT || e->kind == GW__CHANGE_KIND__CHANGE_UPDATE ||
                    e->kind == GW__CHANGE_KIND__CHANGE_DELETE || e->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE ||
                    e->kind == GW__CHANGE_KIND__CHANGE_SUSPEND;
    static const char letters[] = "?BIUDTCKS";
    grow(f);
    if (e->position) {
        f->last = gw_arena_strdup(&f->c->arena, e->position);
    }
    if (e->kind == GW__CHANGE_KIND__CHANGE_KEEPALIVE) {
        return;
    }
    gw_buf_putc(&f->lines, letters[e->kind]);
    if (of_table) {
        gw_buf_printf(&f->lines, " %s ", f->cat->tables[e->table]->name);
    }
    if (e->before && e->kind != GW__CHANGE_KIND__CHANGE_INSERT) {
        put_values(f, e, e->before);
        gw_buf_puts(&f->lines, e->after ? " > " : "");
    }
    if (e->after) {
        put_values(f, e, e->after);
    }
    if (f->copies && e->kind == GW__CHANGE_KIND__CHANGE_INSERT) {
        copy_values(f, e, e->after);
    }
    if (e->text) {
        gw_buf_puts(&f->lines, e->text);
    }
    gw_buf_putc(&f->lines, '\n');
    if (e->kind == GW__CHANGE_KIND__CHANGE_BEGIN) {
        f->transactions[f->begins++] = gw_arena_strdup(&f->c->arena, e->transaction);
    }
    if (e->kind == GW__CHANGE_KIND__CHANGE_COMMIT) {
        assert_non_null(e->position);
        f->positions[f->commits] = f->last;
        f->ends[f->commits++] = f->lines.len;
    }
}

static int
collect(struct log_fixture *f, const char *until)
{
    struct conform *c = f->c;
    int64_t patience = gw_now_us() + PATIENCE_S * GW_S;
    for (;;) {
        struct gw_event e;
        int order = -1;
        if (until) {
            conform_ok(c, c->source->position_cmp(f->last, until, &order, &c->err));
        }
        if (order >= 0) {
            return GW_OK;
        }
        int64_t before = gw_now_us();
        int r = c->source->stream_next(f->self, before + 200 * GW_MS, &e, &c->err);
        assert_true(gw_now_us() - before < 3 * GW_S);
        if (r == GW_OK) {
            put_event(f, &e);
            if (e.kind == GW__CHANGE_KIND__CHANGE_ALTERED) {
                return GW_OK;
            }
        } else if (r != GW_AGAIN) {
            return r;
        }
        if (gw_now_us() > patience) {
            fail_msg("the stream stands at %s and does not reach %s", f->last, until ? until : "its end");
        }
    }
}

void
log_catch_up(struct log_fixture *f)
{
    char *now = NULL;
    conform_ok(f->c, f->c->source->stream_now(f->self, &f->c->arena, &now, &f->c->err));
    conform_ok(f->c, collect(f, now));
}

struct gw_err
log_until_failure(struct log_fixture *f)
{
    struct gw_err err = {0};
    (void)collect(f, NULL);
    err = f->c->err;
    gw_err_clear(&f->c->err);
    return err;
}

void
log_is(struct log_fixture *f, const char *want)
{
    log_catch_up(f);
    const char *got = f->lines.len ? f->lines.data : "";
    if (strcmp(got, want) != 0) {
        fail_msg("got:\n%s\nwant:\n%s", got, want);
    }
    log_forget(f);
}

bool
log_suspends(struct log_fixture *f, const char *table, const char *why)
{
    char line[100];
    log_catch_up(f);
    snprintf(line, sizeof line, "S %s ", table);
    char *at = f->lines.len ? strstr(f->lines.data, line) : NULL;
    char *end = at ? strchr(at, '\n') : NULL;
    bool said = end && memmem(at, (size_t)(end - at), why, strlen(why));
    if (at && (!said || strstr(at + 1, line))) {
        fail_msg("\"%s\" in \"%s\"", why, f->lines.data);
    }
    log_forget(f);
    return at;
}
