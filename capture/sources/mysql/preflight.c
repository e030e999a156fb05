// What speaks against a stream of changes, with the statement that mends it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/stream.h"

struct preflight {
    struct my_source *s;
    struct gw_arena *a;
    Gw__Catalog *cat;
    MYSQL_RES *variables; // name, value
    char *user;           // quoted
};

static void
about_server(struct preflight *p, Gw__Severity severity, const char *message, const char *action, const char *sql)
{
    Gw__Finding *f = gw_pb_new(p->a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    f->message = gw_arena_strdup(p->a, message);
    f->action = gw_arena_strdup(p->a, action);
    f->sql = gw_arena_strdup(p->a, sql);
    gw_pb_add(p->a, p->cat, findings, f);
}

static void
about_table(struct preflight *p, const Gw__Table *t, Gw__Severity severity, const char *object, char *message,
            const char *action, const char *sql)
{
    my_find(p->a, p->cat, t, severity, object, message, action);
    p->cat->findings[p->cat->n_findings - 1]->sql = gw_arena_strdup(p->a, sql);
}

#define ERROR   GW__SEVERITY__SEVERITY_ERROR
#define WARNING GW__SEVERITY__SEVERITY_WARNING
#define INFO    GW__SEVERITY__SEVERITY_INFO

// ---- settings ----------------------------------------------------------------------------------

static int
load_variables(struct preflight *p, struct gw_err *err)
{
    // One question for servers that do not all have them.
    return gw_my_query(p->s->db, &p->variables,
                       "SHOW GLOBAL VARIABLES WHERE variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image',"
                       " 'binlog_row_metadata', 'binlog_row_value_options', 'log_slave_updates', 'log_replica_updates',"
                       " 'server_id', 'expire_logs_days', 'binlog_expire_logs_seconds', 'innodb_native_foreign_keys',"
                       " 'max_binlog_total_size')",
                       err);
}

// NULL: the server does not have it.
static const char *
variable(struct preflight *p, const char *name)
{
    mysql_data_seek(p->variables, 0);
    for (MYSQL_ROW row; (row = mysql_fetch_row(p->variables));) {
        if (strcasecmp(row[0], name) == 0) {
            return row[1] ? row[1] : "";
        }
    }
    return NULL;
}

static bool
is_on(const char *value)
{
    return value && (strcasecmp(value, "ON") == 0 || strcmp(value, "1") == 0);
}

static void
check_format(struct preflight *p)
{
    const char *format = variable(p, "binlog_format"), *image = variable(p, "binlog_row_image"),
               *metadata = variable(p, "binlog_row_metadata"), *parts = variable(p, "binlog_row_value_options");
    if (!is_on(variable(p, "log_bin"))) {
        about_server(p, ERROR, "the server writes no binary log",
                     "put log_bin = mysql-bin and binlog_format = ROW under [mysqld], and restart the server", "");
    }
    if (format && strcasecmp(format, "ROW") != 0) {
        about_server(p, ERROR,
                     gw_arena_printf(p->a, "the binary log holds statements, not rows (binlog_format=%s)", format),
                     "set it; sessions that are open keep the old format until they are opened anew",
                     "SET GLOBAL binlog_format = 'ROW'");
    }
    if (image && strncasecmp(image, "FULL", 4) != 0) {
        about_server(p, ERROR,
                     gw_arena_printf(p->a, "rows in the binary log lack columns (binlog_row_image=%s)", image),
                     "set it; sessions that are open keep the old image until they are opened anew",
                     "SET GLOBAL binlog_row_image = 'FULL'");
    }
    if (parts && parts[0]) {
        about_server(p, ERROR, gw_arena_printf(p->a, "updates are logged in part (binlog_row_value_options=%s)", parts),
                     "set it; sessions that are open keep the old value until they are opened anew",
                     "SET GLOBAL binlog_row_value_options = ''");
    }
    if (!metadata || strcasecmp(metadata, "FULL") != 0) {
        about_server(
            p, WARNING, "the binary log does not name columns",
            "they are matched by position and type: a column that is renamed, or swapped with another of its type, "
            "is not noticed but by the statement that does it, which suspends its table",
            metadata ? "SET GLOBAL binlog_row_metadata = 'FULL'" : "");
    }
}

static void
check_expiry(struct preflight *p)
{
    const char *seconds = variable(p, "binlog_expire_logs_seconds"), *days = variable(p, "expire_logs_days");
    double keep = seconds ? strtod(seconds, NULL) : 0;
    keep = keep > 0 ? keep : days ? strtod(days, NULL) * 86400 : 0;
    if (keep > 0) {
        about_server(
            p, INFO, gw_arena_printf(p->a, "the server keeps its binary log for %.1f days", keep / 86400),
            "a load, and any halt, has to be shorter: what is purged before it was read makes the task begin anew", "");
    }
    const char *total = variable(p, "max_binlog_total_size");
    if (total && strtoull(total, NULL, 10) > 0) {
        about_server(p, INFO, gw_arena_printf(p->a, "the server keeps at most %s bytes of its binary log", total),
                     "a load, and any halt, has to be shorter than it takes to write as much", "");
    }
}

// ---- server ------------------------------------------------------------------------------------

static void
check_filters(struct preflight *p, MYSQL_RES *status)
{
    MYSQL_ROW row = mysql_fetch_row(status);
    if (row && mysql_num_fields(status) >= 4 && ((row[2] && row[2][0]) || (row[3] && row[3][0]))) {
        about_server(
            p, ERROR,
            gw_arena_printf(p->a, "the binary log leaves databases out (binlog_do_db=\"%s\", binlog_ignore_db=\"%s\")",
                            row[2] ? row[2] : "", row[3] ? row[3] : ""),
            "remove both from the server's option files, and restart it", "");
    }
}

static void
cannot(struct preflight *p, const char *what, const struct gw_err *cause)
{
    about_server(
        p, ERROR, gw_arena_printf(p->a, "the user may not %s: %s", what, cause->message), "grant it, and connect anew",
        gw_arena_printf(
            p->a, "GRANT REPLICATION SLAVE, %s ON *.* TO %s",
            p->s->server.mariadb && p->s->server.version >= 100502 ? "BINLOG MONITOR" : "REPLICATION CLIENT", p->user));
}

// Asks for the log as the stream does, under no id: nobody is displaced, and the server sends what is there.
static int
check_dump(struct preflight *p, struct gw_err *err)
{
    MY_RES status = NULL;
    struct gw_err cause = {0};
    bool renamed = !p->s->server.mariadb && p->s->server.version >= 80400;
    int r = gw_my_query(p->s->db, &status, renamed ? "SHOW BINARY LOG STATUS" : "SHOW MASTER STATUS", &cause);
    if (r == GW_CONFIG) {
        cannot(p, "ask where the binary log ends", &cause);
        return GW_OK;
    }
    if (r != GW_OK) {
        *err = cause;
        return r;
    }
    check_filters(p, status);
    mysql_data_seek(status, 0);
    MYSQL_ROW row = mysql_fetch_row(status);
    if (!row || !row[0] || !row[1]) {
        return GW_OK; // no log: said above
    }
    r = my_dump_probe(p->s->ep, p->s->password, row[0], &cause);
    if (r == GW_CONFIG) {
        cannot(p, "read the binary log", &cause);
        return GW_OK;
    }
    if (r != GW_OK) {
        *err = cause;
    }
    return r;
}

static int
check_replica(struct preflight *p, struct gw_err *err)
{
    const char *logs = variable(p, "log_slave_updates");
    logs = logs ? logs : variable(p, "log_replica_updates");
    if (is_on(logs)) {
        return GW_OK;
    }
    MY_RES res = NULL;
    struct gw_err cause = {0};
    bool renamed = !p->s->server.mariadb && p->s->server.version >= 80022;
    int r = gw_my_query(p->s->db, &res,
                        p->s->server.mariadb ? "SHOW ALL SLAVES STATUS"
                        : renamed            ? "SHOW REPLICA STATUS"
                                             : "SHOW SLAVE STATUS",
                        &cause);
    if (r == GW_OK && mysql_num_rows(res) > 0) {
        about_server(p, ERROR, "the server is a replica, and what it replicates is not in its binary log",
                     "put log_slave_updates under [mysqld], and restart it; or read from its source", "");
    } else if (r == GW_CONFIG) {
        about_server(p, INFO, "the user may not ask whether the server is a replica",
                     "if it is one, it needs log_slave_updates", "");
    } else if (r != GW_OK) {
        *err = cause;
        return r;
    }
    return GW_OK;
}

static int
check_xa(struct preflight *p, struct gw_err *err)
{
    MY_RES res = NULL;
    struct gw_err cause = {0};
    int r = gw_my_query(p->s->db, &res, "XA RECOVER", &cause);
    if (r == GW_OK && mysql_num_rows(res) > 0) {
        about_server(p, ERROR,
                     gw_arena_printf(p->a,
                                     "%llu XA transactions are prepared and not ended: their rows lie in the log "
                                     "where a stream that begins now does not read",
                                     (unsigned long long)mysql_num_rows(res)),
                     "XA RECOVER lists them: XA COMMIT or XA ROLLBACK each", "XA RECOVER");
    } else if (r == GW_CONFIG) {
        about_server(p, WARNING, "the user may not see prepared XA transactions",
                     "rows of one that is open when the stream begins would be missed",
                     gw_arena_printf(p->a, "GRANT XA_RECOVER_ADMIN ON *.* TO %s", p->user));
    } else if (r != GW_OK) {
        *err = cause;
        return r;
    }
    return GW_OK;
}

static void
check_id(struct preflight *p, const Gw__Task *task)
{
    const char *theirs = variable(p, "server_id");
    uint32_t ours = my_server_id(task, "");
    bool given = false;
    for (size_t i = 0; task && task->source && i < task->source->n_settings; i++) {
        given = given || strcasecmp(task->source->settings[i]->key, "serverid") == 0;
    }
    if (given && ours == 0) {
        about_server(p, ERROR, "ServerId is not a number from 1 to 4294967295",
                     "leave it out, or give a number that no server and no replica has", "");
    } else if (given && theirs && strtoull(theirs, NULL, 10) == ours) {
        about_server(p, ERROR, gw_arena_printf(p->a, "ServerId %u is the source's own", ours),
                     "leave it out, or give a number that no server and no replica has", "");
    }
    if (theirs && strtoull(theirs, NULL, 10) == 0) {
        about_server(p, ERROR, "the server has no server_id, without which it sends its log to nobody",
                     "set it, and put it under [mysqld]", "SET GLOBAL server_id = 1");
    }
}

// ---- tables ------------------------------------------------------------------------------------

static char *
qualified(struct preflight *p, const Gw__Table *t)
{
    MY_BUF name;
    gw_buf_init(&name, MY_SQL_MAX);
    gw_my_qname(&name, t->source_schema, t->source_name);
    return gw_arena_strdup(p->a, name.data);
}

static bool
acts(const char *action)
{
    return strcasecmp(action, "CASCADE") == 0 || strcasecmp(action, "SET NULL") == 0 ||
           strcasecmp(action, "SET DEFAULT") == 0;
}

// InnoDB does by itself what a foreign key says, and tells nobody. MySQL from 9.6 on can do it where it is logged.
static void
check_cascades(struct preflight *p, const Gw__Table *t)
{
    const char *native = variable(p, "innodb_native_foreign_keys");
    if (native && !is_on(native)) {
        return;
    }
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        const Gw__ForeignKey *k = t->foreign_keys[i];
        if (acts(k->on_delete) || acts(k->on_update)) {
            bool on_delete = acts(k->on_delete);
            about_table(
                p, t, ERROR, k->name,
                gw_arena_printf(p->a,
                                "its rows change with those of \"%s.%s\" (ON %s %s), and the server does not log that",
                                k->ref_schema, k->ref_table, on_delete ? "DELETE" : "UPDATE",
                                on_delete ? k->on_delete : k->on_update),
                "leave the table out, or let the application change the rows and the key do nothing",
                gw_arena_printf(p->a, "ALTER TABLE %s DROP FOREIGN KEY `%s`", qualified(p, t), k->name));
        }
    }
}

static bool
is_inexact(const Gw__Type *t)
{
    return t->kind == GW__KIND__KIND_FLOAT32 || t->kind == GW__KIND__KIND_FLOAT64 || t->kind == GW__KIND__KIND_JSON ||
           t->kind == GW__KIND__KIND_GEOMETRY;
}

static void
check_key(struct preflight *p, const Gw__Table *t)
{
    if (t->n_primary_key) {
        return;
    }
    size_t inexact = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        inexact += is_inexact(t->columns[i]->type);
    }
    about_table(p, t,
                inexact == t->n_columns ? ERROR
                : inexact               ? WARNING
                                        : INFO,
                "",
                gw_arena_strdup(p->a, inexact ? "it has no primary key, and columns that cannot be compared exactly"
                                              : "it has no primary key"),
                "a change looks for its row by all columns that can be compared, and takes one of those that are equal",
                gw_arena_printf(p->a, "ALTER TABLE %s ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY",
                                qualified(p, t)));
}

static void
check_columns(struct preflight *p, const Gw__Table *t)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        struct my_charset set;
        if (c->type->kind == GW__KIND__KIND_OTHER || c->type->kind == GW__KIND__KIND_UNKNOWN) {
            about_table(p, t, ERROR, c->name,
                        gw_arena_printf(p->a, "its type, %s, is not read from the log", c->type->native),
                        "leave the table out", "");
            continue;
        }
        bool known = my_charset_init(&set, c->type->charset, 1);
        my_charset_fini(&set);
        if (!known) {
            about_table(
                p, t, ERROR, c->name,
                gw_arena_printf(p->a, "its character set, %s, cannot be converted on this host", c->type->charset),
                "convert the column to utf8mb4, or leave the table out", "");
        }
    }
}

static int
check_versioned(struct preflight *p, const Gw__Table *t, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql,
                "SELECT 1 FROM information_schema.tables WHERE table_type = 'SYSTEM VERSIONED' AND table_schema = ");
    gw_my_literal(&sql, t->source_schema, strlen(t->source_schema));
    gw_buf_puts(&sql, " AND table_name = ");
    gw_my_literal(&sql, t->source_name, strlen(t->source_name));
    int r = gw_my_query(p->s->db, &res, sql.data, err);
    if (r == GW_OK && mysql_num_rows(res) > 0) {
        about_table(p, t, ERROR, "",
                    gw_arena_strdup(p->a, "it is system-versioned: its log holds history beside its rows"),
                    "leave the table out, or let its history go",
                    gw_arena_printf(p->a, "ALTER TABLE %s DROP SYSTEM VERSIONING", qualified(p, t)));
    }
    return r;
}

static int
check_table(struct preflight *p, const Gw__Table *t, struct gw_err *err)
{
    if (t->kind == GW__TABLE_KIND__TABLE_VIEW) {
        about_table(p, t, ERROR, "", gw_arena_strdup(p->a, "it is a view: the log holds changes of tables only"),
                    "leave it out, or load it without a stream", "");
        return GW_OK;
    }
    if (!t->transactional) {
        about_table(p, t, ERROR, "", gw_arena_strdup(p->a, "its storage engine has no transactions"),
                    "a change of it may be logged without having happened, or the other way round",
                    gw_arena_printf(p->a, "ALTER TABLE %s ENGINE = InnoDB", qualified(p, t)));
        return GW_OK;
    }
    check_cascades(p, t);
    check_key(p, t);
    check_columns(p, t);
    return p->s->server.mariadb ? check_versioned(p, t, err) : GW_OK;
}

// ---- all of it ---------------------------------------------------------------------------------

static int
quoted_user(struct preflight *p, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF user;
    gw_buf_init(&user, 4096);
    int r =
        gw_my_query(p->s->db, &res,
                    "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), SUBSTRING_INDEX(CURRENT_USER(), '@', -1)", err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    for (unsigned i = 0; row && i < 2; i++) {
        gw_buf_puts(&user, i ? "@" : "");
        gw_my_literal(&user, row[i] ? row[i] : "", row[i] ? strlen(row[i]) : 0);
    }
    p->user = gw_arena_strdup(p->a, user.len ? user.data : "CURRENT_USER");
    return r;
}

static int
check_server(struct preflight *p, const Gw__Task *task, struct gw_err *err)
{
    int r = load_variables(p, err);
    r = r == GW_OK ? quoted_user(p, err) : r;
    if (r != GW_OK) {
        return r;
    }
    check_format(p);
    check_expiry(p);
    check_id(p, task);
    r = is_on(variable(p, "log_bin")) ? check_dump(p, err) : GW_OK;
    r = r == GW_OK ? check_replica(p, err) : r;
    return r == GW_OK ? check_xa(p, err) : r;
}

int
my_stream_preflight(void *self, struct gw_arena *a, const Gw__Task *task, Gw__Catalog *cat, struct gw_err *err)
{
    struct preflight p = {.s = self, .a = a, .cat = cat};
    int r = check_server(&p, task, err);
    for (size_t i = 0; i < cat->n_tables && r == GW_OK; i++) {
        r = check_table(&p, cat->tables[i], err);
    }
    mysql_free_result(p.variables);
    return r == GW_OK ? GW_OK : gw_err_wrap(err, "look for what a stream needs");
}
