// Statements with their values put in, transactions, user locks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "common/fault.h"
#include "myt.h"

enum { KILL_WAIT_S = 30 };

void
myt_vput(const struct myt *t, struct gw_buf *sql, const char *fmt, va_list ap)
{
    for (const char *p = fmt, *at;; p = at + 2) {
        at = strchr(p, '$');
        if (!at) {
            gw_buf_puts(sql, p);
            return;
        }
        gw_buf_put(sql, p, (size_t)(at - p));
        const char *text;
        switch (at[1]) {
        case 'l':
            text = va_arg(ap, const char *);
            if (text) {
                gw_my_literal(sql, text, strlen(text));
            } else {
                gw_buf_puts(sql, "NULL");
            }
            break;
        case 'i': gw_my_ident(sql, va_arg(ap, const char *)); break;
        case 's': gw_buf_puts(sql, va_arg(ap, const char *)); break;
        case 'u': gw_buf_printf(sql, "%llu", (unsigned long long)va_arg(ap, uint64_t)); break;
        case 'd': gw_buf_printf(sql, "%lld", (long long)va_arg(ap, int64_t)); break;
        case 'c': gw_buf_puts(sql, t->ctl); break;
        default: gw_assert_failed("a known mark", __FILE__, __LINE__);
        }
    }
}

void
myt_put(const struct myt *t, struct gw_buf *sql, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    myt_vput(t, sql, fmt, ap);
    va_end(ap);
}

static int
too_long(struct gw_err *err)
{
    return gw_err_set(err, GW_CONFIG, "", "statement is longer than %d bytes", MYT_SQL_MAX);
}

int
myt_exec(struct myt *t, const struct gw_buf *sql, struct gw_err *err)
{
    if (sql->overflowed) {
        return too_long(err);
    }
    return sql->len ? gw_my_exec(t->c, err, "%s", sql->data) : GW_OK;
}

int
myt_run(struct myt *t, struct gw_err *err, const char *fmt, ...)
{
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    va_list ap;
    va_start(ap, fmt);
    myt_vput(t, &sql, fmt, ap);
    va_end(ap);
    return myt_exec(t, &sql, err);
}

int
myt_affect(struct myt *t, uint64_t *ret_rows, struct gw_err *err, const char *fmt, ...)
{
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    va_list ap;
    va_start(ap, fmt);
    myt_vput(t, &sql, fmt, ap);
    va_end(ap);
    int rc = myt_exec(t, &sql, err);
    if (rc == GW_OK) {
        *ret_rows = mysql_affected_rows(t->c);
    }
    return rc;
}

static int
vquery(struct myt *t, MYSQL_RES **ret, struct gw_err *err, const char *fmt, va_list ap)
{
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    myt_vput(t, &sql, fmt, ap);
    if (sql.overflowed) {
        return too_long(err);
    }
    mysql_free_result(*ret);
    *ret = NULL;
    return gw_my_query(t->c, ret, sql.data, err);
}

int
myt_query(struct myt *t, MYSQL_RES **ret, struct gw_err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(t, ret, err, fmt, ap);
    va_end(ap);
    return rc;
}

int
myt_scalar(struct myt *t, uint64_t *ret, bool *ret_null, struct gw_err *err, const char *fmt, ...)
{
    MYT_RES r = NULL;
    va_list ap;
    va_start(ap, fmt);
    int rc = vquery(t, &r, err, fmt, ap);
    va_end(ap);
    if (rc == GW_OK) {
        MYSQL_ROW row = mysql_fetch_row(r);
        bool null = !row || !row[0];
        *ret = null ? 0 : myt_u64(row, 0);
        if (ret_null) {
            *ret_null = null;
        }
    }
    return rc;
}

uint64_t
myt_u64(MYSQL_ROW row, unsigned col)
{
    return row[col] ? strtoull(row[col], NULL, 10) : 0;
}

// ---- transactions

int
myt_begin(struct myt *t, struct gw_err *err)
{
    return myt_run(t, err, "START TRANSACTION READ WRITE");
}

int
myt_commit(struct myt *t, struct gw_err *err)
{
    return myt_run(t, err, "COMMIT");
}

void
myt_rollback(struct myt *t)
{
    struct gw_err ignored = {0};
    if (t->c) {
        (void)myt_run(t, &ignored, "ROLLBACK");
    }
}

int
myt_end(struct myt *t, int rc)
{
    if (rc != GW_OK) {
        myt_rollback(t);
    }
    return rc;
}

int
myt_fault(const char *name, struct gw_err *err)
{
    return GW_FAULT(name) ? gw_err_set(err, GW_RETRY, "", "fault point %s", name) : GW_OK;
}

// ---- user locks

void
myt_lock_name(char ret[MYT_LOCK_NAME], const struct myt *t, const char *task, uint64_t a, uint64_t b, uint64_t c,
              uint64_t d)
{
    MYT_BUF whole;
    gw_buf_init(&whole, 1 << 16);
    gw_buf_printf(&whole, "%s/%s/%llu/%llu/%llu/%llu", t->control, task, (unsigned long long)a, (unsigned long long)b,
                  (unsigned long long)c, (unsigned long long)d);
    XXH128_hash_t h = XXH3_128bits(whole.data, whole.len);
    snprintf(ret, MYT_LOCK_NAME, "godwit:%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

int
myt_lock(struct myt *t, const char *name, unsigned seconds, bool *ret, struct gw_err *err)
{
    uint64_t got = 0;
    int rc = myt_scalar(t, &got, NULL, err, "SELECT GET_LOCK($l, $u)", name, MYT_U(seconds));
    if (rc == GW_OK) {
        *ret = got == 1;
    }
    return rc;
}

void
myt_unlock(struct myt *t, const char *name)
{
    struct gw_err ignored = {0};
    uint64_t freed = 0;
    if (t->c && name[0]) {
        (void)myt_scalar(t, &freed, NULL, &ignored, "SELECT RELEASE_LOCK($l)", name);
    }
}

int
myt_end_holder(struct myt *t, const char *name, uint64_t backend, struct gw_err *err)
{
    uint64_t holder = 0;
    bool none = false;
    int rc = myt_scalar(t, &holder, &none, err, "SELECT IS_USED_LOCK($l)", name);
    if (rc != GW_OK || none || (backend && holder != backend) || holder == mysql_thread_id(t->c) ||
        !GW_GUARD("apply.owner_kill")) {
        return rc;
    }
    struct gw_err why = {0};
    rc = myt_run(t, &why, "KILL CONNECTION $u", holder);
    if (rc != GW_OK && strcmp(why.code, "1094") != 0) { // no such thread: it has just gone
        // 1095: another user's connection.
        if (strcmp(why.code, "1095") == 0 || strcmp(why.code, "1227") == 0) {
            return GW_OK;
        }
        if (err) {
            *err = why;
        }
        return rc;
    }
    // The lock is free once the connection has rolled back.
    bool got = false;
    rc = myt_lock(t, name, KILL_WAIT_S, &got, err);
    if (rc == GW_OK && got) {
        myt_unlock(t, name);
    }
    return rc;
}
