// libpq, wrapped once for the source and the target: connect with every time-out and session setting fixed,
// errors as classes, names and literals quoted.
#ifndef GW_DB_PG_H
#define GW_DB_PG_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "task.pb-c.h"

// Connects and makes the session's text independent of roles and databases: client_encoding UTF8, DateStyle ISO,
// IntervalStyle postgres, TimeZone UTC, extra_float_digits 3, bytea_output hex, row_security off,
// statement/lock/idle time-outs off, standard_conforming_strings on, search_path empty, keepalives, connect_timeout.
// application_name is "godwit <what>". *ret is NULL on failure. The message never holds the password.
int gw_pg_connect(PGconn **ret, const Gw__Endpoint *ep, const char *password, const char *what, struct gw_err *err);
// The same for a logical replication connection (replication=database). It takes replication commands and plain statements
// without parameters: gw_pg_exec, not gw_pg_query. wal_sender_timeout is 60 s, whatever the server's default is.
int gw_pg_connect_replication(PGconn **ret, const Gw__Endpoint *ep, const char *password, const char *what,
                              struct gw_err *err);
PGconn *gw_pg_close(PGconn *c); // takes NULL; returns NULL

// One statement (or several without parameters), result discarded.
int gw_pg_exec(PGconn *c, struct gw_err *err, const char *sql, ...) __attribute__((format(printf, 3, 4)));
// One statement with text parameters (NULL = SQL NULL); rows in *ret (caller frees with PQclear).
int gw_pg_query(PGconn *c, PGresult **ret, const char *sql, int n, const char *const *params, struct gw_err *err);

// Fills err from a failed result (or the connection, res = NULL) with SQLSTATE, primary message, detail, hint.
// Returns its class: 08*, 57P*, 53*, 40*, 55P03 … RETRY; 22*, 23* DATA; 28*, 3D*, 42*, 0A* … CONFIG; a lost connection RETRY.
int gw_pg_error(PGconn *c, const PGresult *res, struct gw_err *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

// Appends "ident" / 'literal' (E'' where needed); `gw_pg_qname` appends schema.name, or name without a schema.
void gw_pg_ident(struct gw_buf *sql, const char *name);
void gw_pg_qname(struct gw_buf *sql, const char *schema, const char *name);
void gw_pg_literal(struct gw_buf *sql, const char *text);

#endif
