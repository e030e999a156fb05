#include "common/change.h"

#include <string.h>

// Keys of the protobuf wire format: field number and wire type (0 varint, 2 length-delimited).
enum {
    VARINT = 0,
    BYTES = 2,
    F_BATCH_CHANGES = 1,
    F_KIND = 1,
    F_TABLE,
    F_BEFORE,
    F_AFTER,
    F_UNSURE,
    F_POSITION,
    F_COMMIT_US,
    F_TRANSACTION,
    F_TEXT,
    F_TALLY,
    VARINT_MAX = 10,
};

// ---- writing -----------------------------------------------------------------------------------

static size_t
varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static uint8_t *
varint_put(uint8_t *at, uint64_t v)
{
    while (v >= 0x80) {
        *at++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *at++ = (uint8_t)v;
    return at;
}

static uint8_t *
key_put(uint8_t *at, int field, int type)
{
    *at++ = (uint8_t)(field << 3 | type);
    return at;
}

static size_t
varint_field_size(uint64_t v)
{
    return v ? 1 + varint_size(v) : 0;
}

static uint8_t *
varint_field_put(uint8_t *at, int field, uint64_t v)
{
    return v ? varint_put(key_put(at, field, VARINT), v) : at; // proto3: zero is not written
}

static size_t
tuple_size(const struct gw_value *v, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        size += v[i].given == GW_PRESENT ? varint_size((uint64_t)v[i].len + 2) + v[i].len : 1;
    }
    return size;
}

static uint8_t *
tuple_put(uint8_t *at, const struct gw_value *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].given != GW_PRESENT) {
            *at++ = v[i].given == GW_NULL ? 0 : 1;
            continue;
        }
        at = varint_put(at, (uint64_t)v[i].len + 2);
        memcpy(at, v[i].data, v[i].len);
        at += v[i].len;
    }
    return at;
}

static size_t
tuple_field_size(const struct gw_value *v, size_t n, size_t *ret_tuple)
{
    if (!v) {
        return 0;
    }
    *ret_tuple = tuple_size(v, n);
    return 1 + varint_size(*ret_tuple) + *ret_tuple;
}

// Room for a change of `size` bytes with its own key and length in front. NULL beyond the buffer's ceiling.
static uint8_t *
change_begin(struct gw_buf *out, size_t size)
{
    uint8_t *at = (uint8_t *)gw_buf_room(out, 1 + varint_size(size) + size);
    return at ? varint_put(key_put(at, F_BATCH_CHANGES, BYTES), size) : NULL;
}

static void
change_end(struct gw_buf *out, const uint8_t *at)
{
    gw_buf_added(out, (size_t)((const char *)at - (out->data + out->len)));
}

void
gw_change_put_row(struct gw_buf *out, Gw__ChangeKind kind, uint32_t table, bool unsure, const struct gw_value *before,
                  const struct gw_value *after, size_t n)
{
    size_t before_size = 0, after_size = 0;
    size_t size = varint_field_size(kind) + varint_field_size(table) + varint_field_size(unsure) +
                  tuple_field_size(before, n, &before_size) + tuple_field_size(after, n, &after_size);
    uint8_t *at = change_begin(out, size);
    if (!at) {
        return;
    }
    at = varint_field_put(at, F_KIND, kind);
    at = varint_field_put(at, F_TABLE, table);
    if (before) {
        at = tuple_put(varint_put(key_put(at, F_BEFORE, BYTES), before_size), before, n);
    }
    if (after) {
        at = tuple_put(varint_put(key_put(at, F_AFTER, BYTES), after_size), after, n);
    }
    at = varint_field_put(at, F_UNSURE, unsure);
    change_end(out, at);
}

// A change without a row: numbers, and one or two texts.
static void
put_plain(struct gw_buf *out, Gw__ChangeKind kind, uint32_t table, int text_field, const char *text, int64_t commit_us)
{
    size_t len = text ? strlen(text) : 0;
    size_t size = varint_field_size(kind) + varint_field_size(table) + varint_field_size((uint64_t)commit_us) +
                  (len ? 1 + varint_size(len) + len : 0);
    uint8_t *at = change_begin(out, size);
    if (!at) {
        return;
    }
    at = varint_field_put(at, F_KIND, kind);
    at = varint_field_put(at, F_TABLE, table);
    at = varint_field_put(at, F_COMMIT_US, (uint64_t)commit_us);
    if (len) {
        at = varint_put(key_put(at, text_field, BYTES), len);
        memcpy(at, text, len);
        at += len;
    }
    change_end(out, at);
}

void
gw_change_put_begin(struct gw_buf *out, const char *transaction, int64_t commit_us)
{
    put_plain(out, GW__CHANGE_KIND__CHANGE_BEGIN, 0, F_TRANSACTION, transaction, commit_us);
}

void
gw_change_put_commit(struct gw_buf *out, const char *position, int64_t commit_us)
{
    put_plain(out, GW__CHANGE_KIND__CHANGE_COMMIT, 0, F_POSITION, position, commit_us);
}

void
gw_change_put_keepalive(struct gw_buf *out, const char *position)
{
    put_plain(out, GW__CHANGE_KIND__CHANGE_KEEPALIVE, 0, F_POSITION, position, 0);
}

void
gw_change_put_truncate(struct gw_buf *out, uint32_t table)
{
    put_plain(out, GW__CHANGE_KIND__CHANGE_TRUNCATE, table, F_TEXT, NULL, 0);
}

void
gw_change_put_suspend(struct gw_buf *out, uint32_t table, const char *reason)
{
    put_plain(out, GW__CHANGE_KIND__CHANGE_SUSPEND, table, F_TEXT, reason, 0);
}

static size_t
tally_size(const Gw__Tally *t)
{
    return varint_field_size(t->table) + varint_field_size(t->inserts) + varint_field_size(t->updates) +
           varint_field_size(t->deletes) + varint_field_size(t->truncates);
}

void
gw_change_put_tally(struct gw_buf *out, const Gw__Tally *tally, size_t n)
{
    size_t size = varint_field_size(GW__CHANGE_KIND__CHANGE_TALLY);
    for (size_t i = 0; i < n; i++) {
        size_t one = tally_size(&tally[i]);
        size += 1 + varint_size(one) + one;
    }
    uint8_t *at = change_begin(out, size);
    if (!at) {
        return;
    }
    at = varint_field_put(at, F_KIND, GW__CHANGE_KIND__CHANGE_TALLY);
    for (size_t i = 0; i < n; i++) {
        const Gw__Tally *t = &tally[i];
        at = varint_put(key_put(at, F_TALLY, BYTES), tally_size(t));
        at = varint_field_put(at, 1, t->table);
        at = varint_field_put(at, 2, t->inserts);
        at = varint_field_put(at, 3, t->updates);
        at = varint_field_put(at, 4, t->deletes);
        at = varint_field_put(at, 5, t->truncates);
    }
    change_end(out, at);
}

void
gw_change_put_record(struct gw_buf *out, struct gw_bytes record)
{
    uint8_t *at = change_begin(out, record.len);
    if (at) {
        memcpy(at, record.data, record.len);
        change_end(out, at + record.len);
    }
}

// ---- reading -----------------------------------------------------------------------------------

static bool
varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    uint64_t v = 0;
    for (int i = 0; i < VARINT_MAX && *at < end; i++) {
        uint8_t b = *(*at)++;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool
bytes_get(const uint8_t **at, const uint8_t *end, struct gw_bytes *ret)
{
    uint64_t len;
    if (!varint_get(at, end, &len) || len > (uint64_t)(end - *at)) {
        return false;
    }
    *ret = (struct gw_bytes){(const char *)*at, (size_t)len};
    *at += len;
    return true;
}

// One field: its number, and a number or bytes. A wire type that these messages do not use is malformed.
static bool
field_get(const uint8_t **at, const uint8_t *end, uint64_t *field, uint64_t *number, struct gw_bytes *bytes)
{
    uint64_t key;
    if (!varint_get(at, end, &key)) {
        return false;
    }
    *field = key >> 3;
    switch (key & 7) {
    case VARINT: return varint_get(at, end, number);
    case BYTES: return bytes_get(at, end, bytes);
    default: return false;
    }
}

void
gw_change_reader_init(struct gw_change_reader *r, const void *payload, size_t len)
{
    *r = (struct gw_change_reader){payload, len ? (const uint8_t *)payload + len : payload};
}

static bool
read_change(struct gw_bytes record, struct gw_change *c)
{
    const uint8_t *at = (const uint8_t *)record.data, *end = at + record.len;
    *c = (struct gw_change){.record = record};
    while (at < end) {
        uint64_t field, number = 0;
        struct gw_bytes bytes = {0};
        if (!field_get(&at, end, &field, &number, &bytes)) {
            return false;
        }
        switch (field) {
        case F_KIND: c->kind = (Gw__ChangeKind)number; break;
        case F_TABLE: c->table = (uint32_t)number; break;
        case F_BEFORE: c->before = bytes; break;
        case F_AFTER: c->after = bytes; break;
        case F_UNSURE: c->unsure = number != 0; break;
        case F_POSITION: c->position = bytes; break;
        case F_COMMIT_US: c->commit_us = (int64_t)number; break;
        case F_TRANSACTION: c->transaction = bytes; break;
        case F_TEXT: c->text = bytes; break;
        case F_TALLY: c->tally = record; break;
        default: break;
        }
    }
    return c->kind > GW__CHANGE_KIND__CHANGE_NONE && c->kind <= GW__CHANGE_KIND__CHANGE_TALLY;
}

int
gw_change_next(struct gw_change_reader *r, struct gw_change *ret, struct gw_err *err)
{
    if (r->at == r->end) {
        return GW_END;
    }
    uint64_t field, number = 0;
    struct gw_bytes record = {0};
    struct gw_change c;
    if (!field_get(&r->at, r->end, &field, &number, &record) || field != F_BATCH_CHANGES || !record.data ||
        !read_change(record, &c)) {
        return gw_err_set(err, GW_BUG, NULL, "malformed change record");
    }
    *ret = c;
    return GW_OK;
}

int
gw_tuple_read(struct gw_bytes tuple, struct gw_value *ret, size_t n, struct gw_err *err)
{
    if (!tuple.data) {
        for (size_t i = 0; i < n; i++) {
            ret[i] = (struct gw_value){.given = GW_NOT_GIVEN};
        }
        return GW_OK;
    }
    const uint8_t *at = (const uint8_t *)tuple.data, *end = at + tuple.len;
    for (size_t i = 0; i < n; i++) {
        uint64_t v;
        if (!varint_get(&at, end, &v) || (v >= 2 && (v - 2 > (uint64_t)(end - at) || v - 2 > UINT32_MAX))) {
            return gw_err_set(err, GW_BUG, NULL, "malformed row in a change: value %zu of %zu", i + 1, n);
        }
        ret[i] = v < 2 ? (struct gw_value){.given = v ? GW_NOT_GIVEN : GW_NULL}
                       : (struct gw_value){(const char *)at, (uint32_t)(v - 2), GW_PRESENT};
        at += v < 2 ? 0 : v - 2;
    }
    return at == end ? GW_OK : gw_err_set(err, GW_BUG, NULL, "a row in a change has more than its %zu values", n);
}

static bool
read_tally(struct gw_bytes bytes, Gw__Tally *t)
{
    const uint8_t *at = (const uint8_t *)bytes.data, *end = at + bytes.len;
    gw__tally__init(t);
    while (at < end) {
        uint64_t field, number = 0;
        struct gw_bytes other = {0};
        if (!field_get(&at, end, &field, &number, &other)) {
            return false;
        }
        switch (field) {
        case 1: t->table = (uint32_t)number; break;
        case 2: t->inserts = number; break;
        case 3: t->updates = number; break;
        case 4: t->deletes = number; break;
        case 5: t->truncates = number; break;
        default: break;
        }
    }
    return true;
}

int
gw_change_tally(const struct gw_change *c, const uint8_t **at, Gw__Tally *ret, struct gw_err *err)
{
    const uint8_t *end = (const uint8_t *)c->record.data + c->record.len;
    if (!*at) {
        *at = (const uint8_t *)c->record.data;
    }
    while (*at < end) {
        uint64_t field, number = 0;
        struct gw_bytes bytes = {0};
        if (!field_get(at, end, &field, &number, &bytes) || (field == F_TALLY && !read_tally(bytes, ret))) {
            return gw_err_set(err, GW_BUG, NULL, "malformed tally in a change");
        }
        if (field == F_TALLY) {
            return GW_OK;
        }
    }
    return GW_END;
}
