#include "common/db/my/my.h"

#include <errmsg.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_S = 10,
    IO_TIMEOUT_S = 24 * 3600, // an index may take hours, without a word; keepalives find a dead server
    SERVER_MIN = 50700,
    MARIADB_MIN = 100300,
};

// ---- errors ------------------------------------------------------------------------------------

// Numbers of both servers (MySQL "Server Error Message Reference", MariaDB "Error Codes") and of the client (2000 …).
// What is not here needs an operator.
static const struct {
    unsigned errnum;
    enum gw_class cls;
} classes[] = {
    // the connection, the server, or somebody else's lock
    {1020, GW_RETRY}, // record has changed since last read
    {1021, GW_RETRY}, // disk full
    {1028, GW_RETRY}, // sort aborted
    {1037, GW_RETRY}, // out of memory
    {1038, GW_RETRY}, // out of sort memory
    {1040, GW_RETRY}, // too many connections
    {1041, GW_RETRY}, // out of resources
    {1053, GW_RETRY}, // shutdown in progress
    {1077, GW_RETRY}, // normal shutdown
    {1079, GW_RETRY}, // shutdown complete
    {1114, GW_RETRY}, // table (or temporary space) is full
    {1135, GW_RETRY}, // cannot create a thread
    {1152, GW_RETRY}, // aborted connection
    {1158, GW_RETRY}, // error reading packets
    {1159, GW_RETRY}, // time-out reading packets
    {1160, GW_RETRY}, // error writing packets
    {1161, GW_RETRY}, // time-out writing packets
    {1180, GW_RETRY}, // error during COMMIT
    {1184, GW_RETRY}, // aborted connection
    {1203, GW_RETRY}, // too many connections of this user
    {1205, GW_RETRY}, // lock wait time-out
    {1206, GW_RETRY}, // lock table is full
    {1213, GW_RETRY}, // deadlock
    {1226, GW_RETRY}, // resource limit of the user
    {1297, GW_RETRY}, // temporary error
    {1317, GW_RETRY}, // query interrupted
    {1613, GW_RETRY}, // XA: rolled back, took too long
    {1614, GW_RETRY}, // XA: rolled back, deadlock
    {1835, GW_RETRY}, // malformed communication packet
    {1927, GW_RETRY}, // connection was killed
    {1969, GW_RETRY}, // max_statement_time exceeded
    {3024, GW_RETRY}, // max_execution_time exceeded
    {3100, GW_RETRY}, // group replication refused the commit
    {3101, GW_RETRY}, // group replication rolled back
    {3572, GW_RETRY}, // NOWAIT: lock not available
    {4031, GW_RETRY}, // disconnected after inactivity
    {CR_UNKNOWN_ERROR, GW_RETRY},
    {CR_CONNECTION_ERROR, GW_RETRY},
    {CR_CONN_HOST_ERROR, GW_RETRY},
    {CR_IPSOCK_ERROR, GW_RETRY},
    {CR_UNKNOWN_HOST, GW_RETRY},
    {CR_SERVER_GONE_ERROR, GW_RETRY},
    {CR_OUT_OF_MEMORY, GW_RETRY},
    {CR_SERVER_HANDSHAKE_ERR, GW_RETRY},
    {CR_SERVER_LOST, GW_RETRY},
    {CR_SSL_CONNECTION_ERROR, GW_RETRY}, // the handshake's own failures: connect_class
    {CR_MALFORMED_PACKET, GW_RETRY},
    {2055, GW_RETRY}, // lost connection, with the system's error
    {5014, GW_RETRY}, // CR_ERR_NET_READ
    {5015, GW_RETRY}, // CR_ERR_NET_WRITE
    // the snapshot is older than the table
    {1412, GW_AGAIN},
    // this row
    {1022, GW_DATA}, // duplicate key on write
    {1048, GW_DATA}, // NULL in a NOT NULL column
    {1062, GW_DATA}, // duplicate key
    {1136, GW_DATA}, // column count does not match
    {1153, GW_DATA}, // packet larger than max_allowed_packet
    {1162, GW_DATA}, // string longer than max_allowed_packet
    {1169, GW_DATA}, // unique constraint on write
    {1216, GW_DATA}, // foreign key: no parent
    {1217, GW_DATA}, // foreign key: has children
    {1261, GW_DATA}, // row has too few fields
    {1262, GW_DATA}, // row has too many fields
    {1263, GW_DATA}, // NULL to NOT NULL
    {1264, GW_DATA}, // out of range
    {1265, GW_DATA}, // data truncated
    {1292, GW_DATA}, // truncated incorrect value
    {1300, GW_DATA}, // invalid character string
    {1366, GW_DATA}, // incorrect value
    {1367, GW_DATA}, // illegal value
    {1369, GW_DATA}, // CHECK OPTION failed
    {1406, GW_DATA}, // data too long
    {1411, GW_DATA}, // incorrect value for a function
    {1416, GW_DATA}, // cannot get geometry
    {1441, GW_DATA}, // datetime overflow
    {1451, GW_DATA}, // foreign key: has children
    {1452, GW_DATA}, // foreign key: no parent
    {1526, GW_DATA}, // no partition for the value
    {1557, GW_DATA}, // foreign key: duplicate through cascade
    {1586, GW_DATA}, // duplicate key
    {1644, GW_DATA}, // SIGNAL of a trigger
    {1690, GW_DATA}, // value out of range
    {1748, GW_DATA}, // row does not belong to the partition
    {1761, GW_DATA}, // foreign key: duplicate in a child
    {1762, GW_DATA}, // the same
    {1859, GW_DATA}, // duplicate key, unknown which
    {3037, GW_DATA}, // invalid geometry
    {3140, GW_DATA}, // invalid JSON text
    {3141, GW_DATA}, // invalid JSON in a parameter
    {3144, GW_DATA}, // JSON of a binary string
    {3156, GW_DATA}, // JSON value does not fit the cast
    {3157, GW_DATA}, // JSON document too deep
    {3616, GW_DATA}, // longitude out of range
    {3617, GW_DATA}, // latitude out of range
    {3643, GW_DATA}, // SRID is not the column's
    {3819, GW_DATA}, // CHECK (MySQL)
    {3988, GW_DATA}, // character has no equal in the column's character set
    {4025, GW_DATA}, // CHECK (MariaDB)
    {4038, GW_DATA}, // JSON syntax (MariaDB)
    // ourselves
    {CR_COMMANDS_OUT_OF_SYNC, GW_BUG},
    {0, GW_BUG},
};

enum gw_class
gw_my_classify(unsigned errnum)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (classes[i].errnum == errnum) {
            return classes[i].cls;
        }
    }
    return GW_CONFIG;
}

int
gw_my_error(MYSQL *c, struct gw_err *err, const char *what, ...)
{
    char doing[512], code[16];
    va_list ap;
    va_start(ap, what);
    vsnprintf(doing, sizeof doing, what, ap);
    va_end(ap);
    if (!c) {
        return gw_err_set(err, GW_RETRY, NULL, "%s: no connection", doing);
    }
    unsigned errnum = mysql_errno(c);
    snprintf(code, sizeof code, "%u", errnum);
    const char *text = mysql_error(c);
    return gw_err_set(err, gw_my_classify(errnum), code, "%s: %s", doing, text[0] ? text : "the server gave no reason");
}

// A failed handshake is an operator's matter (certificates, versions) unless the peer has just gone away.
static enum gw_class
connect_class(unsigned errnum, const char *text)
{
    static const char *const passing[] = {"reset", "unexpected eof", "timed out", "timeout", "Broken pipe", "closed"};
    if (errnum != CR_SSL_CONNECTION_ERROR) {
        return gw_my_classify(errnum);
    }
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (strcasestr(text, passing[i])) {
            return GW_RETRY;
        }
    }
    return GW_CONFIG;
}

// ---- options -----------------------------------------------------------------------------------

enum ssl_mode { SSL_DISABLED, SSL_PREFERRED, SSL_REQUIRED, SSL_VERIFY };
struct options {
    enum ssl_mode ssl;
    const char *socket, *ca, *capath, *cert, *key;
};

static bool
same(const char *a, const char *b) // case, - and _ do not count
{
    for (; *a && *b; a++, b++) {
        char x = *a == '_' ? '-' : (char)(*a | 32), y = *b == '_' ? '-' : (char)(*b | 32);
        if (x != y) {
            return false;
        }
    }
    return *a == *b;
}

static int
parse_ssl_mode(const char *text, enum ssl_mode *ret, struct gw_err *err)
{
    static const struct {
        const char *name;
        enum ssl_mode mode;
    } modes[] = {
        {"disabled", SSL_DISABLED}, {"preferred", SSL_PREFERRED},    {"required", SSL_REQUIRED},
        {"verify-ca", SSL_VERIFY},  {"verify-identity", SSL_VERIFY},
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (same(text, modes[i].name)) {
            *ret = modes[i].mode;
            return GW_OK;
        }
    }
    return gw_err_set(err, GW_CONFIG, NULL,
                      "ssl-mode \"%s\" is none of disabled, preferred, required, verify_ca, verify_identity", text);
}

static int
parse_options(const Gw__Endpoint *ep, struct options *o, struct gw_err *err)
{
    bool mode_given = false;
    *o = (struct options){.ssl = SSL_PREFERRED};
    for (size_t i = 0; i < ep->n_params; i++) {
        const char *key = ep->params[i]->key, *value = ep->params[i]->value;
        if (same(key, "socket")) {
            o->socket = value;
        } else if (same(key, "ssl-ca")) {
            o->ca = value;
        } else if (same(key, "ssl-capath")) {
            o->capath = value;
        } else if (same(key, "ssl-cert")) {
            o->cert = value;
        } else if (same(key, "ssl-key")) {
            o->key = value;
        } else if (same(key, "ssl-mode") || same(key, "sslmode")) {
            int r = parse_ssl_mode(value, &o->ssl, err);
            if (r != GW_OK) {
                return r;
            }
            mode_given = true;
        } else {
            return gw_err_set(err, GW_CONFIG, NULL, "url parameter \"%s\" is not known to MySQL and MariaDB", key);
        }
    }
    if (!mode_given) {
        if (o->ca || o->capath) {
            o->ssl = SSL_VERIFY; // a certificate authority that nobody asks would be a false comfort
        } else if (o->cert) {
            o->ssl = SSL_REQUIRED;
        } else if (o->socket) {
            o->ssl = SSL_DISABLED;
        }
    }
    return GW_OK;
}

static void
apply_options(MYSQL *c, const struct options *o, bool tcp, unsigned flags)
{
    unsigned connect_s = CONNECT_TIMEOUT_S, io_s = IO_TIMEOUT_S;
    unsigned infile = (flags & GW_MY_LOCAL_INFILE) != 0, protocol = MYSQL_PROTOCOL_TCP;
    unsigned long packet = 1UL << 30;
    my_bool no = 0, yes = 1, verify = o->ssl == SSL_VERIFY;
    mysql_optionsv(c, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_optionsv(c, MYSQL_OPT_READ_TIMEOUT, &io_s);
    mysql_optionsv(c, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    mysql_optionsv(c, MYSQL_OPT_LOCAL_INFILE, &infile);
    mysql_optionsv(c, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet);
    mysql_optionsv(c, MYSQL_OPT_RECONNECT, &no);
    mysql_optionsv(c, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_optionsv(c, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "godwit");
    if (tcp) {
        mysql_optionsv(c, MYSQL_OPT_PROTOCOL, &protocol);
    }
    if (o->ssl != SSL_DISABLED) {
        mysql_ssl_set(c, o->key, o->cert, o->ca, o->capath, NULL);
        mysql_optionsv(c, MYSQL_OPT_SSL_ENFORCE, &yes);
        mysql_optionsv(c, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    }
}

// A server that is gone without a word is noticed after one to two minutes.
static void
keep_alive(MYSQL *c)
{
    int fd = (int)mysql_get_socket(c);
    int on = 1, idle = 30, interval = 10, count = 6, unacked_ms = 300000;
    // On a unix socket the last four fail, which does not matter.
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
}

// ---- session -----------------------------------------------------------------------------------

// Whatever changes the text of a value, cuts a result short, or ends a session that waits for the other side.
static int
prepare_session(MYSQL *c, const char *sql_mode, unsigned flags, struct gw_err *err)
{
    int r = gw_my_exec(c, err, "SET NAMES utf8mb4");
    if (r == GW_OK) {
        r = gw_my_exec(c, err, "SET SESSION TRANSACTION ISOLATION LEVEL %s",
                       flags & GW_MY_REPEATABLE_READ ? "REPEATABLE READ" : "READ COMMITTED");
    }
    if (r == GW_OK) {
        r = gw_my_exec(c, err,
                       "SET SESSION sql_mode = '%s', time_zone = '+00:00', autocommit = 1, completion_type = 0,"
                       " wait_timeout = 604800, net_read_timeout = 86400, net_write_timeout = 86400,"
                       " lock_wait_timeout = 300, sql_select_limit = 18446744073709551615, sql_big_selects = "
                       "1,"
                       " sql_safe_updates = 0, sql_auto_is_null = 0, sql_quote_show_create = 1",
                       sql_mode);
    }
    return r;
}

// Each is set only where the server has it.
static int
prepare_optional(MYSQL *c, const struct gw_my_server *server, struct gw_err *err)
{
    static const char *const maria[] = {"max_statement_time", "idle_transaction_timeout",
                                        "idle_readonly_transaction_timeout", "idle_write_transaction_timeout"};
    static const char *const mysql[] = {"max_execution_time"};
    size_t n = server->mariadb ? sizeof maria / sizeof *maria : sizeof mysql / sizeof *mysql;
    const char *const *names = server->mariadb ? maria : mysql;
    for (size_t i = 0; i < n; i++) {
        int r = gw_my_exec(c, err, "SET SESSION %s = 0", names[i]);
        if (r != GW_OK) {
            if (mysql_errno(c) != 1193) { // unknown system variable
                return r;
            }
            gw_err_clear(err);
        }
    }
    return GW_OK;
}

static int
check_server(MYSQL *c, const struct options *o, struct gw_my_server *server, struct gw_err *err)
{
    server->mariadb = mariadb_connection(c);
    server->version = mysql_get_server_version(c);
    if (server->version < (unsigned long)(server->mariadb ? MARIADB_MIN : SERVER_MIN)) {
        return gw_err_set(err, GW_CONFIG, NULL, "server version %s is too old: MySQL 5.7 or MariaDB 10.3 is needed",
                          mysql_get_server_info(c));
    }
    // The library goes on without TLS where the server has none.
    if (o->ssl >= SSL_REQUIRED && !mysql_get_ssl_cipher(c)) {
        return gw_err_set(err, GW_CONFIG, NULL, "ssl-mode asks for TLS, and the server does not offer it");
    }
    return GW_OK;
}

int
gw_my_connect(MYSQL **ret, const Gw__Endpoint *ep, const char *password, const char *sql_mode, unsigned flags,
              struct gw_my_server *server, struct gw_err *err)
{
    struct options o;
    int r = parse_options(ep, &o, err);
    if (r != GW_OK) {
        return r;
    }
    MYSQL *c = mysql_init(NULL);
    if (!c) {
        return gw_err_set(err, GW_RETRY, NULL, "connect to MySQL: out of memory");
    }
    const char *host = ep->host[0] ? ep->host : NULL;
    bool tcp = host && !o.socket && (ep->port || strcmp(host, "localhost") != 0);
    apply_options(c, &o, tcp, flags);
    if (!mysql_real_connect(c, o.socket ? "localhost" : host, ep->user[0] ? ep->user : NULL, password,
                            ep->database[0] ? ep->database : NULL, ep->port, o.socket, CLIENT_FOUND_ROWS)) {
        char code[16];
        snprintf(code, sizeof code, "%u", mysql_errno(c));
        r = gw_err_set(err, connect_class(mysql_errno(c), mysql_error(c)), code, "connect to MySQL: %s",
                       mysql_error(c));
        mysql_close(c);
        return r;
    }
    keep_alive(c);
    struct gw_my_server s = {0};
    r = check_server(c, &o, &s, err);
    r = r == GW_OK ? prepare_session(c, sql_mode, flags, err) : r;
    r = r == GW_OK ? prepare_optional(c, &s, err) : r;
    if (r != GW_OK) {
        mysql_close(c);
        return gw_err_wrap(err, "prepare a MySQL session");
    }
    *server = s;
    *ret = c;
    return GW_OK;
}

MYSQL *
gw_my_close(MYSQL *c)
{
    if (c) {
        mysql_close(c);
    }
    return NULL;
}

// ---- statements --------------------------------------------------------------------------------

// Runs one statement and takes its result, which is NULL where it has none.
static int
run(MYSQL *c, const char *sql, size_t len, MYSQL_RES **ret, struct gw_err *err)
{
    if (mysql_real_query(c, sql, (unsigned long)len) != 0) {
        return gw_my_error(c, err, "%.60s", sql);
    }
    MYSQL_RES *res = mysql_store_result(c);
    if (!res && mysql_field_count(c) != 0) {
        return gw_my_error(c, err, "%.60s", sql);
    }
    *ret = res;
    return GW_OK;
}

int
gw_my_exec(MYSQL *c, struct gw_err *err, const char *sql, ...)
{
    struct gw_buf b;
    gw_buf_init(&b, 64 << 20);
    va_list ap;
    va_start(ap, sql);
    gw_buf_vprintf(&b, sql, ap);
    va_end(ap);
    int r;
    if (b.overflowed || !b.data) {
        r = gw_err_set(err, GW_BUG, NULL, "statement is empty or too long");
    } else {
        MYSQL_RES *res = NULL;
        r = run(c, b.data, b.len, &res, err);
        mysql_free_result(res); // takes NULL
    }
    gw_buf_fini(&b);
    return r;
}

int
gw_my_query(MYSQL *c, MYSQL_RES **ret, const char *sql, struct gw_err *err)
{
    MYSQL_RES *res = NULL;
    int r = run(c, sql, strlen(sql), &res, err);
    if (r == GW_OK && !res) {
        r = gw_err_set(err, GW_BUG, NULL, "%.60s: a statement without a result", sql);
    }
    if (r == GW_OK) {
        *ret = res;
    }
    return r;
}

// ---- quoting -----------------------------------------------------------------------------------

void
gw_my_ident(struct gw_buf *sql, const char *name)
{
    gw_buf_putc(sql, '`');
    for (const char *p = name; *p; p++) {
        if (*p == '`') {
            gw_buf_putc(sql, '`');
        }
        gw_buf_putc(sql, *p);
    }
    gw_buf_putc(sql, '`');
}

void
gw_my_qname(struct gw_buf *sql, const char *schema, const char *name)
{
    if (schema && schema[0]) {
        gw_my_ident(sql, schema);
        gw_buf_putc(sql, '.');
    }
    gw_my_ident(sql, name);
}

// In UTF-8 no byte of a longer character is one of these, so that bytes are enough.
void
gw_my_literal(struct gw_buf *sql, const char *text, size_t len)
{
    gw_buf_putc(sql, '\'');
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case 0: gw_buf_put(sql, "\\0", 2); break;
        case '\n': gw_buf_put(sql, "\\n", 2); break;
        case '\r': gw_buf_put(sql, "\\r", 2); break;
        case 26: gw_buf_put(sql, "\\Z", 2); break;
        case '\'':
        case '\\':
            gw_buf_putc(sql, '\\');
            gw_buf_putc(sql, text[i]);
            break;
        default: gw_buf_putc(sql, text[i]);
        }
    }
    gw_buf_putc(sql, '\'');
}

int
gw_my_identity(MYSQL *c, const struct gw_my_server *server, struct gw_arena *a, char **ret, struct gw_err *err)
{
    MYSQL_RES *res = NULL;
    // MariaDB has no uuid. Servers that were copied, or that share a network address, differ in one of these.
    int rc = gw_my_query(
        c, &res, server->mariadb ? "SELECT @@hostname, @@port, @@server_id, @@datadir" : "SELECT @@server_uuid", err);
    if (rc != GW_OK) {
        return gw_err_wrap(err, "identify the server");
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    if (!row || !row[0]) {
        rc = gw_err_set(err, GW_BUG, NULL, "identify the server: no answer");
    } else if (server->mariadb) {
        *ret = gw_arena_printf(a, "mariadb:%s:%s:%s:%s", row[0], row[1], row[2], row[3]);
    } else {
        *ret = gw_arena_printf(a, "mysql:%s", row[0]);
    }
    mysql_free_result(res);
    return rc;
}
