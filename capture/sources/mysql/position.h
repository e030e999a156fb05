// Places in the binary log as text. Pure.
//
//   position     mysql-bin.000012:4711;server=1a2b3c4d;gtid=0-1-55
//                The end of a transaction: the file, the byte behind it, a hash of which server that is, and which transactions
//                lie behind (MariaDB: the last of each domain; MySQL: the set; may be missing). A restart goes by file and byte,
//                and the rest proves that the log there is still the same.
//   transaction  mysql-bin.000012:4242;gtid=0-1-56     where it begins, and its GTID if it has one
//   token        binlog:mysql-bin.000012:4711          MariaDB: the last commit that the snapshot sees ends there
//                gtid:mysql-bin.000012:4711;from=…;at=…;until=…;once=…;gtid=<set>
//                MySQL: what was executed before the snapshot was opened (it sees all of that), and where the log ended after it
//                was (it sees nothing behind that); in between nothing is known. from: where the log ended before; at, until:
//                the server's clock before and after.
#ifndef GW_MYSQL_POSITION_H
#define GW_MYSQL_POSITION_H

#include "capture/source.h"

enum { MY_FILE_MAX = 256 };

struct my_place {
    char file[MY_FILE_MAX + 1];
    uint64_t pos;
};
struct my_position {
    struct my_place place;
    char server[9];   // "" = not said
    const char *gtid; // inside the text; NULL = not said
};
bool my_place_parse(const char *text, size_t len, struct my_place *ret);
// By the number of the file, then the byte. False: files of logs of different names.
bool my_place_cmp(const struct my_place *a, const struct my_place *b, int *ret);
int my_position_parse(const char *text, struct my_position *ret, struct gw_err *err);
void my_server_hash(const char *identity, char ret[9]);

int my_position_cmp(const char *a, const char *b, int *ret, struct gw_err *err);
int my_tx_visible(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err);
int my_snapshot_covers(const char *first, const char *later, bool *ret, struct gw_err *err);

#endif
