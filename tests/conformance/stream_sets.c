#include "stream_sets.h"

#include <string.h>

#include "common/copytext.h"

struct conform *
stream_start(void **state)
{
    struct conform *c = conform_start(state);
    if (!(c->target->caps & GW_TARGET_STREAM)) {
        conform_end(c);
        skip();
    }
    return c;
}

void
stream_finish_keys(struct conform *c, const Gw__Table *t)
{
    Gw__Steps steps = GW__STEPS__INIT;
    conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &steps, &c->err));
    for (size_t i = 0; i < steps.n_steps; i++) {
        if (steps.steps[i]->phase == GW__STEP_PHASE__STEP_KEYS) {
            conform_ok(c, c->target->finish_step(c->a, t, steps.steps[i], 1, &c->err));
        }
    }
}

Gw__Table *
stream_ready(struct conform *c, Gw__Catalog *cat)
{
    Gw__TargetState *s = conform_state(c, cat, 1);
    s->progress = gw_pb_new(&c->arena, Gw__Progress, gw__progress__init);
    s->progress->position = gw_arena_strdup(&c->arena, STREAM_START);
    s->progress->snapshot = gw_arena_strdup(&c->arena, "it's a \"snapshot\"");
    conform_register(c, s);
    for (size_t i = 0; i < cat->n_tables; i++) {
        conform_ok(c, c->target->prepare(c->a, cat->tables[i], 1, &c->err));
        conform_load(c, c->a, cat->tables[i], 0, "", 0, 0);
        stream_finish_keys(c, cat->tables[i]);
    }
    return cat->tables[0];
}

Gw__Progress *
stream_claim(struct conform *c, void *self, bool in_order)
{
    Gw__Progress *p = gw_pb_new(&c->arena, Gw__Progress, gw__progress__init);
    conform_ok(c, c->target->stream_claim(self, &c->arena, in_order, p, &c->err));
    return p;
}

// ---- sets

static uint32_t
column_of(const Gw__Table *t, const char *name, size_t len)
{
    for (uint32_t i = 0; i < t->n_columns; i++) {
        if (strlen(t->columns[i]->name) == len && memcmp(t->columns[i]->name, name, len) == 0) {
            return i;
        }
    }
    fail_msg("no column %.*s", (int)len, name);
    return 0;
}

static const uint32_t *
columns_of(struct conform *c, const Gw__Table *t, const char *names, bool key, size_t *ret_n)
{
    uint32_t *out = gw_arena_calloc(&c->arena, t->n_columns + 1, sizeof *out);
    size_t n = 0;
    for (const char *p = names; p && *p;) {
        size_t len = strcspn(p, ",");
        out[n++] = column_of(t, p, len);
        p += len + (p[len] == ',');
    }
    for (uint32_t i = 0; !names && !key && i < t->n_columns; i++) {
        if (!t->columns[i]->left_out) {
            out[n++] = i;
        }
    }
    for (size_t i = 0; !names && key && i < t->n_primary_key; i++) {
        out[n++] = column_of(t, t->primary_key[i], strlen(t->primary_key[i]));
    }
    *ret_n = n;
    return out;
}

static const struct gw_value *
values_of(struct conform *c, const char *text, size_t columns, size_t *ret_rows)
{
    size_t len = strlen(text), rows = 0, at = 0;
    for (size_t n; (n = gw_copy_row_len(text + at, len - at)) > 0; at += n) {
        rows++;
    }
    assert_int_equal(at, len);
    struct gw_value *out = gw_arena_calloc(&c->arena, rows * columns + 1, sizeof *out);
    struct gw_copy_field *fields = gw_arena_calloc(&c->arena, columns + 1, sizeof *fields);
    struct gw_buf plain;
    gw_buf_init(&plain, 256 << 20);
    at = 0;
    for (size_t row = 0; row < rows; row++) {
        size_t n = gw_copy_row_len(text + at, len - at);
        size_t fields_n = columns ? gw_copy_split(text + at, n, fields, columns) : 0;
        assert_int_equal(fields_n, columns);
        for (size_t i = 0; i < columns; i++) {
            gw_buf_reset(&plain);
            struct gw_value *v = &out[row * columns + i];
            if (!fields[i].null) {
                gw_copy_unescape(&plain, fields[i].at, fields[i].len);
                *v = (struct gw_value){.data = gw_arena_memdup0(&c->arena, plain.data ? plain.data : "", plain.len),
                                       .len = (uint32_t)plain.len,
                                       .given = GW_PRESENT};
            }
        }
        at += n;
    }
    gw_buf_fini(&plain);
    *ret_rows = rows;
    return out;
}

static struct gw_change_set *
set_new(struct conform *c, const Gw__Table *t, Gw__ChangeKind kind)
{
    struct gw_change_set *s = gw_arena_calloc(&c->arena, 1, sizeof *s);
    s->table = t;
    s->kind = kind;
    return s;
}

struct gw_change_set *
set_insert(struct conform *c, const Gw__Table *t, const char *columns, const char *rows)
{
    struct gw_change_set *s = set_new(c, t, GW__CHANGE_KIND__CHANGE_INSERT);
    s->columns = columns_of(c, t, columns, false, &s->columns_n);
    s->values = values_of(c, rows, s->columns_n, &s->n);
    return s;
}

struct gw_change_set *
set_update(struct conform *c, const Gw__Table *t, const char *key, const char *keys, const char *columns,
           const char *rows)
{
    struct gw_change_set *s = set_new(c, t, GW__CHANGE_KIND__CHANGE_UPDATE);
    size_t n = 0;
    s->key = columns_of(c, t, key, true, &s->key_n);
    s->keys = values_of(c, keys, s->key_n, &n);
    s->columns = columns_of(c, t, columns, false, &s->columns_n);
    s->values = values_of(c, rows, s->columns_n, &s->n);
    assert_int_equal(n, s->n);
    return s;
}

struct gw_change_set *
set_delete(struct conform *c, const Gw__Table *t, const char *key, const char *keys)
{
    struct gw_change_set *s = set_new(c, t, GW__CHANGE_KIND__CHANGE_DELETE);
    s->key = columns_of(c, t, key, true, &s->key_n);
    s->keys = values_of(c, keys, s->key_n, &s->n);
    return s;
}

struct gw_change_set *
set_truncate(struct conform *c, const Gw__Table *t)
{
    return set_new(c, t, GW__CHANGE_KIND__CHANGE_TRUNCATE);
}

struct gw_change_set *
set_keyless(struct gw_change_set *set)
{
    set->keyless = true;
    return set;
}

struct gw_change_set *
set_unsure(struct gw_change_set *set)
{
    set->unsure = true;
    return set;
}

// ---- steps

void
stream_apply(struct conform *c, void *self, const struct gw_change_set *set, uint64_t rows)
{
    uint64_t got = 4711;
    conform_ok(c, c->target->stream_apply(self, set, &got, &c->err));
    assert_int_equal(got, rows);
}

void
stream_commit(struct conform *c, void *self, const char *position)
{
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    conform_ok(c, c->target->stream_commit(self, position, &counts, &c->err));
}

void
stream_once(struct conform *c, void *self, const struct gw_change_set *set, uint64_t rows, const char *position)
{
    conform_ok(c, c->target->stream_begin(self, &c->err));
    stream_apply(c, self, set, rows);
    stream_commit(c, self, position);
}

const Gw__Progress *
stream_stored(struct conform *c)
{
    Gw__TargetState *s = gw_pb_new(&c->arena, Gw__TargetState, gw__target_state__init);
    conform_ok(c, c->target->state_load(c->b, &c->arena, false, s, &c->err));
    return s->progress;
}
