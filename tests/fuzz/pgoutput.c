// Replication messages: whatever the bytes are, nothing beyond them is read; what is accepted can be walked through to its end, and
// is no longer accepted when a byte is missing.
#include <stdlib.h>
#include <string.h>

#include "capture/sources/postgresql/pgoutput.h"
#include "tests/fuzz/fuzz.h"

static volatile size_t sink; // reads every byte that is handed out

static void
touch(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sink += ((const uint8_t *)p)[i];
    }
}

static void
walk(const struct pgo_tuple *t, const uint8_t *end)
{
    const uint8_t *at = t->at;
    for (uint16_t i = 0; i < t->n; i++) {
        struct gw_value v = pgo_value_next(&at);
        gw_assert(v.given == GW_PRESENT ? v.data != NULL : v.len == 0);
        touch(v.data, v.len);
        gw_assert(at <= end);
    }
}

static void
message(const uint8_t *bytes, size_t len)
{
    struct pgo_message m;
    struct gw_err err = {0};
    if (pgo_message_read(bytes, len, &m, &err) != GW_OK) {
        gw_assert(err.cls == GW_BUG && err.message[0]);
        return;
    }
    touch(m.schema, strlen(m.schema) + 1);
    touch(m.name, strlen(m.name) + 1);
    walk(&m.old, bytes + len);
    walk(&m.new, bytes + len);
    const uint8_t *at = m.columns;
    for (uint16_t i = 0; i < m.columns_n; i++) {
        struct pgo_column c = pgo_column_next(&at);
        touch(c.name, strlen(c.name) + 1);
        gw_assert(at <= bytes + len);
    }
    for (uint32_t i = 0; i < m.relations_n; i++) {
        sink += pgo_relation_at(&m, i);
    }
    struct pgo_message shorter;
    gw_assert(pgo_message_read(bytes, len - 1, &shorter, &err) == GW_BUG);
}

// The same without the transaction's number, in bytes of its own.
static void
part(const uint8_t *data, size_t size)
{
    struct pgo_part p;
    struct gw_err err = {0};
    if (pgo_part_read(data, size, &p, &err) != GW_OK) {
        gw_assert(err.cls == GW_BUG && err.message[0]);
        return;
    }
    gw_assert(p.body + p.len == data + size);
    uint8_t *copy = malloc(p.len + 1);
    gw_assert(copy);
    copy[0] = (uint8_t)p.kind;
    memcpy(copy + 1, p.body, p.len);
    message(copy, p.len + 1);
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    message(data, size);
    part(data, size);
    struct pgo_frame f;
    struct gw_err err = {0};
    if (pgo_frame_read(data, size, &f, &err) == GW_OK) {
        gw_assert(f.kind == 'k' || f.body + f.len == data + size);
        touch(f.body, f.len);
    }
    return 0;
}
