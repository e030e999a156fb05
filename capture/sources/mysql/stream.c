// The slots of the stream: where it stands, whether it can go on from there, its beginning and end.
#include "capture/sources/mysql/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "common/clock.h"

uint32_t
my_server_id(const Gw__Task *task, const char *task_uuid)
{
    for (size_t i = 0; task && task->source && i < task->source->n_settings; i++) {
        if (strcasecmp(task->source->settings[i]->key, "serverid") == 0) {
            unsigned long long v = strtoull(task->source->settings[i]->value, NULL, 10);
            return v <= UINT32_MAX ? (uint32_t)v : 0;
        }
    }
    // Above what people number their servers with.
    const char *name = task_uuid && task_uuid[0] ? task_uuid : task ? task->name : "";
    return 0x40000000u | ((uint32_t)XXH64(name, strlen(name), 0) & 0x3fffffffu);
}

// ---- what the server says of its log -----------------------------------------------------------

int
my_log_end(struct my_source *s, struct gw_arena *a, struct my_log_end *ret, struct gw_err *err)
{
    MY_RES res = NULL;
    bool renamed = !s->server.mariadb && s->server.version >= 80400;
    int r = gw_my_query(s->db, &res, renamed ? "SHOW BINARY LOG STATUS" : "SHOW MASTER STATUS", err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "ask for the end of the binary log");
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    if (!row || !row[0] || !row[1] || strlen(row[0]) > MY_FILE_MAX) {
        gw_err_set(err, GW_CONFIG, NULL, "the server writes no binary log");
        gw_err_hint(err, "set log_bin and binlog_format=ROW, and restart it");
        return GW_CONFIG;
    }
    struct my_log_end m = {.at = {.pos = strtoull(row[1], NULL, 10)}};
    snprintf(m.at.file, sizeof m.at.file, "%s", row[0]);
    m.gtids = gw_arena_strdup(a, mysql_num_fields(res) > 4 && row[4] ? row[4] : "");
    *ret = m;
    return GW_OK;
}

static int
server_hash(struct my_source *s, struct gw_arena *a, char ret[9], struct gw_err *err)
{
    char *identity = NULL;
    int r = gw_my_identity(s->db, &s->server, a, &identity, err);
    if (r == GW_OK) {
        my_server_hash(identity, ret);
    }
    return r;
}

// MariaDB: the last GTID of each domain before a place; *ret stays as it is where the server cannot say.
static int
gtids_at(struct my_source *s, struct gw_arena *a, const struct my_place *at, char **ret, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT BINLOG_GTID_POS(");
    gw_my_literal(&sql, at->file, strlen(at->file));
    gw_buf_printf(&sql, ", %" PRIu64 ")", at->pos);
    int r = gw_my_query(s->db, &res, sql.data, err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    if (row && row[0]) {
        *ret = gw_arena_strdup(a, row[0]);
    }
    return r;
}

static char *
position_text(struct gw_arena *a, const struct my_place *at, const char *server, const char *gtids)
{
    char *text = gw_arena_printf(a, "%s:%" PRIu64 ";server=%s", at->file, at->pos, server);
    return gtids ? gw_arena_printf(a, "%s;gtid=%s", text, gtids) : text;
}

char *
my_gtids_tidy(struct gw_arena *a, const char *gtids, bool mariadb)
{
    struct my_gtids g;
    MY_BUF out;
    gw_buf_init(&out, MY_SQL_MAX);
    my_gtids_init(&g, mariadb);
    (void)my_gtids_parse(&g, gtids, strlen(gtids));
    my_gtids_put(&g, &out);
    my_gtids_fini(&g);
    return gw_arena_strdup(a, out.len ? out.data : "");
}

// ---- open, close, now --------------------------------------------------------------------------

// Rows of an XA transaction stand in the log where it was prepared: one that is open now, the stream would miss.
static int
refuse_open_xa(struct my_source *s, struct gw_err *err)
{
    MY_RES res = NULL;
    struct gw_err refused = {0};
    int r = gw_my_query(s->db, &res, "XA RECOVER", &refused);
    if (r != GW_OK && r != GW_CONFIG) { // who may not ask is told by preflight
        *err = refused;
        return r;
    }
    if (r == GW_OK && mysql_num_rows(res) > 0) {
        gw_err_set(err, GW_CONFIG, NULL, "%llu XA transactions are prepared and not committed",
                   (unsigned long long)mysql_num_rows(res));
        gw_err_hint(err, "end them: see XA RECOVER, then XA COMMIT or XA ROLLBACK");
        return GW_CONFIG;
    }
    return GW_OK;
}

int
my_stream_open(void *self, struct gw_arena *a, const struct gw_stream_start *start, char **ret_position,
               char **ret_handle, struct gw_err *err)
{
    (void)start; // nothing is made on the server
    struct my_source *s = self;
    struct my_log_end m;
    char hash[9] = "", *gtids = NULL;
    int r = my_log_end(s, a, &m, err);
    r = r == GW_OK ? refuse_open_xa(s, err)
                   : r; // behind: what was prepared before and is gone now, is in every snapshot
    r = r == GW_OK ? server_hash(s, a, hash, err) : r;
    if (r == GW_OK && s->server.mariadb) {
        r = gtids_at(s, a, &m.at, &gtids, err);
    } else if (r == GW_OK) {
        gtids = m.gtids;
    }
    if (r != GW_OK) {
        return gw_err_wrap(err, "open the stream");
    }
    *ret_position = position_text(a, &m.at, hash, gtids ? my_gtids_tidy(a, gtids, s->server.mariadb) : NULL);
    *ret_handle = gw_arena_strdup(a, "");
    return GW_OK;
}

int
my_stream_close(void *self, const struct gw_stream_start *start, struct gw_err *err)
{
    (void)start;
    (void)err;
    my_stream_end(self);
    return GW_OK; // a server keeps its log as its own settings say
}

int
my_stream_now(void *self, struct gw_arena *a, char **ret_position, struct gw_err *err)
{
    struct my_source *s = self;
    struct my_log_end m;
    char hash[9] = "";
    int r = my_log_end(s, a, &m, err);
    r = r == GW_OK ? server_hash(s, a, hash, err) : r;
    if (r == GW_OK) {
        *ret_position = position_text(a, &m.at, hash, NULL);
    }
    return r;
}

// ---- check -------------------------------------------------------------------------------------

static int
gone(struct gw_err *err, const char *what, const struct my_place *at)
{
    gw_err_set(err, GW_CONFIG, NULL, "%s: the stream cannot go on from %s:%" PRIu64, what, at->file, at->pos);
    gw_err_hint(err, "changes may be missing from here on: begin the task anew, with --fresh");
    return GW_CONFIG;
}

// The sizes of the log's files, the oldest first.
static int
list_logs(struct my_source *s, MYSQL_RES **ret, struct gw_err *err)
{
    return gw_my_query(s->db, ret, "SHOW BINARY LOGS", err);
}

struct log_facts {
    bool there, oldest_is_later;
    uint64_t size;
    char next[MY_FILE_MAX + 1]; // the file behind it; "" = none
};

static int
find_log(struct my_source *s, const struct my_place *at, struct log_facts *ret, struct gw_err *err)
{
    MY_RES res = NULL;
    int r = list_logs(s, &res, err);
    if (r != GW_OK) {
        return r;
    }
    struct log_facts f = {0};
    bool first = true;
    for (MYSQL_ROW row; (row = mysql_fetch_row(res)); first = false) {
        struct my_place other = {.pos = UINT64_MAX};
        int order = 0;
        snprintf(other.file, sizeof other.file, "%s", row[0] ? row[0] : "");
        if (first && my_place_cmp(&other, at, &order) && strcmp(other.file, at->file) != 0) {
            f.oldest_is_later = order > 0;
        }
        if (f.there && !f.next[0]) {
            memcpy(f.next, other.file, sizeof f.next);
        }
        if (strcmp(other.file, at->file) == 0) {
            f.there = true;
            f.size = strtoull(row[1] ? row[1] : "0", NULL, 10);
        }
    }
    *ret = f;
    return GW_OK;
}

static int
check_gtids_maria(struct my_source *s, struct gw_arena *a, const struct my_position *p, struct gw_err *err)
{
    char *text = NULL;
    struct my_gtids was, is;
    int r = gtids_at(s, a, &p->place, &text, err);
    if (r != GW_OK || !text) {
        return r != GW_OK ? r : gone(err, "the server cannot say which transactions lie before it", &p->place);
    }
    my_gtids_init(&was, true);
    my_gtids_init(&is, true);
    bool same = my_gtids_parse(&was, p->gtid, strcspn(p->gtid, ";")) && my_gtids_parse(&is, text, strlen(text)) &&
                my_gtids_equal(&was, &is);
    my_gtids_fini(&was);
    my_gtids_fini(&is);
    return same ? GW_OK
                : gone(err, "other transactions lie before it than did (RESET MASTER, or a server that was restored)",
                       &p->place);
}

static int
check_gtids_mysql(struct my_source *s, const struct my_position *p, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    size_t n = strcspn(p->gtid, ";");
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT GTID_SUBSET(@@GLOBAL.gtid_purged, ");
    gw_my_literal(&sql, p->gtid, n);
    gw_buf_puts(&sql, "), GTID_SUBSET(");
    gw_my_literal(&sql, p->gtid, n);
    gw_buf_puts(&sql, ", @@GLOBAL.gtid_executed)");
    int r = gw_my_query(s->db, &res, sql.data, err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    if (r != GW_OK || !row || !row[0] || !row[1]) {
        return r != GW_OK ? r : gw_err_set(err, GW_BUG, NULL, "GTID_SUBSET has no answer");
    }
    if (row[0][0] != '1') {
        return gone(err, "transactions behind it have been purged", &p->place);
    }
    return row[1][0] == '1'
               ? GW_OK
               : gone(err, "the server lacks transactions that lie before it (RESET, or it was restored)", &p->place);
}

// That an event begins there: the server reads it, and says so if it cannot.
static int
check_boundary(struct my_source *s, const struct my_place *at, uint64_t size, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    if (at->pos == size || at->pos > UINT32_MAX) {
        return GW_OK;
    }
    gw_buf_puts(&sql, "SHOW BINLOG EVENTS IN ");
    gw_my_literal(&sql, at->file, strlen(at->file));
    gw_buf_printf(&sql, " FROM %" PRIu64 " LIMIT 1", at->pos);
    struct gw_err cause = {0};
    int r = gw_my_query(s->db, &res, sql.data, &cause);
    if (r == GW_CONFIG && mysql_errno(s->db) == 1220) {
        return gone(err, "no event begins there (RESET MASTER, or a server that was restored)", at);
    }
    if (r != GW_OK && r != GW_CONFIG) {
        *err = cause;
        return r;
    }
    return GW_OK;
}

static int
check_place(struct my_source *s, const struct my_position *p, struct log_facts *ret, struct gw_err *err)
{
    struct log_facts f;
    int r = find_log(s, &p->place, &f, err);
    if (r != GW_OK) {
        return r;
    }
    if (!f.there) {
        return gone(
            err, f.oldest_is_later ? "its binary log has been purged" : "its binary log is not there (RESET MASTER?)",
            &p->place);
    }
    if (p->place.pos > f.size) {
        return gone(err, "the binary log is shorter than it was (RESET MASTER, or a server that was restored)",
                    &p->place);
    }
    r = check_boundary(s, &p->place, f.size, err);
    if (r == GW_OK) {
        *ret = f;
    }
    return r;
}

static int
check(struct my_source *s, const struct gw_stream_start *start, struct my_position *p, struct log_facts *f,
      struct gw_err *err)
{
    struct gw_arena scratch;
    char hash[9] = "";
    gw_arena_init(&scratch);
    int r = my_position_parse(start->position, p, err);
    r = r == GW_OK ? server_hash(s, &scratch, hash, err) : r;
    if (r == GW_OK && p->server[0] && strcmp(p->server, hash) != 0) {
        r = gone(err, "this is another server than the stream was read from", &p->place);
    }
    r = r == GW_OK ? check_place(s, p, f, err) : r;
    if (r == GW_OK && p->gtid) {
        r = s->server.mariadb ? check_gtids_maria(s, &scratch, p, err) : check_gtids_mysql(s, p, err);
    }
    gw_arena_fini(&scratch);
    return r;
}

int
my_stream_check(void *self, const struct gw_stream_start *start, struct gw_err *err)
{
    struct my_position p;
    struct log_facts f;
    return check(self, start, &p, &f, err);
}

// ---- begin, end --------------------------------------------------------------------------------

// A dump is asked for with 32 bits. A file that is longer ends with the transaction that made it so: what lies behind it
// is the rotation to the next file.
static int
start_of_dump(const struct my_position *p, const struct log_facts *f, struct my_place *ret, struct gw_err *err)
{
    enum { ROTATION_MAX = 400 };
    *ret = p->place;
    if (p->place.pos <= UINT32_MAX) {
        return GW_OK;
    }
    if (!f->next[0] || f->size - p->place.pos > ROTATION_MAX) {
        gw_err_set(err, GW_CONFIG, NULL, "the stream cannot go on from %s:%" PRIu64 ", beyond 4 GB of a file",
                   p->place.file, p->place.pos);
        gw_err_hint(err, "FLUSH BINARY LOGS, and start again; if that does not help, begin the task anew");
        return GW_CONFIG;
    }
    *ret = (struct my_place){.pos = 4};
    memcpy(ret->file, f->next, sizeof f->next);
    return GW_OK;
}

static void
stream_free(struct my_stream *st)
{
    my_dump_close(&st->dump);
    my_tables_fini(&st->tables);
    my_gtids_fini(&st->gtids);
    bl_payload_close(st->payload);
    for (unsigned i = 0; i < 2; i++) {
        rw_scratch_fini(&st->scratch[i]);
        free(st->values[i]);
    }
    gw_buf_fini(&st->unpacked);
    gw_buf_fini(&st->unpacked_payload);
    gw_buf_fini(&st->position);
    gw_buf_fini(&st->transaction);
    gw_arena_fini(&st->altered_arena);
    free(st->maps);
    free(st);
}

void
my_stream_end(struct my_source *s)
{
    if (s->stream) {
        stream_free(s->stream);
        s->stream = NULL;
    }
}

static struct my_stream *
stream_new(struct my_source *s, const struct gw_stream_start *start)
{
    struct my_stream *st = calloc(1, sizeof *st);
    gw_assert(st);
    st->start = start;
    st->source = s;
    gw_arena_init(&st->altered_arena);
    st->mariadb = s->server.mariadb;
    st->rows_of = -1;
    st->gtid.anonymous = true;
    my_gtids_init(&st->gtids, st->mariadb);
    gw_buf_init(&st->unpacked, BL_EVENT_MAX + 16);
    gw_buf_init(&st->unpacked_payload, BL_EVENT_MAX + 16);
    gw_buf_init(&st->position, MY_SQL_MAX);
    gw_buf_init(&st->transaction, 4096);
    return st;
}

static int
stream_start(struct my_source *s, struct my_stream *st, const struct gw_stream_start *start, struct gw_err *err)
{
    struct my_position p;
    struct log_facts f;
    struct my_place from;
    int r = check(s, start, &p, &f, err);
    r = r == GW_OK ? start_of_dump(&p, &f, &from, err) : r;
    r = r == GW_OK ? my_tables_init(s, &st->tables, start, err) : r;
    if (r != GW_OK) {
        return r;
    }
    for (unsigned i = 0; i < 2; i++) {
        rw_scratch_init(&st->scratch[i], st->tables.values_max);
        st->values[i] = calloc(st->tables.values_max + 1, sizeof *st->values[i]);
        gw_assert(st->values[i]);
    }
    memcpy(st->server, p.server, sizeof st->server);
    st->gtids_known = p.gtid && my_gtids_parse(&st->gtids, p.gtid, strcspn(p.gtid, ";"));
    if (!st->server[0]) {
        struct gw_arena scratch;
        gw_arena_init(&scratch);
        r = server_hash(s, &scratch, st->server, err);
        gw_arena_fini(&scratch);
    }
    uint32_t id = my_server_id(start->task, start->task_uuid);
    if (r == GW_OK && id == 0) {
        r = gw_err_set(err, GW_CONFIG, NULL, "ServerId is not a number from 1 to 4294967295");
    }
    st->at = st->idle = st->told = from;
    st->told_us = gw_now_us();
    r = r == GW_OK ? my_dump_open(&st->dump, s->ep, s->password, id, from.file, (uint32_t)from.pos, err) : r;
    st->format.crc32 = st->dump.crc32;
    return r;
}

int
my_stream_begin(void *self, const struct gw_stream_start *start, struct gw_err *err)
{
    struct my_source *s = self;
    my_stream_end(s);
    struct my_stream *st = stream_new(s, start);
    int r = stream_start(s, st, start, err);
    if (r != GW_OK) {
        stream_free(st);
        return r;
    }
    s->stream = st;
    return GW_OK;
}

int
my_stream_next(void *self, int64_t deadline_us, struct gw_event *ret, struct gw_err *err)
{
    struct my_source *s = self;
    gw_assert(s->stream);
    return my_stream_event(s->stream, deadline_us, ret, err);
}

int
my_stream_fd(void *self)
{
    struct my_source *s = self;
    return s->stream ? my_dump_fd(&s->stream->dump) : -1;
}

// The server does not wait for us: its log is kept as its settings say, its sessions have a week of patience, and what it has sent
// and we have not read fills its socket, for which it waits a day.
int
my_stream_confirm(void *self, const char *position, struct gw_err *err)
{
    (void)self;
    struct my_position p;
    return position ? my_position_parse(position, &p, err) : GW_OK;
}

int
my_stream_kept(void *self, uint64_t *ret_bytes, uint64_t *ret_left, struct gw_err *err)
{
    struct my_source *s = self;
    MY_RES res = NULL;
    uint64_t bytes = 0;
    gw_assert(s->stream);
    const struct my_place *at = &s->stream->idle;
    int r = list_logs(s, &res, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "measure the binary log");
    }
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        struct my_place other = {.pos = 0};
        int order = 0;
        uint64_t size = strtoull(row[1] ? row[1] : "0", NULL, 10);
        snprintf(other.file, sizeof other.file, "%s", row[0] ? row[0] : "");
        if (strcmp(other.file, at->file) == 0) {
            bytes += size > at->pos ? size - at->pos : 0;
        } else if (my_place_cmp(&other, at, &order) && order > 0) {
            bytes += size;
        }
    }
    *ret_bytes = bytes;
    *ret_left = UINT64_MAX; // logs expire by their age
    return GW_OK;
}
