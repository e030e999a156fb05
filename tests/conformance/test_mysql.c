// What only MySQL and MariaDB do: definitions that change behind a snapshot, and a server that is source and target at once.
#include <stdio.h>
#include <string.h>

#include "common/db/my/my.h"
#include "conform.h"

#define DB    "gwconf_my"
#define OTHER "gwconf_my2"

struct fixture {
    struct conform *c;
    MYSQL *db; // the user's session
    void *self;
    Gw__Catalog *cat;
};

static void
run(struct fixture *f, const char *sql)
{
    conform_ok(f->c, gw_my_exec(f->db, &f->c->err, "%s", sql));
}

static struct fixture
start(void **state)
{
    struct fixture f = {.c = conform_start(state)};
    struct gw_my_server server;
    conform_ok(f.c, gw_my_connect(&f.db, f.c->task->source, getenv("GW_TEST_MYSQL_PASSWORD"),
                                  "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", 0, &server, &f.c->err));
    run(&f, "SET SESSION lock_wait_timeout = 20");
    run(&f, "DROP DATABASE IF EXISTS " DB);
    run(&f, "DROP DATABASE IF EXISTS " OTHER);
    run(&f, "CREATE DATABASE " DB " CHARACTER SET utf8mb4");
    run(&f, "CREATE DATABASE " OTHER " CHARACTER SET utf8mb4");
    run(&f, "USE " DB);
    return f;
}

static void
end(struct fixture *f)
{
    if (f->self) {
        conform_close_source(f->c, &f->self);
    }
    run(f, "DROP DATABASE " DB);
    run(f, "DROP DATABASE " OTHER);
    f->db = gw_my_close(f->db);
    conform_end(f->c);
}

// Every table of the database, described.
static Gw__Catalog *
describe(struct fixture *f)
{
    struct conform *c = f->c;
    f->self = conform_open_source(c);
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->source->list(f->self, &c->arena, cat, &c->err));
    size_t kept = 0;
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(cat->tables[i]->schema, DB) == 0) {
            cat->tables[kept++] = cat->tables[i];
        }
    }
    cat->n_tables = kept;
    conform_ok(c, c->source->describe(f->self, &c->arena, cat, &c->err));
    for (size_t i = 0; i < kept; i++) {
        cat->tables[i]->id = (uint32_t)i + 1;
    }
    f->cat = cat;
    return cat;
}

static const Gw__Table *
table(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->cat->n_tables; i++) {
        if (strcmp(f->cat->tables[i]->name, name) == 0) {
            return f->cat->tables[i];
        }
    }
    fail_msg("no table %s", name);
    return NULL;
}

static Gw__TablePlan *
plan(struct fixture *f, const Gw__Table *t)
{
    struct conform *c = f->c;
    char *token = NULL, *handle = NULL;
    Gw__TablePlan *p = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
    conform_ok(c, c->source->snapshot_begin(f->self, &c->arena, "", &token, &handle, &c->err));
    conform_ok(c, c->source->plan(f->self, &c->arena, t, NULL, 1 << 20, 4, p, &c->err));
    return p;
}

static void
same_rows(struct fixture *f, const Gw__Table *t, const Gw__TablePlan *p, const char *want_text)
{
    struct rows got = {0}, want = {0};
    conform_read_chunks(f->c, f->c->source, f->self, t, p, 1 << 20, UINT32_MAX, &got, NULL);
    rows_add(&want, want_text, strlen(want_text));
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
}

// Describe, snapshot, plan, `ddl`, read.
static void
changed(struct fixture *f, const char *name, const char *const *ddl, int want)
{
    const Gw__Table *t = table(f, name);
    Gw__TablePlan *p = plan(f, t);
    for (; *ddl; ddl++) {
        run(f, *ddl);
    }
    conform_is(f->c, f->c->source->chunk_begin(f->self, t, p->chunks[0], &f->c->err), want);
}

#define TABLE "CREATE TABLE t (id int PRIMARY KEY, a int, b int)"

static void
altered_behind_the_snapshot(void **state)
{
    struct fixture f = start(state);
    run(&f, TABLE);
    run(&f, "INSERT INTO t VALUES (1, 10, -10), (2, 20, -20)");
    // Made long ago, as far as seconds can tell.
    run(&f, "DO SLEEP(1.1)");
    describe(&f);
    const Gw__Table *t = table(&f, "t");
    same_rows(&f, t, plan(&f, t), "1\t10\t-10\n2\t20\t-20\n");
    // The definition is what it was; the old snapshot sees the new column empty.
    changed(&f, "t", (const char *[]){"ALTER TABLE t DROP COLUMN b", "ALTER TABLE t ADD COLUMN b int", NULL}, GW_AGAIN);
    run(&f, "UPDATE t SET b = 7");
    run(&f, "DO SLEEP(1.1)");
    same_rows(&f, t, plan(&f, t), "1\t10\t7\n2\t20\t7\n"); // in a new one
    changed(&f, "t", (const char *[]){"ALTER TABLE t FORCE", NULL}, GW_AGAIN);
    changed(&f, "t", (const char *[]){"TRUNCATE TABLE t", NULL}, GW_AGAIN);
    changed(&f, "t",
            (const char *[]){"ALTER TABLE t CHANGE a c int, CHANGE b a int", "ALTER TABLE t CHANGE c b int", NULL},
            GW_CONFIG);
    end(&f);
}

static void
partitions_behind_the_snapshot(void **state)
{
    struct fixture f = start(state);
    run(&f, TABLE " PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))");
    run(&f, "INSERT INTO t VALUES (1, 1, 1), (11, 1, 1)");
    describe(&f);
    changed(&f, "t", (const char *[]){"ALTER TABLE t TRUNCATE PARTITION p0", NULL}, GW_AGAIN);
    const Gw__Table *t = table(&f, "t");
    same_rows(&f, t, plan(&f, t), "11\t1\t1\n");
    // A later one: the rows of the first are on their way.
    run(&f, "INSERT INTO t VALUES (2, 2, 2)");
    Gw__TablePlan *p = plan(&f, t);
    run(&f, "ALTER TABLE t TRUNCATE PARTITION p1");
    struct gw_buf rows;
    uint32_t n = 0;
    gw_buf_init(&rows, 1 << 20);
    int r = f.c->source->chunk_begin(f.self, t, p->chunks[0], &f.c->err);
    while (r == GW_OK) {
        gw_buf_reset(&rows);
        r = f.c->source->chunk_next(f.self, &rows, 1, 1, &n, &f.c->err);
    }
    conform_either(f.c, r, GW_AGAIN, GW_RETRY);
    gw_buf_fini(&rows);
    conform_close_source(f.c, &f.self);
    f.self = conform_open_source(f.c);
    same_rows(&f, t, plan(&f, t), "2\t2\t2\n");
    // Between describe and the snapshot: no chunk would read it.
    run(&f, "ALTER TABLE t ADD PARTITION (PARTITION p2 VALUES LESS THAN (30))");
    run(&f, "INSERT INTO t VALUES (21, 1, 1)");
    changed(&f, "t", (const char *[]){NULL}, GW_CONFIG);
    end(&f);
}

static void
views_behind_the_snapshot(void **state)
{
    struct fixture f = start(state);
    run(&f, TABLE);
    run(&f, "INSERT INTO t VALUES (1, 10, -10)");
    run(&f, "CREATE VIEW v AS SELECT id, a, b FROM t");
    run(&f, "CREATE VIEW inner_view AS SELECT id, a, b FROM t");
    run(&f, "CREATE VIEW outer_view AS SELECT id, a, b, 'it''s `x`' AS c FROM (SELECT * FROM " DB ".inner_view) q");
    describe(&f);
    const Gw__Table *v = table(&f, "v");
    same_rows(&f, v, plan(&f, v), "1\t10\t-10\n");
    changed(&f, "v", (const char *[]){"ALTER TABLE t FORCE", NULL}, GW_AGAIN);
    same_rows(&f, v, plan(&f, v), "1\t10\t-10\n");
    changed(&f, "v", (const char *[]){"CREATE OR REPLACE VIEW v AS SELECT id, b AS a, a AS b FROM t", NULL}, GW_CONFIG);
    const Gw__Table *outer = table(&f, "outer_view");
    conform_close_source(f.c, &f.self);
    f.self = conform_open_source(f.c);
    same_rows(&f, outer, plan(&f, outer), "1\t10\t-10\tit's `x`\n");
    changed(&f, "outer_view",
            (const char *[]){"CREATE OR REPLACE VIEW inner_view AS SELECT id, b AS a, a AS b FROM t", NULL}, GW_CONFIG);
    end(&f);
}

// ---- preflight

static size_t
errors_of(struct fixture *f, const Gw__Catalog *cat, bool of_table, const char *word)
{
    struct conform *c = f->c;
    Gw__Catalog *found = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->target->preflight(c->a, &c->arena, cat, false, found, &c->err));
    size_t n = 0;
    for (size_t i = 0; i < found->n_findings; i++) {
        const Gw__Finding *x = found->findings[i];
        n += x->severity == GW__SEVERITY__SEVERITY_ERROR && (x->table[0] != 0) == of_table && strstr(x->message, word);
    }
    return n;
}

static void
set_schema(struct fixture *f, Gw__Catalog *cat, const char *schema)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        cat->tables[i]->schema = gw_arena_strdup(&f->c->arena, schema);
    }
}

static void
same_table_is_refused(void **state)
{
    struct fixture f = start(state);
    run(&f, TABLE);
    Gw__Catalog *cat = describe(&f);
    assert_int_equal(errors_of(&f, cat, false, "would be loaded into itself"), 1);
    set_schema(&f, cat, OTHER);
    assert_int_equal(errors_of(&f, cat, false, "would be loaded into itself"), 0);
    // Reached in another way, it is the same.
    set_schema(&f, cat, DB);
    struct conform *c = f.c;
    Gw__Endpoint *ep = gw_pb_dup(&c->arena, c->task->source);
    ep->host = gw_arena_strdup(&c->arena, strcmp(ep->host, "127.0.0.1") == 0 ? "127.0.0.2" : ep->host);
    void *other = calloc(1, c->source->state_size);
    if (c->source->open(other, ep, getenv("GW_TEST_MYSQL_PASSWORD"), NULL) == GW_OK) {
        conform_ok(c, c->source->identity(other, &c->arena, &cat->identity, &c->err));
        assert_int_equal(errors_of(&f, cat, false, "would be loaded into itself"), 1);
    }
    c->source->close(other);
    free(other);
    cat->identity = gw_arena_printf(&c->arena, "%s2", cat->identity); // another database there, whatever it is called
    char *slash = strrchr(cat->identity, '/');
    *slash = '_';
    assert_int_equal(errors_of(&f, cat, false, "would be loaded into itself"), 0);
    end(&f);
}

static void
generated_column_is_missed(void **state)
{
    struct fixture f = start(state);
    run(&f, "CREATE TABLE t (id int PRIMARY KEY, a int, twice int AS (a * 2) STORED)");
    run(&f, "CREATE TABLE " OTHER ".t (id int PRIMARY KEY, a int, twice int)");
    Gw__Catalog *cat = describe(&f);
    set_schema(&f, cat, OTHER);
    cat->tables[0]->columns[2]->left_out = true; // as it is mapped between equal engines
    f.c->task->load->prep_mode = GW__PREP_MODE__DO_NOTHING;
    assert_int_equal(errors_of(&f, cat, true, "its values would be missing"), 1);
    run(&f, "DROP TABLE " OTHER ".t");
    run(&f, "CREATE TABLE " OTHER ".t LIKE t");
    assert_int_equal(errors_of(&f, cat, true, ""), 0);
    end(&f);
}

static const struct conform_test tests[] = {
    {"altered behind the snapshot", altered_behind_the_snapshot},
    {"partitions behind the snapshot", partitions_behind_the_snapshot},
    {"views behind the snapshot", views_behind_the_snapshot},
    {"source and target are one table", same_table_is_refused},
    {"a generated column is plain on the target", generated_column_is_missed},
};

int
main(void)
{
    static const char *const engines[] = {"mysql"};
    return conform_run("mysql", tests, sizeof tests / sizeof *tests, engines, 1);
}
