// One event of the log after the other becomes changes.
//
// A transaction is handed out as it is read: BEGIN with its first change of interest, COMMIT with its last event. What holds
// between two events: `at` is behind the last one; `idle` is a place to go on from, so it only moves outside of transactions.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sources/mysql/stream.h"
#include "common/clock.h"

enum { IGNORABLE = 0x80, KEEPALIVE_US = 1000000, KEEPALIVE_QUIET_US = 50000 };

// ---- where the stream stands -------------------------------------------------------------------

void
my_stream_put_position(struct my_stream *st, struct gw_buf *out)
{
    gw_buf_printf(out, "%s:%" PRIu64 ";server=%s", st->idle.file, st->idle.pos, st->server);
    if (st->gtids_known) {
        gw_buf_puts(out, ";gtid=");
        my_gtids_put(&st->gtids, out);
    }
}

static const char *
tell_position(struct my_stream *st)
{
    gw_buf_reset(&st->position);
    my_stream_put_position(st, &st->position);
    st->told = st->idle;
    st->told_us = gw_now_us();
    return st->position.data;
}

// An event has 32 bits for where it ends; a file may be longer than that.
static void
move_to(struct my_stream *st, uint32_t low)
{
    uint64_t pos = (st->at.pos & ~UINT64_C(0xffffffff)) | low;
    st->at.pos = pos < st->at.pos ? pos + (UINT64_C(1) << 32) : pos;
}

static void
begin_tx(struct my_stream *st, const struct my_place *from, const struct bl_gtid *g, const struct bl_event *e)
{
    st->in_tx = true;
    st->begun = st->ended = false;
    st->standalone = g->standalone;
    st->awaits = false;
    st->prepared = g->prepared;
    st->tx_at = *from;
    st->gtid = *g;
    st->commit_us = g->commit_us ? g->commit_us : (int64_t)e->timestamp * 1000000;
    st->maps_n = 0;
}

static void
end_tx(struct my_stream *st)
{
    st->in_tx = st->standalone = st->awaits = st->prepared = false;
    st->idle = st->at;
    st->maps_n = 0;
    my_gtids_add(&st->gtids, &st->gtid);
    st->ended = st->begun;
}

static int
stop(struct gw_err *err, const char *what, const struct my_place *at)
{
    gw_err_set(err, GW_CONFIG, NULL, "%s, at %s:%" PRIu64, what, at->file, at->pos);
    gw_err_hint(err, "the stream cannot go past it: begin the task anew");
    return GW_CONFIG;
}

// ---- tables and rows ---------------------------------------------------------------------------

static void
remember(struct my_stream *st, uint64_t id, int32_t table)
{
    for (size_t i = 0; i < st->maps_n; i++) {
        if (st->maps[i].id == id) {
            st->maps[i].table = table;
            return;
        }
    }
    if (st->maps_n == st->maps_cap) {
        st->maps_cap = st->maps_cap ? st->maps_cap * 2 : 16;
        st->maps = realloc(st->maps, st->maps_cap * sizeof *st->maps);
        gw_assert(st->maps);
    }
    st->maps[st->maps_n++] = (struct my_map_id){id, table};
}

static bool
recall(const struct my_stream *st, uint64_t id, int32_t *ret)
{
    for (size_t i = st->maps_n; i > 0; i--) {
        if (st->maps[i - 1].id == id) {
            *ret = st->maps[i - 1].table;
            return true;
        }
    }
    return false;
}

// Whether what is being read of a table is older than its definition.
static bool
is_old(const struct my_stream *st, uint32_t table)
{
    const struct my_place *to = &st->tables.items[table].altered_at;
    int c = 0;
    return to->file[0] && my_place_cmp(&st->at, to, &c) && c <= 0;
}

static int
on_table_map(struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    struct bl_map m;
    int r = bl_map_head(&st->format, e, &m, err);
    if (r != GW_OK) {
        return r;
    }
    int32_t table = my_tables_find(&st->tables, m.schema, m.name);
    bool skip = false;
    r = table < 0
            ? GW_OK
            : my_tables_bind(&st->tables, (uint32_t)table, &st->format, e, is_old(st, (uint32_t)table), &skip, err);
    remember(st, m.table, skip ? -1 : table);
    return r;
}

static bool
is_whole(const uint8_t *bitmap, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!bl_bit(bitmap, i)) {
            return false;
        }
    }
    return true;
}

// What keeps the rows of an event from being read; the table is then suspended.
static bool
unreadable(struct my_stream *st, uint32_t table, const struct bl_rows *rows)
{
    struct stream_table *x = &st->tables.items[table];
    if (!x->t->transactional) {
        my_tables_suspend(&st->tables, table, "its storage engine has no transactions");
    } else if (st->prepared) {
        my_tables_suspend(&st->tables, table,
                          "it was changed in an XA transaction, whose rows take effect later. Reload the table");
    } else if (rows->columns != x->columns_n) {
        my_tables_suspend(&st->tables, table, "its rows have %zu columns in the log, its definition %zu", rows->columns,
                          x->columns_n);
    } else if (rows->change == BL_INSERT && !is_whole(rows->after, rows->columns)) {
        my_tables_suspend(&st->tables, table,
                          "an inserted row lacks columns: a session has set binlog_row_image. Reload the table");
    }
    return x->suspended;
}

static int
on_rows(struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    struct bl_rows rows;
    int32_t table = -1;
    // The number alone first: most rows may be of tables that nobody asked for.
    struct bl_bytes b = e->body;
    uint64_t id;
    if (!bl_uint(&b, st->format.post_header[e->type] == 6 ? 4 : 6, &id)) {
        return bl_bad(err, "rows");
    }
    if (!recall(st, id, &table) && b.left >= 2 && !(bl_le(b.at, 2) & 1)) {
        return stop(err, "rows without a table map before them", &st->at);
    }
    if (table >= 0 && !st->tables.items[table].suspended) {
        int r = bl_rows_read(&st->format, e, &st->unpacked, &rows, err);
        if (r != GW_OK) {
            return r;
        }
        if (!unreadable(st, (uint32_t)table, &rows)) {
            st->rows = rows;
            st->rows_of = table;
        }
    }
    if (b.left >= 2 && (bl_le(b.at, 2) & 1)) {
        st->maps_n = 0;
    }
    return GW_OK;
}

static int
on_partial_update(struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    struct bl_bytes b = e->body;
    uint64_t id;
    int32_t table = -1;
    if (!bl_uint(&b, 6, &id)) {
        return bl_bad(err, "rows");
    }
    if (recall(st, id, &table) && table >= 0) {
        my_tables_suspend(&st->tables, (uint32_t)table,
                          "an update of a JSON value is logged in part (binlog_row_value_options). Reload the table");
    }
    return GW_OK;
}

// ---- statements --------------------------------------------------------------------------------

static int
on_ddl(struct my_stream *st, const struct st_statement *s, const struct bl_query *q, struct gw_err *err)
{
    struct stream_tables *ts = &st->tables;
    int r = GW_OK;
    for (uint32_t i = 0; r == GW_OK && i < ts->n; i++) {
        struct stream_table *x = &ts->items[i];
        enum st_effect effect =
            x->suspended ? ST_NONE
                         : st_effect_on(s, q->schema, q->schema_len, x->t->source_schema, x->t->source_name, ts->fold);
        if (effect == ST_NONE || (effect != ST_TRUNCATED && is_old(st, i))) {
            continue;
        }
        if (effect == ST_TRUNCATED) {
            ts->pending_n += x->pending == PENDING_NOTHING;
            x->pending = PENDING_TRUNCATE;
        } else {
            r = my_altered_known(st, i, effect, s, q, err);
        }
    }
    return r == GW_OK ? my_altered_new(st, s, q, err) : r;
}

// Which tables a statement changes, triggers and views included, its text does not say.
static void
on_change(struct my_stream *st, const struct st_statement *s, const struct bl_query *q)
{
    for (uint32_t i = 0; i < st->tables.n; i++) {
        const Gw__Table *t = st->tables.items[i].t;
        if (st_concerns_schema(s, q->schema, q->schema_len, t->source_schema, st->tables.fold)) {
            my_tables_suspend(&st->tables, i,
                              "a change in its schema is logged as a statement (a session has set binlog_format): "
                              "\"%.*s\". Reload the table",
                              (int)(q->sql_len > 120 ? 120 : q->sql_len), q->sql);
        }
    }
}

// The last statement of a transaction that is none but for itself.
static void
end_if_alone(struct my_stream *st, const struct st_statement *s)
{
    if (st->standalone || (st->awaits && !s->starts_transaction)) {
        end_tx(st);
    }
    st->awaits = false;
}

static int
on_rollback(struct my_stream *st, struct gw_err *err)
{
    if (st->begun) {
        return stop(err, "a transaction of rows and statements was rolled back in part", &st->at);
    }
    end_tx(st);
    return GW_OK;
}

static int
on_query(struct my_stream *st, const struct bl_event *e, const struct my_place *from, struct gw_err *err)
{
    struct bl_query q;
    int r = bl_query_read(&st->format, e, &st->unpacked, &q, err);
    if (r != GW_OK) {
        return r;
    }
    struct st_statement s = st_read(q.sql, q.sql_len);
    if (!st->in_tx) { // a server without GTIDs
        begin_tx(st, from, &(struct bl_gtid){.anonymous = true}, e);
        st->awaits = true;
    }
    switch (s.kind) {
    case ST_XA_START:
        st->prepared = !st->mariadb || st->gtid.prepared;
        st->awaits = false;
        break;
    case ST_BEGIN: st->awaits = false; break;
    case ST_COMMIT: end_tx(st); break;
    case ST_XA_COMMIT:
    case ST_XA_ROLLBACK: end_tx(st); break;
    case ST_ROLLBACK: return on_rollback(st, err);
    case ST_ROLLBACK_TO:
        if (st->begun) {
            return stop(err, "a transaction of rows and statements was rolled back in part", &st->at);
        }
        break;
    case ST_SAVEPOINT:
    case ST_XA_END: break;
    case ST_CHANGE:
        on_change(st, &s, &q);
        end_if_alone(st, &s);
        break;
    case ST_DDL:
        r = on_ddl(st, &s, &q, err);
        end_if_alone(st, &s);
        return r;
    }
    return GW_OK;
}

// ---- the log's own events ----------------------------------------------------------------------

static int
on_rotate(struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    struct bl_rotate rotate;
    int r = bl_rotate_read(e, &rotate, err);
    if (r != GW_OK) {
        return r;
    }
    if (rotate.file_len > MY_FILE_MAX) {
        return bl_bad(err, "rotation");
    }
    struct my_place to = {.pos = rotate.position};
    memcpy(to.file, rotate.file, rotate.file_len);
    if (strcmp(to.file, st->at.file) == 0 && to.pos != st->at.pos && (uint32_t)to.pos != (uint32_t)st->at.pos) {
        return stop(err, "the server sends the log from elsewhere", &to);
    }
    if (strcmp(to.file, st->at.file) != 0) {
        if (st->in_tx) { // a server that died in the middle of it; it was never committed
            if (st->begun) {
                return gw_err_set(err, GW_RETRY, NULL, "a transaction of the binary log has no end, at %s:%" PRIu64,
                                  st->at.file, st->at.pos);
            }
            st->in_tx = false;
        }
        st->at = st->idle = to;
    }
    return GW_OK;
}

static int
on_gtid(struct my_stream *st, const struct bl_event *e, const struct my_place *from, struct gw_err *err)
{
    struct bl_gtid g;
    int r = bl_gtid_read(e, &g, err);
    if (r != GW_OK) {
        return r;
    }
    if (st->in_tx) {
        return stop(err, "a transaction begins inside of another", from);
    }
    begin_tx(st, from, &g, e);
    st->awaits = !st->mariadb;
    return GW_OK;
}

static int
on_xid(struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    if (!st->in_tx) {
        return stop(err, "the end of a transaction that has no beginning", &st->at);
    }
    st->commit_us = st->gtid.commit_us ? st->gtid.commit_us : (int64_t)e->timestamp * 1000000;
    end_tx(st);
    return GW_OK;
}

static int
on_incident(const struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    char text[200];
    bl_incident_text(e, text, sizeof text);
    gw_err_set(err, GW_CONFIG, NULL, "the server has lost changes for its log (an incident: %s), at %s:%" PRIu64, text,
               st->at.file, st->at.pos);
    gw_err_hint(err, "what was lost is not in the log: begin the task anew");
    return GW_CONFIG;
}

static int
on_other(struct my_stream *st, const struct bl_event *e, struct gw_err *err)
{
    switch (e->type) {
    case BL_LOAD:
    case BL_BEGIN_LOAD:
    case BL_EXECUTE_LOAD:
        return stop(err, "LOAD DATA is logged as a statement (a session has set binlog_format)", &st->at);
    case BL_STOP:
    case BL_INTVAR:
    case BL_RAND:
    case BL_USER_VAR:
    case 28: // ignorable
    case 29: // the statement of the rows that follow
    case 35: // previous GTIDs
    case 36: // group replication's
    case 37:
    case 160: // MariaDB: the statement of the rows that follow
    case 161: // checkpoint
    case BL_MARIA_GTID_LIST:
    case BL_MARIA_ENCRYPTION: return GW_OK;
    default: break;
    }
    if (e->flags & IGNORABLE) {
        return GW_OK;
    }
    gw_err_set(err, GW_CONFIG, NULL, "the binary log has an event of unknown type %u at %s:%" PRIu64, e->type,
               st->at.file, st->at.pos);
    gw_err_hint(err, "the server is newer than this program");
    return GW_CONFIG;
}

static int
on_event(struct my_stream *st, const struct bl_event *e, const struct my_place *from, struct gw_err *err)
{
    if (bl_is_rows(e->type)) {
        return on_rows(st, e, err);
    }
    switch (e->type) {
    case BL_TABLE_MAP: return on_table_map(st, e, err);
    case BL_XID: return on_xid(st, e, err);
    case BL_QUERY:
    case BL_MARIA_QUERY_Z: return on_query(st, e, from, err);
    case BL_MARIA_GTID:
    case BL_MYSQL_GTID:
    case BL_MYSQL_ANONYMOUS:
    case BL_MYSQL_GTID_TAGGED: return on_gtid(st, e, from, err);
    case BL_ROTATE: return on_rotate(st, e, err);
    case BL_FORMAT:
    case BL_HEARTBEAT: return GW_OK;
    case BL_XA_PREPARE: return on_xid(st, e, err); // rows of it have suspended their tables
    case BL_PARTIAL_UPDATE: return on_partial_update(st, e, err);
    case BL_INCIDENT: return on_incident(st, e, err);
    case BL_PAYLOAD: return bl_payload_open(e, &st->payload, err);
    default: return on_other(st, e, err);
    }
}

// ---- reading -----------------------------------------------------------------------------------

static int
next_of_payload(struct my_stream *st, struct gw_err *err)
{
    struct bl_event e;
    int r = bl_payload_next(st->payload, &st->unpacked_payload, &e, err);
    if (r == GW_END) {
        st->payload = bl_payload_close(st->payload);
        return GW_OK;
    }
    if (r == GW_OK && e.type == BL_PAYLOAD) {
        return bl_bad(err, "compressed transaction");
    }
    return r == GW_OK ? on_event(st, &e, &st->at, err) : r;
}

static int
read_event(struct my_stream *st, int64_t deadline_us, struct gw_err *err)
{
    const uint8_t *p;
    size_t n;
    struct bl_event e;
    int r = my_dump_next(&st->dump, deadline_us, &p, &n, err);
    r = r == GW_OK ? bl_event_read(&st->format, p, n, &e, err) : r;
    if (r != GW_OK) {
        return r;
    }
    struct my_place from = st->at;
    if (e.next_pos && e.type != BL_ROTATE && !(e.flags & BL_ARTIFICIAL && e.type != BL_HEARTBEAT)) {
        move_to(st, e.next_pos);
        if (e.type != BL_HEARTBEAT && e.size < st->at.pos) { // events that are not sent lie before it
            from.pos = st->at.pos - e.size;
        }
    }
    r = on_event(st, &e, &from, err);
    if (r == GW_OK && !st->in_tx) {
        st->idle = st->at;
    }
    return r;
}

// ---- handing out -------------------------------------------------------------------------------

static void
hand_begin(struct my_stream *st, struct gw_event *ret)
{
    gw_buf_reset(&st->transaction);
    gw_buf_printf(&st->transaction, "%s:%" PRIu64, st->tx_at.file, st->tx_at.pos);
    if (!st->gtid.anonymous) {
        gw_buf_puts(&st->transaction, ";gtid=");
        my_gtid_put(&st->gtid, st->mariadb, &st->transaction);
    }
    st->begun = true;
    *ret = (struct gw_event){
        .kind = GW__CHANGE_KIND__CHANGE_BEGIN, .transaction = st->transaction.data, .commit_us = st->commit_us};
}

static int
hand_row(struct my_stream *st, struct gw_event *ret, struct gw_err *err)
{
    static const Gw__ChangeKind kinds[] = {[BL_INSERT] = GW__CHANGE_KIND__CHANGE_INSERT,
                                           [BL_UPDATE] = GW__CHANGE_KIND__CHANGE_UPDATE,
                                           [BL_DELETE] = GW__CHANGE_KIND__CHANGE_DELETE};
    struct bl_rows *rows = &st->rows;
    const struct stream_table *x = &st->tables.items[st->rows_of];
    const uint8_t *images[2] = {rows->before, rows->after};
    int r = GW_OK;
    for (unsigned i = 0; i < 2 && r == GW_OK; i++) {
        if (images[i]) {
            r = rw_read(x->columns, x->columns_n, images[i], &rows->rows, &st->scratch[i], st->values[i], x->values_n,
                        err);
        }
    }
    if (r == GW_DATA) {
        my_tables_suspend(&st->tables, (uint32_t)st->rows_of, "a row cannot be read: %s", err->message);
        st->rows_of = -1;
        gw_err_clear(err);
        return GW_AGAIN;
    }
    if (r != GW_OK) {
        return gw_err_wrap(err, "table \"%s.%s\"", x->t->source_schema, x->t->source_name);
    }
    *ret = (struct gw_event){.kind = kinds[rows->change],
                             .table = (uint32_t)st->rows_of,
                             .before = rows->before ? st->values[0] : NULL,
                             .after = rows->after ? st->values[1] : NULL};
    return GW_OK;
}

static void
hand_pending(struct my_stream *st, struct gw_event *ret)
{
    struct stream_tables *ts = &st->tables;
    uint32_t i = 0;
    while (ts->items[i].pending == PENDING_NOTHING) {
        i++;
    }
    struct stream_table *x = &ts->items[i];
    bool truncate = x->pending == PENDING_TRUNCATE;
    x->pending = PENDING_NOTHING;
    ts->pending_n--;
    *ret = (struct gw_event){.kind = truncate ? GW__CHANGE_KIND__CHANGE_TRUNCATE : GW__CHANGE_KIND__CHANGE_SUSPEND,
                             .table = i,
                             .text = truncate ? NULL : x->why};
}

// Whether a position may be told now, without a change: the log has moved on, and not too often.
static bool
may_keep_alive(const struct my_stream *st, int64_t every_us)
{
    return !st->in_tx && !st->ended && (st->idle.pos != st->told.pos || strcmp(st->idle.file, st->told.file) != 0) &&
           gw_now_us() - st->told_us >= every_us;
}

static int
hand_keepalive(struct my_stream *st, struct gw_event *ret)
{
    *ret = (struct gw_event){.kind = GW__CHANGE_KIND__CHANGE_KEEPALIVE, .position = tell_position(st)};
    return GW_OK;
}

int
my_stream_event(struct my_stream *st, int64_t deadline_us, struct gw_event *ret, struct gw_err *err)
{
    for (;;) {
        if (st->altered_n) {
            *ret = (struct gw_event){
                .kind = GW__CHANGE_KIND__CHANGE_ALTERED, .altered = st->altered, .altered_n = st->altered_n};
            return GW_OK;
        }
        bool has_row = st->rows_of >= 0 && st->rows.rows.left > 0;
        if (st->rows_of >= 0 && !has_row) {
            st->rows_of = -1;
        }
        if ((has_row || st->tables.pending_n) && !st->begun) {
            // A statement that is a transaction has ended it already: it is opened after the fact.
            st->ended = !st->in_tx;
            hand_begin(st, ret);
            return GW_OK;
        }
        if (st->tables.pending_n) {
            hand_pending(st, ret);
            return GW_OK;
        }
        if (has_row) {
            int r = hand_row(st, ret, err);
            if (r != GW_AGAIN) {
                return r;
            }
            continue;
        }
        if (st->ended) {
            st->ended = st->begun = false;
            *ret = (struct gw_event){
                .kind = GW__CHANGE_KIND__CHANGE_COMMIT, .position = tell_position(st), .commit_us = st->commit_us};
            return GW_OK;
        }
        if (st->payload) {
            int r = next_of_payload(st, err);
            if (r != GW_OK) {
                return r;
            }
            continue;
        }
        if (may_keep_alive(st, KEEPALIVE_US) || (may_keep_alive(st, KEEPALIVE_QUIET_US) && !my_dump_ready(&st->dump))) {
            return hand_keepalive(st, ret);
        }
        int r = read_event(st, deadline_us, err);
        if (r == GW_AGAIN && may_keep_alive(st, 0)) {
            return hand_keepalive(st, ret);
        }
        if (r != GW_OK) {
            return r;
        }
    }
}
