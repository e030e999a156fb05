// The connection that the server sends its binary log on: as to a replica, over libmariadb's connection, TLS and
// authentication, with COM_BINLOG_DUMP and the library's packets.
#ifndef GW_MYSQL_DUMP_H
#define GW_MYSQL_DUMP_H

#include "capture/sources/mysql/binlog.h"
#include "common/db/my/my.h"

enum { MY_HEARTBEAT_S = 5 };

struct my_dump {
    MYSQL *db;
    bool crc32; // of the first events, before the log's format is known
    uint32_t server_id;
    int (*tls_pending)(const void *ssl); // bytes that the TLS library holds; NULL: it cannot be asked
};

// Connects and asks for the log from file:pos on. *d is closed on failure.
int my_dump_open(struct my_dump *d, const Gw__Endpoint *ep, const char *password, uint32_t server_id, const char *file,
                 uint32_t pos, struct gw_err *err);
void my_dump_close(struct my_dump *d); // legal when closed
int my_dump_fd(const struct my_dump *d);
// The next event's bytes, which live until the next call. GW_AGAIN: nothing until the deadline. RETRY: the connection is gone,
// or the server shuts down. CONFIG: the server says that it cannot: the file is gone, the position is none, somebody else
// reads with our server id.
int my_dump_next(struct my_dump *d, int64_t deadline_us, const uint8_t **ret, size_t *ret_len, struct gw_err *err);
// Whether my_dump_next would return at once.
bool my_dump_ready(const struct my_dump *d);

#endif
