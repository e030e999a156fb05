#include "capture/sources/mysql/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "capture/sources/mysql/gtid.h"

// ---- file:byte ---------------------------------------------------------------------------------

static bool
number(const char *p, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || v > (UINT64_MAX - 9) / 10) {
            return false;
        }
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *ret = v;
    return n > 0;
}

bool
my_place_parse(const char *text, size_t len, struct my_place *ret)
{
    const char *colon = memrchr(text, ':', len);
    size_t file = colon ? (size_t)(colon - text) : 0;
    struct my_place p = {0};
    if (file == 0 || file > MY_FILE_MAX || memchr(text, ';', len) || !number(colon + 1, len - file - 1, &p.pos)) {
        return false;
    }
    memcpy(p.file, text, file);
    *ret = p;
    return true;
}

// "mysql-bin." and 12.
static bool
file_number(const char *file, size_t *ret_stem, uint64_t *ret)
{
    const char *dot = strrchr(file, '.');
    if (!dot || !number(dot + 1, strlen(dot + 1), ret)) {
        return false;
    }
    *ret_stem = (size_t)(dot - file);
    return true;
}

bool
my_place_cmp(const struct my_place *a, const struct my_place *b, int *ret)
{
    uint64_t x = 0, y = 0;
    size_t n = 0, m = 0;
    if (!file_number(a->file, &n, &x) || !file_number(b->file, &m, &y) || n != m || memcmp(a->file, b->file, n) != 0) {
        return false;
    }
    if (x == y) {
        x = a->pos;
        y = b->pos;
    }
    *ret = (x > y) - (x < y);
    return true;
}

// ---- fields ------------------------------------------------------------------------------------

// The value of ";name=" and its length; NULL if it is not there.
static const char *
field(const char *text, const char *name, size_t *ret_len)
{
    size_t n = strlen(name);
    for (const char *p = strchr(text, ';'); p; p = strchr(p, ';')) {
        p++;
        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            p += n + 1;
            *ret_len = strcspn(p, ";");
            return p;
        }
    }
    return NULL;
}

int
my_position_parse(const char *text, struct my_position *ret, struct gw_err *err)
{
    struct my_position p = {0};
    size_t n = 0;
    if (!my_place_parse(text, strcspn(text, ";"), &p.place)) {
        return gw_err_set(err, GW_CONFIG, NULL, "\"%.100s\" is no position of a binary log", text);
    }
    const char *server = field(text, "server", &n);
    if (server && n < sizeof p.server) {
        memcpy(p.server, server, n);
    }
    p.gtid = field(text, "gtid", &n);
    *ret = p;
    return GW_OK;
}

void
my_server_hash(const char *identity, char ret[9])
{
    snprintf(ret, 9, "%08" PRIx32, (uint32_t)XXH64(identity, strlen(identity), 0));
}

int
my_position_cmp(const char *a, const char *b, int *ret, struct gw_err *err)
{
    struct my_position x, y;
    int r = my_position_parse(a, &x, err);
    r = r == GW_OK ? my_position_parse(b, &y, err) : r;
    if (r != GW_OK) {
        return r;
    }
    if (x.server[0] && y.server[0] && strcmp(x.server, y.server) != 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "positions of two servers cannot be compared");
    }
    if (!my_place_cmp(&x.place, &y.place, ret)) {
        return gw_err_set(err, GW_CONFIG, NULL, "positions in \"%s\" and \"%s\" cannot be compared", x.place.file,
                          y.place.file);
    }
    return GW_OK;
}

// ---- snapshots ---------------------------------------------------------------------------------

enum kind { NONE, MARIADB, MYSQL };

static enum kind
token_place(const char *token, struct my_place *ret)
{
    const char *colon = strchr(token, ':');
    if (!colon || !my_place_parse(colon + 1, strcspn(colon + 1, ";"), ret)) {
        return NONE;
    }
    return strncmp(token, "binlog:", 7) == 0 ? MARIADB : strncmp(token, "gtid:", 5) == 0 ? MYSQL : NONE;
}

static int
no_place(const char *token, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, NULL, "snapshot \"%.60s\" has no place in the binary log", token);
    gw_err_hint(err, "the log has to hold every change: see what godwit check says of the source; then load anew");
    return GW_CONFIG;
}

static bool
executed_before(const char *token, const char *transaction)
{
    size_t n = 0, m = 0;
    const char *one = field(transaction, "gtid", &n), *set = field(token, "gtid", &m);
    struct bl_gtid g = {0};
    if (!one || !set || !my_gtid_parse(one, n, false, &g)) {
        return false;
    }
    struct my_gtids all;
    my_gtids_init(&all, false);
    bool has = my_gtids_parse(&all, set, m) && my_gtids_has(&all, &g);
    my_gtids_fini(&all);
    return has;
}

int
my_tx_visible(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err)
{
    struct my_place snapshot, tx;
    int order = 0;
    enum kind kind = token_place(token, &snapshot);
    if (kind == NONE) {
        return no_place(token, err);
    }
    if (!my_place_parse(transaction, strcspn(transaction, ";"), &tx)) {
        return gw_err_set(err, GW_BUG, NULL, "\"%.60s\" names no transaction", transaction);
    }
    if (!my_place_cmp(&tx, &snapshot, &order)) {
        return gw_err_set(err, GW_CONFIG, NULL, "transaction and snapshot are of different binary logs");
    }
    // A snapshot lies between transactions: what begins before it, ends before it.
    if (order >= 0) {
        *ret = GW_INVISIBLE;
    } else if (kind == MARIADB) {
        *ret = GW_VISIBLE;
    } else {
        *ret = executed_before(token, transaction) ? GW_VISIBLE : GW_UNSURE;
    }
    return GW_OK;
}

// MySQL: proven if the later one was opened after the first was, by the log and by the server's clock.
static bool
opened_after(const char *first, const struct my_place *first_end, const char *later)
{
    size_t n = 0, m = 0, k = 0;
    uint64_t until = 0, at = 0;
    struct my_place from;
    int order = 0;
    const char *p = field(first, "until", &n), *q = field(later, "at", &m), *f = field(later, "from", &k);
    return p && q && f && number(p, n, &until) && number(q, m, &at) && my_place_parse(f, k, &from) &&
           my_place_cmp(&from, first_end, &order) && order >= 0 && at > until;
}

int
my_snapshot_covers(const char *first, const char *later, bool *ret, struct gw_err *err)
{
    struct my_place a, b;
    enum kind x = token_place(first, &a), y = token_place(later, &b);
    int order = 0;
    if (strcmp(first, later) == 0) {
        *ret = true;
        return GW_OK;
    }
    if (x == NONE || y == NONE) {
        return no_place(x == NONE ? first : later, err);
    }
    if (x != y || !my_place_cmp(&a, &b, &order)) {
        return gw_err_set(err, GW_CONFIG, NULL, "the snapshots are of different binary logs");
    }
    *ret = x == MARIADB ? order <= 0 : opened_after(first, &a, later);
    return GW_OK;
}
