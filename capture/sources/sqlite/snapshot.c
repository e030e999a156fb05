// A snapshot is a read transaction; its token names the state of the file that it sees.
//
// SQLite cannot hand a snapshot to another process, but two readers of a file at rest see the same rows, and can know it:
//
//   Rollback journal: no writer touches the file while a reader holds its shared lock, and every commit increments the
//     change counter at byte 24 (https://www.sqlite.org/fileformat2.html#file_change_counter).
//   Write-ahead log: a reader sees the log up to the last commit in the header of the wal-index
//     (https://www.sqlite.org/walformat.html#the_wal_index_header): salts, number of frames, their running checksum and a
//     counter of commits. If the header is the same before and after the transaction began, it is this reader's.
//     With no frames in the log the state is that of the file alone, which only a checkpoint changes: its time stamps
//     name it, once they are old enough that another write would have got different ones.
//
// Where this proves nothing, the token is unique.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "capture/sources/sqlite/sqlite_source.h"
#include "common/clock.h"

enum {
    CHANGE_COUNTER_AT = 24,
    WAL_INDEX_PAGE = 32768,
    WAL_HEADER = 48, // stands there twice
    WAL_INIT_AT = 12,
    WAL_FRAMES_AT = 16,
    SETTLED_S = 2, // coarser than any file system's time stamps
};

struct file_state {
    bool proven;
    bool wal;
    unsigned char wal_header[WAL_HEADER];
    uint32_t frames;
    uint32_t change_counter;
    struct stat st;
};

// Through SQLite's own file handle: closing another descriptor of the file would drop this process's locks on it
// (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
static bool
read_state(struct lite_source *s, bool wal, struct file_state *ret)
{
    sqlite3_file *f = NULL;
    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_FILE_POINTER, &f) != SQLITE_OK || !f || !f->pMethods ||
        stat(s->path, &ret->st) != 0) {
        return false;
    }
    ret->wal = wal;
    if (wal) {
        void volatile *page = NULL;
        if (f->pMethods->iVersion < 2 || !f->pMethods->xShmMap ||
            f->pMethods->xShmMap(f, 0, WAL_INDEX_PAGE, 0, &page) != SQLITE_OK || !page) {
            return false;
        }
        // Writers store the second copy first: two equal copies are a whole one.
        unsigned char copy[WAL_HEADER];
        memcpy(ret->wal_header, (const void *)(uintptr_t)page, WAL_HEADER);
        f->pMethods->xShmBarrier(f);
        memcpy(copy, (const unsigned char *)(uintptr_t)page + WAL_HEADER, WAL_HEADER);
        if (memcmp(copy, ret->wal_header, WAL_HEADER) != 0 || !ret->wal_header[WAL_INIT_AT]) {
            return false;
        }
        memcpy(&ret->frames, ret->wal_header + WAL_FRAMES_AT, sizeof ret->frames);
    }
    unsigned char b[4];
    if (f->pMethods->xRead(f, b, sizeof b, CHANGE_COUNTER_AT) != SQLITE_OK) {
        return false;
    }
    ret->change_counter = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return true;
}

static bool
settled(const struct stat *st)
{
    time_t newest = st->st_mtim.tv_sec > st->st_ctim.tv_sec ? st->st_mtim.tv_sec : st->st_ctim.tv_sec;
    return time(NULL) - newest > SETTLED_S;
}

static void
put_token(struct lite_source *s, const struct file_state *before, const struct file_state *now, struct gw_buf *out)
{
    // inode numbers are reused, so the time stamps are always part of it where the file is the state
    gw_buf_printf(out, "%llx.%llx:", (unsigned long long)now->st.st_dev, (unsigned long long)now->st.st_ino);
    bool proven = before->proven && now->proven;
    if (proven && now->wal && now->frames > 0 && memcmp(before->wal_header, now->wal_header, WAL_HEADER) == 0) {
        gw_buf_puts(out, "wal:");
        for (size_t i = 0; i < WAL_HEADER; i++) {
            gw_buf_printf(out, "%02x", now->wal_header[i]);
        }
        return;
    }
    bool at_rest = proven && settled(&now->st) && (!now->wal || (now->frames == 0 && before->frames == 0));
    if (at_rest) {
        gw_buf_printf(out, "file:%u:%lld:%lld.%09ld:%lld.%09ld", now->change_counter, (long long)now->st.st_size,
                      (long long)now->st.st_mtim.tv_sec, now->st.st_mtim.tv_nsec, (long long)now->st.st_ctim.tv_sec,
                      now->st.st_ctim.tv_nsec);
        return;
    }
    static unsigned count;
    gw_buf_printf(out, "once:%lld:%d:%p:%u", (long long)gw_wall_us(), (int)getpid(), (void *)s, ++count);
}

void
lite_snapshot_end(struct lite_source *s)
{
    if (s->in_snapshot) {
        // Fails only where the transaction is over already.
        (void)gw_lite_exec(s->db, NULL, "ROLLBACK");
        s->in_snapshot = false;
    }
}

static int
begin(struct lite_source *s, struct gw_buf *token, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    bool wal = false;
    int rc = gw_lite_query(s->db, &q, err, "PRAGMA journal_mode", "");
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        wal = sqlite3_stricmp((const char *)sqlite3_column_text(q, 0), "wal") == 0;
    }
    sqlite3_finalize(q);
    struct file_state before = {0}, now = {0};
    before.proven = read_state(s, wal, &before);
    if (rc == GW_OK) {
        rc = gw_lite_exec(s->db, err, "BEGIN DEFERRED");
    }
    if (rc != GW_OK) {
        return rc;
    }
    s->in_snapshot = true;
    int64_t tables = 0; // the first read takes the lock, and so the snapshot
    rc = gw_lite_int(s->db, &tables, 0, err, "SELECT count(*) FROM sqlite_schema");
    if (rc == GW_OK) {
        now.proven = read_state(s, wal, &now);
        put_token(s, &before, &now, token);
    }
    return rc;
}

int
lite_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                    struct gw_err *err)
{
    struct lite_source *s = self;
    if (handle && handle[0]) {
        return gw_err_set(err, GW_AGAIN, NULL, "SQLite cannot join the snapshot of another session");
    }
    lite_chunk_end(s);
    lite_snapshot_end(s);
    struct gw_buf token;
    gw_buf_init(&token, 4096);
    int rc = begin(s, &token, err);
    if (rc == GW_OK) {
        *ret_token = gw_arena_strdup(a, token.data);
        *ret_handle = gw_arena_strdup(a, "");
    } else {
        gw_err_wrap(err, "begin snapshot");
    }
    gw_buf_fini(&token);
    return rc;
}
