// MariaDB Connector/C, wrapped once for the source and the target of MySQL and MariaDB: connect with every
// time-out and session setting fixed, errors as classes, names and literals quoted.
#ifndef GW_DB_MY_H
#define GW_DB_MY_H

#include <mysql.h>
#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "task.pb-c.h"

struct gw_my_server {
    bool mariadb;
    unsigned long version; // as mysql_get_server_version: 101106
};

// Connects with utf8mb4 and: explicit sql_mode (given by the caller), time_zone '+00:00', READ COMMITTED unless the caller
// asks for REPEATABLE READ, autocommit on, every limit on statements and idle time lifted (a server that is gone is found
// by TCP keepalives; a metadata lock is waited for at most 5 minutes), CLIENT_FOUND_ROWS, LOCAL INFILE only if asked.
// *ret is NULL on failure. The message never holds the password. No option file is read.
//
// Parameters of the url (- and _ are the same; an unknown one is refused):
//   socket             path of a unix socket
//   ssl-mode           disabled | preferred (the default: TLS if the server offers it, not over a unix socket) |
//                      required | verify_ca and verify_identity (both: certificate and host name must be right)
//   ssl-ca ssl-capath ssl-cert ssl-key    files; ssl-ca or ssl-capath alone means verify_identity
// A host of "localhost" without a port is the default unix socket; with a port it is TCP.
enum gw_my_flags { GW_MY_LOCAL_INFILE = 1, GW_MY_REPEATABLE_READ = 2 };
int gw_my_connect(MYSQL **ret, const Gw__Endpoint *ep, const char *password, const char *sql_mode, unsigned flags,
                  struct gw_my_server *server, struct gw_err *err);
MYSQL *gw_my_close(MYSQL *c); // takes NULL; returns NULL

// Runs one statement whose result, if it has one, is thrown away.
int gw_my_exec(MYSQL *c, struct gw_err *err, const char *sql, ...) __attribute__((format(printf, 3, 4)));
// Runs sql and stores the whole result (small results only); caller frees with mysql_free_result.
int gw_my_query(MYSQL *c, MYSQL_RES **ret, const char *sql, struct gw_err *err);

// What proves that this is the same server, in its own words: however it was reached. In the arena.
int gw_my_identity(MYSQL *c, const struct gw_my_server *server, struct gw_arena *a, char **ret, struct gw_err *err);

// Fills err from mysql_errno/sqlstate; code is the errno as text ("1062"). Connection loss, deadlock, lock wait, shutdown,
// too many connections … RETRY; duplicate, out of range, truncation, bad value, check and key violations DATA; access, unknown
// database, syntax … CONFIG; a table that was changed after the snapshot (1412) AGAIN.
int gw_my_error(MYSQL *c, struct gw_err *err, const char *what, ...) __attribute__((format(printf, 3, 4)));
enum gw_class gw_my_classify(unsigned errnum);

// Appends `ident` / 'literal' (escaped for a session without NO_BACKSLASH_ESCAPES and with utf8mb4).
void gw_my_ident(struct gw_buf *sql, const char *name);
void gw_my_qname(struct gw_buf *sql, const char *schema, const char *name);
void gw_my_literal(struct gw_buf *sql, const char *text, size_t len);

#endif
