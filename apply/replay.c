// A piece in source order. Consecutive changes of one kind to other rows of one table go in one set; where it is refused, it
// is halved until the change that is to blame stands alone, in its turn. What becomes of that one, the policies say.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apply/applier.h"
#include "common/copytext.h"
#include "common/log.h"
#include "common/policy.h"

enum { SEEN = 4 * GW_SET_ROWS }; // a power of two

// ---- counts ------------------------------------------------------------------------------------

void
gw_count_applied(struct gw_applier_table *t, uint8_t kind, uint64_t n, int64_t commit_us)
{
    switch (kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT: t->counts.applied_inserts += n; break;
    case GW__CHANGE_KIND__CHANGE_UPDATE: t->counts.applied_updates += n; break;
    case GW__CHANGE_KIND__CHANGE_DELETE: t->counts.applied_deletes += n; break;
    default: t->counts.applied_truncates += n;
    }
    t->counts.last_us = commit_us ? commit_us : t->counts.last_us;
}

static void
count_event(struct gw_applier *a, const struct gw_event *e)
{
    gw_count_applied(e->table, e->kind, 1, a->piece.transactions[e->transaction].commit_us);
}

// ---- what cannot be applied --------------------------------------------------------------------

static const char *
verb(uint8_t kind)
{
    return kind == GW__CHANGE_KIND__CHANGE_INSERT   ? "insert into"
           : kind == GW__CHANGE_KIND__CHANGE_UPDATE ? "update"
           : kind == GW__CHANGE_KIND__CHANGE_DELETE ? "delete from"
                                                    : "truncate";
}

// As COPY text: what was to be written, or which row was to go. Columns that the change does not give are NULL there, and
// named in the error's detail.
static void
row_text(struct gw_applier *a, const struct gw_applier_table *t, const struct gw_value *before,
         const struct gw_value *after, struct gw_err *why)
{
    gw_buf_reset(&a->text);
    char missing[256] = "";
    for (size_t i = 0; i < t->n; i++) {
        const struct gw_value *v = after && after[i].given != GW_NOT_GIVEN ? &after[i]
                                   : before                                ? &before[i]
                                                                           : &after[i];
        if (i) {
            gw_buf_putc(&a->text, '\t');
        }
        if (v->given == GW_PRESENT) {
            gw_copy_put_field(&a->text, v->data, v->len);
        } else {
            gw_copy_put_null(&a->text);
        }
        size_t len = strlen(missing);
        if (v->given == GW_NOT_GIVEN) {
            snprintf(missing + len, sizeof missing - len, "%s%s", len ? ", " : "",
                     t->table->columns[t->columns[i]]->name);
        }
    }
    gw_buf_putc(&a->text, '\n');
    if (missing[0] && !why->detail[0]) {
        gw_err_detail(why, "not given by the change: %s", missing);
    }
}

int
gw_suspend(struct gw_applier *a, struct gw_applier_table *t, const char *reason, struct gw_err *err)
{
    int r = gw_applier_begin(a, err);
    r = r == GW_OK ? a->ops->stream_suspend(a->self, t->table->id, reason, err) : r;
    if (r != GW_OK) {
        return gw_err_wrap(err, "suspend table \"%s\"", t->table->name);
    }
    gw_warn("table %s.%s is suspended: %s", t->table->schema, t->table->name, reason);
    t->suspended = true;
    a->dirty = true;
    Gw__Suspended *s = gw_pb_new(&a->arena, Gw__Suspended, gw__suspended__init);
    s->table = t->table->id;
    s->reason = gw_arena_strdup(&a->arena, reason);
    a->suspended[a->suspended_n++] = s;
    return GW_OK;
}

// Which policy a failure is under, once it is counted.
static Gw__ErrorPolicy
policy_of(struct gw_applier *a, struct gw_applier_table *t, uint8_t kind, const struct gw_err *why)
{
    const Gw__ErrorSettings *e = a->errors;
    bool missing = strcmp(why->code, GW_CODE_NO_ROW) == 0;
    bool insert = kind == GW__CHANGE_KIND__CHANGE_INSERT && gw_is_duplicate(why->code);
    bool conflict = missing || insert;
    Gw__ErrorPolicy p = insert                                              ? e->apply_insert
                        : missing && kind == GW__CHANGE_KIND__CHANGE_DELETE ? e->apply_delete
                        : missing                                           ? e->apply_update
                                                                            : gw_row_policy(e, why->code);
    uint64_t *n = conflict ? &t->conflicts : &t->data_errors;
    uint32_t max = conflict ? e->apply_escalation_count : e->data_escalation_count;
    Gw__ErrorPolicy escalation = conflict ? e->apply_escalation : e->data_escalation;
    ++*n;
    bool higher = escalation == GW__ERROR_POLICY__SUSPEND_TABLE || escalation == GW__ERROR_POLICY__STOP_TASK;
    return max && *n > max && higher ? escalation : p;
}

static const char *
position_of(struct gw_applier *a, uint32_t transaction)
{
    if (transaction < a->piece.transactions_n) {
        const struct gw_piece_transaction *t = &a->piece.transactions[transaction];
        return t->position ? t->position : t->name;
    }
    return a->name.len ? a->name.data : a->position.data;
}

// Once a table, and again whenever its errors have grown tenfold. Values are only in the exceptions table.
static void
say(const struct gw_applier_table *t, uint8_t kind, const struct gw_err *why)
{
    uint64_t n = t->conflicts + t->data_errors;
    while (n && n % 10 == 0) {
        n /= 10;
    }
    if (n == 1) {
        gw_warn("%s table %s.%s: a change cannot be applied [%s]: error %" PRIu64 " of this run", verb(kind),
                t->table->schema, t->table->name, why->code, t->conflicts + t->data_errors);
    }
}

static int
settle(struct gw_applier *a, struct gw_applier_table *t, uint8_t kind, const struct gw_value *before,
       const struct gw_value *after, uint32_t transaction, Gw__ErrorPolicy policy, struct gw_err *why,
       struct gw_err *err)
{
    char reason[sizeof why->message + 64];
    say(t, kind, why);
    switch (policy) {
    case GW__ERROR_POLICY__STOP_TASK:
        gw_err_set(err, GW_CONFIG, why->code, "%s table \"%s\": %s", verb(kind), t->table->name, why->message);
        gw_err_detail(err, "%s", why->detail);
        gw_err_hint(err, "the error policy is to stop: mend the row on the target, or change ErrorBehavior");
        return GW_CONFIG;
    case GW__ERROR_POLICY__SUSPEND_TABLE:
        snprintf(reason, sizeof reason, "a change could not be applied: %s", why->message);
        return gw_suspend(a, t, reason, err);
    case GW__ERROR_POLICY__IGNORE_RECORD: t->counts.errors++; return GW_OK;
    default: break;
    }
    t->counts.errors++;
    row_text(a, t, before, after, why);
    struct gw_refused refused = {.row = a->text.data, .len = a->text.len, .why = why};
    int r = a->ops->stream_refuse(a->self, t->table, position_of(a, transaction), &refused, err);
    return r == GW_OK ? r : gw_err_wrap(err, "record a refused change");
}

int
gw_refuse_change(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, struct gw_err *why,
                 struct gw_err *err)
{
    int r = gw_applier_begin(a, err);
    Gw__ErrorPolicy p = policy_of(a, t, (uint8_t)c->kind, why);
    a->dirty = true;
    return r == GW_OK ? settle(a, t, (uint8_t)c->kind, c->before.data ? a->before : NULL,
                               c->after.data ? a->after : NULL, UINT32_MAX, p, why, err)
                      : r;
}

// ---- runs --------------------------------------------------------------------------------------

static bool
alone(const struct gw_event *e)
{
    return e->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE || e->moves ||
           (e->table->keyless && e->kind != GW__CHANGE_KIND__CHANGE_INSERT);
}

static const struct gw_value *
key_tuple(const struct gw_event *e)
{
    return e->kind == GW__CHANGE_KIND__CHANGE_INSERT ? e->after : e->before;
}

// Takes the key of event i into the run that starts at `from`. False: the run has it already.
static bool
see(struct gw_applier *a, size_t from, size_t i)
{
    const struct gw_event *events = a->piece.events, *e = &events[i];
    if (e->table->keyless) {
        return true;
    }
    size_t at = gw_key_hash(e->table, key_tuple(e)) & (SEEN - 1);
    for (; a->seen[at]; at = (at + 1) & (SEEN - 1)) {
        if (gw_key_equal(e->table, key_tuple(&events[from + a->seen[at] - 1]), key_tuple(e))) {
            return false;
        }
    }
    a->seen[at] = (uint32_t)(i - from + 1);
    return true;
}

static bool
same_columns(struct gw_applier *a, const struct gw_event *x, const struct gw_event *y)
{
    for (size_t i = 0; x->after && i < x->table->n; i++) {
        if ((x->after[i].given == GW_NOT_GIVEN) != (y->after[i].given == GW_NOT_GIVEN)) {
            return false;
        }
    }
    (void)a;
    return true;
}

// Where the run that starts at `from` ends.
static size_t
run_end(struct gw_applier *a, size_t from)
{
    const struct gw_event *e = a->piece.events, *first = &e[from];
    size_t i = from + 1;
    if (alone(first) || i == a->piece.events_n || e[i].table != first->table) {
        return i;
    }
    memset(a->seen, 0, SEEN * sizeof *a->seen);
    (void)see(a, from, from);
    while (i < a->piece.events_n && i - from < GW_SET_ROWS && e[i].table == first->table && e[i].kind == first->kind &&
           e[i].unsure == first->unsure && !alone(&e[i]) && same_columns(a, first, &e[i]) && see(a, from, i)) {
        i++;
    }
    return i;
}

static void
build(struct gw_applier *a, const struct gw_event *e, size_t n)
{
    struct gw_applier_table *t = e->table;
    bool rows = e->after != NULL;
    if (rows) {
        gw_row_mask(t, e->kind, e->after, e->moves, a->mask, a->mask_words);
    }
    gw_set_begin(a, t, e->kind, rows ? a->mask : NULL);
    a->set.set.unsure = e->unsure;
    if (t->keyless && e->before) {
        gw_set_key(a, e->before);
    }
    for (size_t i = 0; i < n && e->kind != GW__CHANGE_KIND__CHANGE_TRUNCATE; i++) {
        gw_set_add(a, e[i].after, e[i].before);
    }
}

// The row is written all the same: an insert updates the one that is there, an update inserts the one that is missing.
static int
write_record(struct gw_applier *a, const struct gw_event *e, struct gw_err *err)
{
    struct gw_applier_table *t = e->table;
    for (size_t i = 0; i < t->n; i++) {
        a->after[i] = e->after[i].given == GW_NOT_GIVEN && e->before ? e->before[i] : e->after[i];
        if (a->after[i].given == GW_NOT_GIVEN && e->kind == GW__CHANGE_KIND__CHANGE_UPDATE) {
            return gw_err_set(err, GW_DATA, GW_CODE_NO_ROW,
                              "the row is not there, and the change does not give all of it");
        }
    }
    gw_row_mask(t, GW__CHANGE_KIND__CHANGE_INSERT, a->after, false, a->mask, a->mask_words);
    gw_set_begin(a, t, GW__CHANGE_KIND__CHANGE_INSERT, a->mask);
    a->set.set.unsure = e->kind == GW__CHANGE_KIND__CHANGE_INSERT;
    gw_set_add(a, a->after, NULL);
    return gw_set_apply(a, err);
}

static int
event_failed(struct gw_applier *a, const struct gw_event *e, struct gw_err *why, struct gw_err *err)
{
    Gw__ErrorPolicy policy = policy_of(a, e->table, e->kind, why);
    if (policy == GW__ERROR_POLICY__WRITE_RECORD) {
        struct gw_err second = {0};
        int r = write_record(a, e, &second);
        if (r == GW_OK) {
            count_event(a, e);
            return GW_OK;
        }
        if (r != GW_DATA) {
            *err = second;
            return r;
        }
        r = a->ops->stream_back(a->self, err);
        if (r != GW_OK) {
            return r;
        }
        *why = second;
        policy = gw_row_policy(a->errors, second.code);
    }
    if (policy == GW__ERROR_POLICY__IGNORE_RECORD && e->kind == GW__CHANGE_KIND__CHANGE_DELETE &&
        strcmp(why->code, GW_CODE_NO_ROW) == 0) {
        count_event(a, e); // what it wanted is so
        return GW_OK;
    }
    return settle(a, e->table, e->kind, e->before, e->after, e->transaction, policy, why, err);
}

// Whether the set did what it names. An unsure one may find its rows or not; how many were truncated nobody knows.
static int
check_rows(struct gw_applier *a, const struct gw_event *e, struct gw_err *why)
{
    const struct gw_set *s = &a->set;
    if (e->unsure || e->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE || s->rows == s->set.n) {
        return GW_OK;
    }
    return s->rows < s->set.n
               ? gw_err_set(why, GW_DATA, GW_CODE_NO_ROW, "%s table \"%s\": the row is not there", verb(e->kind),
                            e->table->table->name)
               : gw_err_set(why, GW_DATA, GW_CODE_MANY_ROWS, "%s table \"%s\": the row is there more than once",
                            verb(e->kind), e->table->table->name);
}

// Recursion: each level halves a run, so log2(GW_SET_ROWS) levels.
static int
apply_run(struct gw_applier *a, const struct gw_event *e, size_t n, struct gw_err *err)
{
    if (e->table->suspended) {
        return GW_OK;
    }
    int r = a->ops->stream_mark(a->self, err);
    if (r != GW_OK) {
        return r;
    }
    struct gw_err why = {0};
    build(a, e, n);
    r = gw_set_apply(a, &why);
    r = r == GW_OK ? check_rows(a, e, &why) : r;
    if (r == GW_OK) {
        for (size_t i = 0; i < n; i++) {
            count_event(a, &e[i]);
        }
        return GW_OK;
    }
    if (r != GW_DATA) {
        *err = why;
        return r;
    }
    r = a->ops->stream_back(a->self, err);
    if (r != GW_OK || n == 1) {
        return r == GW_OK ? event_failed(a, e, &why, err) : r;
    }
    r = apply_run(a, e, n / 2, err);
    return r == GW_OK ? apply_run(a, e + n / 2, n - n / 2, err) : r;
}

int
gw_replay(struct gw_applier *a, struct gw_err *err)
{
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && i < a->piece.events_n;) {
        size_t end = run_end(a, i);
        r = apply_run(a, &a->piece.events[i], end - i, err);
        i = end;
    }
    return r;
}
