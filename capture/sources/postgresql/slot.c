// Names, sessions and the replication slot.
//
// The slot is named by the task, and its holder's application_name by the task's uuid: who holds a slot can be told, and only
// a process of this very task is ever ended.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/clock.h"
#include "stream.h"

enum { HOLDER_WAIT_S = 30, SLOT_WAIT_S = 600, KEEP_OF_NAME = 40 };

// ---- state and names ---------------------------------------------------------------------------

struct pgs_stream *
pgs_stream_of(struct pgs *s)
{
    if (!s->stream) {
        s->stream = calloc(1, sizeof *s->stream);
        gw_assert(s->stream);
        gw_arena_init(&s->stream->arena);
        gw_arena_init(&s->stream->altered_arena);
    }
    return s->stream;
}

void
pgs_stream_free(struct pgs *s)
{
    struct pgs_stream *st = s->stream;
    if (!st) {
        return;
    }
    for (size_t i = 0; i < st->relations.cap; i++) {
        free(st->relations.items[i].map);
    }
    free(st->relations.items);
    for (size_t i = 0; i < st->tables_n; i++) {
        free(st->tables[i].reason);
    }
    PQfreemem(st->message);
    pgs_spill_free(st->spill);
    st->wal = gw_pg_close(st->wal);
    st->side = gw_pg_close(st->side);
    gw_arena_fini(&st->arena);
    gw_arena_fini(&st->altered_arena);
    free(st);
    s->stream = NULL;
}

const char *
pgs_stream_setting(const Gw__Endpoint *ep, const char *key)
{
    for (size_t i = 0; i < ep->n_settings; i++) {
        if (strcmp(ep->settings[i]->key, key) == 0 && ep->settings[i]->value[0]) {
            return ep->settings[i]->value;
        }
    }
    return NULL;
}

// Slots have lower-case letters, digits and underscores only. A name that had to be altered gets a hash of the whole, so that
// two tasks never share a slot.
static void
name_of_task(const char *task, char *ret, size_t size)
{
    char name[KEEP_OF_NAME + 1];
    size_t n = 0;
    bool altered = strlen(task) > KEEP_OF_NAME;
    for (; task[n] && n < KEEP_OF_NAME; n++) {
        char c = task[n];
        bool upper = c >= 'A' && c <= 'Z';
        bool legal = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        name[n] = upper ? (char)(c + 32) : legal ? c : '_';
        altered = altered || !legal;
    }
    name[n] = 0;
    if (altered) {
        snprintf(ret, size, "godwit_%s_%08x", name, (unsigned)XXH3_64bits(task, strlen(task)));
    } else {
        snprintf(ret, size, "godwit_%s", name);
    }
}

int
pgs_names(struct pgs *s, const Gw__Task *task, const char *task_uuid, struct gw_err *err)
{
    struct pgs_stream *st = pgs_stream_of(s);
    const char *slot = pgs_stream_setting(task->source, "slotname");
    const char *publication = pgs_stream_setting(task->source, "publicationname");
    if (slot && (strlen(slot) > PGS_NAME_MAX || slot[strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_")])) {
        gw_err_set(err, GW_CONFIG, NULL, "source settings: \"%s\" cannot be a slot's name", slot);
        gw_err_hint(err, "lower-case letters, digits and underscores, at most %d", PGS_NAME_MAX);
        return GW_CONFIG;
    }
    if (publication && strlen(publication) > PGS_NAME_MAX) {
        return gw_err_set(err, GW_CONFIG, NULL, "source settings: publication name \"%s\" is too long", publication);
    }
    char name[PGS_NAME_MAX + 1];
    name_of_task(task->name, name, sizeof name);
    snprintf(st->slot, sizeof st->slot, "%s", slot ? slot : name);
    snprintf(st->publication, sizeof st->publication, "%s", publication ? publication : name);
    snprintf(st->owner, sizeof st->owner, "godwit stream %s", task_uuid ? task_uuid : "");
    st->own_publication = !publication;
    return GW_OK;
}

// ---- sessions ----------------------------------------------------------------------------------

int
pgs_side(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = pgs_stream_of(s);
    if (st->side) {
        return GW_OK;
    }
    // What it commits are marks in the log: no standby need confirm them.
    int r = gw_pg_connect(&st->side, s->ep, PQpass(s->c), "capture", err);
    return r == GW_OK ? gw_pg_exec(st->side, err, "SET synchronous_commit = local") : r;
}

int
pgs_wal(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    st->wal = gw_pg_close(st->wal);
    st->streaming = false;
    int r = gw_pg_connect_replication(&st->wal, s->ep, PQpass(s->c), st->owner + strlen("godwit "), err);
    if (r == GW_OK) {
        return GW_OK;
    }
    if (r == GW_CONFIG) {
        gw_err_hint(
            err, "a replication connection needs ALTER ROLE … REPLICATION, and a line of pg_hba.conf for the database");
    }
    return gw_err_wrap(err, "replication connection");
}

int
pgs_side_query(struct pgs *s, PGresult **ret, struct gw_err *err, const char *fmt, ...)
{
    int r = pgs_side(s, err);
    if (r != GW_OK) {
        return r;
    }
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    va_list ap;
    va_start(ap, fmt);
    gw_buf_vprintf(&sql, fmt, ap);
    va_end(ap);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "a catalogue query became too long: select fewer tables");
    }
    PQclear(*ret);
    *ret = NULL;
    return gw_pg_query(s->stream->side, ret, sql.data, 0, NULL, err);
}

// ---- the slot's holder -------------------------------------------------------------------------

static int
slot_wait_s(const struct pgs *s)
{
    const char *text = pgs_stream_setting(s->ep, "slot-timeout-s");
    long n = text ? strtol(text, NULL, 10) : 0;
    return n >= 1 && n <= 86400 ? (int)n : SLOT_WAIT_S;
}

// A process that was killed leaves a server process that may hold the slot for a while: while it waits for transactions
// to end, it does not look whether anybody is still there.
int
pgs_slot_free(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    int64_t end = gw_now_us() + (slot_wait_s(s) < HOLDER_WAIT_S ? slot_wait_s(s) : HOLDER_WAIT_S) * GW_S;
    for (;;) {
        PGS_RES r = NULL;
        int rc = pgs_side_query(s, &r, err,
                                "SELECT s.active_pid, coalesce(a.application_name, ''), coalesce(a.usename, '?'),"
                                " coalesce(a.client_addr::pg_catalog.text, 'local')"
                                " FROM pg_catalog.pg_replication_slots s"
                                " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid"
                                " WHERE s.slot_name = '%s' AND s.active_pid IS NOT NULL",
                                st->slot);
        if (rc != GW_OK || PQntuples(r) == 0) {
            return rc;
        }
        PGS_RES ended = NULL;
        rc = pgs_side_query(s, &ended, err,
                            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                            " WHERE pid = %s AND application_name = '%s'",
                            pgs_text(r, 0, 0), st->owner);
        if (rc != GW_OK) {
            return gw_err_wrap(err, "end process %s, which holds slot \"%s\"", pgs_text(r, 0, 0), st->slot);
        }
        if (gw_now_us() > end) {
            gw_err_set(err, GW_CONFIG, "55006",
                       "slot \"%s\" is in use: process %s, application \"%s\", user %s, client %s", st->slot,
                       pgs_text(r, 0, 0), pgs_text(r, 0, 1), pgs_text(r, 0, 2), pgs_text(r, 0, 3));
            gw_err_hint(err,
                        "another task uses it: end that, or name another slot with the source setting \"slotname\"");
            return GW_CONFIG;
        }
        (void)poll(NULL, 0, 20); // the server tells nobody when a slot becomes free
    }
}

// ---- check -------------------------------------------------------------------------------------

static int
lost(struct pgs *s, struct gw_err *err, const char *what)
{
    gw_err_set(err, GW_CONFIG, NULL, "slot \"%s\" %s: changes are lost, the stream cannot go on", s->stream->slot,
               what);
    gw_err_hint(err, "start the task anew with --fresh");
    return GW_CONFIG;
}

// Columns that a version does not have yet read as NULL, by name.
static int
check_invalidated(struct pgs *s, const PGresult *r, struct gw_err *err)
{
    int conflicting = PQfnumber(r, "conflicting"), reason = PQfnumber(r, "invalidation_reason");
    int status = PQfnumber(r, "wal_status");
    char text[300];
    if (reason >= 0 && !PQgetisnull(r, 0, reason)) {
        snprintf(text, sizeof text, "was invalidated by the server (%.100s)", pgs_text(r, 0, reason));
        return lost(s, err, text);
    }
    if (conflicting >= 0 && pgs_true(r, 0, conflicting)) {
        return lost(s, err, "was invalidated by a conflict with recovery");
    }
    if (status >= 0 && strcmp(pgs_text(r, 0, status), "lost") == 0) {
        return lost(s, err, "has fallen behind what the server keeps of its log (max_slot_wal_keep_size)");
    }
    return GW_OK;
}

static int
check_position(struct pgs *s, const PGresult *r, const char *position, struct gw_err *err)
{
    uint64_t ours, confirmed = 0, flushed;
    int rc = pgs_lsn_read(position, &ours, err);
    const char *told = pgs_text(r, 0, PQfnumber(r, "confirmed_flush_lsn"));
    rc = rc == GW_OK && told[0] ? pgs_lsn_read(told, &confirmed, err) : rc;
    rc = rc == GW_OK ? pgs_lsn_read(pgs_text(r, 0, PQfnumber(r, "flushed")), &flushed, err) : rc;
    if (rc != GW_OK) {
        return rc;
    }
    char text[300];
    if (!told[0]) {
        return lost(s, err, "was never completed");
    }
    if (confirmed > ours) {
        snprintf(text, sizeof text,
                 "stands at %s, behind it lies %s, where this task is: it was made anew or read by another", told,
                 position);
        return lost(s, err, text);
    }
    if (ours > flushed) {
        snprintf(text, sizeof text,
                 "belongs to a log that ends at %s, before %s, where this task is: the server was set back",
                 pgs_text(r, 0, PQfnumber(r, "flushed")), position);
        return lost(s, err, text);
    }
    return GW_OK;
}

int
pgs_slot_check(struct pgs *s, const char *position, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err,
                            "SELECT s.*, s.database = pg_catalog.current_database() AS here,"
                            " pg_catalog.pg_current_wal_flush_lsn() AS flushed"
                            " FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = '%s'",
                            s->stream->slot);
    if (rc != GW_OK) {
        return gw_err_wrap(err, "look for slot \"%s\"", s->stream->slot);
    }
    if (PQntuples(r) == 0) {
        return lost(s, err, "is gone");
    }
    if (strcmp(pgs_text(r, 0, PQfnumber(r, "plugin")), "pgoutput") != 0 || !pgs_true(r, 0, PQfnumber(r, "here"))) {
        return lost(s, err, "is not the one of this task: it has another plugin or database");
    }
    rc = check_invalidated(s, r, err);
    return rc == GW_OK ? check_position(s, r, position, err) : rc;
}

// ---- drop --------------------------------------------------------------------------------------

static int
drop_slot(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    PGS_RES r = NULL;
    int rc = pgs_side_query(s, &r, err,
                            "SELECT coalesce(plugin, 'physical'), coalesce(database, ''),"
                            " coalesce(database = pg_catalog.current_database(), false)"
                            " FROM pg_catalog.pg_replication_slots WHERE slot_name = '%s'",
                            st->slot);
    if (rc != GW_OK || PQntuples(r) == 0) {
        return rc;
    }
    if (strcmp(pgs_text(r, 0, 0), "pgoutput") != 0 || !pgs_true(r, 0, 2)) {
        gw_err_set(err, GW_CONFIG, NULL, "slot \"%s\" is there and is not of this task: plugin %s, database \"%s\"",
                   st->slot, pgs_text(r, 0, 0), pgs_text(r, 0, 1));
        gw_err_hint(err, "drop it, or name another one with the source setting \"slotname\"");
        return GW_CONFIG;
    }
    rc = pgs_slot_free(s, err);
    return rc == GW_OK ? pgs_side_query(s, &r, err,
                                        "SELECT pg_catalog.pg_drop_replication_slot(slot_name)"
                                        " FROM pg_catalog.pg_replication_slots WHERE slot_name = '%s'",
                                        st->slot)
                       : rc;
}

int
pgs_stream_close(void *self, const struct gw_stream_start *start, struct gw_err *err)
{
    struct pgs *s = self;
    int r = pgs_names(s, start->task, start->task_uuid, err);
    if (r != GW_OK) {
        return r;
    }
    s->stream->wal = gw_pg_close(s->stream->wal);
    s->stream->streaming = false;
    r = drop_slot(s, err);
    r = r == GW_OK ? pgs_publication_drop(s, err) : r;
    return r == GW_OK ? r : gw_err_wrap(err, "remove slot and publication");
}

// ---- open --------------------------------------------------------------------------------------

// Who keeps the slot from being made: the server waits for every transaction that has a number and began before.
static int
blocked(struct pgs *s, int seconds, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_side_query(
        s, &r, err,
        "SELECT coalesce(pg_catalog.string_agg(x, '; '), '') FROM ("
        "SELECT pg_catalog.format('prepared transaction %%L of %%s, since %%s', gid, owner,"
        " pg_catalog.date_trunc('second', prepared)) FROM pg_catalog.pg_prepared_xacts"
        " UNION ALL (SELECT pg_catalog.format('process %%s of %%s (%%s), in a transaction since %%s', pid,"
        " usename, application_name, pg_catalog.date_trunc('second', xact_start))"
        " FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL"
        " AND xact_start < pg_catalog.now() - pg_catalog.make_interval(secs => %d)"
        " ORDER BY xact_start LIMIT 5)) y(x)",
        seconds / 2);
    if (rc != GW_OK) {
        return rc;
    }
    gw_err_set(err, GW_CONFIG, NULL,
               "slot \"%s\" could not be made within %d s: it waits for transactions that are open: %s",
               s->stream->slot, seconds, pgs_text(r, 0, 0)[0] ? pgs_text(r, 0, 0) : "none that this user can see");
    gw_err_hint(err, "end them (COMMIT PREPARED, ROLLBACK PREPARED, pg_terminate_backend), and start again");
    return GW_CONFIG;
}

// Waits for the answer to a replication command; cancels it at the deadline, and then GW_AGAIN.
static int
wait_answer(PGconn *c, int64_t deadline_us, struct gw_err *err)
{
    while (PQisBusy(c)) {
        if (gw_now_us() > deadline_us) {
            char text[256] = "";
            PGcancel *cancel = PQgetCancel(c);
            (void)(cancel && PQcancel(cancel, text, sizeof text)); // closing the connection does not end the wait
            PQfreeCancel(cancel);
            return GW_AGAIN;
        }
        struct pollfd p = {.fd = PQsocket(c), .events = POLLIN};
        (void)poll(&p, 1, gw_deadline_ms(deadline_us)); // whatever it says, libpq looks for itself
        if (!PQconsumeInput(c)) {
            return gw_pg_error(c, NULL, err, "make a slot");
        }
    }
    return GW_OK;
}

static int
make_slot(struct pgs *s, struct gw_arena *a, char **ret_position, char **ret_handle, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    int r = pgs_wal(s, err);
    if (r != GW_OK) {
        return r;
    }
    char sql[256];
    snprintf(sql, sizeof sql, "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput %s", st->slot,
             s->version >= 150000 ? "(SNAPSHOT 'export')" : "EXPORT_SNAPSHOT");
    int seconds = slot_wait_s(s);
    r = PQsendQuery(st->wal, sql) ? wait_answer(st->wal, gw_now_us() + seconds * GW_S, err)
                                  : gw_pg_error(st->wal, NULL, err, "make a slot");
    if (r == GW_AGAIN) {
        return blocked(s, seconds, err);
    }
    if (r != GW_OK) {
        return r;
    }
    PGS_RES res = PQgetResult(st->wal);
    if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1 || PQnfields(res) < 3) {
        return gw_pg_error(st->wal, res, err, "make slot \"%s\"", st->slot);
    }
    *ret_position = pgs_dup(a, res, 0, 1);
    *ret_handle = pgs_dup(a, res, 0, 2);
    PGresult *rest;
    while ((rest = PQgetResult(st->wal))) {
        PQclear(rest);
    }
    return GW_OK;
}

// The publication first: the slot's history begins with one that is there.
int
pgs_stream_open(void *self, struct gw_arena *a, const struct gw_stream_start *start, char **ret_position,
                char **ret_handle, struct gw_err *err)
{
    struct pgs *s = self;
    int r = pgs_stream_close(s, start, err);
    r = r == GW_OK ? pgs_publication_make(s, start, err) : r;
    r = r == GW_OK ? make_slot(s, a, ret_position, ret_handle, err) : r;
    return r == GW_OK ? r : gw_err_wrap(err, "open the stream of changes");
}

int
pgs_stream_check(void *self, const struct gw_stream_start *start, struct gw_err *err)
{
    struct pgs *s = self;
    int r = pgs_names(s, start->task, start->task_uuid, err);
    r = r == GW_OK ? pgs_slot_check(s, start->position, err) : r;
    return r == GW_OK ? pgs_publication_check(s, start, PGS_MISSING_PASSES, err) : r;
}
