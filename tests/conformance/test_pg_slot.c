// PostgreSQL's slot and publication: made, left behind, taken, lost, confirmed.
#include <stdio.h>
#include <string.h>

#include "pg_stream.h"

#define TABLE "CREATE TABLE t (id int PRIMARY KEY)"

static int
open_stream(struct fixture *f, void *self)
{
    char *position = NULL;
    int r = f->c->source->stream_open(self, &f->c->arena, &f->start, &position, &f->handle, &f->c->err);
    if (r == GW_OK) {
        f->start.position = position;
    }
    return r;
}

static int
begin(struct fixture *f, const char *position)
{
    conform_close_source(f->c, &f->self);
    f->self = conform_open_source(f->c);
    f->start.position = position;
    return f->c->source->stream_begin(f->self, &f->start, &f->c->err);
}

static void
set(struct fixture *f, const char *key, const char *value)
{
    Gw__Setting *s = gw_pb_new(&f->c->arena, Gw__Setting, gw__setting__init);
    s->key = gw_arena_strdup(&f->c->arena, key);
    s->value = gw_arena_strdup(&f->c->arena, value);
    gw_pb_add(&f->c->arena, f->c->task->source, settings, s);
}

static int
next_of(struct fixture *f, void *self, struct gw_event *e)
{
    return f->c->source->stream_next(self, gw_now_us() + 20 * GW_S, e, &f->c->err);
}

static uint64_t
lsn(const char *text)
{
    unsigned high = 0, low = 0;
    assert_int_equal(sscanf(text, "%X/%X", &high, &low), 2);
    return (uint64_t)high << 32 | low;
}

static uint64_t
confirmed(struct fixture *f)
{
    return lsn(ask(f, "SELECT confirmed_flush_lsn FROM pg_replication_slots"));
}

static void
what_is_left_behind(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1)");
    // An earlier attempt of the same task still runs: it is ended, and the slot made anew.
    void *second = conform_open_source(f.c);
    conform_ok(f.c, open_stream(&f, second));
    struct gw_event e;
    int r;
    while ((r = next_of(&f, f.self, &e)) == GW_OK) {
    }
    conform_is(f.c, r, GW_RETRY);
    conform_close_source(f.c, &f.self);
    // It has left a slot and a publication: they are made anew.
    conform_close_source(f.c, &second);
    f.self = conform_open_source(f.c);
    conform_ok(f.c, open_stream(&f, f.self));
    pg_begin(&f, f.start.position);
    pg_expect(&f, "");
    run(f.db, "INSERT INTO t VALUES (2)");
    pg_expect(&f, "BEGIN\nI t(2)\nCOMMIT\n");
    assert_string_equal(ask(&f, "SELECT count(*) FROM pg_replication_slots"), "1");
    conform_ok(f.c, f.c->source->stream_close(f.self, &f.start, &f.c->err));
    conform_ok(f.c, f.c->source->stream_close(f.self, &f.start, &f.c->err));
    assert_null(ask(&f, "SELECT pubname FROM pg_publication"));
    pg_end(&f);
}

static void
what_is_not_ours(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    set(&f, "slot-timeout-s", "1");
    pg_open(&f);
    // Another task of the same name, in action.
    struct gw_stream_start start = f.start;
    f.start.task_uuid = "66666666-6666-4666-8666-666666666666";
    void *second = conform_open_source(f.c);
    pg_fails(&f, open_stream(&f, second), GW_CONFIG, "is in use: process");
    conform_close_source(f.c, &second);
    f.start = start;
    run(f.db, "INSERT INTO t VALUES (1)");
    pg_expect(&f, "BEGIN\nI t(1)\nCOMMIT\n"); // which was not disturbed
    conform_ok(f.c, f.c->source->stream_close(f.self, &f.start, &f.c->err));
    // A slot of that name that somebody made for something else.
    set(&f, "slotname", "somebodys");
    run(f.db, "SELECT pg_create_logical_replication_slot('somebodys', 'test_decoding')");
    pg_fails(&f, open_stream(&f, f.self), GW_CONFIG, "is not of this task: plugin test_decoding");
    assert_string_equal(ask(&f, "SELECT plugin FROM pg_replication_slots"), "test_decoding");
    run(f.db, "SELECT pg_drop_replication_slot('somebodys')");
    run(f.db, "SELECT pg_create_physical_replication_slot('somebodys')");
    pg_fails(&f, begin(&f, f.last), GW_CONFIG, "has another plugin or database");
    run(f.db, "SELECT pg_drop_replication_slot('somebodys')");
    pg_end(&f);
}

static void
names(void **state)
{
    struct fixture f = pg_start(state, TABLE "; CREATE TABLE u (id int PRIMARY KEY)");
    set(&f, "slotname", "Not-A-Slot");
    pg_describe(&f);
    pg_fails(&f, open_stream(&f, f.self), GW_CONFIG, "cannot be a slot's name");
    f.c->task->source->settings[0]->value = gw_arena_strdup(&f.c->arena, "my_slot");
    conform_close_source(f.c, &f.self);
    pg_open(&f);
    assert_string_equal(ask(&f, "SELECT slot_name FROM pg_replication_slots"), "my_slot");
    conform_ok(f.c, f.c->source->stream_close(f.self, &f.start, &f.c->err));
    // A publication of the user's own has to hold everything, and stays.
    set(&f, "publicationname", "It's \"mine\"");
    pg_fails(&f, open_stream(&f, f.self), GW_CONFIG, "is gone");
    run(f.db, "CREATE PUBLICATION \"It's \"\"mine\"\"\" FOR TABLE t");
    pg_fails(&f, open_stream(&f, f.self), GW_CONFIG, "lacks table \"gwstream.u\"");
    run(f.db, "DROP PUBLICATION \"It's \"\"mine\"\"\"; CREATE PUBLICATION \"It's \"\"mine\"\"\" FOR TABLES IN SCHEMA "
              "gwstream");
    conform_close_source(f.c, &f.self);
    pg_open(&f);
    run(f.db, "INSERT INTO u VALUES (1)");
    pg_expect(&f, "BEGIN\nI u(1)\nCOMMIT\n");
    conform_ok(f.c, f.c->source->stream_close(f.self, &f.start, &f.c->err));
    assert_string_equal(ask(&f, "SELECT pubname FROM pg_publication"), "It's \"mine\"");
    pg_end(&f);
}

static void
what_is_lost(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1)");
    const char *from = f.last;
    const char *slot = ask(&f, "SELECT slot_name FROM pg_replication_slots");
    conform_close_source(f.c, &f.self);
    pg_fails(&f, begin(&f, "FFFF/0"), GW_CONFIG, "the server was set back");
    pg_fails(&f, begin(&f, "0/nonsense"), GW_CONFIG, "is not a position");
    // Somebody reads our slot.
    run(f.db, "SELECT pg_replication_slot_advance('%s', pg_current_wal_lsn())", slot);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "it was made anew or read by another");
    assert_non_null(strstr(ask(&f, "SELECT 'x'"), "x"));
    // Somebody drops it, and makes one of the same name.
    run(f.db, "SELECT pg_drop_replication_slot('%s')", slot);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "is gone");
    run(f.db, "SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", slot);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "it was made anew");
    pg_end(&f);
}

static void
publication_is_checked(void **state)
{
    struct fixture f = pg_start(state, TABLE "; CREATE TABLE x (id int PRIMARY KEY, v int);"
                                             "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)");
    pg_open(&f);
    const char *from = f.last, *pub = ask(&f, "SELECT quote_ident(pubname) FROM pg_publication");
    run(f.db, "ALTER PUBLICATION %s SET (publish = 'insert, update, delete')", pub);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "does not publish all of");
    run(f.db,
        "ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)",
        pub);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "through their root");
    run(f.db, "ALTER PUBLICATION %s SET (publish_via_partition_root = true)", pub);
    run(f.db, "ALTER PUBLICATION %s SET TABLE ONLY t, ONLY x WHERE (id > 1), p", pub);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "has a filter or a list of columns for table \"gwstream.x\"");
    run(f.db, "ALTER PUBLICATION %s SET TABLE ONLY t, ONLY x (id), p", pub);
    pg_fails(&f, begin(&f, from), GW_CONFIG, "has a filter or a list of columns");
    // One that is there too much is a table that was suspended: it is taken out.
    run(f.db, "ALTER PUBLICATION %s SET TABLE ONLY t, ONLY x, p", pub);
    f.start.tables_n = 2;
    conform_ok(f.c, begin(&f, from));
    assert_string_equal(ask(&f, "SELECT string_agg(prrelid::regclass::text, ' ' ORDER BY 1) FROM pg_publication_rel"),
                        "p t");
    // One that is missing is suspended, before anything else; the others go on.
    run(f.db, "ALTER PUBLICATION %s DROP TABLE t", pub);
    run(f.db, "INSERT INTO t VALUES (1)");
    pg_restart(&f, from);
    run(f.db, "ALTER TABLE p ADD UNIQUE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); INSERT INTO p "
              "VALUES (1)");
    pg_expect(&f, "BEGIN\nSUSPEND t: it is no longer part of the publication\nCOMMIT\nBEGIN\nI p(1)\nCOMMIT\n");
    run(f.db, "DROP PUBLICATION %s", pub);
    pg_fails(&f, begin(&f, f.last), GW_CONFIG, "is gone");
    pg_end(&f);
}

// A slot waits for open transactions: for how long, and for whom, is told.
static void
who_blocks(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    set(&f, "slot-timeout-s", "1");
    pg_describe(&f);
    run(f.other, "BEGIN; INSERT INTO t VALUES (1)");
    run(f.other, "SELECT pg_sleep(0.6)"); // old enough to be named
    pg_fails(&f, open_stream(&f, f.self), GW_CONFIG, "it waits for transactions that are open: process");
    run(f.other, "PREPARE TRANSACTION 'orphan'");
    conform_close_source(f.c, &f.self);
    f.self = conform_open_source(f.c);
    pg_fails(&f, open_stream(&f, f.self), GW_CONFIG, "prepared transaction 'orphan'");
    run(f.other, "ROLLBACK PREPARED 'orphan'");
    conform_close_source(f.c, &f.self);
    f.self = conform_open_source(f.c);
    conform_ok(f.c, open_stream(&f, f.self));
    pg_end(&f);
}

static void
confirming_moves_the_slot(void **state)
{
    struct fixture f = pg_start(state, TABLE "; CREATE TABLE unseen (x text)");
    pg_describe(&f);
    f.start.tables_n = 1;
    conform_ok(f.c, open_stream(&f, f.self));
    pg_begin(&f, f.start.position);
    run(f.db, "INSERT INTO t VALUES (1)");
    pg_expect(&f, "BEGIN\nI t(1)\nCOMMIT\n");
    const char *first = f.last;
    run(f.db, "INSERT INTO t VALUES (2)");
    pg_expect(&f, "BEGIN\nI t(2)\nCOMMIT\n");
    assert_true(confirmed(&f) < lsn(first)); // received is not durable
    conform_ok(f.c, f.c->source->stream_confirm(f.self, NULL, &f.c->err));
    conform_ok(f.c, f.c->source->stream_confirm(f.self, first, &f.c->err));
    for (int64_t end = gw_now_us() + 20 * GW_S; confirmed(&f) != lsn(first);) {
        assert_true(gw_now_us() < end);
    }
    // Much happens that is of no interest: the stream moves, and lets the server forget.
    run(f.db, "INSERT INTO unseen SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    run(f.db, "CHECKPOINT");
    uint64_t kept = 0, before = 0, left = 0;
    conform_ok(f.c, f.c->source->stream_kept(f.self, &before, &left, &f.c->err));
    assert_true(before > 20000000);
    // How much more may be written follows the server's setting.
    static const char *const sizes[] = {"-1", "200MB"};
    for (int i = 0; i < 2; i++) {
        run(f.db, "ALTER SYSTEM SET max_slot_wal_keep_size = '%s'", sizes[i]);
        run(f.db, "SELECT pg_reload_conf()");
        int64_t until = gw_now_us() + 20 * GW_S;
        do {
            assert_true(gw_now_us() < until);
            conform_ok(f.c, f.c->source->stream_kept(f.self, &before, &left, &f.c->err));
        } while (i == 0 ? left != UINT64_MAX : left > UINT64_C(250000000) || left < UINT64_C(100000000));
    }
    run(f.db, "ALTER SYSTEM RESET max_slot_wal_keep_size");
    run(f.db, "SELECT pg_reload_conf()");
    int64_t end = gw_now_us() + 60 * GW_S;
    for (kept = before; kept > before / 4;) {
        assert_true(gw_now_us() < end);
        struct gw_event e;
        int r = f.c->source->stream_next(f.self, gw_now_us() + 200 * GW_MS, &e, &f.c->err);
        conform_either(f.c, r, GW_OK, GW_AGAIN);
        assert_true(r == GW_AGAIN || e.kind == GW__CHANGE_KIND__CHANGE_KEEPALIVE);
        const char *position = r == GW_OK ? gw_arena_strdup(&f.c->arena, e.position) : NULL;
        conform_ok(f.c, f.c->source->stream_confirm(f.self, position, &f.c->err));
        run(f.db, "CHECKPOINT"); // lets restart_lsn move
        conform_ok(f.c, f.c->source->stream_kept(f.self, &kept, &left, &f.c->err));
    }
    pg_end(&f);
}

static void
idle_stream_is_caught_up_at_once(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    pg_open(&f);
    pg_read(&f);
    int64_t worst = 0;
    for (int i = 0; i < 20; i++) {
        int64_t from = gw_now_us();
        pg_expect(&f, "");
        int64_t took = gw_now_us() - from;
        worst = took > worst ? took : worst;
    }
    fprintf(stderr, "worst of 20: %lld us\n", (long long)worst);
    assert_true(worst < 500 * GW_MS); // far less as a rule: the machine may be busy
    // A deadline is kept, with nothing to tell.
    struct gw_event e;
    int64_t from = gw_now_us(), deadline = from + 300 * GW_MS;
    int r;
    while ((r = f.c->source->stream_next(f.self, deadline, &e, &f.c->err)) == GW_OK) {
        assert_int_equal(e.kind, GW__CHANGE_KIND__CHANGE_KEEPALIVE);
    }
    conform_is(f.c, r, GW_AGAIN);
    assert_true(gw_now_us() >= deadline && gw_now_us() < deadline + 2 * GW_S);
    assert_true(f.c->source->stream_fd(f.self) >= 0);
    pg_end(&f);
}

static void
connection_is_lost(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1)");
    run(f.db, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots");
    struct gw_event e;
    int r;
    while ((r = next_of(&f, f.self, &e)) == GW_OK) {
    }
    conform_is(f.c, r, GW_RETRY);
    pg_restart(&f, f.last);
    pg_expect(&f, "BEGIN\nI t(1)\nCOMMIT\n");
    pg_end(&f);
}

// The slot's snapshot: exactly what the stream does not tell; and the chunks' session stays as it was.
static void
snapshot_is_at_the_slots_point(void **state)
{
    struct fixture f = pg_start(state, TABLE);
    run(f.db, "INSERT INTO t VALUES (1), (2)");
    pg_describe(&f);
    conform_ok(f.c, open_stream(&f, f.self));
    run(f.db, "INSERT INTO t VALUES (3)");
    char *token = NULL, *handle = NULL, *again = NULL;
    void *reader = conform_open_source(f.c);
    conform_ok(f.c, f.c->source->snapshot_begin(reader, &f.c->arena, f.handle, &token, &handle, &f.c->err));
    conform_ok(f.c, f.c->source->snapshot_begin(f.self, &f.c->arena, handle, &again, &handle, &f.c->err));
    assert_string_equal(token, again);
    pg_begin(&f, f.start.position); // the slot's own snapshot ends; those that joined it stay
    struct rows got = {0}, want = {0};
    void *both[] = {reader, f.self};
    for (size_t i = 0; i < 2; i++) {
        Gw__TablePlan plan = GW__TABLE_PLAN__INIT;
        conform_ok(f.c, f.c->source->plan(both[i], &f.c->arena, f.cat->tables[0], NULL, 1 << 20, 1, &plan, &f.c->err));
        conform_read_chunks(f.c, f.c->source, both[i], f.cat->tables[0], &plan, 1 << 20, UINT32_MAX, &got, NULL);
    }
    rows_add(&want, "1\n2\n1\n2\n", 8);
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    f.with_xids = true;
    const char *text = pg_read(&f);
    assert_non_null(strstr(text, "\nI t(3)\nCOMMIT\n"));
    char xid[32] = "";
    assert_int_equal(sscanf(text, "BEGIN %31s", xid), 1);
    enum gw_visible visible = GW_UNSURE;
    conform_ok(f.c, f.c->source->tx_visible(token, xid, &visible, &f.c->err));
    assert_int_equal(visible, GW_INVISIBLE);
    conform_ok(f.c, f.c->source->snapshot_begin(reader, &f.c->arena, "", &again, &handle, &f.c->err));
    conform_ok(f.c, f.c->source->tx_visible(again, xid, &visible, &f.c->err));
    assert_int_equal(visible, GW_VISIBLE);
    bool covers = false;
    conform_ok(f.c, f.c->source->snapshot_covers(token, again, &covers, &f.c->err));
    assert_true(covers);
    conform_ok(f.c, f.c->source->snapshot_covers(again, token, &covers, &f.c->err));
    assert_false(covers);
    conform_close_source(f.c, &reader);
    pg_end(&f);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"what an earlier attempt left behind", what_is_left_behind},
        {"what is not ours", what_is_not_ours},
        {"names", names},
        {"what is lost", what_is_lost},
        {"the publication is checked", publication_is_checked},
        {"who blocks a slot", who_blocks},
        {"confirming moves the slot", confirming_moves_the_slot},
        {"an idle stream is caught up at once", idle_stream_is_caught_up_at_once},
        {"a connection is lost", connection_is_lost},
        {"the snapshot is at the slot's point", snapshot_is_at_the_slots_point},
    };
    static const char *const engines[] = {"postgresql"};
    return conform_run("PostgreSQL's slot", tests, sizeof tests / sizeof *tests, engines, 1);
}
