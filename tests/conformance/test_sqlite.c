// What SQLite lets into a column, whatever its type, is in the target's column as it was in the source's: class,
// digits, bytes. And what another engine's rows would lose on the way in is refused.
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conform.h"

static void
run(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
}

static sqlite3 *
open_file(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

// Every value with its class; reals by their bits.
static void
dump(const char *path, const char *table, struct rows *out)
{
    sqlite3 *db = open_file(path);
    char sql[256], line[4096];
    sqlite3_stmt *q = NULL;
    snprintf(sql, sizeof sql, "SELECT * FROM \"%s\" ORDER BY rowid", table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        size_t n = 0;
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            int type = sqlite3_column_type(q, i);
            n += (size_t)snprintf(line + n, sizeof line - n, "%d:", type);
            uint64_t bits = 0;
            double real = sqlite3_column_double(q, i);
            memcpy(&bits, &real, sizeof bits);
            if (type == SQLITE_FLOAT) {
                n += (size_t)snprintf(line + n, sizeof line - n, "%016llx ", (unsigned long long)bits);
                continue;
            }
            const unsigned char *p = sqlite3_column_blob(q, i);
            for (int k = 0; p && k < sqlite3_column_bytes(q, i); k++) {
                n += (size_t)snprintf(line + n, sizeof line - n, "%02x", p[k]);
            }
            n += (size_t)snprintf(line + n, sizeof line - n, " ");
        }
        snprintf(line + n, sizeof line - n, "\n");
        rows_add(out, line, strlen(line));
    }
    sqlite3_finalize(q);
    sqlite3_close(db);
}

#define TABLE                                                                                                          \
    "(id INTEGER PRIMARY KEY AUTOINCREMENT, i INT, r REAL, n DECIMAL(10,2), t TEXT, v "                                \
    "VARCHAR(3), b BLOB,"                                                                                              \
    " x, d DATE, ts TIMESTAMP, o BOOLEAN, j JSON, u UUID, y YEAR, UNIQUE (id, x) ON CONFLICT "                         \
    "IGNORE)"

static const char *const values[] = {
    "NULL",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1.5",
    "-0.0",
    "0.1",
    "1e300",
    "-1.7976931348623157e308",
    "4.9406564584124654e-324",
    "3.0000000000000004",
    "9e999",
    "-9e999",
    "1e20",
    "''",
    "'abc'",
    "'12'",
    "'1.10'",
    "'0x10'",
    "' 5'",
    "'1e5'",
    "'NaN'",
    "'Infinity'",
    "'t'",
    "'tab\there'",
    "'line' || char(10) || 'x\\y' || char(13)",
    "'nul' || char(0) || 'behind'",
    "char(0)",
    "'\xc3\xa9\xf0\x9f\x90\xa6'",
    "CAST(x'ff' AS TEXT)",
    "CAST(x'ff69' AS TEXT)",
    "CAST(x'c3' AS TEXT)",
    "x''",
    "x'00'",
    "x'ff00fe'",
    "x'5c4e'",
    "'2024-01-02'",
    "'2024-13-45'",
    "'2024-01-02 03:04:05'",
    "'2024-01-02T03:04:05.123456'",
    "'2024-01-02 03:04:05.1234567'",
    "'infinity'",
    "'00000000-0000-4000-8000-000000000001'",
    "'00000000-0000-4000-8000-00000000000A'",
    "'{\"a\": 1.0}'",
    "'\\N'",
    "'\\\\x41'",
    "'18446744073709551615'",
    "'00012'",
    "'-'",
    "1e15",
    "123456789012345678",
    "9007199254740993",
    "9007199254740993.0",
};

static struct conform *
start(void **state, char *source, char *target, size_t size)
{
    *state = (void *)(uintptr_t) "sqlite";
    struct conform *c = conform_start(state);
    snprintf(target, size, "%s/db", c->dir);
    snprintf(source, size, "%s/source", c->dir);
    c->task->source->database = gw_arena_strdup(&c->arena, source);
    return c;
}

static Gw__Catalog *
described(struct conform *c)
{
    void *self = conform_open_source(c);
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->source->list(self, &c->arena, cat, &c->err));
    conform_ok(c, c->source->describe(self, &c->arena, cat, &c->err));
    conform_close_source(c, &self);
    for (size_t i = 0; i < cat->n_tables; i++) {
        cat->tables[i]->id = (uint32_t)i + 1;
        for (size_t k = 0; k < cat->tables[i]->n_columns; k++) {
            gw_pb_add(&c->arena, cat->tables[i], source_columns, cat->tables[i]->columns[k]->name);
        }
    }
    return cat;
}

static void
copy(struct conform *c, const Gw__Table *from, const Gw__Table *t)
{
    void *self = conform_open_source(c);
    char *token = NULL, *handle = NULL;
    Gw__TablePlan plan = GW__TABLE_PLAN__INIT;
    struct gw_buf rows;
    gw_buf_init(&rows, 64 << 20);
    uint32_t n = 0;
    Gw__TableSettingsRule whole = GW__TABLE_SETTINGS_RULE__INIT;
    whole.parallel = GW__PARALLEL_TYPE__PARALLEL_NONE;
    conform_ok(c, c->source->snapshot_begin(self, &c->arena, "", &token, &handle, &c->err));
    conform_ok(c, c->source->plan(self, &c->arena, from, &whole, 1, 1, &plan, &c->err));
    conform_ok(c, c->source->chunk_begin(self, from, plan.chunks[0], &c->err));
    conform_is(c, c->source->chunk_next(self, &rows, 64 << 20, UINT32_MAX, &n, &c->err), GW_END);
    conform_close_source(c, &self);
    conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
    conform_load(c, c->a, t, 0, rows.data, rows.len, n);
    gw_buf_fini(&rows);
    Gw__Steps steps = GW__STEPS__INIT;
    conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &steps, &c->err));
    for (size_t i = 0; i < steps.n_steps; i++) {
        conform_ok(c, c->target->finish_step(c->a, t, steps.steps[i], 1, &c->err));
    }
}

static void
every_value_in_every_column(void **state)
{
    char source[128], target[128], sql[8192];
    struct conform *c = start(state, source, target, sizeof source);
    sqlite3 *db = open_file(source);
    run(db, "CREATE TABLE plain " TABLE "; CREATE TABLE renamed " TABLE);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        for (int t = 0; t < 2; t++) {
            const char *v = values[i];
            snprintf(sql, sizeof sql,
                     "INSERT OR ABORT INTO %s (i, r, n, t, v, b, x, d, ts, o, j, u, y) VALUES (%s, "
                     "%s, %s,"
                     " %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                     t ? "renamed" : "plain", v, v, v, v, v, v, v, v, v, v, v, v, v);
            run(db, sql);
        }
    }
    run(db, "INSERT INTO plain (id) VALUES (900); DELETE FROM plain WHERE id = 900");
    sqlite3_close(db);
    Gw__Catalog *cat = described(c);
    assert_int_equal(cat->n_tables, 2);
    Gw__Catalog *as_described = gw_pb_dup(&c->arena, cat);
    cat->tables[1]->name = gw_arena_strdup(&c->arena, "other");
    cat->tables[1]->columns[1]->name = gw_arena_strdup(&c->arena, "whole"); // not from the native text any more
    conform_register(c, conform_state(c, cat, 1));
    for (size_t i = 0; i < 2; i++) {
        copy(c, as_described->tables[i], cat->tables[i]);
        struct rows want = {0}, got = {0};
        dump(source, i ? "renamed" : "plain", &want);
        dump(target, i ? "other" : "plain", &got);
        assert_int_equal(want.n, sizeof values / sizeof *values);
        rows_equal(&got, &want);
        rows_free(&want);
        rows_free(&got);
    }
    conform_end(c);
}

// Rows of another engine: values that a column here would alter are refused, each by itself.
static void
lossy_values_are_refused(void **state)
{
    char source[128], target[128];
    struct conform *c = start(state, source, target, sizeof source);
    Gw__Catalog *cat = conform_memory_catalog(c, "memory://x?rows=0");
    Gw__Table *t = cat->tables[0]; // id, small, amount, ratio, flag …
    t->n_columns = t->n_source_columns = 5;
    t->n_indexes = 0;
    Gw__Column *big = gw_pb_dup(&c->arena, t->columns[0]);
    big->name = gw_arena_strdup(&c->arena, "big");
    big->identity = GW__IDENTITY__IDENTITY_NONE;
    big->type->is_unsigned = true;
    t->columns[1] = big;
    conform_register(c, conform_state(c, cat, 1));
    conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
    uint64_t epoch = 0;
    Gw__Chunk chunk = GW__CHUNK__INIT, done = GW__CHUNK__INIT;
    chunk.table_id = t->id;
    chunk.generation = 1;
    chunk.bytes_estimate = CONFORM_ESTIMATE;
    chunk.plan_id = gw_arena_strdup(&c->arena, CONFORM_PLAN);
    conform_ok(c, c->target->load_begin(c->a, &c->arena, t, &chunk, true, &epoch, &done, &c->err));
    static const char *const kept[] = {
        "1\t9223372036854775807\t1.10\t0.1\tt\n",
        "2\t9223372036854775808\t00.50\t1e+300\tf\n",
        "3\t18446744073709551615\t-12345678901234567890.1234567890\tNaN\t\\N\n",
        "4\t0\tNaN\t-Infinity\tt\n",
    };
    static const char *const refused[] = {
        "\\N\t1\t1\t1.5\tt\n",                 // the key would become a number of SQLite's choice
        "9223372036854775808\t1\t1\t1.5\tt\n", // a key beyond the rowid
        "5\t1\t1\t-0\tt\n",                    // a column of reals has no -0
        "6\tabc\t1\t1.5\tt\n",
        "7\t1\t1\tabc\tt\n",
        "8\t1\t1\t1.5\tyes\n",
        "9\t1\t1\t1e999\tt\n",
        "1\t1\t1\t1.5\tt\n", // the key is there
    };
    for (size_t i = 0; i < 4; i++) {
        conform_ok(c, c->target->load_write(c->a, kept[i], strlen(kept[i]), 1, &c->err));
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        conform_is(c, c->target->load_write(c->a, refused[i], strlen(refused[i]), 1, &c->err), GW_DATA);
    }
    struct gw_target_counts n = {.rows_read = 12, .rows_written = 4, .rows_refused = 8};
    conform_ok(c, c->target->load_commit(c->a, &n, "s", &c->err));
    conform_close_target(c, &c->a);
    sqlite3 *db = open_file(target);
    sqlite3_stmt *q = NULL;
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT group_concat(id || ' ' || typeof(big) || ' ' || big || ' ' || amount || ' '"
                           " || typeof(ratio), char(10)) FROM t1",
                           -1, &q, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(q, 0), "1 integer 9223372036854775807 1.10 real\n"
                                                   "2 text 9223372036854775808 00.50 real\n"
                                                   "3 text 18446744073709551615 -12345678901234567890.1234567890 text\n"
                                                   "4 integer 0 NaN real");
    sqlite3_finalize(q);
    sqlite3_close(db);
    conform_end(c);
}

// A table that is there already, with columns that would alter what is written into them.
static void
existing_columns_are_looked_at(void **state)
{
    char source[128], target[128];
    struct conform *c = start(state, source, target, sizeof source);
    sqlite3 *db = open_file(target);
    run(db, "CREATE TABLE t1 (id INTEGER PRIMARY KEY, small REAL, amount NUMERIC, ratio TEXT, flag "
            "INT, born DATE, at TEXT,"
            " uid BLOB, label INT, bytes TEXT)");
    sqlite3_close(db);
    c->task->load->prep_mode = GW__PREP_MODE__TRUNCATE_BEFORE_LOAD;
    Gw__Catalog *cat = conform_memory_catalog(c, "memory://x?rows=0"),
                *found = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->target->preflight(c->a, &c->arena, cat, false, found, &c->err));
    char said[256] = "";
    for (size_t i = 0; i < found->n_findings; i++) {
        if (found->findings[i]->severity == GW__SEVERITY__SEVERITY_ERROR) {
            snprintf(said + strlen(said), sizeof said - strlen(said), "%s ", found->findings[i]->object);
        }
    }
    assert_string_equal(said, "small amount ratio label ");
    conform_end(c);
}

// Errors whose message holds the word, of tables or of the whole task.
static size_t
errors_of(struct conform *c, const Gw__Catalog *cat, bool of_table, const char *word)
{
    Gw__Catalog *found = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->target->preflight(c->a, &c->arena, cat, false, found, &c->err));
    size_t n = 0;
    for (size_t i = 0; i < found->n_findings; i++) {
        const Gw__Finding *x = found->findings[i];
        n += x->severity == GW__SEVERITY__SEVERITY_ERROR && (x->table[0] != 0) == of_table && strstr(x->message, word);
    }
    return n;
}

// The file under another name is the same file.
static void
same_file_is_refused(void **state)
{
    char source[128], target[128];
    static const char said[] = "would be loaded into itself";
    struct conform *c = start(state, source, target, sizeof source);
    sqlite3 *db = open_file(source);
    run(db, "CREATE TABLE t1 (id INTEGER PRIMARY KEY)");
    sqlite3_close(db);
    Gw__Catalog *cat = described(c);
    assert_int_equal(errors_of(c, cat, false, said), 0); // no file yet
    assert_int_equal(link(source, target), 0);
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "00000000-0000-4000-8000-00000000000a");
    assert_int_equal(errors_of(c, cat, false, said), 1);
    cat->tables[0]->name = gw_arena_strdup(&c->arena, "other");
    assert_int_equal(errors_of(c, cat, false, said), 0);
    cat->tables[0]->name = gw_arena_strdup(&c->arena, "T1");
    unlink(target);
    assert_int_equal(symlink(source, target), 0);
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "00000000-0000-4000-8000-00000000000a");
    assert_int_equal(errors_of(c, cat, false, said), 1);
    unlink(target);
    conform_end(c);
}

// What an existing table would do to rows without a word: compute nothing, number NULLs; and its triggers do not fire.
static void
existing_tables_are_looked_at(void **state)
{
    char source[128], target[128];
    struct conform *c = start(state, source, target, sizeof source);
    sqlite3 *db = open_file(source);
    run(db, "CREATE TABLE t1 (a INT, b INT AS (a * 2) STORED)");
    sqlite3_close(db);
    db = open_file(target);
    run(db, "CREATE TABLE t1 (a INTEGER PRIMARY KEY, b INT)");
    Gw__Catalog *cat = described(c);
    cat->tables[0]->columns[1]->left_out = true; // as it is mapped between equal engines
    c->task->load->prep_mode = GW__PREP_MODE__DO_NOTHING;
    assert_int_equal(errors_of(c, cat, true, "its values would be missing"), 1);
    assert_int_equal(errors_of(c, cat, true, "would number rows itself"), 1);
    run(db, "DROP TABLE t1; CREATE TABLE t1 (a INT, b INT AS (a * 2) STORED);"
            "CREATE TRIGGER odd BEFORE INSERT ON t1 WHEN new.a % 2 BEGIN SELECT RAISE(IGNORE); END");
    sqlite3_close(db);
    assert_int_equal(errors_of(c, cat, true, ""), 0);
    conform_register(c, conform_state(c, cat, 1));
    conform_ok(c, c->target->prepare(c->a, cat->tables[0], 1, &c->err));
    Gw__Chunk chunk = GW__CHUNK__INIT, done = GW__CHUNK__INIT;
    chunk.table_id = cat->tables[0]->id;
    chunk.generation = 1;
    chunk.bytes_estimate = CONFORM_ESTIMATE;
    chunk.plan_id = gw_arena_strdup(&c->arena, CONFORM_PLAN);
    uint64_t epoch = 0;
    conform_ok(c, c->target->load_begin(c->a, &c->arena, cat->tables[0], &chunk, true, &epoch, &done, &c->err));
    conform_ok(c, c->target->load_write(c->a, "2\n", 2, 1, &c->err));
    conform_ok(c, c->target->load_write(c->a, "4\n3\n", 4, 2, &c->err));
    struct gw_target_counts n = {.rows_read = 3, .rows_written = 3};
    conform_ok(c, c->target->load_commit(c->a, &n, "s", &c->err));
    struct rows got = {0}, want = {0};
    dump(target, "t1", &got);
    static const char all[] = "1:32 1:34 \n1:34 1:38 \n1:33 1:36 \n";
    rows_add(&want, all, sizeof all - 1);
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    conform_end(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_file_is_refused),           cmocka_unit_test(existing_tables_are_looked_at),
        cmocka_unit_test(every_value_in_every_column),    cmocka_unit_test(lossy_values_are_refused),
        cmocka_unit_test(existing_columns_are_looked_at),
    };
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
