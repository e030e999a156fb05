// How fast changes are read, merged and made into sets: with a target that only looks at the sets, and with the memory target.
// Not a test; bench_apply [transactions].
#include <time.h>

#include "tests/apply/changes.h"

static struct fixture f;
static uint64_t rows_seen;

static int
look(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    (void)self;
    (void)err;
    rows_seen += set->n;
    *ret_rows = set->n;
    return GW_OK;
}

static int
nothing(void *self, struct gw_err *err)
{
    (void)self;
    (void)err;
    return GW_OK;
}

static int
no_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    (void)self;
    (void)position;
    (void)counts;
    (void)err;
    return GW_OK;
}

// As a bank's: two rows that are updated again and again, one that rarely is, one that is added.
static uint32_t
encode(struct gw_buf *out, unsigned from, unsigned n)
{
    char script[512];
    uint32_t records = 0;
    for (unsigned i = from; i < from + n; i++) {
        snprintf(script, sizeof script,
                 "begin\nupdate pair 1 %u %u\nupdate pair 2 %u %u\nupdate pair 3 %u %u\ninsert keyless %u x\ncommit %u",
                 i % 10, i, i % 100, i, (i * 7919) % 10000, i, i, i);
        records += script_encode(script, out);
    }
    return records;
}

static double
seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
fill(void)
{
    char script[64];
    feed(&f, "begin");
    for (unsigned i = 0; i < 10000; i++) {
        for (unsigned k = i < 10 ? 1 : i < 100 ? 2 : 3; k <= 3; k++) {
            snprintf(script, sizeof script, "insert pair %u %u 0", k, i);
            feed(&f, script);
        }
    }
    feed(&f, "commit 1");
    settle_all(&f);
}

static void
measure(const char *name, struct gw_buf *messages, const uint32_t *records, unsigned n)
{
    double begun = seconds();
    uint64_t changes = 0;
    for (unsigned i = 0; i < n; i++) {
        f.now_us++;
        assert_int_equal(gw_applier_take(&f.applier, messages[i].data, messages[i].len, records[i], f.now_us, &f.err),
                         GW_OK);
        changes += records[i] / 6 * 4;
    }
    settle_all(&f);
    double took = seconds() - begun;
    printf("%s: %.0f changes in %.3f s, %.2f M changes/s, %llu rows in sets\n", name, (double)changes, took,
           (double)changes / took / 1e6, (unsigned long long)rows_seen);
}

int
main(int argc, char **argv)
{
    unsigned n = (argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 200000) / 200;
    struct gw_buf *messages = calloc(n + 1, sizeof *messages);
    uint32_t *records = calloc(n + 1, sizeof *records);
    for (unsigned i = 0; i < n; i++) {
        gw_buf_init(&messages[i], SIZE_MAX / 2);
        records[i] = encode(&messages[i], 2 + 200 * i, 200);
    }
    fixture_init(&f);
    fill();
    struct gw_target_ops only_looks = *f.applier.ops;
    const struct gw_target_ops *memory = f.applier.ops;
    only_looks.stream_apply = look;
    only_looks.stream_begin = only_looks.stream_mark = only_looks.stream_back = nothing;
    only_looks.stream_commit = no_commit;
    f.applier.ops = &only_looks;
    measure("merge and encode", messages, records, n);
    f.applier.ops = memory;
    measure("memory target", messages, records, n);
    for (unsigned i = 0; i < n; i++) {
        gw_buf_fini(&messages[i]);
    }
    free(messages);
    free(records);
    fixture_fini(&f);
    return 0;
}
