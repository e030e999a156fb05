#include "common/curve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/bus.h"

enum { FILE_MAX = 64 << 10 };

static struct {
    const struct gw_keys *keys;
    bool plain;
} identity;

void
gw_identity_set(const struct gw_keys *keys, bool plain)
{
    identity.keys = keys;
    identity.plain = plain;
}

const struct gw_keys *
gw_identity(void)
{
    return identity.keys;
}

int
gw_identity_allows(const struct gw_endpoint *e, struct gw_err *err)
{
    if (!gw_endpoint_leaves_host(e) || identity.keys || identity.plain) {
        return GW_OK;
    }
    gw_err_set(err, GW_CONFIG, NULL,
               "\"%s\" leaves this host, and plain TCP would show rows and passwords to the network", e->address);
    gw_err_hint(err, "give --key FILE (godwit keygen makes one), or --insecure-plain-tcp if the network is trusted");
    return GW_CONFIG;
}

// ---- files -------------------------------------------------------------------------------------

static bool
is_key(const char *text)
{
    uint8_t raw[GW_KEY_BYTES];
    return strlen(text) == GW_KEY_TEXT - 1 && zmq_z85_decode(raw, text) != NULL;
}

struct reader {
    const char *path;
    unsigned line;
    struct gw_keys *keys;
    bool has_role;
};

static int
bad_line(const struct reader *r, const char *why, struct gw_err *err)
{
    // Never the line itself: it may hold a secret.
    gw_err_set(err, GW_CONFIG, NULL, "key file \"%s\", line %u: %s", r->path, r->line, why);
    gw_err_hint(err, "godwit keygen DIR makes key files");
    return GW_CONFIG;
}

static int
take_line(struct reader *r, char *line, struct gw_err *err)
{
    char *save = NULL;
    const char *word = strtok_r(line, " \t\r\n", &save);
    const char *value = word ? strtok_r(NULL, " \t\r\n", &save) : NULL;
    if (!word || word[0] == '#') {
        return GW_OK;
    }
    if (!value || strtok_r(NULL, " \t\r\n", &save)) {
        return bad_line(r, "a word and one value are due", err);
    }
    struct gw_keys *k = r->keys;
    if (strcmp(word, "role") == 0) {
        k->is_coordinator = strcmp(value, "coordinator") == 0;
        r->has_role = k->is_coordinator || strcmp(value, "worker") == 0;
        return r->has_role ? GW_OK : bad_line(r, "the role is neither coordinator nor worker", err);
    }
    if (!is_key(value)) {
        return bad_line(r, "the value is not a key of 40 characters", err);
    }
    char *where = strcmp(word, "public") == 0        ? k->public
                  : strcmp(word, "secret") == 0      ? k->secret
                  : strcmp(word, "coordinator") == 0 ? k->coordinator
                                                     : NULL;
    if (!where && strcmp(word, "admit") != 0) {
        return bad_line(r, "unknown word", err);
    }
    if (!where && k->admitted_n == GW_ADMITTED_MAX) {
        return bad_line(r, "too many keys are admitted", err);
    }
    where = where ? where : k->admitted[k->admitted_n++];
    if (where[0]) {
        return bad_line(r, "this was said before", err);
    }
    memcpy(where, value, GW_KEY_TEXT);
    return GW_OK;
}

static int
check_keys(const struct reader *r, struct gw_err *err)
{
    const struct gw_keys *k = r->keys;
    char derived[GW_KEY_TEXT];
    if (!r->has_role || !k->public[0] || !k->secret[0]) {
        return bad_line(r, "the file ends without role, public and secret", err);
    }
    if (!k->is_coordinator && !k->coordinator[0]) {
        return bad_line(r, "a worker's file needs the coordinator's key", err);
    }
    if (zmq_curve_public(derived, k->secret) != 0 || strcmp(derived, k->public) != 0) {
        return bad_line(r, "secret and public do not belong together", err);
    }
    return GW_OK;
}

// A folder of secrets is often mounted readable by a group; by everybody is a mistake.
static int
open_private(const char *path, FILE **ret, struct gw_err *err)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f || fstat(fileno(f), &st) != 0) {
        int why = errno;
        if (f) {
            fclose(f);
        }
        gw_err_errno(err, why, "read key file \"%s\"", path);
        err->cls = GW_CONFIG;
        return GW_CONFIG;
    }
    if ((st.st_mode & S_IRWXO) || st.st_size > FILE_MAX) {
        fclose(f);
        gw_err_set(err, GW_CONFIG, NULL, "key file \"%s\" %s", path,
                   st.st_size > FILE_MAX ? "is too large" : "can be read by everybody on this host");
        gw_err_hint(err, "chmod 600 \"%s\"", path);
        return GW_CONFIG;
    }
    *ret = f;
    return GW_OK;
}

int
gw_keys_load(const char *path, struct gw_keys *ret, struct gw_err *err)
{
    FILE *f = NULL;
    int r = open_private(path, &f, err);
    if (r != GW_OK) {
        return r;
    }
    struct gw_keys keys = {0};
    struct reader reader = {.path = path, .keys = &keys};
    char line[256];
    while (r == GW_OK && fgets(line, sizeof line, f)) {
        reader.line++;
        r = strchr(line, '\n') || feof(f) ? take_line(&reader, line, err) : bad_line(&reader, "too long", err);
    }
    if (r == GW_OK && ferror(f)) {
        r = gw_err_set(err, GW_CONFIG, NULL, "key file \"%s\" cannot be read", path);
    }
    fclose(f);
    r = r == GW_OK ? check_keys(&reader, err) : r;
    if (r == GW_OK) {
        if (keys.is_coordinator) {
            memcpy(keys.coordinator, keys.public, GW_KEY_TEXT);
        }
        *ret = keys;
    }
    explicit_bzero(line, sizeof line);
    explicit_bzero(&keys, sizeof keys);
    return r;
}

static int
write_new(const char *path, const char *text, struct gw_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        int why = errno;
        gw_err_errno(err, why, "make key file \"%s\"", path);
        if (why == EEXIST) {
            gw_err_hint(err, "keys are never overwritten: name another folder, or remove both files yourself");
        }
        err->cls = GW_CONFIG;
        return GW_CONFIG;
    }
    size_t len = strlen(text);
    // A key that is used and then lost with the power locks every host out.
    int why = write(fd, text, len) != (ssize_t)len ? (errno ? errno : ENOSPC) : fsync(fd) != 0 ? errno : 0;
    close(fd);
    if (why) {
        unlink(path);
        return gw_err_errno(err, why, "write key file \"%s\"", path);
    }
    return GW_OK;
}

static int
make_files(const char *dir, const char *coordinator, const char *worker, struct gw_err *err)
{
    char a[4096], b[4096];
    int n = snprintf(a, sizeof a, "%s/coordinator.key", dir);
    snprintf(b, sizeof b, "%s/worker.key", dir);
    if (n < 0 || (size_t)n >= sizeof a) {
        return gw_err_set(err, GW_CONFIG, "ENAMETOOLONG", "the name of the folder is too long");
    }
    int r = write_new(a, coordinator, err);
    if (r == GW_OK) {
        r = write_new(b, worker, err);
        if (r != GW_OK) {
            unlink(a); // half a pair is of no use and would be in the way of the next try
        }
    }
    return r;
}

int
gw_keys_make(const char *dir, struct gw_err *err)
{
    char cp[GW_KEY_TEXT], cs[GW_KEY_TEXT], wp[GW_KEY_TEXT], ws[GW_KEY_TEXT], coordinator[1024], worker[1024];
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        int why = errno;
        gw_err_errno(err, why, "make folder \"%s\"", dir);
        err->cls = GW_CONFIG;
        return GW_CONFIG;
    }
    if (zmq_curve_keypair(cp, cs) != 0 || zmq_curve_keypair(wp, ws) != 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "make keys: %s", zmq_strerror(zmq_errno()));
    }
    snprintf(coordinator, sizeof coordinator,
             "# godwit: the coordinator's keys. Stays on its host; whoever has it can lead the workers.\n"
             "role coordinator\npublic %s\nsecret %s\n"
             "# who may join\nadmit %s\n",
             cp, cs, wp);
    snprintf(worker, sizeof worker,
             "# godwit: a worker's keys. Goes to every host that works; whoever has it can join.\n"
             "role worker\npublic %s\nsecret %s\n"
             "# whom to trust\ncoordinator %s\n",
             wp, ws, cp);
    int r = make_files(dir, coordinator, worker, err);
    explicit_bzero(cs, sizeof cs);
    explicit_bzero(ws, sizeof ws);
    explicit_bzero(coordinator, sizeof coordinator);
    explicit_bzero(worker, sizeof worker);
    return r;
}

// ---- sockets -----------------------------------------------------------------------------------

static int
set(void *socket, int option, const void *value, size_t size, struct gw_err *err)
{
    if (zmq_setsockopt(socket, option, value, size) != 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "set up encryption of a socket: %s", zmq_strerror(zmq_errno()));
    }
    return GW_OK;
}

int
gw_curve_listen(void *zctx, void *socket, const struct gw_keys *keys, struct gw_err *err)
{
    int yes = 1;
    // ZeroMQ lets in everybody where nobody is there to be asked.
    if (!gw_zap_runs(zctx)) {
        return gw_err_set(err, GW_BUG, NULL, "a socket would listen without its guard");
    }
    int r = set(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes, err);
    r = r == GW_OK ? set(socket, ZMQ_CURVE_SECRETKEY, keys->secret, GW_KEY_TEXT, err) : r;
    return r == GW_OK ? set(socket, ZMQ_ZAP_DOMAIN, "godwit", 6, err) : r;
}

int
gw_curve_connect(void *socket, const struct gw_keys *keys, const char *server_key, struct gw_err *err)
{
    int r = set(socket, ZMQ_CURVE_SERVERKEY, server_key, GW_KEY_TEXT, err);
    r = r == GW_OK ? set(socket, ZMQ_CURVE_PUBLICKEY, keys->public, GW_KEY_TEXT, err) : r;
    return r == GW_OK ? set(socket, ZMQ_CURVE_SECRETKEY, keys->secret, GW_KEY_TEXT, err) : r;
}
