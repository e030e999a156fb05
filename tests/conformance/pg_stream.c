#include "pg_stream.h"

#include <stdio.h>
#include <string.h>

void
run(PGconn *c, const char *sql, ...)
{
    char text[16384];
    va_list ap;
    va_start(ap, sql);
    vsnprintf(text, sizeof text, sql, ap);
    va_end(ap);
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", text, PQerrorMessage(c));
    }
    PQclear(r);
}

char *
ask(struct fixture *f, const char *sql, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, sql);
    vsnprintf(text, sizeof text, sql, ap);
    va_end(ap);
    PGresult *r = NULL;
    conform_ok(f->c, gw_pg_query(f->db, &r, text, 0, NULL, &f->c->err));
    char *value = PQntuples(r) ? gw_arena_strdup(&f->c->arena, PQgetvalue(r, 0, 0)) : NULL;
    PQclear(r);
    return value;
}

static PGconn *
connect_user(struct conform *c)
{
    PGconn *db = NULL;
    conform_ok(c, gw_pg_connect(&db, c->task->source, getenv("GW_TEST_POSTGRESQL_PASSWORD"), "test user", &c->err));
    run(db, "SET client_min_messages = error; SET lock_timeout = '20s'");
    return db;
}

// What a test that failed has left.
static void
drop_slots(PGconn *db)
{
    run(db, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL");
    for (int64_t end = gw_now_us() + 20 * GW_S;;) {
        PGresult *r = PQexec(db, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
        bool ok = PQresultStatus(r) == PGRES_TUPLES_OK;
        PQclear(r);
        if (ok) {
            break;
        }
        assert_true(gw_now_us() < end);
    }
    run(db, "DO $$ DECLARE p name; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP"
            " EXECUTE format('DROP PUBLICATION %%I', p); END LOOP; END $$");
}

struct fixture
pg_start(void **state, const char *sql)
{
    struct fixture f = {.c = conform_start(state)};
    f.db = connect_user(f.c);
    f.other = connect_user(f.c);
    drop_slots(f.db);
    run(f.db, "DROP SCHEMA IF EXISTS " SCHEMA " CASCADE; CREATE SCHEMA " SCHEMA);
    run(f.db, "SET search_path = " SCHEMA ", public");
    run(f.other, "SET search_path = " SCHEMA ", public");
    run(f.db, "%s", sql);
    gw_buf_init(&f.out, 64 << 20);
    f.start = (struct gw_stream_start){.task = f.c->task, .task_uuid = UUID};
    return f;
}

void
pg_end(struct fixture *f)
{
    if (f->self) {
        conform_ok(f->c, f->c->source->stream_close(f->self, &f->start, &f->c->err));
        assert_null(ask(f, "SELECT slot_name FROM pg_replication_slots"));
        conform_close_source(f->c, &f->self);
    }
    drop_slots(f->db);
    run(f->db, "DROP SCHEMA " SCHEMA " CASCADE");
    f->db = gw_pg_close(f->db);
    f->other = gw_pg_close(f->other);
    gw_buf_fini(&f->out);
    conform_end(f->c);
}

void
pg_describe(struct fixture *f)
{
    struct conform *c = f->c;
    if (!f->self) {
        f->self = conform_open_source(c);
    }
    Gw__Catalog *cat = f->cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->source->list(f->self, &c->arena, cat, &c->err));
    size_t kept = 0;
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(cat->tables[i]->schema, SCHEMA) == 0) {
            cat->tables[kept++] = cat->tables[i];
        }
    }
    cat->n_tables = kept;
    conform_ok(c, c->source->describe(f->self, &c->arena, cat, &c->err));
    for (size_t i = 0; i < kept; i++) { // between equal engines, as the mapping has it
        for (size_t k = 0; k < cat->tables[i]->n_columns; k++) {
            cat->tables[i]->columns[k]->left_out = cat->tables[i]->columns[k]->generated[0] != 0;
        }
    }
    f->start.tables = cat->tables;
    f->start.tables_n = kept;
}

void
pg_begin(struct fixture *f, const char *position)
{
    f->start.position = f->last = gw_arena_strdup(&f->c->arena, position);
    conform_ok(f->c, f->c->source->stream_begin(f->self, &f->start, &f->c->err));
}

void
pg_open(struct fixture *f)
{
    char *position = NULL;
    pg_describe(f);
    conform_ok(f->c, f->c->source->stream_open(f->self, &f->c->arena, &f->start, &position, &f->handle, &f->c->err));
    assert_true(f->handle[0]);
    pg_begin(f, position);
}

void
pg_restart(struct fixture *f, const char *position)
{
    conform_close_source(f->c, &f->self);
    f->self = conform_open_source(f->c);
    pg_begin(f, position);
}

// ---- events as text ----------------------------------------------------------------------------

static void
put_tuple(struct gw_buf *b, const Gw__Table *t, const struct gw_value *v, char open, char close, const char *absent)
{
    size_t n = 0;
    gw_buf_putc(b, open);
    for (size_t i = 0; i < t->n_columns; i++) {
        if (t->columns[i]->left_out) {
            continue;
        }
        gw_buf_puts(b, n ? "," : "");
        if (v[n].given == GW_PRESENT) {
            gw_buf_put(b, v[n].data, v[n].len);
        } else {
            gw_buf_puts(b, v[n].given == GW_NULL ? "NULL" : absent);
        }
        n++;
    }
    gw_buf_putc(b, close);
}

// "ALTERED t -> name(id, b<a, c+7)": b was a, rows have got 7 in c. What the table is now takes its place in the start.
static void
put_altered(struct fixture *f, const struct gw_event *e)
{
    struct gw_buf *b = &f->out;
    for (size_t i = 0; i < e->altered_n; i++) {
        const struct gw_altered *x = &e->altered[i];
        gw_buf_printf(b, "ALTERED %s -> ", x->from ? x->from->source_name : "");
        if (x->refused) {
            gw_buf_printf(b, "%s\n", x->refused);
            continue;
        }
        gw_buf_puts(b, x->to ? x->to->source_name : "");
        gw_buf_putc(b, '(');
        for (size_t k = 0; x->to && k < x->to->n_columns; k++) {
            const Gw__Column *c = x->to->columns[k];
            bool same = strcmp(c->was, c->name) == 0, fill = !c->was[0] && c->has_fill;
            gw_buf_printf(b, "%s%s%s%s%s%s", k ? ", " : "", c->name, same ? "" : "<", same ? "" : c->was,
                          fill ? "+" : "", fill ? c->fill : "");
        }
        gw_buf_puts(b, ")\n");
        for (size_t k = 0; k < f->start.tables_n; k++) {
            if (f->start.tables[k] == x->from && x->to) {
                f->cat->tables[k] = gw_pb_dup(&f->c->arena, x->to);
                f->cat->tables[k]->id = x->from->id;
            }
        }
    }
}

static void
put_event(struct fixture *f, const struct gw_event *e)
{
    struct gw_buf *b = &f->out;
    const Gw__Table *t = f->start.tables_n ? f->start.tables[e->table] : NULL;
    switch (e->kind) {
    case GW__CHANGE_KIND__CHANGE_BEGIN:
        assert_true(e->commit_us > INT64_C(1700000000000000));
        gw_buf_printf(b, "BEGIN%s%s\n", f->with_xids ? " " : "", f->with_xids ? e->transaction : "");
        break;
    case GW__CHANGE_KIND__CHANGE_COMMIT: gw_buf_puts(b, "COMMIT\n"); break;
    case GW__CHANGE_KIND__CHANGE_TRUNCATE: gw_buf_printf(b, "T %s\n", t->source_name); break;
    case GW__CHANGE_KIND__CHANGE_SUSPEND: gw_buf_printf(b, "SUSPEND %s: %s\n", t->source_name, e->text); break;
    case GW__CHANGE_KIND__CHANGE_KEEPALIVE: f->keepalives++; break;
    case GW__CHANGE_KIND__CHANGE_ALTERED: put_altered(f, e); break;
    default:
        gw_buf_printf(b, "%c %s",
                      e->kind == GW__CHANGE_KIND__CHANGE_INSERT   ? 'I'
                      : e->kind == GW__CHANGE_KIND__CHANGE_UPDATE ? 'U'
                                                                  : 'D',
                      t->source_name);
        if (e->before) {
            put_tuple(b, t, e->before, '[', ']', "-");
        }
        gw_buf_puts(b, e->before && e->after ? "->" : "");
        if (e->after) {
            put_tuple(b, t, e->after, '(', ')', "~");
        }
        gw_buf_putc(b, '\n');
        break;
    }
}

static int
cmp(const char *a, const char *b)
{
    int r = 99;
    assert_int_equal(gw_source_find("postgresql")->position_cmp(a, b, &r, NULL), GW_OK);
    return r;
}

const char *
pg_read(struct fixture *f)
{
    struct conform *c = f->c;
    char *now = NULL;
    conform_ok(c, c->source->stream_now(f->self, &c->arena, &now, &c->err));
    gw_buf_reset(&f->out);
    gw_buf_puts(&f->out, "");
    int64_t end = gw_now_us() + 60 * GW_S;
    bool in_tx = false, own = false; // its own transaction, which suspends tables, moves nothing
    while (in_tx || cmp(f->last, now) < 0) {
        struct gw_event e;
        int r = c->source->stream_next(f->self, end, &e, &c->err);
        conform_ok(c, r);
        put_event(f, &e);
        if (e.kind == GW__CHANGE_KIND__CHANGE_ALTERED) {
            break;
        }
        in_tx = e.kind == GW__CHANGE_KIND__CHANGE_BEGIN || (in_tx && e.kind != GW__CHANGE_KIND__CHANGE_COMMIT);
        own = e.kind == GW__CHANGE_KIND__CHANGE_BEGIN ? strcmp(e.transaction, "0") == 0 : own;
        if (e.position) {
            assert_false(in_tx);
            assert_true(cmp(f->last, e.position) < !!own); // strictly forward
            own = false;
            f->last = gw_arena_strdup(&c->arena, e.position);
        }
    }
    return f->out.data;
}

void
pg_expect_at(struct fixture *f, const char *want, const char *file, int line)
{
    const char *got = pg_read(f);
    if (strcmp(got, want) != 0) {
        fprintf(stderr, "%s:%d: the stream is\n%s--- and not\n%s", file, line, got, want);
        _fail(file, line);
    }
}

void
pg_fails_at(struct fixture *f, int r, int want, const char *text, const char *file, int line)
{
    if (r != want || !strstr(f->c->err.message, text)) {
        fprintf(stderr, "%s:%d: %s: [%s] %s (hint: %s), not \"%s\"\n", file, line, gw_class_name((enum gw_class)r),
                f->c->err.code, f->c->err.message, f->c->err.hint, text);
        _fail(file, line);
    }
    f->c->err = (struct gw_err){0};
}
