#include "capture/sources/mysql/dump.h"

#include <dlfcn.h>
#include <errmsg.h>
#include <errno.h>
typedef unsigned char uchar; // the library's headers leave this, and that it has TLS, to who includes them
#define HAVE_TLS 1
#include <ma_pvio.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/clock.h"

enum {
    FATAL_READING_LOG = 1236,
    SAME_SERVER_ID = 4052,
    CONNECTION_KILLED = 1927,
    FILE_MAX = 512,
};

// ---- what lies in buffers ----------------------------------------------------------------------

// The library reads ahead: poll() says nothing of what it holds already.
static bool
library_holds(const struct my_dump *d)
{
    const MARIADB_PVIO *io = d->db->net.pvio;
    if (!io) {
        return true; // the connection is gone: reading says so
    }
    if (io->cache && io->cache + io->cache_size > io->cache_pos) {
        return true;
    }
    return io->ctls && d->tls_pending && io->ctls->ssl && d->tls_pending(io->ctls->ssl) > 0;
}

// The TLS library under libmariadb, which this program does not link itself. Where it cannot be asked, a record that was read
// in part waits for the next heartbeat at most.
static void
find_tls(struct my_dump *d)
{
    const char *library = NULL;
    if (!mysql_get_ssl_cipher(d->db) || mariadb_get_infov(NULL, MARIADB_TLS_LIBRARY, &library) != 0 || !library) {
        return;
    }
    bool gnu = strncasecmp(library, "GnuTLS", 6) == 0;
    void *f = dlsym(RTLD_DEFAULT, gnu ? "gnutls_record_check_pending" : "SSL_pending");
    if (f) {
        memcpy(&d->tls_pending, &f, sizeof f); // ISO C has no cast from an object to a function
    }
}

static bool
readable(const struct my_dump *d, int timeout_ms)
{
    struct pollfd p = {.fd = my_dump_fd(d), .events = POLLIN};
    int n = poll(&p, 1, timeout_ms);
    return n > 0 || (n < 0 && errno != EINTR);
}

bool
my_dump_ready(const struct my_dump *d)
{
    return library_holds(d) || readable(d, 0);
}

int
my_dump_fd(const struct my_dump *d)
{
    return d->db ? (int)mysql_get_socket(d->db) : -1;
}

// ---- open --------------------------------------------------------------------------------------

static int
command(struct my_dump *d, enum enum_server_command what, const char *arg, size_t len, struct gw_err *err)
{
    if (d->db->methods->db_command(d->db, what, arg, len, 1, NULL) != 0) {
        return gw_my_error(d->db, err, "ask for the binary log");
    }
    return GW_OK;
}

static char *
put_le(char *to, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        *to++ = (char)(v >> 8 * i);
    }
    return to;
}

// So that others see who reads with which id (SHOW SLAVE HOSTS). server id, three empty texts, port, rank, source's id.
static int
register_us(struct my_dump *d, struct gw_err *err)
{
    char arg[32];
    char *p = put_le(arg, d->server_id, 4);
    p = put_le(p, 0, 3);
    p = put_le(p, 0, 2);
    p = put_le(p, 0, 4);
    p = put_le(p, 0, 4);
    int r = command(d, COM_REGISTER_SLAVE, arg, (size_t)(p - arg), err);
    if (r == GW_OK && d->db->methods->db_read_query_result(d->db) != 0) {
        r = gw_my_error(d->db, err, "register as a replica");
    }
    return r;
}

// The log's checksums are sent as they stand there; MariaDB sends its own kinds of events only to who says that it knows them.
static int
prepare(struct my_dump *d, const struct gw_my_server *server, struct gw_err *err)
{
    static const char *const names[] = {"master", "source"}; // MySQL has been renaming them
    MYSQL_RES *res = NULL;
    int r = gw_my_query(d->db, &res, "SELECT @@GLOBAL.binlog_checksum", err);
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    d->crc32 = row && row[0] && strcasecmp(row[0], "CRC32") == 0;
    mysql_free_result(res);
    for (size_t i = 0; i < 2 && r == GW_OK; i++) {
        r = gw_my_exec(d->db, err, "SET @%s_binlog_checksum = '%s', @%s_heartbeat_period = %llu", names[i],
                       d->crc32 ? "CRC32" : "NONE", names[i], MY_HEARTBEAT_S * 1000000000ULL);
    }
    if (r == GW_OK && server->mariadb) {
        r = gw_my_exec(d->db, err, "SET @mariadb_slave_capability = 4");
    }
    return r;
}

int
my_dump_open(struct my_dump *d, const Gw__Endpoint *ep, const char *password, uint32_t server_id, const char *file,
             uint32_t pos, struct gw_err *err)
{
    struct gw_my_server server;
    char arg[FILE_MAX + 16];
    size_t n = strlen(file);
    *d = (struct my_dump){.server_id = server_id};
    if (n > FILE_MAX) {
        return gw_err_set(err, GW_CONFIG, NULL, "the name of the binary log is too long");
    }
    int r = gw_my_connect(&d->db, ep, password, "", 0, &server, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "open the stream of changes");
    }
    find_tls(d);
    r = prepare(d, &server, err);
    r = r == GW_OK ? register_us(d, err) : r;
    if (r == GW_OK) {
        char *p = put_le(arg, pos, 4);
        p = put_le(p, 0, 2);
        p = put_le(p, server_id, 4);
        memcpy(p, file, n);
        r = command(d, COM_BINLOG_DUMP, arg, (size_t)(p - arg) + n, err);
    }
    if (r != GW_OK) {
        my_dump_close(d);
        return gw_err_wrap(err, "open the stream of changes");
    }
    return GW_OK;
}

void
my_dump_close(struct my_dump *d)
{
    if (d->db) {
        mariadb_cancel(d->db); // the server sends on, and hears nothing: no good-bye
        d->db = gw_my_close(d->db);
    }
}

// ---- next --------------------------------------------------------------------------------------

static int
refused(struct my_dump *d, struct gw_err *err)
{
    unsigned errnum = mysql_errno(d->db);
    int r = gw_my_error(d->db, err, "read the binary log");
    if (errnum == SAME_SERVER_ID || (errnum == FATAL_READING_LOG && strstr(mysql_error(d->db), "same server"))) {
        gw_err_set(err, GW_CONFIG, "4052", "somebody else reads the binary log with server id %u", d->server_id);
        gw_err_hint(err, "another capture of this task runs, or a replica has this id: end it, or give the source's "
                         "settings another ServerId");
        return GW_CONFIG;
    }
    if (errnum == FATAL_READING_LOG) {
        gw_err_hint(err, "the log from here on is gone or damaged: begin the task anew");
    }
    return r;
}

int
my_dump_next(struct my_dump *d, int64_t deadline_us, const uint8_t **ret, size_t *ret_len, struct gw_err *err)
{
    while (!library_holds(d) && !readable(d, gw_deadline_ms(deadline_us))) {
        if (gw_now_us() >= deadline_us) {
            return GW_AGAIN;
        }
    }
    unsigned long n = mysql_net_read_packet(d->db);
    if (n == packet_error) {
        return refused(d, err);
    }
    const uint8_t *p = d->db->net.read_pos;
    if (n == 0 || (p[0] == 0xfe && n < 9)) {
        return gw_err_set(err, GW_RETRY, NULL, "read the binary log: the server has ended the stream");
    }
    if (p[0] != 0) {
        return gw_err_set(err, GW_BUG, NULL, "read the binary log: a packet that is no event (%u)", p[0]);
    }
    *ret = p + 1;
    *ret_len = n - 1;
    return GW_OK;
}
