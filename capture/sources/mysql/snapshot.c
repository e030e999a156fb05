// A snapshot is a REPEATABLE READ transaction with a read view; its token names the point in time.
//
// Sessions of MySQL and MariaDB cannot share a view. MariaDB with a binary log says of a consistent snapshot which commit is the last
// that it sees (binlog_snapshot_file, binlog_snapshot_position): two sessions that saw the same see the same rows. That answer is wrong
// now and then while other sessions ask for their status, so that it is asked nine times and the majority believed. It says
// nothing of changes that are not in the log: where a filter or a replica without log_slave_updates makes such changes, and
// everywhere else, the token is unique. (A session with sql_log_bin = 0 hides its changes from everybody.)
//
// MySQL says nothing of the kind. There the token holds what had been executed before the snapshot was opened, and where the log
// ended after it was: position.h says what follows from that. A lock would say more, and would keep everybody from committing.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "capture/sources/mysql/stream.h"
#include "common/clock.h"

enum { ASKED = 9, TRIES = 5 };

void
my_snapshot_end(struct my_source *s)
{
    if (s->in_snapshot) {
        struct gw_err ignored = {0};
        (void)gw_my_exec(s->db, &ignored, "ROLLBACK"); // START TRANSACTION would do it too
        s->in_snapshot = false;
    }
}

// "" where the server has none.
static int
ask_position(struct my_source *s, char *ret, size_t size, struct gw_err *err)
{
    MY_RES res = NULL;
    int r = gw_my_query(s->db, &res, "SHOW SESSION STATUS LIKE 'binlog\\_snapshot\\_%'", err);
    if (r != GW_OK) {
        return r;
    }
    char file[300] = "", position[40] = "";
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        if (strcasecmp(row[0], "binlog_snapshot_file") == 0) {
            snprintf(file, sizeof file, "%s", row[1] ? row[1] : "");
        } else if (strcasecmp(row[0], "binlog_snapshot_position") == 0) {
            snprintf(position, sizeof position, "%s", row[1] ? row[1] : "");
        }
    }
    ret[0] = 0;
    if (file[0] && position[0]) {
        snprintf(ret, size, "%s:%s", file, position);
    }
    return GW_OK;
}

// What more than half of the answers say; "" if there is no such answer.
static int
majority(struct my_source *s, char *ret, size_t size, struct gw_err *err)
{
    char answers[ASKED][360];
    for (int i = 0; i < ASKED; i++) {
        int r = ask_position(s, answers[i], sizeof answers[i], err);
        if (r != GW_OK) {
            return r;
        }
    }
    ret[0] = 0;
    for (int i = 0; i < ASKED; i++) {
        int same = 0;
        for (int k = 0; k < ASKED; k++) {
            same += strcmp(answers[i], answers[k]) == 0;
        }
        if (same > ASKED / 2) {
            snprintf(ret, size, "%s", answers[i]);
            return GW_OK;
        }
    }
    return GW_OK;
}

// MariaDB: does every change stand in the binary log, as far as can be seen from here?
static int
all_logged(struct my_source *s, bool *ret, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_RES status = NULL;
    *ret = false;
    int r = gw_my_query(s->db, &res, "SELECT @@log_bin, @@log_slave_updates", err);
    r = r == GW_OK ? gw_my_query(s->db, &status, "SHOW GLOBAL STATUS LIKE 'Slaves_running'", err) : r;
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW log = mysql_fetch_row(res), slaves = mysql_fetch_row(status);
    bool on = log && log[0] && strcmp(log[0], "1") == 0;
    bool replica = !slaves || !slaves[1] || strcmp(slaves[1], "0") != 0;
    *ret = on && (!replica || (log[1] && strcmp(log[1], "1") == 0));
    if (!*ret) {
        return GW_OK;
    }
    // Filters: who may not ask cannot prove it.
    MY_RES master = NULL;
    struct gw_err refused = {0};
    r = gw_my_query(s->db, &master, "SHOW MASTER STATUS", &refused);
    if (r == GW_CONFIG) {
        *ret = false;
        return GW_OK;
    }
    if (r != GW_OK) {
        *err = refused;
        return r;
    }
    MYSQL_ROW m = mysql_fetch_row(master);
    *ret = m && mysql_num_fields(master) >= 4 && (!m[2] || !m[2][0]) && (!m[3] || !m[3][0]);
    return GW_OK;
}

static int
begin(struct my_source *s, struct gw_err *err)
{
    MY_RES now = NULL;
    int r = gw_my_query(s->db, &now, "SELECT UNIX_TIMESTAMP()", err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(now) : NULL;
    s->snapshot_at = row && row[0] ? strtoull(row[0], NULL, 10) : 0;
    r = r == GW_OK ? gw_my_exec(s->db, err, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY") : r;
    s->in_snapshot = r == GW_OK;
    return r;
}

// ---- MySQL -------------------------------------------------------------------------------------

static int
server_clock(struct my_source *s, unsigned long long *ret, struct gw_err *err)
{
    MY_RES res = NULL;
    int r = gw_my_query(s->db, &res, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)", err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    *ret = row && row[0] ? strtoull(row[0], NULL, 10) : 0;
    return r;
}

// The end of the log; none: the server has no log, or does not say.
static int
log_end(struct my_source *s, struct gw_arena *a, struct my_log_end *ret, struct gw_err *err)
{
    struct gw_err refused = {0};
    int r = my_log_end(s, a, ret, &refused);
    if (r == GW_CONFIG) {
        ret->at.file[0] = 0;
        return GW_OK;
    }
    if (r != GW_OK) {
        *err = refused;
    }
    return r;
}

static char *
once(struct my_source *s, struct gw_arena *a)
{
    static unsigned count;
    return gw_arena_printf(a, "%lld:%d:%lu:%u", (long long)gw_wall_us(), (int)getpid(), mysql_thread_id(s->db),
                           ++count);
}

// The order is what it is all about: what is asked before, is older than the snapshot; what is asked behind, is not.
static int
begin_mysql(struct my_source *s, struct gw_arena *a, char **ret_token, struct gw_err *err)
{
    struct my_log_end from = {0}, to = {0};
    unsigned long long at = 0, until = 0;
    int r = log_end(s, a, &from, err);
    r = r == GW_OK ? server_clock(s, &at, err) : r;
    r = r == GW_OK ? begin(s, err) : r;
    r = r == GW_OK ? log_end(s, a, &to, err) : r;
    r = r == GW_OK ? server_clock(s, &until, err) : r;
    if (r != GW_OK) {
        return r;
    }
    *ret_token = from.at.file[0] && to.at.file[0]
                     ? gw_arena_printf(a, "gtid:%s:%llu;from=%s:%llu;at=%llu;until=%llu;once=%s;gtid=%s", to.at.file,
                                       (unsigned long long)to.at.pos, from.at.file, (unsigned long long)from.at.pos, at,
                                       until, once(s, a), my_gtids_tidy(a, from.gtids, false))
                     : gw_arena_printf(a, "once:%s", once(s, a));
    return GW_OK;
}

// ---- all of them -------------------------------------------------------------------------------

static int
begin_mariadb(struct my_source *s, struct gw_arena *a, char **ret_token, struct gw_err *err)
{
    bool logged = false;
    char position[360] = "";
    int r = all_logged(s, &logged, err);
    for (int i = 0; i < TRIES && r == GW_OK && !position[0]; i++) {
        r = begin(s, err);
        if (r == GW_OK && logged) {
            r = majority(s, position, sizeof position, err);
        } else {
            break;
        }
    }
    if (r == GW_OK) {
        *ret_token =
            position[0] ? gw_arena_printf(a, "binlog:%s", position) : gw_arena_printf(a, "once:%s", once(s, a));
    }
    return r;
}

int
my_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                  struct gw_err *err)
{
    struct my_source *s = self;
    if (handle && handle[0]) {
        return gw_err_set(err, GW_AGAIN, NULL, "MySQL cannot join the snapshot of another session");
    }
    gw_assert(!s->rows);
    my_snapshot_end(s);
    int r = s->server.mariadb ? begin_mariadb(s, a, ret_token, err) : begin_mysql(s, a, ret_token, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "begin snapshot");
    }
    *ret_handle = gw_arena_strdup(a, "");
    return GW_OK;
}
