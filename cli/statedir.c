#include "cli/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"

enum {
    RUNTIME_PATH_MAX = 60, // of 107; the rest is for "/transform-49.4194304" and the like
    SMALL_FILE_MAX = 4096,
    STATUS_MAX = 256 << 20,
};

// ---- paths ---------------------------------------------------------------------------------------

// A task's name as one folder's name. Different names stay different: what is not plain becomes %XX.
static void
folder_name(struct gw_buf *out, const char *task)
{
    for (const char *p = task; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                     c == '-' || (c == '.' && p != task) || c >= 0x80;
        if (plain) {
            gw_buf_putc(out, (char)c);
        } else {
            gw_buf_printf(out, "%%%02X", c);
        }
    }
}

int
gw_statedir_locate(struct gw_statedir *d, const char *given, const char *task, struct gw_err *err)
{
    char cwd[PATH_MAX];
    *d = (struct gw_statedir){.lock = -1};
    struct gw_buf name;
    gw_buf_init(&name, PATH_MAX);
    if (given) {
        gw_buf_puts(&name, given);
    } else {
        gw_buf_puts(&name, "godwit-state/");
        folder_name(&name, task);
    }
    while (name.len > 1 && name.data[name.len - 1] == '/') {
        name.data[--name.len] = 0;
    }
    int r = GW_OK, n = 0;
    if (!getcwd(cwd, sizeof cwd)) {
        r = gw_err_errno(err, errno, "find the current folder");
    } else if (name.overflowed) {
        n = PATH_MAX;
    } else {
        n = name.data[0] == '/' ? snprintf(d->path, sizeof d->path, "%s", name.data)
                                : snprintf(d->path, sizeof d->path, "%s/%s", cwd, name.data);
        snprintf(d->shown, sizeof d->shown, "%s", name.data);
    }
    if (r == GW_OK && (size_t)n >= sizeof d->path - 64) {
        r = gw_err_set(err, GW_CONFIG, "ENAMETOOLONG", "the path of the state folder is too long");
    }
    gw_buf_fini(&name);
    return r;
}

static const char *
below(const struct gw_statedir *d, const char *name, char *out, size_t size)
{
    // The path was bounded when it was located.
    snprintf(out, size, "%s/%s", d->path, name);
    return out;
}

static int
make_folders(const char *path, struct gw_err *err)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1;; slash++) {
        slash = strchr(slash, '/');
        if (slash) {
            *slash = 0;
        }
        // What leads there is not secret; the state folder itself is for its owner only.
        if (mkdir(part, slash ? 0777 : 0700) != 0 && errno != EEXIST) {
            return gw_err_errno(err, errno, "make state folder \"%s\"", part);
        }
        if (!slash) {
            break;
        }
        *slash = '/';
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return gw_err_set(err, GW_CONFIG, "ENOTDIR", "state folder \"%s\" is not a folder", path);
    }
    return GW_OK;
}

bool
gw_statedir_exists(const struct gw_statedir *d)
{
    struct stat st;
    return stat(d->path, &st) == 0 && S_ISDIR(st.st_mode);
}

// ---- the lock ------------------------------------------------------------------------------------

static int64_t
read_pid(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    char *end;
    long long pid = n > 0 ? strtoll(text, &end, 10) : 0;
    return pid > 0 ? pid : -1;
}

int
gw_statedir_acquire(struct gw_statedir *d, struct gw_err *err)
{
    char path[PATH_MAX];
    if (make_folders(d->path, err) != GW_OK || make_folders(below(d, "logs", path, sizeof path), err) != GW_OK) {
        return err->cls;
    }
    int fd = open(below(d, "lock", path, sizeof path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return gw_err_errno(err, errno, "open \"%s\"", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        int64_t pid = read_pid(fd);
        close(fd);
        if (why != EWOULDBLOCK) {
            return gw_err_errno(err, why, "lock \"%s\"", path);
        }
        char who[40] = "";
        if (pid > 0) {
            snprintf(who, sizeof who, ", process %" PRId64, pid);
        }
        gw_err_set(err, GW_CONFIG, NULL, "state folder \"%s\" is in use by another run%s", d->shown, who);
        gw_err_hint(err, "watch that one with godwit tables, stop it, or give this one a folder of its "
                         "own with --state");
        return err->cls;
    }
    struct stat ours, named;
    if (fstat(fd, &ours) != 0 || stat(path, &named) != 0 || ours.st_ino != named.st_ino) {
        // It was removed between our open and our lock: the folder is being dropped.
        close(fd);
        return gw_err_set(err, GW_CONFIG, NULL,
                          "state folder \"%s\" was removed at this moment by "
                          "another command",
                          d->shown);
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        int why = errno;
        close(fd);
        return gw_err_errno(err, why, "write \"%s\"", path);
    }
    d->lock = fd;
    return GW_OK;
}

void
gw_statedir_release(struct gw_statedir *d)
{
    // The file stays: removing it would let two runs hold locks on two files of the same name.
    if (d->lock >= 0) {
        (void)!ftruncate(d->lock, 0);
        close(d->lock);
        d->lock = -1;
    }
}

int64_t
gw_statedir_holder(const struct gw_statedir *d)
{
    char path[PATH_MAX];
    int fd = open(below(d, "lock", path, sizeof path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    int64_t pid = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        pid = read_pid(fd);
    }
    close(fd);
    return pid;
}

// ---- small files ---------------------------------------------------------------------------------

int
gw_statedir_write_control(const struct gw_statedir *d, const char *endpoint, struct gw_err *err)
{
    char path[PATH_MAX], temp[PATH_MAX];
    below(d, "control", path, sizeof path);
    below(d, "control.new", temp, sizeof temp);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return gw_err_errno(err, errno, "make \"%s\"", temp);
    }
    ssize_t len = (ssize_t)strlen(endpoint);
    bool written = write(fd, endpoint, (size_t)len) == len && write(fd, "\n", 1) == 1;
    int why = errno;
    if (close(fd) != 0 && written) {
        written = false;
        why = errno;
    }
    if (!written || rename(temp, path) != 0) {
        why = written ? errno : why;
        unlink(temp);
        return gw_err_errno(err, why, "write \"%s\"", path);
    }
    return GW_OK;
}

void
gw_statedir_remove_control(const struct gw_statedir *d)
{
    char path[PATH_MAX];
    unlink(below(d, "control", path, sizeof path)); // one that stays behind is only tried in vain
}

char *
gw_statedir_read_control(const struct gw_statedir *d, struct gw_arena *a)
{
    char path[PATH_MAX], text[SMALL_FILE_MAX];
    int fd = open(below(d, "control", path, sizeof path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return NULL;
    }
    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    // Nothing but what a run on this host writes there is connected to.
    return strncmp(text, "ipc://", 6) == 0 ? gw_arena_strdup(a, text) : NULL;
}

// ---- the coordinator's file ----------------------------------------------------------------------

static int
fetch_status(sqlite3 *db, struct gw_arena *a, const Gw__Status **ret, int64_t *at_us)
{
    sqlite3_stmt *s = NULL;
    int r = GW_RETRY;
    if (sqlite3_prepare_v2(db, "SELECT at_us, packed FROM status WHERE id = 1", -1, &s, NULL) == SQLITE_OK) {
        int step = sqlite3_step(s);
        r = step == SQLITE_DONE ? GW_END : r;
        int n = step == SQLITE_ROW ? sqlite3_column_bytes(s, 1) : 0;
        if (step == SQLITE_ROW && n <= STATUS_MAX) {
            const Gw__Status *st = gw__status__unpack(gw_arena_pb(a), (size_t)n, sqlite3_column_blob(s, 1));
            r = st ? GW_OK : GW_BUG;
            if (st) {
                *at_us = sqlite3_column_int64(s, 0);
                *ret = st;
            }
        }
    }
    sqlite3_finalize(s);
    return r;
}

int
gw_statedir_read_status(const struct gw_statedir *d, struct gw_arena *a, const Gw__Status **ret, int64_t *at_us,
                        struct gw_err *err)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    int r = GW_RETRY;
    if (access(below(d, "coordinator.sqlite", path, sizeof path), F_OK) != 0) {
        return GW_END;
    }
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_busy_timeout(db, 2000) == SQLITE_OK) {
        r = fetch_status(db, a, ret, at_us);
    }
    if (r == GW_BUG) {
        gw_err_set(err, GW_CONFIG, NULL, "the status in \"%s\" cannot be read", path);
        gw_err_hint(err, "it is only a cache: the next godwit run rebuilds it from the target");
    } else if (r == GW_RETRY) {
        gw_err_set(err, GW_CONFIG, NULL, "read \"%s\": %s", path, db ? sqlite3_errmsg(db) : "out of memory");
        gw_err_hint(err, "it is only a cache: the next godwit run rebuilds it from the target");
    }
    sqlite3_close(db);
    return r == GW_BUG || r == GW_RETRY ? GW_CONFIG : r;
}

// ---- removing ------------------------------------------------------------------------------------

// Removes the plain files of a folder whose names end in `suffix`.
static void
remove_files(const char *folder, const char *suffix)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        size_t n = strlen(e->d_name), m = strlen(suffix);
        if (e->d_name[0] != '.' && n >= m && strcmp(e->d_name + n - m, suffix) == 0) {
            unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    closedir(dir);
}

int
gw_statedir_remove(struct gw_statedir *d, bool *kept, struct gw_err *err)
{
    // Only what godwit itself puts there: --state may have named any folder.
    static const char *const files[] = {"control",
                                        "control.new",
                                        "coordinator.sqlite",
                                        "coordinator.sqlite-wal",
                                        "coordinator.sqlite-shm",
                                        "coordinator.sqlite-journal",
                                        "lock"};
    char path[PATH_MAX];
    below(d, "logs", path, sizeof path);
    remove_files(path, ".log");
    rmdir(path);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (unlink(below(d, files[i], path, sizeof path)) != 0 && errno != ENOENT) {
            return gw_err_errno(err, errno, "remove \"%s\"", path);
        }
    }
    *kept = false;
    if (rmdir(d->path) != 0) {
        *kept = errno == ENOTEMPTY || errno == EEXIST;
        if (!*kept) {
            return gw_err_errno(err, errno, "remove state folder \"%s\"", d->shown);
        }
    }
    return GW_OK;
}

// ---- the runtime folder --------------------------------------------------------------------------

int
gw_runtime_make(char *path, size_t size, struct gw_err *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (!base || base[0] != '/' || strlen(base) > RUNTIME_PATH_MAX - 16 || access(base, W_OK) != 0) {
        base = "/tmp";
    }
    snprintf(path, size, "%s/godwit-XXXXXX", base);
    if (!mkdtemp(path)) {
        return gw_err_errno(err, errno, "make a folder for sockets in \"%s\"", base);
    }
    return GW_OK;
}

void
gw_runtime_remove(const char *path)
{
    char below_it[PATH_MAX];
    static const char *const folders[] = {"state/logs", "state"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(below_it, sizeof below_it, "%s/%s", path, folders[i]);
        remove_files(below_it, "");
        rmdir(below_it);
    }
    remove_files(path, "");
    rmdir(path);
}
