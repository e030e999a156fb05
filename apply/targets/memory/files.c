#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/targets/memory/memory_target.h"

void
memory_escape(struct gw_buf *out, const char *name)
{
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        bool plain =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_' || *p == '-';
        gw_buf_printf(out, plain ? "%c" : "%%%02X", *p);
    }
}

int
memory_sync_dir(const char *path, struct gw_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failed ? gw_err_errno(err, failed, "sync folder \"%s\"", path) : GW_OK;
}

int
memory_make_dir(const char *path, struct gw_err *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return gw_err_errno(err, errno, "make folder \"%s\"", path);
    }
    return GW_OK;
}

int
memory_write_file(const char *path, const void *p, size_t n, struct gw_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int failed = fd < 0 ? errno : 0;
    for (size_t at = 0; !failed && at < n;) {
        ssize_t w = write(fd, (const char *)p + at, n - at);
        failed = w < 0 && errno != EINTR ? errno : 0;
        at += w > 0 ? (size_t)w : 0;
    }
    failed = !failed && fsync(fd) != 0 ? errno : failed;
    if (fd >= 0) {
        close(fd);
    }
    return failed ? gw_err_errno(err, failed, "write \"%s\"", path) : GW_OK;
}

int
memory_read_file(const char *path, struct gw_arena *a, char **ret, size_t *ret_len, struct gw_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int failed = fd < 0 || fstat(fd, &st) != 0 ? errno : 0;
    size_t size = failed ? 0 : (size_t)st.st_size;
    char *text = gw_arena_alloc(a, size + 1);
    for (size_t at = 0; !failed && at < size;) {
        ssize_t n = read(fd, text + at, size - at);
        failed = n < 0 && errno != EINTR ? errno : n == 0 ? EIO : 0;
        at += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    text[size] = 0;
    if (failed) {
        return gw_err_errno(err, failed, "read \"%s\"", path);
    }
    *ret = text;
    *ret_len = size;
    return GW_OK;
}

int
memory_remove_dir(const char *path, struct gw_err *err)
{
    DIR *d = opendir(path);
    if (!d) {
        return errno == ENOENT ? GW_OK : gw_err_errno(err, errno, "open folder \"%s\"", path);
    }
    int failed = 0;
    for (struct dirent *e; !failed && (errno = 0, e = readdir(d));) {
        bool self = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        failed = !self && unlinkat(dirfd(d), e->d_name, 0) != 0 && errno != ENOENT ? errno : 0;
    }
    closedir(d);
    if (!failed && rmdir(path) != 0 && errno != ENOENT) {
        failed = errno;
    }
    return failed ? gw_err_errno(err, failed, "remove folder \"%s\"", path) : GW_OK;
}
