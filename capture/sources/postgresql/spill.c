#include "spill.h"

#include <errno.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/crc32c.h"
#include "common/fault.h"
#include "common/scratch.h"

// A message is at most 1 GB (the server's limit of what it can build), and its length and kind.
enum { BLOCK = 256 << 10, PACKED_MAX = LZ4_COMPRESSBOUND(BLOCK), MESSAGE_MAX = 1 << 30 };

struct header {
    uint32_t raw, packed, crc; // packed == raw: as it is
};

// Where a message begins.
struct place {
    uint64_t at;    // of all that was put
    uint64_t block; // in the file
    uint32_t raw;   // within the block, unpacked
};

struct sub {
    uint32_t xid;
    struct place first;
};

struct tx {
    struct tx *next;
    uint32_t xid;
    int fd;
    uint64_t at;      // put so far
    uint64_t size;    // of the file: whole blocks
    struct sub *subs; // in the order of their numbers
    size_t subs_n, subs_cap;
};

struct pgs_spill {
    uint64_t limit, bytes;
    struct tx *all;
    struct tx *open;  // whose last block is in `block`
    bool replaying;   // … or which is being read
    uint8_t *block;   // BLOCK bytes
    uint8_t *packed;  // PACKED_MAX
    uint32_t len;     // of the block
    uint32_t read;    // replay: how far in it
    uint64_t read_at; // replay: the next block in the file
    struct gw_buf long_message;
};

// ---- memory ------------------------------------------------------------------------------------

struct pgs_spill *
pgs_spill_new(uint64_t limit_bytes)
{
    struct pgs_spill *s = calloc(1, sizeof *s);
    gw_assert(s);
    s->limit = limit_bytes;
    s->block = malloc(BLOCK);
    s->packed = malloc(PACKED_MAX);
    gw_assert(s->block && s->packed);
    gw_buf_init(&s->long_message, (size_t)MESSAGE_MAX + 64);
    return s;
}

static void
forget(struct pgs_spill *s, struct tx *t)
{
    for (struct tx **p = &s->all; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    if (s->open == t) {
        s->open = NULL;
        s->replaying = false;
    }
    s->bytes -= t->size;
    free(t->subs);
    (void)close(t->fd);
    free(t);
}

void
pgs_spill_free(struct pgs_spill *s)
{
    if (!s) {
        return;
    }
    while (s->all) {
        forget(s, s->all);
    }
    gw_buf_fini(&s->long_message);
    free(s->block);
    free(s->packed);
    free(s);
}

uint64_t
pgs_spill_bytes(const struct pgs_spill *s)
{
    return s->bytes;
}

static struct tx *
find(const struct pgs_spill *s, uint32_t xid)
{
    struct tx *t = s->all;
    while (t && t->xid != xid) {
        t = t->next;
    }
    return t;
}

// ---- blocks ------------------------------------------------------------------------------------

static int
stop_full(const struct pgs_spill *s, const struct tx *t, struct gw_err *err, const char *why, const char *code)
{
    gw_err_set(err, GW_CONFIG, code,
               "transaction %" PRIu32 " of the source is still running, and no more of it can be kept in folder \"%s\" "
               "(%" PRIu64 " MB in use): %s",
               t->xid, gw_scratch_folder(), s->bytes >> 20, why);
    gw_err_hint(err,
                "make room there, raise the source setting \"spill-limit-mb\", or set it to 0: the source then keeps "
                "such transactions itself");
    return GW_CONFIG;
}

static int
write_all(const struct pgs_spill *s, const struct tx *t, const void *p, size_t n, uint64_t at, struct gw_err *err)
{
    while (n) {
        errno = ENOSPC; // for the fault, and for a write that takes nothing
        ssize_t done = GW_FAULT("capture.spill.full") ? -1 : pwrite(t->fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            char code[16];
            int e = errno;
            snprintf(code, sizeof code, "%d", e);
            return stop_full(s, t, err, strerror(e), code);
        }
        p = (const uint8_t *)p + done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return GW_OK;
}

// Writes the open transaction's block behind its others.
static int
flush(struct pgs_spill *s, struct gw_err *err)
{
    struct tx *t = s->open;
    if (!s->len) {
        return GW_OK;
    }
    int n = LZ4_compress_default((const char *)s->block, (char *)s->packed, (int)s->len, PACKED_MAX);
    bool packs = n > 0 && (uint32_t)n < s->len;
    const uint8_t *body = packs ? s->packed : s->block;
    struct header h = {.raw = s->len, .packed = packs ? (uint32_t)n : s->len};
    h.crc = gw_crc32c(body, h.packed);
    uint64_t size = sizeof h + h.packed;
    if (s->bytes + size > s->limit) {
        return stop_full(s, t, err, "that is the limit (spill-limit-mb)", NULL);
    }
    int r = write_all(s, t, &h, sizeof h, t->size, err);
    r = r == GW_OK ? write_all(s, t, body, h.packed, t->size + sizeof h, err) : r;
    if (r == GW_OK) {
        t->size += size;
        s->bytes += size;
        s->len = 0;
    }
    return r;
}

static int
read_all(const struct tx *t, void *p, size_t n, uint64_t at, struct gw_err *err)
{
    while (n) {
        ssize_t done = pread(t->fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return gw_err_set(err, GW_RETRY, NULL, "read back transaction %" PRIu32 ", kept in folder \"%s\": %s",
                              t->xid, gw_scratch_folder(), done ? strerror(errno) : "the file ends early");
        }
        p = (uint8_t *)p + done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return GW_OK;
}

// Reads the block at `at` into `block`. *ret_next: where the one behind it begins. What a disk has spoilt is asked for again: the
// server still has it.
static int
load(struct pgs_spill *s, const struct tx *t, uint64_t at, uint64_t *ret_next, struct gw_err *err)
{
    struct header h;
    int r = read_all(t, &h, sizeof h, at, err);
    if (r != GW_OK) {
        return r;
    }
    bool ok = h.raw && h.raw <= BLOCK && h.packed && h.packed <= h.raw;
    r = ok ? read_all(t, s->packed, h.packed, at + sizeof h, err) : GW_OK;
    if (r != GW_OK) {
        return r;
    }
    ok = ok && gw_crc32c(s->packed, h.packed) == h.crc;
    if (ok && h.packed < h.raw) {
        ok = LZ4_decompress_safe((const char *)s->packed, (char *)s->block, (int)h.packed, BLOCK) == (int)h.raw;
    } else if (ok) {
        memcpy(s->block, s->packed, h.raw);
    }
    if (!ok) {
        return gw_err_set(err, GW_RETRY, NULL, "transaction %" PRIu32 ", kept in folder \"%s\", was damaged there",
                          t->xid, gw_scratch_folder());
    }
    s->len = h.raw;
    *ret_next = at + sizeof h + h.packed;
    return GW_OK;
}

static int
append(struct pgs_spill *s, const void *p, size_t n, struct gw_err *err)
{
    while (n) {
        if (s->len == BLOCK) {
            int r = flush(s, err);
            if (r != GW_OK) {
                return r;
            }
        }
        size_t part = n < BLOCK - s->len ? n : BLOCK - s->len;
        memcpy(s->block + s->len, p, part);
        s->len += (uint32_t)part;
        s->open->at += part;
        p = (const uint8_t *)p + part;
        n -= part;
    }
    return GW_OK;
}

static int
append_message(struct pgs_spill *s, char kind, const void *body, size_t len, struct gw_err *err)
{
    uint32_t n = (uint32_t)len + 1;
    int r = append(s, &n, sizeof n, err);
    r = r == GW_OK ? append(s, &kind, 1, err) : r;
    return r == GW_OK ? append(s, body, len, err) : r;
}

// ---- subtransactions ---------------------------------------------------------------------------

// The first that is not before `xid`. A subtransaction's number is behind its top's, on the circle of numbers.
static size_t
sub_place(const struct tx *t, uint32_t xid)
{
    size_t lo = 0, hi = t->subs_n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->subs[mid].xid - t->xid < xid - t->xid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void
note_sub(struct pgs_spill *s, uint32_t xid)
{
    struct tx *t = s->open;
    size_t i = sub_place(t, xid);
    if (xid == t->xid || (i < t->subs_n && t->subs[i].xid == xid)) {
        return;
    }
    if (t->subs_n == t->subs_cap) {
        t->subs_cap = t->subs_cap ? t->subs_cap * 2 : 16;
        t->subs = realloc(t->subs, t->subs_cap * sizeof *t->subs);
        gw_assert(t->subs);
    }
    memmove(t->subs + i + 1, t->subs + i, (t->subs_n - i) * sizeof *t->subs);
    t->subs[i] = (struct sub){xid, {t->at, t->size, s->len}};
    t->subs_n++;
}

// ---- parts -------------------------------------------------------------------------------------

int
pgs_spill_start(struct pgs_spill *s, uint32_t xid, struct gw_err *err)
{
    if (s->open) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a part of a transaction begins within another's");
    }
    struct tx *t = find(s, xid);
    if (!t) {
        int fd;
        int r = gw_scratch_open(&fd, err);
        if (r != GW_OK) {
            return gw_err_wrap(err, "keep transaction %" PRIu32 " of the source, which is still running", xid);
        }
        t = calloc(1, sizeof *t);
        gw_assert(t);
        *t = (struct tx){.next = s->all, .xid = xid, .fd = fd};
        s->all = t;
    }
    s->open = t;
    s->len = 0;
    return GW_OK;
}

int
pgs_spill_put(struct pgs_spill *s, uint32_t sub, char kind, const void *body, size_t len, struct gw_err *err)
{
    if (!s->open || s->replaying || len >= MESSAGE_MAX) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a change outside of its transaction's parts");
    }
    note_sub(s, sub);
    return append_message(s, kind, body, len, err);
}

int
pgs_spill_stop(struct pgs_spill *s, struct gw_err *err)
{
    if (!s->open || s->replaying) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a part of a transaction ends that did not begin");
    }
    int r = flush(s, err);
    if (r == GW_OK) {
        s->open = NULL;
    }
    return r;
}

// ---- rolled back -------------------------------------------------------------------------------

static int
cut(struct pgs_spill *s, struct tx *t, const struct place *to, struct gw_err *err)
{
    uint64_t next;
    // The block that the place lies in stays up to there; where nothing of it stays, it goes whole.
    int r = to->raw ? load(s, t, to->block, &next, err) : GW_OK;
    if (r != GW_OK) {
        return r;
    }
    if (ftruncate(t->fd, (off_t)to->block) != 0) {
        return gw_err_set(err, GW_RETRY, NULL, "cut off what was rolled back of transaction %" PRIu32 ": %s", t->xid,
                          strerror(errno));
    }
    s->bytes -= t->size - to->block;
    t->size = to->block;
    t->at = to->at;
    s->len = to->raw;
    s->open = t;
    r = flush(s, err);
    s->open = NULL;
    return r;
}

int
pgs_spill_abort(struct pgs_spill *s, uint32_t xid, uint32_t sub, struct gw_err *err)
{
    if (s->open) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a rollback within a part of a transaction");
    }
    struct tx *t = find(s, xid);
    if (!t) {
        return GW_OK;
    }
    if (xid == sub) {
        forget(s, t);
        return GW_OK;
    }
    size_t i = sub_place(t, sub);
    if (i == t->subs_n || t->subs[i].xid != sub || !GW_GUARD("spill.cut")) {
        return GW_OK;
    }
    struct place to = t->subs[i].first;
    int r = cut(s, t, &to, err);
    if (r != GW_OK) {
        return r;
    }
    size_t kept = 0;
    for (size_t k = 0; k < t->subs_n; k++) {
        if (t->subs[k].first.at < to.at) {
            t->subs[kept++] = t->subs[k];
        }
    }
    t->subs_n = kept;
    return GW_OK;
}

// ---- committed ---------------------------------------------------------------------------------

int
pgs_spill_replay(struct pgs_spill *s, uint32_t xid, struct gw_err *err)
{
    struct tx *t = find(s, xid);
    if (s->open || !t) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: the commit of transaction %" PRIu32 ", %s", xid,
                          t ? "within a part of another" : "of which no part was sent");
    }
    s->open = t;
    s->replaying = true;
    s->len = s->read = 0;
    s->read_at = 0;
    return GW_OK;
}

// Gives n bytes, in one piece. *ret NULL: the transaction ends here.
static int
take(struct pgs_spill *s, size_t n, const uint8_t **ret, struct gw_err *err)
{
    if (s->len - s->read >= n) {
        *ret = s->block + s->read;
        s->read += (uint32_t)n;
        return GW_OK;
    }
    gw_buf_reset(&s->long_message);
    *ret = NULL;
    while (n) {
        if (s->read == s->len) {
            s->read = 0;
            if (s->read_at == s->open->size) {
                s->len = 0;
                return s->long_message.len == 0
                           ? GW_OK
                           : gw_err_set(err, GW_BUG, NULL, "a kept transaction ends within a message");
            }
            int r = load(s, s->open, s->read_at, &s->read_at, err);
            if (r != GW_OK) {
                return r;
            }
        }
        size_t part = n < s->len - s->read ? n : s->len - s->read;
        gw_buf_put(&s->long_message, s->block + s->read, part);
        s->read += (uint32_t)part;
        n -= part;
    }
    if (s->long_message.overflowed) {
        return gw_err_set(err, GW_BUG, NULL, "a kept message of more than %d bytes", MESSAGE_MAX);
    }
    *ret = (const uint8_t *)s->long_message.data;
    return GW_OK;
}

int
pgs_spill_next(struct pgs_spill *s, const void **ret, size_t *ret_len, struct gw_err *err)
{
    uint32_t n;
    const uint8_t *p;
    if (!s->open || !s->replaying) {
        return gw_err_set(err, GW_BUG, NULL, "no transaction is being read");
    }
    if (s->long_message.cap > 4 * BLOCK) { // one huge row is no reason to stay large
        gw_buf_fini(&s->long_message);
        gw_buf_init(&s->long_message, (size_t)MESSAGE_MAX + 64);
    }
    int r = take(s, sizeof n, &p, err);
    if (r != GW_OK) {
        return r;
    }
    if (!p) {
        forget(s, s->open);
        return GW_END;
    }
    memcpy(&n, p, sizeof n);
    r = take(s, n, &p, err);
    if (r == GW_OK && !p) {
        r = gw_err_set(err, GW_BUG, NULL, "a kept transaction ends within a message");
    }
    if (r == GW_OK) {
        *ret = p;
        *ret_len = n;
    }
    return r;
}
