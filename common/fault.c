#include "common/fault.h"

#ifndef GW_NO_FAULTS
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The one for this process is looked up once: fault points stand on warm paths.
static bool
first_to_fire(const char *name)
{
    const char *dir = getenv("GODWIT_FAULT_ONCE");
    if (!dir) {
        return true;
    }
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    close(fd);
    return true;
}

bool
gw_guard_on(const char *name)
{
    const char *off = getenv("GODWIT_GUARDS_OFF");
    size_t len = strlen(name);
    while (off && *off) {
        size_t n = strcspn(off, ",");
        if (n == len && memcmp(off, name, n) == 0) {
            return false;
        }
        off += n + (off[n] == ',');
    }
    return true;
}

bool
gw_fault_hit(const char *name)
{
    static _Atomic int counts[64];
    const char *spec = getenv("GODWIT_FAULT");
    if (!spec) {
        return false;
    }
    size_t len = strlen(name);
    int slot = 0;
    for (const char *p = spec; p && *p; p = strchr(p, ','), p = p ? p + 1 : NULL, slot++) {
        if (strncmp(p, name, len) != 0 || p[len] != '=') {
            continue;
        }
        const char *what = p + len + 1;
        if (strncmp(what, "on", 2) == 0) {
            return true;
        }
        const char *at = strpbrk(what, "@,");
        long want = at && *at == '@' ? strtol(at + 1, NULL, 10) : 1;
        if (atomic_fetch_add(&counts[slot % 64], 1) + 1 != want || !first_to_fire(name)) {
            return false;
        }
        if (strncmp(what, "kill", 4) == 0) {
            kill(getpid(), SIGKILL);
        } else if (strncmp(what, "stop", 4) == 0) {
            raise(SIGSTOP);
            return false;
        }
        return true;
    }
    return false;
}
#endif
