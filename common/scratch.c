#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder_set[PATH_MAX];

void
gw_scratch_folder_set(const char *folder)
{
    snprintf(folder_set, sizeof folder_set, "%s", folder);
}

const char *
gw_scratch_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    return folder_set[0] ? folder_set : tmp && tmp[0] ? tmp : "/var/tmp";
}

int
gw_scratch_open(int *ret_fd, struct gw_err *err)
{
    const char *folder = gw_scratch_folder();
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) { // not every file system can
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/.godwit-XXXXXX", folder);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            (void)unlink(path);
        }
    }
    if (fd < 0) {
        char code[16];
        int e = errno;
        snprintf(code, sizeof code, "%d", e);
        gw_err_set(err, GW_CONFIG, code, "a file for what is too large for memory, in folder \"%s\": %s", folder,
                   strerror(e));
        return GW_CONFIG;
    }
    *ret_fd = fd;
    return GW_OK;
}
