// Global transaction identifiers: which transactions a place in the binary log has behind it. Pure.
//
// MariaDB: the last number of each replication domain, "0-1-55,1-1-7". MySQL: a set, "<uuid>:1-77:80,<uuid>:tag:1-3".
#ifndef GW_MYSQL_GTID_H
#define GW_MYSQL_GTID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/sources/mysql/binlog.h"
#include "common/buf.h"

struct my_gtid_run {
    uint64_t first, last;
};
struct my_gtid_source {
    uint8_t uuid[16]; // MySQL
    char tag[33];
    uint32_t domain, server;  // MariaDB: the domain's last; runs[0].last is its number
    struct my_gtid_run *runs; // ascending, apart
    size_t runs_n, runs_cap;
};
struct my_gtids {
    bool mariadb;
    struct my_gtid_source *sources;
    size_t n, cap;
};
void my_gtids_init(struct my_gtids *g, bool mariadb);
void my_gtids_fini(struct my_gtids *g);
// Replaces what was there; text may have blanks and line breaks. False: it is none (g is then empty).
bool my_gtids_parse(struct my_gtids *g, const char *text, size_t len);
void my_gtids_add(struct my_gtids *g, const struct bl_gtid *one); // anonymous ones are nothing
bool my_gtids_has(const struct my_gtids *g, const struct bl_gtid *one);
bool my_gtids_equal(const struct my_gtids *a, const struct my_gtids *b);
void my_gtids_put(const struct my_gtids *g, struct gw_buf *out);
void my_gtid_put(const struct bl_gtid *one, bool mariadb, struct gw_buf *out);
bool my_gtid_parse(const char *text, size_t len, bool mariadb, struct bl_gtid *ret);

#endif
