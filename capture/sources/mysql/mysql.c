#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sources/mysql/mysql_source.h"

// Dates that the server holds can be compared with, whatever they are; no mode that pads, quotes or rounds differently.
static const char sql_mode[] = "ALLOW_INVALID_DATES";

static void
source_close(void *self)
{
    struct my_source *s = self;
    my_stream_end(s);
    if (s->rows) {
        // Freeing would read the rest of the chunk from the server: the connection is cut instead.
        mariadb_cancel(s->db);
        mysql_free_result(s->rows);
    }
    s->db = gw_my_close(s->db);
    free(s->columns);
    if (s->opened) {
        gw_arena_fini(&s->arena);
    }
    *s = (struct my_source){0};
}

// MariaDB gives a metadata lock back at ROLLBACK TO SAVEPOINT (read.c) only where the session writes no binary log, which this one
// never does; but to say so takes a privilege.
static int
stop_logging(struct my_source *s, struct gw_err *err)
{
    MY_RES res = NULL;
    int r = gw_my_query(s->db, &res, "SELECT @@log_bin", err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    if (!row || !row[0] || strcmp(row[0], "0") == 0) {
        return r;
    }
    struct gw_err refused = {0};
    r = gw_my_exec(s->db, &refused, "SET SESSION sql_log_bin = 0");
    s->keeps_locks = r != GW_OK;
    if (r != GW_OK && r != GW_CONFIG) {
        *err = refused;
        return r;
    }
    return GW_OK;
}

static int
source_open(void *self, const Gw__Endpoint *ep, const char *password, struct gw_err *err)
{
    struct my_source *s = self;
    gw_arena_init(&s->arena);
    s->opened = true;
    s->ep = gw_pb_dup(&s->arena, ep);
    s->password = gw_arena_strdup(&s->arena, password);
    int r = gw_my_connect(&s->db, ep, password, sql_mode, GW_MY_REPEATABLE_READ, &s->server, err);
    if (r == GW_OK && !s->server.mariadb && s->server.version >= 80000) {
        // Otherwise numbers of rows, and AUTO_INCREMENT, are up to a day old.
        r = gw_my_exec(s->db, err, "SET SESSION information_schema_stats_expiry = 0");
    }
    if (r == GW_OK && s->server.mariadb) {
        r = stop_logging(s, err);
    }
    return r;
}

static const char *
text(MYSQL_ROW row, unsigned i)
{
    return row[i] ? row[i] : "";
}

static int
source_identity(void *self, struct gw_arena *a, char **ret, struct gw_err *err)
{
    struct my_source *s = self;
    char *server = NULL;
    int r = gw_my_identity(s->db, &s->server, a, &server, err);
    if (r == GW_OK) {
        *ret = gw_arena_printf(a, "%s/%s", server, s->ep->database);
    }
    return r;
}

int
my_list(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct my_source *s = self;
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    // The five names are a target's control tables; #mysql50# marks a folder that is no database.
    gw_buf_puts(&sql, "SELECT table_schema, table_name, table_type, table_rows, data_length, create_options"
                      " FROM information_schema.tables WHERE table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM "
                      "VERSIONED')"
                      " AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"
                      " AND table_schema NOT LIKE '#mysql50#%' AND NOT (table_schema = 'godwit' AND table_name IN"
                      " ('tasks', 'tables', 'chunks', 'steps', 'exceptions'))");
    if (s->ep->database[0]) {
        gw_buf_puts(&sql, " AND table_schema = ");
        gw_my_literal(&sql, s->ep->database, strlen(s->ep->database));
    }
    gw_buf_puts(&sql, " ORDER BY table_schema, table_name");
    int r = gw_my_query(s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "list tables");
    }
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
        t->schema = t->source_schema = gw_arena_strdup(a, text(row, 0));
        t->name = t->source_name = gw_arena_strdup(a, text(row, 1));
        t->kind = strcmp(text(row, 2), "VIEW") == 0     ? GW__TABLE_KIND__TABLE_VIEW
                  : strstr(text(row, 5), "partitioned") ? GW__TABLE_KIND__TABLE_PARTITIONED
                                                        : GW__TABLE_KIND__TABLE_PLAIN;
        t->rows_estimate = strtoull(text(row, 3), NULL, 10);
        t->bytes_estimate = strtoull(text(row, 4), NULL, 10);
        gw_pb_add(a, cat, tables, t);
    }
    cat->engine = gw_arena_strdup(a, "mysql");
    cat->server_version = gw_arena_strdup(a, mysql_get_server_info(s->db));
    return source_identity(self, a, &cat->identity, err);
}

// The greatest value that is there plus one, or what the table would hand out next if that is more.
static int
next_value(struct my_source *s, const Gw__Table *t, const Gw__Column *c, uint64_t *ret, struct gw_err *err)
{
    MY_RES given = NULL;
    MY_RES used = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT auto_increment FROM information_schema.tables WHERE table_schema = ");
    gw_my_literal(&sql, t->source_schema, strlen(t->source_schema));
    gw_buf_puts(&sql, " AND table_name = ");
    gw_my_literal(&sql, t->source_name, strlen(t->source_name));
    int r = gw_my_query(s->db, &given, sql.data, err);
    if (r == GW_OK) {
        gw_buf_reset(&sql);
        gw_buf_puts(&sql, "SELECT GREATEST(0, MAX(");
        gw_my_ident(&sql, c->name);
        gw_buf_puts(&sql, ")) FROM ");
        gw_my_qname(&sql, t->source_schema, t->source_name);
        r = gw_my_query(s->db, &used, sql.data, err);
    }
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(given);
    uint64_t next = row ? strtoull(text(row, 0), NULL, 10) : 0;
    row = mysql_fetch_row(used);
    uint64_t max = row ? strtoull(text(row, 0), NULL, 10) : 0;
    *ret = max >= next ? (max == UINT64_MAX ? max : max + 1) : next;
    return GW_OK;
}

static int
source_sequences(void *self, Gw__Table *t, struct gw_err *err)
{
    struct my_source *s = self;
    for (size_t i = 0; i < t->n_columns; i++) {
        Gw__Column *c = t->columns[i];
        if (c->identity != GW__IDENTITY__IDENTITY_AUTO) {
            continue;
        }
        uint64_t next = 1;
        // The savepoint gives back the table's metadata lock, which a transaction keeps otherwise.
        int r = s->in_snapshot ? gw_my_exec(s->db, err, "SAVEPOINT gw") : GW_OK;
        r = r == GW_OK ? next_value(s, t, c, &next, err) : r;
        if (r == GW_OK && s->in_snapshot) {
            r = gw_my_exec(s->db, err, "ROLLBACK TO SAVEPOINT gw");
        }
        if (r != GW_OK) {
            return gw_err_wrap(err, "read next value of \"%s.%s\"", t->source_schema, t->source_name);
        }
        c->sequence_next = next > INT64_MAX ? INT64_MAX : (int64_t)next;
    }
    return GW_OK;
}

const struct gw_source_ops gw_source_mysql = {
    .version = GW_SOURCE_VERSION,
    .name = "mysql",
    .caps = GW_SOURCE_SPLITS | GW_SOURCE_STREAM,
    .state_size = sizeof(struct my_source),
    .open = source_open,
    .close = source_close,
    .identity = source_identity,
    .list = my_list,
    .describe = my_describe,
    .snapshot_begin = my_snapshot_begin,
    .plan = my_plan,
    .chunk_begin = my_chunk_begin,
    .chunk_next = my_chunk_next,
    .chunk_cancel = my_chunk_cancel,
    .sequences = source_sequences,
    .stream_preflight = my_stream_preflight,
    .stream_open = my_stream_open,
    .stream_check = my_stream_check,
    .stream_close = my_stream_close,
    .stream_now = my_stream_now,
    .stream_begin = my_stream_begin,
    .stream_next = my_stream_next,
    .stream_fd = my_stream_fd,
    .stream_confirm = my_stream_confirm,
    .stream_kept = my_stream_kept,
    .position_cmp = my_position_cmp,
    .tx_visible = my_tx_visible,
    .snapshot_covers = my_snapshot_covers,
};
