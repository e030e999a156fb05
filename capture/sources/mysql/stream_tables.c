#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/stream.h"

// ---- character sets ----------------------------------------------------------------------------

static bool
has_set(const struct my_sets *sets, const char *name)
{
    for (size_t i = 0; i < sets->n; i++) {
        if (strcmp(sets->items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int
query_one(struct my_source *s, struct gw_buf *sql, MYSQL_RES **res, MYSQL_ROW *row, struct gw_err *err)
{
    int r = gw_my_query(s->db, res, sql->data, err);
    if (r == GW_OK && !(*row = mysql_fetch_row(*res))) {
        r = gw_err_set(err, GW_BUG, NULL, "%.60s: no answer", sql->data);
    }
    return r;
}

// Each of the 256 bytes as the server converts it; ? for another byte than ? means that it cannot.
static int
load_table(struct my_source *s, struct my_charset *c, struct gw_err *err)
{
    MY_RES res = NULL;
    MYSQL_ROW row = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT ");
    for (unsigned i = 0; i < 256; i++) {
        gw_buf_printf(&sql, "%sCAST(CONVERT(CONVERT(x'%02x' USING %s) USING utf8mb4) AS BINARY)", i ? ", " : "", i,
                      c->name);
    }
    int r = query_one(s, &sql, &res, &row, err);
    if (r != GW_OK) {
        return r;
    }
    const unsigned long *lengths = mysql_fetch_lengths(res);
    for (unsigned i = 0; i < 256; i++) {
        bool lost = !row[i] || lengths[i] == 0 || lengths[i] > 3 || (lengths[i] == 1 && row[i][0] == '?' && i != '?');
        c->len[i] = lost ? 0 : (uint8_t)lengths[i];
        memcpy(c->utf8[i], row[i] ? row[i] : "", c->len[i]);
    }
    return GW_OK;
}

static int
load_set(struct my_source *s, const char *name, struct my_sets *sets, struct gw_err *err)
{
    MY_RES res = NULL;
    MYSQL_ROW row = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT maxlen FROM information_schema.character_sets WHERE character_set_name = ");
    gw_my_literal(&sql, name, strlen(name));
    int r = query_one(s, &sql, &res, &row, err);
    if (r != GW_OK) {
        return r;
    }
    struct my_charset *c = &sets->items[sets->n];
    if (!my_charset_init(c, name, (unsigned)strtoul(row[0], NULL, 10))) {
        return GW_OK; // binding its column says it
    }
    sets->n++;
    return c->form == MY_CS_TABLE ? load_table(s, c, err) : GW_OK;
}

// MariaDB from 10.10 on lists some collations under a short name without a number; the second view has them all.
static int
load_collations(struct my_source *s, struct my_sets *sets, struct gw_err *err)
{
    MY_RES res = NULL;
    bool second = s->server.mariadb && s->server.version >= 101000;
    int r = gw_my_query(s->db, &res,
                        second ? "SELECT id, character_set_name FROM"
                                 " information_schema.collation_character_set_applicability WHERE id IS NOT NULL"
                               : "SELECT id, character_set_name FROM information_schema.collations",
                        err);
    if (r != GW_OK) {
        return r;
    }
    sets->collations = calloc(mysql_num_rows(res) + 1, sizeof *sets->collations);
    gw_assert(sets->collations);
    for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
        struct my_collation *c = &sets->collations[sets->collations_n++];
        c->id = (uint32_t)strtoul(row[0] ? row[0] : "0", NULL, 10);
        snprintf(c->charset, sizeof c->charset, "%s", row[1] ? row[1] : "");
    }
    return GW_OK;
}

int
my_sets_load(struct my_source *s, Gw__Table *const *tables, size_t n, struct my_sets *ret, struct gw_err *err)
{
    struct my_sets sets = {0};
    sets.items = calloc(64, sizeof *sets.items);
    gw_assert(sets.items);
    int r = load_collations(s, &sets, err);
    for (size_t i = 0; i < n && r == GW_OK; i++) {
        for (size_t k = 0; k < tables[i]->n_columns && r == GW_OK; k++) {
            const char *name = tables[i]->columns[k]->type->charset;
            if (name[0] && !has_set(&sets, name) && sets.n < 63) {
                r = load_set(s, name, &sets, err);
            }
        }
    }
    if (r != GW_OK) {
        my_sets_fini(&sets);
        return gw_err_wrap(err, "read character sets");
    }
    *ret = sets;
    return GW_OK;
}

void
my_sets_fini(struct my_sets *sets)
{
    for (size_t i = 0; i < sets->n; i++) {
        my_charset_fini(&sets->items[i]);
    }
    free(sets->items);
    free(sets->collations);
    *sets = (struct my_sets){0};
}

static const struct my_charset *
set_of(const struct my_sets *sets, const char *name)
{
    for (size_t i = 0; i < sets->n; i++) {
        if (strcmp(sets->items[i].name, name) == 0) {
            return &sets->items[i];
        }
    }
    return NULL;
}

static const char *
charset_of(const struct my_sets *sets, uint32_t collation)
{
    for (size_t i = 0; collation && i < sets->collations_n; i++) {
        if (sets->collations[i].id == collation) {
            return sets->collations[i].charset;
        }
    }
    return NULL;
}

// ---- tables by name ----------------------------------------------------------------------------

static int
name_cmp(const char *schema, const char *name, const Gw__Table *t, bool fold)
{
    int c = fold ? strcasecmp(schema, t->source_schema) : strcmp(schema, t->source_schema);
    return c ? c : fold ? strcasecmp(name, t->source_name) : strcmp(name, t->source_name);
}

static int
compare(const void *a, const void *b, void *arg)
{
    const struct stream_tables *ts = arg;
    const Gw__Table *x = ts->items[*(const uint32_t *)a].t, *y = ts->items[*(const uint32_t *)b].t;
    return name_cmp(x->source_schema, x->source_name, y, ts->fold);
}

int32_t
my_tables_find(const struct stream_tables *ts, const char *schema, const char *name)
{
    size_t lo = 0, hi = ts->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = name_cmp(schema, name, ts->items[ts->sorted[mid]].t, ts->fold);
        if (c == 0) {
            return (int32_t)ts->sorted[mid];
        }
        if (c < 0) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return -1;
}

static void
init_table(struct stream_tables *ts, size_t i, const Gw__Table *t)
{
    struct stream_table *x = &ts->items[i];
    struct my_position p;
    x->t = t;
    if (t->altered_at[0] && my_position_parse(t->altered_at, &p, NULL) == GW_OK) {
        x->altered_at = p.place;
    }
    gw_buf_init(&x->map, BL_EVENT_MAX);
    for (size_t k = 0; k < t->n_columns; k++) {
        x->values_n += !t->columns[k]->left_out;
    }
    ts->values_max = x->values_n > ts->values_max ? x->values_n : ts->values_max;
    ts->sorted[i] = (uint32_t)i;
}

int
my_tables_init(struct my_source *s, struct stream_tables *ts, const struct gw_stream_start *start, struct gw_err *err)
{
    MY_RES res = NULL;
    int r = gw_my_query(s->db, &res, "SELECT @@lower_case_table_names", err);
    r = r == GW_OK ? my_sets_load(s, start->tables, start->tables_n, &ts->sets, err) : r;
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    ts->fold = row && row[0] && row[0][0] != '0';
    ts->uuid_swapped = s->server.mariadb && s->server.version < 101105;
    ts->n = start->tables_n;
    ts->items = calloc(ts->n + 1, sizeof *ts->items);
    ts->sorted = calloc(ts->n + 1, sizeof *ts->sorted);
    ts->scratch = calloc(BL_COLUMNS_MAX, sizeof *ts->scratch);
    gw_assert(ts->items && ts->sorted && ts->scratch);
    for (size_t i = 0; i < ts->n; i++) {
        init_table(ts, i, start->tables[i]);
    }
    qsort_r(ts->sorted, ts->n, sizeof *ts->sorted, compare, ts);
    return GW_OK;
}

void
my_tables_fini(struct stream_tables *ts)
{
    for (size_t i = 0; i < ts->n; i++) {
        gw_buf_fini(&ts->items[i].map);
        free(ts->items[i].columns);
    }
    free(ts->items);
    free(ts->sorted);
    free(ts->scratch);
    my_sets_fini(&ts->sets);
    *ts = (struct stream_tables){0};
}

void
my_tables_suspend(struct stream_tables *ts, uint32_t i, const char *why, ...)
{
    struct stream_table *x = &ts->items[i];
    if (x->suspended) {
        return;
    }
    va_list ap;
    va_start(ap, why);
    vsnprintf(x->why, sizeof x->why, why, ap);
    va_end(ap);
    ts->pending_n += x->pending == PENDING_NOTHING;
    x->pending = PENDING_SUSPEND;
    x->suspended = true;
}

// ---- columns -----------------------------------------------------------------------------------

// MariaDB keeps the hash of a long unique key in a column that nobody sees.
static bool
is_hidden(const struct bl_column *c)
{
    static const char hash[] = "DB_ROW_HASH_";
    return c->name && c->name_len >= sizeof hash - 1 && memcmp(c->name, hash, sizeof hash - 1) == 0;
}

static bool
bind_columns(const struct stream_tables *ts, struct stream_table *x, const struct bl_map *m, char *why, size_t why_size)
{
    const Gw__Table *t = x->t;
    int32_t to = 0;
    size_t n = m->columns_n;
    while (n > 0 && n > t->n_columns && is_hidden(&ts->scratch[n - 1])) {
        n--;
    }
    if (n != t->n_columns) {
        snprintf(why, why_size, "it has %zu columns now, and had %zu", n, t->n_columns);
        return false;
    }
    for (size_t i = 0; i < m->columns_n; i++) {
        struct rw_column *c = &x->columns[i];
        if (i >= n) {
            *c = (struct rw_column){.log = ts->scratch[i], .to = -1};
            c->log.name = NULL;
            continue;
        }
        const Gw__Type *type = t->columns[i]->type;
        struct rw_facts f = {
            .charset = set_of(&ts->sets, type->charset),
            .log_charset = charset_of(&ts->sets, ts->scratch[i].collation),
            .has_signs = m->has_signs,
            .uuid_swapped = ts->uuid_swapped || strstr(type->native, "old"),
        };
        if (!rw_bind(c, t->columns[i], &ts->scratch[i], &f, why, why_size)) {
            return false;
        }
        if (!t->columns[i]->left_out) {
            c->to = to++;
        }
    }
    return true;
}

int
my_tables_bind(struct stream_tables *ts, uint32_t i, const struct bl_format *f, const struct bl_event *e, bool old,
               bool *ret_skip, struct gw_err *err)
{
    struct stream_table *x = &ts->items[i];
    struct bl_map m;
    char why[300] = "";
    int r = bl_map_head(f, e, &m, err);
    if (r != GW_OK || x->suspended) {
        return r;
    }
    if (x->columns_n && x->map.len == m.body.left && memcmp(x->map.data, m.body.at, m.body.left) == 0) {
        return GW_OK;
    }
    r = bl_map_read(f, e, ts->scratch, BL_COLUMNS_MAX, &m, err);
    if (r != GW_OK) {
        return r;
    }
    free(x->columns);
    x->columns = calloc(m.columns_n + 1, sizeof *x->columns);
    gw_assert(x->columns);
    x->columns_n = m.columns_n;
    gw_buf_reset(&x->map);
    gw_buf_put(&x->map, m.body.at, m.body.left);
    bool fits = bind_columns(ts, x, &m, why, sizeof why);
    *ret_skip = !fits && old;
    if (*ret_skip) {
        x->columns_n = 0; // the next one is looked at again
    } else if (!fits) {
        my_tables_suspend(ts, i, "its definition has changed: %s. Reload the table", why);
    }
    return GW_OK;
}
