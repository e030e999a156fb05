// The rows of a set as parameters: converted by the load's own rules, bound, executed.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

enum {
    VALUE_SPARE = 17,
    VALUE_OVERHEAD = 10
}; // a conversion may need more room than the value; length and indicator on the wire

static const struct gw_value *
value_of(const struct gw_change_set *set, const struct myt_param *p, size_t row)
{
    return p->key ? &set->keys[row * set->key_n + p->index] : &set->values[row * set->columns_n + p->index];
}

int
myt_measure(struct myt *t, const struct gw_change_set *set, const struct myt_statement *st, size_t from, size_t *ret_to,
            struct gw_err *err)
{
    uint64_t most = t->stream->packet > MYT_PACKET_SPARE * 2 ? t->stream->packet - MYT_PACKET_SPARE : MYT_PACKET_SPARE;
    uint64_t total = 0, piece = most < MYT_PIECE_BYTES ? most : MYT_PIECE_BYTES;
    size_t row = from;
    for (; row < set->n; row++) {
        uint64_t bytes = 0;
        for (size_t p = 0; p < st->n_params; p++) {
            const struct gw_value *v = value_of(set, &st->params[p], row);
            size_t len = v->given == GW_PRESENT ? v->len : 0;
            bytes += VALUE_OVERHEAD + (st->params[p].bind == MYT_BIND_BYTES && !st->params[p].trim ? len / 2 : len);
        }
        if (bytes > most) {
            if (row == from) {
                gw_err_set(err, GW_DATA, "1153", "a row is longer than a packet of the server");
                gw_err_hint(err, "raise max_allowed_packet of the target");
                return GW_DATA;
            }
            break;
        }
        if (row > from && (total + bytes > piece || (row - from + 1) * st->n_params > MYT_PIECE_VALUES)) {
            break;
        }
        total += bytes;
    }
    *ret_to = row;
    return GW_OK;
}

// ---- binding

static void
reserve(struct myt_stream *s, size_t values, size_t binds)
{
    if (values > s->values_cap) {
        s->at = realloc(s->at, values * sizeof *s->at);
        s->lengths = realloc(s->lengths, values * sizeof *s->lengths);
        s->indicators = realloc(s->indicators, values);
        s->numbers = realloc(s->numbers, values * sizeof *s->numbers);
        s->floats = realloc(s->floats, values * sizeof *s->floats);
        gw_assert(s->at && s->lengths && s->indicators && s->numbers && s->floats);
        s->values_cap = values;
    }
    if (binds > s->binds_cap) {
        s->binds = realloc(s->binds, binds * sizeof *s->binds);
        gw_assert(s->binds);
        s->binds_cap = binds;
    }
}

static bool
parse_number(enum myt_bind bind, const char *text, size_t len, bool bits, union myt_number *ret)
{
    char copy[512], *end = copy;
    if (bits) { // bytes, the highest first
        uint64_t v = 0;
        for (size_t i = 0; i < len; i++) {
            v = v << 8 | (unsigned char)text[i];
        }
        ret->i = (long long)v;
        return len <= 8;
    }
    if (len == 0 || len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = 0;
    errno = 0;
    switch (bind) {
    case MYT_BIND_INT: ret->i = strtoll(copy, &end, 10); break;
    case MYT_BIND_UINT:
        ret->i = (long long)strtoull(copy, &end, 10);
        errno = copy[0] == '-' ? ERANGE : errno;
        break;
    case MYT_BIND_FLOAT: ret->f = strtof(copy, &end); break;
    default: ret->d = strtod(copy, &end); break;
    }
    bool integer = bind == MYT_BIND_INT || bind == MYT_BIND_UINT;
    return *end == 0 && (!integer || errno == 0); // a denormal float is ERANGE, and right
}

// Converts one value into args, and notes where it is.
static int
convert(struct myt *t, const struct gw_change_set *set, const struct myt_target_table *tab, const struct myt_param *p,
        size_t row, size_t slot, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    const struct gw_value *v = value_of(set, p, row);
    const struct myt_target_column *c = &tab->columns[p->column];
    size_t before = s->args.len;
    bool null = v->given != GW_PRESENT, show = set->n == 1;
    // A key is only compared: it may be NULL though the column is not.
    int rc = null && p->key ? GW_OK
                            : myt_convert_value(tab->conv, c->field, &s->args, v->data ? v->data : "",
                                                null ? 0 : v->len, null, show, err);
    if (rc != GW_OK) {
        return rc;
    }
    size_t len = s->args.len - before;
    const char *at = s->args.data + before;
    while (p->trim && len > 0 && at[len - 1] == ' ') {
        len--;
    }
    s->indicators[slot] = null ? STMT_INDICATOR_NULL : STMT_INDICATOR_NONE;
    s->at[slot] = (void *)(uintptr_t)at;
    s->lengths[slot] = len;
    if (null || p->bind == MYT_BIND_TEXT || p->bind == MYT_BIND_BYTES || p->bind == MYT_BIND_DECIMAL) {
        return GW_OK;
    }
    if (!parse_number(p->bind, at, len, c->write == MYT_BIND_BYTES, &s->numbers[slot])) {
        return gw_err_set(err, GW_DATA, "", "column \"%s\" of table \"%s\": not a number",
                          set->table->columns[p->column]->name, set->table->name);
    }
    s->floats[slot] = s->numbers[slot].f;
    return GW_OK;
}

static void
bind_one(struct myt_stream *s, const struct myt_param *p, MYSQL_BIND *b, size_t first, bool bulk)
{
    static const enum enum_field_types types[] = {
        [MYT_BIND_TEXT] = MYSQL_TYPE_STRING,        [MYT_BIND_BYTES] = MYSQL_TYPE_BLOB,
        [MYT_BIND_INT] = MYSQL_TYPE_LONGLONG,       [MYT_BIND_UINT] = MYSQL_TYPE_LONGLONG,
        [MYT_BIND_FLOAT] = MYSQL_TYPE_FLOAT,        [MYT_BIND_DOUBLE] = MYSQL_TYPE_DOUBLE,
        [MYT_BIND_DECIMAL] = MYSQL_TYPE_NEWDECIMAL,
    };
    static my_bool yes = 1, no = 0;
    *b = (MYSQL_BIND){0};
    b->buffer_type = types[p->bind];
    b->is_unsigned = p->bind == MYT_BIND_UINT;
    b->length = &s->lengths[first];
    if (bulk) {
        b->u.indicator = &s->indicators[first];
    } else {
        b->is_null = s->indicators[first] == STMT_INDICATOR_NULL ? &yes : &no;
        b->buffer_length = s->lengths[first];
    }
    switch (p->bind) {
    case MYT_BIND_INT:
    case MYT_BIND_UINT:
    case MYT_BIND_DOUBLE: b->buffer = &s->numbers[first]; break;
    case MYT_BIND_FLOAT: b->buffer = &s->floats[first]; break;
    default: b->buffer = bulk ? (void *)&s->at[first] : s->at[first]; break;
    }
}

// In bulk, a parameter's values of all rows lie side by side; otherwise a row's parameters do.
int
myt_bind_rows(struct myt *t, const struct gw_change_set *set, const struct myt_target_table *tab,
              struct myt_statement *st, size_t from, size_t to, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    bool bulk = t->server.mariadb;
    size_t rows = to - from, n = st->n_params, room = 1;
    reserve(s, rows * n + 1, (bulk ? n : rows * n) + 1);
    for (size_t row = from; row < to; row++) {
        for (size_t p = 0; p < n; p++) {
            const struct gw_value *v = value_of(set, &st->params[p], row);
            room += VALUE_SPARE + (v->given == GW_PRESENT ? v->len : 0);
        }
    }
    gw_buf_reset(&s->args);
    if (!gw_buf_room(&s->args, room)) { // from here on it does not move
        return gw_err_set(err, GW_DATA, "1153", "a row is longer than a packet of the server");
    }
    int rc = GW_OK;
    for (size_t row = from; rc == GW_OK && row < to; row++) {
        for (size_t p = 0; rc == GW_OK && p < n; p++) {
            size_t slot = bulk ? p * rows + row - from : (row - from) * n + p;
            rc = convert(t, set, tab, &st->params[p], row, slot, err);
        }
    }
    for (size_t i = 0; rc == GW_OK && i < (bulk ? n : rows * n); i++) {
        bind_one(s, &st->params[i % n], &s->binds[i], bulk ? i * rows : i, bulk);
    }
    return rc;
}

// ---- executing

int
myt_statement_error(MYSQL_STMT *stmt, struct gw_err *err)
{
    char code[16];
    unsigned errnum = mysql_stmt_errno(stmt);
    snprintf(code, sizeof code, "%u", errnum);
    return gw_err_set(err, gw_my_classify(errnum), code, "%s", mysql_stmt_error(stmt));
}

int
myt_execute(struct myt *t, struct myt_statement *st, size_t rows, uint64_t *ret_rows, struct gw_err *err)
{
    unsigned n = t->server.mariadb && st->n_params ? (unsigned)rows : 0;
    if (mysql_stmt_attr_set(st->stmt, STMT_ATTR_ARRAY_SIZE, &n) || mysql_stmt_bind_param(st->stmt, t->stream->binds) ||
        mysql_stmt_execute(st->stmt)) {
        return myt_statement_error(st->stmt, err);
    }
    uint64_t found = mysql_stmt_affected_rows(st->stmt);
    unsigned warnings = (unsigned)mysql_stmt_warning_count(st->stmt);
    if (warnings > 0) {
        char code[16], text[512];
        int rc = myt_judge_warnings(t, warnings, code, text, err);
        if (rc != GW_OK) {
            return rc == GW_DATA ? gw_err_set(err, GW_DATA, code, "%s", text) : rc;
        }
    }
    *ret_rows += found;
    return GW_OK;
}
