#include "common/db/pg/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// ---- errors ------------------------------------------------------------------------------------

// By SQLSTATE prefix, the longest first (PostgreSQL documentation, appendix A, "Error Codes").
static const struct {
    const char *prefix;
    enum gw_class cls;
} classes[] = {
    {"55P03", GW_RETRY},  // lock not available
    {"55006", GW_RETRY},  // object in use
    {"57014", GW_RETRY},  // query canceled
    {"57P04", GW_CONFIG}, // database dropped
    {"57P", GW_RETRY},    // shutdown, crash, cannot connect now
    {"25P0", GW_RETRY},   // idle-in-transaction and other session time-outs
    {"58", GW_RETRY},     // system error
    {"53", GW_RETRY},     // insufficient resources: disk, memory, connections
    {"40", GW_RETRY},     // serialization failure, deadlock
    {"08P01", GW_BUG},    // protocol violation
    {"08", GW_RETRY},     // connection
    {"22", GW_DATA},      // data exception
    {"23", GW_DATA},      // integrity constraint
    {"44", GW_DATA},      // WITH CHECK OPTION
    {"XX", GW_BUG},       // internal error, data corrupted
};

static enum gw_class
class_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strncmp(sqlstate, classes[i].prefix, strlen(classes[i].prefix)) == 0) {
            return classes[i].cls;
        }
    }
    return GW_CONFIG; // 0A, 28, 3D, 3F, 42 …: an operator must act
}

// libpq ends its messages with a newline.
static void
chomp(char *s)
{
    size_t n = strlen(s);
    while (n && (s[n - 1] == '\n' || s[n - 1] == ' ')) {
        s[--n] = 0;
    }
}

int
gw_pg_error(PGconn *c, const PGresult *res, struct gw_err *err, const char *what, ...)
{
    char doing[512];
    va_list ap;
    va_start(ap, what);
    vsnprintf(doing, sizeof doing, what, ap);
    va_end(ap);
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    bool lost = c && PQstatus(c) != CONNECTION_OK;
    if (!primary) {
        char text[900];
        snprintf(text, sizeof text, "%s", c ? PQerrorMessage(c) : "no connection");
        chomp(text);
        return gw_err_set(err, lost || !c ? GW_RETRY : GW_BUG, state, "%s: %s", doing, text);
    }
    enum gw_class cls = state ? class_of(state) : GW_RETRY;
    if (lost && cls != GW_CONFIG) {
        cls = GW_RETRY; // whatever it said last, it is gone
    }
    int r = gw_err_set(err, cls, state, "%s%s%s", doing, doing[0] ? ": " : "", primary);
    const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
    const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
    if (detail || context) {
        gw_err_detail(err, "%s%s%s", detail ? detail : "", detail && context ? "; " : "", context ? context : "");
    }
    if (hint) {
        gw_err_hint(err, "%s", hint);
    }
    return r;
}

// What the server says of a statement is for people; the statement's own words are of use only where it could not be
// read (class 42, syntax and names).
static int
statement_error(PGconn *c, const PGresult *res, const char *sql, struct gw_err *err)
{
    int r = gw_pg_error(c, res, err, "%s", PQstatus(c) == CONNECTION_OK ? "" : "the connection was lost");
    if (strncmp(err->code, "42", 2) == 0 && !err->detail[0]) {
        gw_err_detail(err, "statement: %.200s", sql);
    }
    return r;
}

// A failed connection has no SQLSTATE: libpq 15 gives only text. What an operator must mend is told by the
// server in words; a server that is away or starting is worth another try.
static enum gw_class
connect_class(const char *text)
{
    static const char *const final[] = {
        "password authentication failed",
        "no password supplied",
        "does not exist",
        "no pg_hba.conf entry",
        "authentication failed",
        "not permitted to log in",
        "permission denied for database",
        "is not currently accepting connections",
        "invalid port number",
        "invalid connection option",
        "root certificate file",
        "certificate verify failed",
        "server does not support SSL",
        "invalid sslmode value",
        "private key file",
        "could not translate host name",
        "unsupported frontend protocol",
    };
    // "does not exist" is also said of a socket file, when the server is down.
    if (strstr(text, "No such file or directory") && strstr(text, "socket")) {
        return GW_RETRY;
    }
    for (size_t i = 0; i < sizeof final / sizeof *final; i++) {
        if (strstr(text, final[i])) {
            return strcmp(final[i], "could not translate host name") == 0 ? GW_RETRY : GW_CONFIG;
        }
    }
    return GW_RETRY;
}

// ---- connecting --------------------------------------------------------------------------------

// Whatever changes the text of a value, hides rows, or ends a session that waits for the other side.
static const char session_sql[] =
    "SET client_min_messages = warning;" // notices go to stderr, past every log
    "SET client_encoding = 'UTF8';"
    "SET standard_conforming_strings = on;"
    "SET DateStyle = 'ISO, YMD';"
    "SET IntervalStyle = 'postgres';"
    "SET TimeZone = 'UTC';"
    "SET extra_float_digits = 3;"
    "SET bytea_output = 'hex';"
    "SET xmloption = 'content';"
    "SET array_nulls = on;"
    "SET lc_monetary = 'C';"
    "SET jit = off;" // each statement runs once: compiling it costs tens of milliseconds a session, and gains nothing
    "SET row_security = off;"
    "SET statement_timeout = 0;"
    "SET lock_timeout = 0;"
    "SET idle_in_transaction_session_timeout = 0;"
    "SET search_path = ''";
// Not in every version: set where the server knows them.
static const char session_optional_sql[] = "SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings"
                                           " WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

enum { PARAMS_MAX = 64 };

struct params {
    const char *keys[PARAMS_MAX], *values[PARAMS_MAX];
    size_t n;
};

static void
add(struct params *p, const char *key, const char *value)
{
    if (value && value[0] && p->n + 1 < PARAMS_MAX) {
        p->keys[p->n] = key;
        p->values[p->n++] = value;
        p->keys[p->n] = p->values[p->n] = NULL;
    }
}

static PGconn *
start(const Gw__Endpoint *ep, const char *password, const char *what, bool replication)
{
    struct params p = {.n = 0};
    char port[16], name[80];
    snprintf(port, sizeof port, "%u", ep->port);
    snprintf(name, sizeof name, "godwit %s", what);
    add(&p, "connect_timeout", "10");
    add(&p, "keepalives", "1");
    add(&p, "keepalives_idle", "10");
    add(&p, "keepalives_interval", "5");
    add(&p, "keepalives_count", "3");
    add(&p, "tcp_user_timeout", "30000");
    for (size_t i = 0; i < ep->n_params; i++) { // later ones win
        add(&p, ep->params[i]->key, ep->params[i]->value);
    }
    add(&p, "host", ep->host);
    add(&p, "port", ep->port ? port : NULL);
    add(&p, "user", ep->user);
    add(&p, "dbname", ep->database);
    add(&p, "password", password);
    add(&p, "application_name", name);
    add(&p, "client_encoding", "UTF8");
    add(&p, "replication", replication ? "database" : NULL);
    return PQconnectdbParams(p.keys, p.values, 0);
}

static int
connect_as(PGconn **ret, const Gw__Endpoint *ep, const char *password, const char *what, bool replication,
           struct gw_err *err)
{
    PGconn *c = start(ep, password, what, replication);
    if (!c) {
        return gw_err_set(err, GW_RETRY, NULL, "connect to PostgreSQL: out of memory");
    }
    if (PQstatus(c) != CONNECTION_OK) {
        char text[900];
        snprintf(text, sizeof text, "%s", PQerrorMessage(c));
        chomp(text);
        PQfinish(c);
        return gw_err_set(err, connect_class(text), NULL, "connect to PostgreSQL: %s", text);
    }
    int r = gw_pg_exec(c, err, "%s", session_sql);
    r = r == GW_OK ? gw_pg_exec(c, err, "%s", session_optional_sql) : r;
    if (r == GW_OK && replication) {
        // Long enough for a receiver that waits and answers every few seconds; short enough that a server notices one
        // that is gone without a word.
        r = gw_pg_exec(c, err, "SET wal_sender_timeout = '60s'");
    }
    if (r != GW_OK) {
        PQfinish(c);
        return gw_err_wrap(err, "prepare a PostgreSQL session");
    }
    *ret = c;
    return GW_OK;
}

int
gw_pg_connect(PGconn **ret, const Gw__Endpoint *ep, const char *password, const char *what, struct gw_err *err)
{
    return connect_as(ret, ep, password, what, false, err);
}

int
gw_pg_connect_replication(PGconn **ret, const Gw__Endpoint *ep, const char *password, const char *what,
                          struct gw_err *err)
{
    return connect_as(ret, ep, password, what, true, err);
}

PGconn *
gw_pg_close(PGconn *c)
{
    PQfinish(c); // takes NULL
    return NULL;
}

// ---- statements --------------------------------------------------------------------------------

static bool
succeeded(const PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY: return true;
    default: return false;
    }
}

int
gw_pg_exec(PGconn *c, struct gw_err *err, const char *sql, ...)
{
    struct gw_buf b;
    gw_buf_init(&b, 64 << 20);
    va_list ap;
    va_start(ap, sql);
    gw_buf_vprintf(&b, sql, ap);
    va_end(ap);
    int r = GW_OK;
    if (b.overflowed) {
        r = gw_err_set(err, GW_BUG, NULL, "statement is too long");
    } else {
        PGresult *res = PQexec(c, b.data ? b.data : "");
        if (!succeeded(res)) {
            r = statement_error(c, res, b.data ? b.data : "", err);
        }
        PQclear(res);
    }
    gw_buf_fini(&b);
    return r;
}

int
gw_pg_query(PGconn *c, PGresult **ret, const char *sql, int n, const char *const *params, struct gw_err *err)
{
    PGresult *res = PQexecParams(c, sql, n, NULL, params, NULL, NULL, 0);
    if (!succeeded(res)) {
        int r = statement_error(c, res, sql, err);
        PQclear(res);
        return r;
    }
    *ret = res;
    return GW_OK;
}

// ---- quoting -----------------------------------------------------------------------------------

void
gw_pg_ident(struct gw_buf *sql, const char *name)
{
    gw_buf_putc(sql, '"');
    for (const char *p = name; *p; p++) {
        if (*p == '"') {
            gw_buf_putc(sql, '"');
        }
        gw_buf_putc(sql, *p);
    }
    gw_buf_putc(sql, '"');
}

void
gw_pg_qname(struct gw_buf *sql, const char *schema, const char *name)
{
    if (schema && schema[0]) {
        gw_pg_ident(sql, schema);
        gw_buf_putc(sql, '.');
    }
    gw_pg_ident(sql, name);
}

void
gw_pg_literal(struct gw_buf *sql, const char *text)
{
    if (strchr(text, '\\')) {
        gw_buf_puts(sql, " E"); // the space keeps the E off a word before it
    }
    gw_buf_putc(sql, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'' || *p == '\\') {
            gw_buf_putc(sql, *p);
        }
        gw_buf_putc(sql, *p);
    }
    gw_buf_putc(sql, '\'');
}
