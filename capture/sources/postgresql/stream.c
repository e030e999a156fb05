// The stream: begun, read event by event, confirmed.
//
// The server sends each transaction whole, once it is committed and in the order of commits; large ones it sends in parts while
// they run, and those are kept on disk until they commit (parts.c), and then read as if they had just come. Memory here is one
// message. libpq's buffer holds what one read of the socket gave; it is read only when a message is wanted, so a receiver that
// waits holds the server back, not its own memory.
//
// What a position means. The server is told that something was received, or is durable, only by what it sent us: the end of
// a commit, a keepalive, or a message in the log. Outside of a transaction, each of these says that everything before it has been
// sent; a transaction's commit is never before a position that was passed.
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "stream.h"

#define KEEPALIVE_US  (1 * GW_S)   // positions without changes are given out no more often
#define ASK_US        (20 * GW_MS) // between two questions where the server stands, when somebody waits for it
#define ASK_RARELY_US (5 * GW_S)
#define XID_US        (600 * GW_S) // far less than two thousand million transactions take

enum { LOOK_AT_CLOCK = 256, PREFIX_MAX = 16 };
static const char prefix[PREFIX_MAX] = "godwit"; // of our own messages in the log

static uint64_t
later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// ---- transactions' ids -------------------------------------------------------------------------

static int
learn_xid(struct pgs *s, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err, "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())");
    if (rc == GW_OK) {
        s->stream->xid_last = later(s->stream->xid_last, pgs_u64(r, 0, 0));
        s->stream->xid_at_us = gw_now_us();
    }
    return rc;
}

// ---- begin -------------------------------------------------------------------------------------

static void
put_literal(struct gw_buf *sql, const char *text)
{
    // The grammar of replication commands knows no backslashes.
    gw_buf_putc(sql, '\'');
    for (; *text; text++) {
        gw_buf_puts(sql, *text == '\'' ? "'" : "");
        gw_buf_putc(sql, *text);
    }
    gw_buf_putc(sql, '\'');
}

static int
start_replication(struct pgs *s, const char *position, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    PGS_BUF sql, name;
    gw_buf_init(&sql, 4096);
    gw_buf_init(&name, 1024);
    gw_pg_ident(&name, st->publication);
    gw_buf_printf(&sql, "START_REPLICATION SLOT \"%s\" LOGICAL %s (proto_version '%d', publication_names ", st->slot,
                  position, st->spill ? 2 : 1);
    put_literal(&sql, name.data);
    gw_buf_puts(&sql, s->version >= 140000 ? ", messages 'true'" : "");
    gw_buf_puts(&sql, st->spill ? ", streaming 'on')" : ")");
    PGS_RES r = PQexec(st->wal, sql.data);
    if (PQresultStatus(r) != PGRES_COPY_BOTH) {
        return gw_pg_error(st->wal, r, err, "read slot \"%s\" from %s", st->slot, position);
    }
    if (PQsetnonblocking(st->wal, 1) != 0) {
        return gw_pg_error(st->wal, NULL, err, "read slot \"%s\"", st->slot);
    }
    return GW_OK;
}

int
pgs_stream_begin(void *self, const struct gw_stream_start *start, struct gw_err *err)
{
    struct pgs *s = self;
    struct pgs_stream *st = pgs_stream_of(s);
    uint64_t from;
    int r = pgs_names(s, start->task, start->task_uuid, err);
    r = r == GW_OK ? pgs_lsn_read(start->position, &from, err) : r;
    if (r != GW_OK) {
        return r;
    }
    st->wal = gw_pg_close(st->wal);
    st->task = start->task;
    st->others = start->others;
    st->others_n = start->others_n;
    r = pgs_slot_free(s, err);
    r = r == GW_OK ? pgs_tables_load(s, start, err) : r;
    r = r == GW_OK ? pgs_slot_check(s, start->position, err) : r;
    r = r == GW_OK ? pgs_publication_check(s, start, PGS_MISSING_SUSPENDS, err) : r;
    r = r == GW_OK ? learn_xid(s, err) : r;
    r = r == GW_OK ? pgs_parts_begin(s, err) : r;
    r = r == GW_OK ? pgs_wal(s, err) : r;
    r = r == GW_OK ? start_replication(s, start->position, err) : r;
    if (r != GW_OK) {
        return gw_err_wrap(err, "begin the stream of changes");
    }
    PQfreemem(st->message);
    st->message = NULL;
    st->held = st->in_tx = st->told = st->own_tx = st->altering = st->ended = false;
    st->altered_n = 0;
    st->tables_at_us = 0;
    st->received = st->confirmed = st->passed = st->given = from;
    st->wanted = 0;
    st->given_us = gw_now_us();
    st->asked_us = 0;
    st->streaming = true;
    return GW_OK;
}

// ---- telling the server ------------------------------------------------------------------------

static void
put64(char *at, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8) {
        at[i] = (char)(v & 0xff);
    }
}

// "Standby status update": received, flushed, applied, the time, and whether an answer is wanted.
static int
send_status(struct pgs *s, bool ask, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    char m[34] = {'r'};
    put64(m + 1, later(st->received, st->confirmed));
    put64(m + 9, st->confirmed);
    put64(m + 17, st->confirmed);
    put64(m + 25, (uint64_t)(gw_wall_us() - INT64_C(946684800000000)));
    m[33] = ask;
    // 0: libpq holds earlier ones that the socket did not take yet; this one says nothing that the next will not.
    if (PQputCopyData(st->wal, m, sizeof m) < 0 || PQflush(st->wal) < 0) {
        st->ended = true;
        return gw_pg_error(st->wal, NULL, err, "confirm to slot \"%s\"", st->slot);
    }
    if (ask) {
        st->asked_us = gw_now_us();
    }
    return GW_OK;
}

int
pgs_stream_confirm(void *self, const char *position, struct gw_err *err)
{
    struct pgs *s = self;
    struct pgs_stream *st = s->stream;
    if (!st || !st->streaming || st->ended) {
        return gw_err_set(err, GW_BUG, NULL, "confirm without a stream");
    }
    uint64_t lsn = 0;
    int r = position ? pgs_lsn_read(position, &lsn, err) : GW_OK;
    if (r != GW_OK) {
        return r;
    }
    st->confirmed = later(st->confirmed, lsn);
    // The question makes the server say where it is even while it is busy with what is of no interest here: without the
    // answer, nothing could be confirmed, and it would keep its log.
    return send_status(s, gw_now_us() - st->asked_us >= ASK_RARELY_US, err);
}

// ---- messages -> events ------------------------------------------------------------------------

static int
tell_begin(struct pgs_stream *st, struct gw_event *ret)
{
    st->told = true;
    *ret = (struct gw_event){
        .kind = GW__CHANGE_KIND__CHANGE_BEGIN, .transaction = st->transaction, .commit_us = st->commit_us};
    return GW_OK;
}

// The next table that has to be suspended, if there is one.
static bool
tell_suspend(struct pgs_stream *st, struct gw_event *ret)
{
    for (size_t i = 0; i < st->tables_n; i++) {
        if (st->tables[i].suspend && !st->tables[i].suspended) {
            st->tables[i].suspended = true;
            *ret = (struct gw_event){
                .kind = GW__CHANGE_KIND__CHANGE_SUSPEND, .table = (uint32_t)i, .text = st->tables[i].reason};
            return true;
        }
    }
    return false;
}

static bool
to_suspend(const struct pgs_stream *st)
{
    for (size_t i = 0; i < st->tables_n; i++) {
        if (st->tables[i].suspend && !st->tables[i].suspended) {
            return true;
        }
    }
    return false;
}

static int
position_event(struct pgs_stream *st, Gw__ChangeKind kind, uint64_t lsn, struct gw_event *ret)
{
    pgs_lsn_text(lsn, &st->position);
    st->given = lsn;
    st->given_us = gw_now_us();
    *ret = (struct gw_event){.kind = kind, .position = st->position.s};
    return GW_OK;
}

// The relation of a change, if it is one of ours and not suspended. *ret NULL: skip it.
static int
relation_of(struct pgs_stream *st, uint32_t oid, struct pgs_relation **ret, struct gw_err *err)
{
    struct pgs_relation *rel = pgs_relation_find(st, oid);
    if (!rel) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a change of relation %" PRIu32 ", which was not described",
                          oid);
    }
    *ret = rel->table >= 0 && !st->tables[rel->table].suspend && !st->altering ? rel : NULL;
    if (*ret && rel->by_name && st->final > st->tables[rel->table].altered_at) {
        pgs_differs(st, (size_t)rel->table, "it was altered");
        *ret = NULL;
    }
    return GW_OK;
}

// The identity's columns of a changed row are always given: what is unchanged and stored apart is in the old image. Of a table
// that logs whole rows, that is every column: nobody needs to look for a value elsewhere.
static void
complete_identity(const struct pgs_streamed *x, const struct gw_value *before, struct gw_value *after)
{
    for (size_t k = 0; k < x->n; k++) {
        if (x->identity[k] && after[k].given == GW_NOT_GIVEN) {
            after[k] = before[k];
        }
    }
}

static int
row_event(struct pgs_stream *st, struct gw_event *ret, struct gw_err *err)
{
    const struct pgo_message *m = &st->m;
    struct pgs_relation *rel = NULL;
    int r = relation_of(st, m->relation, &rel, err);
    if (r != GW_OK || !rel) {
        st->held = false;
        return r == GW_OK ? GW_AGAIN : r;
    }
    if (!st->told) {
        return tell_begin(st, ret); // and then this message again
    }
    st->held = false;
    st->numbers_n = 0;
    bool old = m->old_kind != 0, new = m->kind != 'D';
    r = old ? pgs_relation_values(st, rel, &m->old, m->old_kind, st->before, err) : GW_OK;
    r = r == GW_OK && new ? pgs_relation_values(st, rel, &m->new, 'N', st->after, err) : r;
    if (r != GW_OK) {
        st->held = r == GW_AGAIN; // once the table is suspended, it will be skipped
        return r;
    }
    if (old && new) {
        complete_identity(&st->tables[rel->table], st->before, st->after);
    }
    *ret = (struct gw_event){.kind = m->kind == 'I'   ? GW__CHANGE_KIND__CHANGE_INSERT
                                     : m->kind == 'U' ? GW__CHANGE_KIND__CHANGE_UPDATE
                                                      : GW__CHANGE_KIND__CHANGE_DELETE,
                             .table = (uint32_t)rel->table,
                             .before = old ? st->before : NULL,
                             .after = new ? st->after : NULL};
    return GW_OK;
}

static int
truncate_event(struct pgs_stream *st, struct gw_event *ret, struct gw_err *err)
{
    while (st->truncate_at < st->m.relations_n) {
        struct pgs_relation *rel = NULL;
        int r = relation_of(st, pgo_relation_at(&st->m, st->truncate_at), &rel, err);
        if (r != GW_OK) {
            return r;
        }
        if (rel && !st->told) {
            return tell_begin(st, ret);
        }
        st->truncate_at++;
        if (rel) {
            *ret = (struct gw_event){.kind = GW__CHANGE_KIND__CHANGE_TRUNCATE, .table = (uint32_t)rel->table};
            return GW_OK;
        }
    }
    st->held = false;
    return GW_AGAIN;
}

int
pgs_begin_read(struct pgs_stream *st, const struct pgo_message *m, struct gw_err *err)
{
    st->held = false;
    if (st->in_tx) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a transaction begins within another");
    }
    st->in_tx = true;
    st->told = st->altering = false;
    st->final = m->lsn;
    st->commit_us = m->time_us;
    uint64_t xid = pgs_xid_whole(st->xid_last, m->xid);
    st->xid_last = later(st->xid_last, xid);
    snprintf(st->transaction, sizeof st->transaction, "%" PRIu64, xid);
    return GW_AGAIN;
}

static int
altered_event(struct pgs_stream *st, struct gw_event *ret, struct gw_err *err)
{
    if (!st->altered_n) {
        return gw_err_set(err, GW_BUG, NULL, "a table was altered, and nothing of it has changed");
    }
    st->ended = true;
    *ret =
        (struct gw_event){.kind = GW__CHANGE_KIND__CHANGE_ALTERED, .altered = st->altered, .altered_n = st->altered_n};
    return GW_OK;
}

static int
commit_event(struct pgs *s, struct gw_event *ret, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    st->held = false;
    if (!st->in_tx) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a commit without a begin");
    }
    st->in_tx = false;
    if (st->altering) {
        int r = pgs_altered_look(s, true, err);
        return r == GW_OK ? altered_event(st, ret, err) : r;
    }
    st->passed = later(st->passed, st->m.end_lsn);
    st->received = later(st->received, st->m.end_lsn);
    if (!st->told) {
        return GW_AGAIN; // nothing of interest
    }
    position_event(st, GW__CHANGE_KIND__CHANGE_COMMIT, st->m.end_lsn, ret);
    ret->commit_us = st->m.time_us;
    return GW_OK;
}

// Deals with the message in hand. GW_OK: *ret is an event; GW_AGAIN: there is none, or none yet (`held`).
static int
message_event(struct pgs *s, struct gw_event *ret, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    switch (st->m.kind) {
    case 'B': return pgs_begin_read(st, &st->m, err);
    case 'C': return commit_event(s, ret, err);
    case 'I':
    case 'U':
    case 'D': return row_event(st, ret, err);
    case 'T': return truncate_event(st, ret, err);
    case 'R': {
        st->held = false;
        int r = pgs_relation_read(s, &st->m, err);
        return r == GW_OK ? GW_AGAIN : r;
    }
    case 'M':
        // Decoded where it stands in the log: every transaction that was committed before it has been sent.
        if (!st->m.transactional && !st->in_tx) {
            st->passed = later(st->passed, st->m.lsn);
        }
        st->held = false;
        return GW_AGAIN;
    default: st->held = false; return GW_AGAIN; // origins and types say nothing that is needed
    }
}

// ---- frames ------------------------------------------------------------------------------------

static int
copy_ended(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    st->ended = true;
    PGS_RES r = PQgetResult(st->wal);
    ExecStatusType status = PQresultStatus(r);
    if (r && status != PGRES_FATAL_ERROR && status != PGRES_NONFATAL_ERROR && PQstatus(st->wal) == CONNECTION_OK) {
        return gw_err_set(err, GW_RETRY, NULL, "the server has ended the stream of slot \"%s\"", st->slot);
    }
    return gw_pg_error(st->wal, r, err, "read slot \"%s\"", st->slot);
}

// Takes the next frame out of libpq's buffer. GW_OK: a message is in hand; GW_AGAIN: it was a keepalive; GW_END: none is there.
static int
next_frame(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    PQfreemem(st->message);
    st->message = NULL;
    int n = PQgetCopyData(st->wal, &st->message, 1);
    if (n == 0) {
        return GW_END;
    }
    if (n < 0) {
        return copy_ended(s, err);
    }
    struct pgo_frame f;
    int r = pgo_frame_read(st->message, (size_t)n, &f, err);
    if (r != GW_OK) {
        return r;
    }
    if (f.kind == 'k') {
        st->received = later(st->received, f.end);
        if (!st->in_tx && !st->in_part) {
            st->passed = later(st->passed, f.end);
        }
        r = f.reply ? send_status(s, false, err) : GW_OK;
        return r == GW_OK ? GW_AGAIN : r;
    }
    st->received = later(st->received, f.start);
    r = pgs_parts_take(s, f.body, f.len, err);
    if (r != GW_OK) {
        return r;
    }
    r = pgo_message_read(f.body, f.len, &st->m, err);
    st->held = r == GW_OK;
    st->truncate_at = 0;
    return r;
}

// What libpq has not read from the socket yet. Two looks: TLS may hold a record back that poll() knows nothing of.
static int
read_socket(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    if (!PQconsumeInput(st->wal) || PQflush(st->wal) < 0) {
        st->ended = true;
        return gw_pg_error(st->wal, NULL, err, "read slot \"%s\"", st->slot);
    }
    return GW_OK;
}

// ---- next --------------------------------------------------------------------------------------

// When a position without changes is to be given out; INT64_MAX if there is none.
static int64_t
keepalive_due_us(const struct pgs_stream *st)
{
    if (st->in_tx || st->passed <= st->given) {
        return INT64_MAX;
    }
    bool awaited = st->wanted > st->given && st->passed >= st->wanted;
    return awaited ? 0 : st->given_us + KEEPALIVE_US;
}

// An event that needs no further message.
static bool
own_event(struct pgs_stream *st, int64_t now, struct gw_event *ret)
{
    if (st->in_tx && to_suspend(st)) {
        return st->told ? tell_suspend(st, ret) : tell_begin(st, ret) == GW_OK;
    }
    // Between transactions, one of our own says it: nobody shall wait for the next change of something else.
    if (!st->own_tx && to_suspend(st)) {
        st->own_tx = true;
        *ret = (struct gw_event){.kind = GW__CHANGE_KIND__CHANGE_BEGIN, .transaction = "0", .commit_us = gw_wall_us()};
        return true;
    }
    if (st->own_tx && tell_suspend(st, ret)) {
        return true;
    }
    if (st->own_tx) {
        st->own_tx = false;
        (void)position_event(st, GW__CHANGE_KIND__CHANGE_COMMIT, st->given, ret);
        ret->commit_us = gw_wall_us();
        return true;
    }
    if (now >= keepalive_due_us(st)) {
        return position_event(st, GW__CHANGE_KIND__CHANGE_KEEPALIVE, st->passed, ret) == GW_OK;
    }
    return false;
}

// Waits until there is something to read, or the time for something else.
static int
wait_input(struct pgs *s, int64_t now, int64_t deadline_us, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    int64_t until = deadline_us, due = keepalive_due_us(st);
    until = due < until ? due : until;
    if (st->wanted > st->passed) {
        // The walsender answers with how far it has come, without waiting for anything to send.
        if (now - st->asked_us >= ASK_US) {
            int r = send_status(s, true, err);
            if (r != GW_OK) {
                return r;
            }
        }
        until = st->asked_us + ASK_US < until ? st->asked_us + ASK_US : until;
    }
    struct pollfd p = {.fd = PQsocket(st->wal), .events = POLLIN};
    p.events = (short)(PQflush(st->wal) == 1 ? POLLIN | POLLOUT : POLLIN);
    (void)poll(&p, 1, gw_deadline_ms(until)); // whatever it says, libpq looks for itself
    return read_socket(s, err);
}

// One step. GW_OK: an event; GW_AGAIN: go on; GW_END: nothing is there.
static int
step(struct pgs *s, struct gw_event *ret, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    if (st->held) {
        return message_event(s, ret, err);
    }
    int r = st->replaying ? pgs_parts_replay(s, err) : next_frame(s, err);
    return r == GW_OK ? message_event(s, ret, err) : r;
}

int
pgs_stream_next(void *self, int64_t deadline_us, struct gw_event *ret, struct gw_err *err)
{
    struct pgs *s = self;
    struct pgs_stream *st = s->stream;
    if (!st || !st->streaming || st->ended) {
        return gw_err_set(err, GW_BUG, NULL, "the next change without a stream");
    }
    bool looked = false; // at the socket, since the last message
    for (uint32_t n = 0;; n++) {
        int64_t now = n % LOOK_AT_CLOCK == 0 || looked ? gw_now_us() : 0;
        if (now && !st->in_tx && !st->in_part) {
            int r = pgs_altered_look(s, false, err);
            if (r != GW_OK || st->altered_n) {
                return r == GW_OK ? altered_event(st, ret, err) : r;
            }
        }
        if (own_event(st, now, ret)) {
            return GW_OK;
        }
        int r = step(s, ret, err);
        if (r == GW_AGAIN) {
            looked = false;
            if (n % LOOK_AT_CLOCK == LOOK_AT_CLOCK - 1 && gw_now_us() >= deadline_us) {
                return GW_AGAIN;
            }
            continue;
        }
        if (r != GW_END) {
            return r;
        }
        now = gw_now_us();
        if (looked && now >= deadline_us) {
            return GW_AGAIN;
        }
        if (now - st->xid_at_us > XID_US && (r = learn_xid(s, err)) != GW_OK) {
            return r;
        }
        r = looked ? wait_input(s, now, deadline_us, err) : read_socket(s, err);
        if (r != GW_OK && r != GW_END) {
            return r;
        }
        looked = true;
    }
}

int
pgs_stream_fd(void *self)
{
    const struct pgs *s = self;
    return s->stream && s->stream->streaming ? PQsocket(s->stream->wal) : -1;
}

// ---- the log's end -----------------------------------------------------------------------------

// A mark in the log, and its end as the position: the stream reaches it whether or not anything else happens, as a message
// that is decoded on its own. The server sends only what it has flushed; a commit with a number of its own flushes, and version 17
// can be told to.
int
pgs_stream_now(void *self, struct gw_arena *a, char **ret_position, struct gw_err *err)
{
    struct pgs *s = self;
    PGS_RES r = NULL;
    int rc =
        s->version >= 170000
            ? pgs_side_query(s, &r, err, "SELECT pg_catalog.pg_logical_emit_message(false, '%s', '', true)", prefix)
            : pgs_side_query(s, &r, err,
                             "SELECT pg_catalog.pg_logical_emit_message(false, '%s', ''), pg_catalog.txid_current()",
                             prefix);
    uint64_t lsn;
    rc = rc == GW_OK ? pgs_lsn_read(pgs_text(r, 0, 0), &lsn, err) : rc;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "mark the end of the log");
    }
    s->stream->wanted = later(s->stream->wanted, lsn);
    *ret_position = pgs_dup(a, r, 0, 0);
    return GW_OK;
}

int
pgs_stream_kept(void *self, uint64_t *ret_bytes, uint64_t *ret_left, struct gw_err *err)
{
    struct pgs *s = self;
    if (!s->stream || !s->stream->slot[0]) {
        return gw_err_set(err, GW_BUG, NULL, "a stream that was never named");
    }
    PGS_RES r = NULL;
    int rc = pgs_side_query(
        s, &r, err,
        "SELECT GREATEST(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0), %s"
        " FROM pg_catalog.pg_replication_slots WHERE slot_name = '%s' AND restart_lsn IS NOT NULL",
        s->version >= 130000 ? "CASE WHEN safe_wal_size < 0 THEN 0 ELSE safe_wal_size END" : "NULL", s->stream->slot);
    if (rc == GW_OK) {
        bool bound = PQntuples(r) && !PQgetisnull(r, 0, 1);
        *ret_left = bound ? pgs_u64(r, 0, 1) : UINT64_MAX;
        *ret_bytes = PQntuples(r) ? pgs_u64(r, 0, 0) : 0;
    }
    return rc;
}
