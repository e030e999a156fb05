// Events of the binary log of MySQL and MariaDB: bytes in, events out. Pure: no I/O, no connection, and no allocation but the
// buffer that a compressed event is unpacked into.
//
// Layouts: MariaDB sql/log_event.h, MySQL libs/mysql/binlog/event (their replication protocol documentation). All numbers are
// little-endian. Every function reads only inside the bytes that it is given, and answers GW_BUG, with what was being read, for
// bytes that are no event: whoever asked stops there.
#ifndef GW_MYSQL_BINLOG_H
#define GW_MYSQL_BINLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum {
    BL_HEADER = 19,
    BL_EVENT_MAX = 1 << 30, // what a server sends at most; an event that says more of itself is not believed
    BL_COLUMNS_MAX = 4096,
};

enum bl_type {
    BL_QUERY = 2,
    BL_STOP = 3,
    BL_ROTATE = 4,
    BL_INTVAR = 5,
    BL_LOAD = 6,
    BL_RAND = 13,
    BL_USER_VAR = 14,
    BL_FORMAT = 15,
    BL_XID = 16,
    BL_BEGIN_LOAD = 17,
    BL_EXECUTE_LOAD = 18,
    BL_TABLE_MAP = 19,
    BL_WRITE_V1 = 23,
    BL_UPDATE_V1 = 24,
    BL_DELETE_V1 = 25,
    BL_INCIDENT = 26,
    BL_HEARTBEAT = 27,
    BL_WRITE_V2 = 30,
    BL_UPDATE_V2 = 31,
    BL_DELETE_V2 = 32,
    BL_MYSQL_GTID = 33,
    BL_MYSQL_ANONYMOUS = 34,
    BL_XA_PREPARE = 38,
    BL_PARTIAL_UPDATE = 39,
    BL_PAYLOAD = 40,
    BL_HEARTBEAT_V2 = 41,
    BL_MYSQL_GTID_TAGGED = 42,
    BL_MARIA_GTID = 162,
    BL_MARIA_GTID_LIST = 163,
    BL_MARIA_ENCRYPTION = 164,
    BL_MARIA_QUERY_Z = 165,
    BL_MARIA_WRITE_Z_V1 = 166,
    BL_MARIA_UPDATE_Z_V1 = 167,
    BL_MARIA_DELETE_Z_V1 = 168,
    BL_MARIA_WRITE_Z = 169,
    BL_MARIA_UPDATE_Z = 170,
    BL_MARIA_DELETE_Z = 171,
};

// A stretch of bytes that is read from its front.
struct bl_bytes {
    const uint8_t *at;
    size_t left;
};
// Each moves on and returns true, or finds too little and returns false.
bool bl_take(struct bl_bytes *b, size_t n, const uint8_t **ret);
bool bl_uint(struct bl_bytes *b, unsigned bytes, uint64_t *ret); // 1 … 8 bytes
bool bl_packed(struct bl_bytes *b, uint64_t *ret);               // 1, 3, 4 or 9 bytes, as lengths are written
uint64_t bl_le(const uint8_t *p, unsigned bytes);
uint64_t bl_be(const uint8_t *p, unsigned bytes);
int bl_bad(struct gw_err *err, const char *what); // GW_BUG: the bytes are no <what>

// How the events of a file are written; the file's FORMAT_DESCRIPTION says it.
struct bl_format {
    bool crc32;               // each event ends with a checksum
    uint8_t post_header[256]; // 0 = the format does not know the type
    size_t post_headers;
};

struct bl_event {
    uint8_t type;
    uint16_t flags;
    uint32_t timestamp, server_id;
    uint32_t size;     // in the file
    uint32_t next_pos; // low 32 bits of its end in the file; 0 = it does not stand there (artificial)
    struct bl_bytes body;
};
enum { BL_ARTIFICIAL = 0x20 };

// Checks size and checksum. RETRY for a checksum that is wrong: it was right on the server's disk a moment ago, or is
// refused there. A FORMAT_DESCRIPTION changes *f.
int bl_event_read(struct bl_format *f, const uint8_t *p, size_t n, struct bl_event *ret, struct gw_err *err);

struct bl_rotate {
    uint64_t position;
    const char *file; // not terminated
    size_t file_len;
};
int bl_rotate_read(const struct bl_event *e, struct bl_rotate *ret, struct gw_err *err);

// The beginning of a transaction, or of a statement that is one.
struct bl_gtid {
    bool anonymous;          // MySQL without GTIDs
    uint8_t uuid[16];        // MySQL
    char tag[33];            // MySQL 8.4: "" = none
    uint32_t domain, server; // MariaDB
    uint64_t sequence;
    bool standalone;          // MariaDB: no COMMIT or XID event ends it, the next statement is all
    bool ddl;                 // MariaDB
    bool prepared, completed; // MariaDB: of an XA transaction
    int64_t commit_us;        // MySQL 8: 0 = not said
};
int bl_gtid_read(const struct bl_event *e, struct bl_gtid *ret, struct gw_err *err);

// MariaDB's GTID_LIST, one a call; *left starts as UINT32_MAX. GW_END behind the last.
int bl_gtid_list_next(struct bl_bytes *b, uint32_t *left, struct bl_gtid *ret, struct gw_err *err);

struct bl_query {
    const char *schema; // the default database; not terminated
    size_t schema_len;
    const char *sql; // not terminated
    size_t sql_len;
    uint32_t error;
};
// A compressed one is unpacked into `unpacked`.
int bl_query_read(const struct bl_format *f, const struct bl_event *e, struct gw_buf *unpacked, struct bl_query *ret,
                  struct gw_err *err);

int bl_xa_prepare_read(const struct bl_event *e, bool *ret_one_phase, struct gw_err *err);
void bl_incident_text(const struct bl_event *e, char *ret, size_t size);

enum bl_change { BL_INSERT, BL_UPDATE, BL_DELETE };
struct bl_rows {
    enum bl_change change;
    uint64_t table;
    bool ends_statement;
    size_t columns;
    const uint8_t *before, *after; // bitmaps of the columns that the images hold; NULL = there is no such image
    struct bl_bytes rows;
};
bool bl_is_rows(uint8_t type);
// A compressed one is unpacked into `unpacked`.
int bl_rows_read(const struct bl_format *f, const struct bl_event *e, struct gw_buf *unpacked, struct bl_rows *ret,
                 struct gw_err *err);

// MySQL's TRANSACTION_PAYLOAD: the events of a transaction, compressed. Unpacked piece by piece: `unpacked` holds one
// event at a time.
struct bl_payload;
int bl_payload_open(const struct bl_event *e, struct bl_payload **ret, struct gw_err *err);
// The next event, without a checksum. GW_END behind the last. It lives until the next call.
int bl_payload_next(struct bl_payload *p, struct gw_buf *unpacked, struct bl_event *ret, struct gw_err *err);
struct bl_payload *bl_payload_close(struct bl_payload *p); // takes NULL; returns NULL

static inline bool
bl_bit(const uint8_t *bitmap, size_t i)
{
    return bitmap[i / 8] >> (i % 8) & 1;
}

#endif
