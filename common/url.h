// Endpoint urls: scheme://[user@]host[:port]/database[?key=value&…], percent-decoded.
//
//   postgresql:// postgres://    ?host=/socket/folder, sslmode=… and every other libpq parameter
//   mysql:// mariadb://          ?socket=/path, ssl-mode=, ssl-ca= …
//   sqlite:relative.db  sqlite:///absolute.db     relative to the current directory
//   memory://name
// A password in a url is refused: it would end up in process lists, logs and shell histories.
#ifndef GW_URL_H
#define GW_URL_H

#include "common/arena.h"
#include "common/err.h"
#include "task.pb-c.h"

// Fills in engine, url, host, port, user, database and params. The message never holds a password.
int gw_url_parse(const char *url, struct gw_arena *a, Gw__Endpoint *ret, struct gw_err *err);

#endif
