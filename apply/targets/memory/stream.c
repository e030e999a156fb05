// The stream of changes: a transaction is what its statements did to the rows, undone from the end, written as one file.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apply/targets/memory/memory_target.h"
#include "common/clock.h"
#include "common/copytext.h"
#include "common/fault.h"

// SQLSTATE's names for them.
#define DUPLICATE "23505"
#define NO_PARENT "23503"
#define IS_NULL   "23502"

static void __attribute__((format(printf, 2, 3))) trace(struct memory_target *t, const char *fmt, ...)
{
    if (t->stream.trace) {
        va_list ap;
        va_start(ap, fmt);
        gw_buf_vprintf(t->stream.trace, fmt, ap);
        va_end(ap);
        gw_buf_putc(t->stream.trace, '\n');
    }
}

// ---- claim -------------------------------------------------------------------------------------

static int
read_rows(struct memory_target *t, const char *folder, const char *name, struct memory_rows *rows, struct gw_err *err)
{
    char path[MEMORY_PATH + 256], *text;
    size_t len = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int r = memory_read_file(path, &t->stream.arena, &text, &len, err);
    for (size_t at = 0, n; r == GW_OK && at < len; at += n) {
        n = gw_copy_row_len(text + at, len - at);
        r = memory_rows_replay(t, rows, true, text + at, n, err);
    }
    return r;
}

// Of the files in a table's folder: chunks that are done, and what was there before the task.
static bool
counts(const struct memory_target *t, const Gw__TablePlan *p, const char *name)
{
    size_t uuid = strlen(t->log.state->task_uuid);
    unsigned generation = 0, no = 0;
    uint64_t epoch = 0;
    if (name[0] == '.' || strcmp(name, "columns") == 0 || strstr(name, ".refused")) {
        return false;
    }
    if (strncmp(name, t->log.state->task_uuid, uuid) != 0 ||
        sscanf(name + uuid, ".%u.%u.%" SCNu64, &generation, &no, &epoch) != 3) {
        return true;
    }
    const Gw__Chunk *c = memory_log_chunk(t, p->target->id, generation, no);
    return c && c->done && c->epoch == epoch;
}

static int
read_table(struct memory_target *t, const Gw__TablePlan *p, struct memory_rows *rows, struct gw_err *err)
{
    char folder[MEMORY_PATH - 128];
    int r = memory_table_path(t, p->target, folder, sizeof folder, err);
    DIR *d = r == GW_OK ? opendir(folder) : NULL;
    if (!d) {
        return r == GW_OK && errno != ENOENT ? gw_err_errno(err, errno, "open folder \"%s\"", folder) : r;
    }
    for (struct dirent *e; r == GW_OK && (e = readdir(d));) {
        r = counts(t, p, e->d_name) ? read_rows(t, folder, e->d_name, rows, err) : GW_OK;
    }
    closedir(d);
    return r;
}

// A line of a file of changes; the row is its last field and holds tabs of its own.
static int
read_line(struct memory_target *t, const char *line, size_t len, struct gw_err *err)
{
    char *end;
    unsigned long id = strtoul(line + 2, &end, 10);
    unsigned long generation = *end == '\t' ? strtoul(end + 1, &end, 10) : 0;
    struct memory_rows *rows = memory_rows_find(t, (uint32_t)id);
    if (*end != '\t' || !rows) {
        return gw_err_set(err, GW_CONFIG, NULL, "a file of changes of \"%s\" cannot be read", t->path);
    }
    end++;
    bool old = generation != rows->generation || line[0] == '!'; // the table started over since
    return old ? GW_OK : memory_rows_replay(t, rows, line[0] == '+', end, (size_t)(line + len - end), err);
}

static int
read_changes(struct memory_target *t, struct gw_err *err)
{
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && i < t->log.n_changes; i++) {
        char path[MEMORY_PATH + 64], *text;
        snprintf(path, sizeof path, "%s/%s", t->path, t->log.changes[i]);
        size_t len = 0;
        r = memory_read_file(path, &t->stream.arena, &text, &len, err);
        for (size_t at = 0, n; r == GW_OK && at < len; at += n) {
            n = gw_copy_row_len(text + at, len - at);
            r = read_line(t, text + at, n, err);
        }
    }
    return r;
}

int
memory_rows_load(struct memory_target *t, struct gw_err *err)
{
    struct memory_stream *s = &t->stream;
    gw_assert(!s->loaded);
    s->loaded = true;
    gw_arena_init(&s->arena);
    gw_buf_init(&s->refused, SIZE_MAX / 2);
    gw_buf_init(&s->text, SIZE_MAX / 2);
    memory_rows_open(t);
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && i < s->tables_n; i++) {
        r = read_table(t, t->log.state->tables[i], &s->tables[i], err);
    }
    r = r == GW_OK ? read_changes(t, err) : r;
    return r == GW_OK ? r : gw_err_wrap(err, "read the target's rows");
}

void
memory_stream_close(struct memory_target *t)
{
    struct memory_stream *s = &t->stream;
    if (s->loaded) {
        memory_rows_close(t);
        gw_arena_fini(&s->arena);
        gw_buf_fini(&s->refused);
        gw_buf_fini(&s->text);
        free(s->ops);
    }
    *s = (struct memory_stream){.trace = s->trace};
}

int
memory_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err)
{
    struct memory_target *t = self;
    struct memory_stream *s = &t->stream;
    memory_stream_close(t);
    Gw__Command record = GW__COMMAND__INIT;
    Gw__TargetState body = GW__TARGET_STATE__INIT;
    Gw__Progress progress = GW__PROGRESS__INIT;
    record.body_case = GW__COMMAND__BODY_REGISTER;
    record.job = MEMORY_CLAIM;
    record.register_ = &body;
    body.progress = &progress;
    int r = memory_log_open(t, err);
    if (r == GW_OK && (!t->log.state || t->log.dropped || !t->log.state->progress)) {
        r = gw_err_set(err, GW_CONFIG, NULL, "the task has no stream of changes on the target");
    }
    r = r == GW_OK ? memory_log_append(t, &record, err) : r;
    if (r != GW_OK) {
        return gw_err_wrap(err, "claim the stream of changes");
    }
    s->claimed = true;
    s->epoch = progress.epoch;
    s->in_order = in_order;
    if (GW_FAULT("apply.stream.after_claim")) {
        return gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.after_claim");
    }
    r = memory_rows_load(t, err);
    if (r != GW_OK) {
        return r;
    }
    *ret = *(Gw__Progress *)gw_pb_dup(a, t->log.state->progress);
    for (size_t i = 0; i < t->log.state->n_tables; i++) {
        const Gw__TablePlan *p = t->log.state->tables[i];
        if (p->state == GW__TABLE_STATE__STATE_ERROR) {
            Gw__Suspended *sus = gw_pb_new(a, Gw__Suspended, gw__suspended__init);
            sus->table = p->target->id;
            sus->reason = gw_arena_strdup(a, p->reason);
            gw_pb_add(a, ret, suspended, sus);
        }
    }
    trace(t, "claim %" PRIu64, s->epoch);
    return GW_OK;
}

// ---- the transaction ---------------------------------------------------------------------------

int
memory_stream_begin(void *self, struct gw_err *err)
{
    (void)err;
    struct memory_target *t = self;
    gw_assert(t->stream.claimed && !t->stream.begun);
    t->stream.begun = true;
    trace(t, "begin");
    return GW_OK;
}

static void
note(struct memory_stream *s, struct memory_rows *rows, uint32_t row, bool came)
{
    if (s->ops_n == s->ops_cap) {
        s->ops_cap = s->ops_cap ? 2 * s->ops_cap : 1024;
        s->ops = realloc(s->ops, s->ops_cap * sizeof *s->ops);
        gw_assert(s->ops);
    }
    s->ops[s->ops_n++] = (struct memory_op){rows, row, came};
}

static void
undo(struct memory_stream *s, size_t to)
{
    while (s->ops_n > to) {
        struct memory_op *op = &s->ops[--s->ops_n];
        if (op->came) {
            memory_rows_take(op->rows, op->row);
        } else {
            memory_rows_put_back(op->rows, op->row);
        }
    }
}

int
memory_stream_mark(void *self, struct gw_err *err)
{
    (void)err;
    struct memory_target *t = self;
    gw_assert(t->stream.begun);
    t->stream.mark = t->stream.ops_n;
    t->stream.refused_mark = t->stream.refused.len;
    t->stream.suspended_mark = t->stream.suspended_n;
    trace(t, "mark");
    return GW_OK;
}

int
memory_stream_back(void *self, struct gw_err *err)
{
    (void)err;
    struct memory_target *t = self;
    gw_assert(t->stream.begun);
    undo(&t->stream, t->stream.mark);
    t->stream.refused.len = t->stream.refused_mark;
    t->stream.suspended_n = t->stream.suspended_mark;
    trace(t, "back");
    return GW_OK;
}

// ---- a set -------------------------------------------------------------------------------------

static uint32_t
tuple_column(const Gw__Table *table, uint32_t column)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < column; i++) {
        at += !table->columns[i]->left_out;
    }
    return at;
}

// A copy of `from` (NULL: all columns NULL) with the set's values of row i in it.
static struct gw_value *
new_row(struct memory_target *t, const struct memory_rows *rows, const struct gw_change_set *set,
        const uint32_t *columns, size_t i, const struct gw_value *from)
{
    struct gw_arena *a = &t->stream.arena;
    const struct gw_value *given = set->values + i * set->columns_n;
    size_t bytes = rows->columns_n * sizeof *from;
    for (size_t k = 0; k < set->columns_n; k++) {
        gw_assert(given[k].given != GW_NOT_GIVEN);
        bytes += given[k].given == GW_PRESENT ? given[k].len : 0;
    }
    struct gw_value *row = gw_arena_alloc(a, bytes);
    char *data = (char *)(row + rows->columns_n);
    for (size_t k = 0; k < rows->columns_n; k++) {
        row[k] = from ? from[k] : (struct gw_value){.given = GW_NULL};
    }
    for (size_t k = 0; k < set->columns_n; k++) {
        struct gw_value *v = &row[columns[k]];
        *v = given[k];
        if (v->given == GW_PRESENT) {
            v->data = memcpy(data, given[k].data, v->len);
            data += v->len;
        }
    }
    return row;
}

// Adds the row unless a unique key or the url's `refuse` is against it.
static int
put_row(struct memory_target *t, struct memory_rows *rows, struct gw_value *row, struct gw_err *err)
{
    size_t index = 0, column = 0;
    for (size_t i = 0; i < rows->table->n_columns; i++) {
        const Gw__Column *c = rows->table->columns[i];
        if (!c->left_out && row[column++].given != GW_PRESENT && c->not_null) {
            return gw_err_set(err, GW_DATA, IS_NULL, "column \"%s\" of \"%s\" cannot be NULL", c->name,
                              rows->table->name);
        }
    }
    if (memory_rows_clash(rows, row, &index) != UINT32_MAX) {
        return gw_err_set(err, GW_DATA, DUPLICATE, "unique key %zu of \"%s\" has the value already", index,
                          rows->table->name);
    }
    uint32_t at = memory_rows_add(rows, row);
    note(&t->stream, rows, at, true);
    if (t->refuse[0]) {
        gw_buf_reset(&t->stream.text);
        memory_rows_text(rows, at, &t->stream.text);
        if (memmem(t->stream.text.data, t->stream.text.len, t->refuse, strlen(t->refuse))) {
            return gw_err_set(err, GW_DATA, "REFUSED", "the row contains \"%s\"", t->refuse);
        }
    }
    return GW_OK;
}

static int
insert_row(struct memory_target *t, struct memory_rows *rows, const struct gw_change_set *set, const uint32_t *columns,
           size_t i, struct gw_err *err)
{
    struct gw_value *row = new_row(t, rows, set, columns, i, NULL);
    size_t index = 0;
    uint32_t there = set->unsure ? memory_rows_clash(rows, row, &index) : UINT32_MAX;
    if (there != UINT32_MAX && index == 0 && rows->indexes[0].nulls_equal) { // by the primary key alone
        row = new_row(t, rows, set, columns, i, rows->rows[there].values);
        memory_rows_take(rows, there);
        note(&t->stream, rows, there, false);
    }
    return put_row(t, rows, row, err);
}

// Updates or deletes what the key of row i matches; of rows that are alike in a keyless table, one.
static int
change_row(struct memory_target *t, struct memory_rows *rows, const struct gw_change_set *set, const uint32_t *columns,
           const uint32_t *key, size_t i, uint64_t *hit, struct gw_err *err)
{
    const struct gw_value *values = set->keys + i * set->key_n;
    size_t end = rows->n; // rows that this very statement adds are not matched
    uint32_t at = UINT32_MAX;
    while ((at = memory_rows_match(rows, key, set->key_n, values, at)) != UINT32_MAX && at < end) {
        memory_rows_take(rows, at);
        note(&t->stream, rows, at, false);
        ++*hit;
        if (set->kind == GW__CHANGE_KIND__CHANGE_UPDATE) {
            int r = put_row(t, rows, new_row(t, rows, set, columns, i, rows->rows[at].values), err);
            if (r != GW_OK) {
                return r;
            }
        }
        if (set->keyless) {
            break;
        }
    }
    return GW_OK;
}

// ---- foreign keys, at the end of a statement ---------------------------------------------------

static bool
fk_columns(const struct memory_rows *child, const struct memory_rows *parent, const Gw__ForeignKey *fk, uint32_t *from,
           uint32_t *to)
{
    for (size_t i = 0; i < fk->n_columns; i++) {
        size_t a = memory_rows_column(child->table, fk->columns[i]);
        size_t b = memory_rows_column(parent->table, fk->ref_columns[i]);
        if (a == SIZE_MAX || b == SIZE_MAX) {
            return false;
        }
        from[i] = (uint32_t)a;
        to[i] = (uint32_t)b;
    }
    return true;
}

static bool
row_has_parent(const struct memory_rows *child, uint32_t row, const struct memory_rows *parent, const uint32_t *from,
               const uint32_t *to, size_t n)
{
    struct gw_value values[32];
    for (size_t i = 0; i < n; i++) {
        values[i] = child->rows[row].values[from[i]];
        if (values[i].given != GW_PRESENT) {
            return true; // MATCH SIMPLE
        }
    }
    return memory_rows_match(parent, to, n, values, UINT32_MAX) != UINT32_MAX;
}

// Every row of the child has its parent, if either of the two was touched.
static int
check_foreign_key(struct memory_target *t, struct memory_rows *child, const Gw__ForeignKey *fk,
                  const struct memory_rows *touched, struct gw_err *err)
{
    struct memory_rows *parent = NULL;
    for (size_t i = 0; i < t->stream.tables_n; i++) {
        const Gw__Table *table = t->stream.tables[i].table;
        if (strcmp(table->name, fk->ref_table) == 0 && strcmp(table->schema, fk->ref_schema) == 0) {
            parent = &t->stream.tables[i];
        }
    }
    uint32_t from[32], to[32];
    if (!parent || (touched != child && touched != parent) || fk->n_columns > 32 ||
        !fk_columns(child, parent, fk, from, to)) {
        return GW_OK;
    }
    for (uint32_t row = 0; row < child->n; row++) {
        if (child->rows[row].live && !row_has_parent(child, row, parent, from, to, fk->n_columns)) {
            return gw_err_set(err, GW_DATA, NO_PARENT, "a row of \"%s\" would have no parent in \"%s\"",
                              child->table->name, parent->table->name);
        }
    }
    return GW_OK;
}

static int
check_foreign_keys(struct memory_target *t, const struct memory_rows *touched, struct gw_err *err)
{
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && (t->foreign_keys || t->stream.in_order) && i < t->stream.tables_n; i++) {
        struct memory_rows *child = &t->stream.tables[i];
        for (size_t k = 0; r == GW_OK && k < child->table->n_foreign_keys; k++) {
            r = check_foreign_key(t, child, child->table->foreign_keys[k], touched, err);
        }
    }
    return r;
}

// ---- apply -------------------------------------------------------------------------------------

static int
apply_rows(struct memory_target *t, struct memory_rows *rows, const struct gw_change_set *set, uint64_t *hit,
           struct gw_err *err)
{
    uint32_t columns[4096], key[4096];
    gw_assert(set->columns_n <= 4096 && set->key_n <= 4096);
    for (size_t i = 0; i < set->columns_n; i++) {
        columns[i] = tuple_column(set->table, set->columns[i]);
    }
    for (size_t i = 0; i < set->key_n; i++) {
        key[i] = tuple_column(set->table, set->key[i]);
    }
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && i < set->n; i++) {
        if (set->kind == GW__CHANGE_KIND__CHANGE_INSERT) {
            r = insert_row(t, rows, set, columns, i, err);
            ++*hit;
        } else {
            r = change_row(t, rows, set, columns, key, i, hit, err);
        }
    }
    return r;
}

static void
truncate(struct memory_target *t, struct memory_rows *rows)
{
    for (uint32_t row = 0; row < rows->n; row++) {
        if (rows->rows[row].live) {
            memory_rows_take(rows, row);
            note(&t->stream, rows, row, false);
        }
    }
}

int
memory_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    struct memory_target *t = self;
    struct memory_rows *rows = memory_rows_find(t, set->table->id);
    gw_assert(t->stream.begun);
    if (!rows || strcmp(rows->table->name, set->table->name) != 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "table \"%s\" is not there", set->table->name);
    }
    size_t before = t->stream.ops_n;
    uint64_t hit = 0;
    int r = GW_OK;
    if (set->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE) {
        truncate(t, rows);
    } else {
        r = apply_rows(t, rows, set, &hit, err);
    }
    r = r == GW_OK ? check_foreign_keys(t, rows, err) : r;
    static const char *const verbs[] = {"", "", "insert", "update", "delete", "truncate"};
    trace(t, "%s%s%s %s n=%zu columns=%zu%s", set->unsure ? "unsure " : "", set->keyless ? "keyless " : "",
          verbs[set->kind], set->table->name, set->n, set->columns_n, r == GW_OK ? "" : " refused");
    if (r != GW_OK) {
        undo(&t->stream, before);
        return gw_err_wrap(err, "%s %s", verbs[set->kind], set->table->name);
    }
    *ret_rows = hit;
    return GW_OK;
}

// ---- beside the rows ---------------------------------------------------------------------------

// name=value of the primary key's columns, out of a row of COPY text.
static void
put_key(struct gw_buf *out, const Gw__Table *table, const struct gw_refused *r)
{
    for (size_t i = 0; i < table->n_primary_key; i++) {
        struct gw_copy_field fields[256];
        size_t column = memory_rows_column(table, table->primary_key[i]);
        size_t n = gw_copy_split(r->row, r->len, fields, 256);
        if (column < n && column < 256) {
            gw_buf_printf(out, "%s%s=", i ? " " : "", table->primary_key[i]);
            gw_buf_put(out, fields[column].at, fields[column].len);
        }
    }
    gw_buf_putc(out, '\t');
}

int
memory_stream_refuse(void *self, const Gw__Table *table, const char *position, const struct gw_refused *r,
                     struct gw_err *err)
{
    (void)err;
    struct memory_target *t = self;
    struct gw_buf *out = &t->stream.refused;
    const struct memory_rows *rows = memory_rows_find(t, table->id);
    gw_assert(t->stream.begun && rows);
    gw_buf_printf(out, "!\t%u\t%u\t", table->id, rows->generation);
    const char *const texts[] = {position, r->why->code, r->why->message};
    for (size_t i = 0; i < 3; i++) {
        gw_copy_put_field(out, texts[i], strlen(texts[i]));
        gw_buf_putc(out, '\t');
    }
    put_key(out, table, r);
    gw_buf_put(out, r->row, r->len);
    gw_buf_put(out, "\n", r->len && r->row[r->len - 1] == '\n' ? 0 : 1);
    trace(t, "refuse %s %s", table->name, r->why->code);
    return GW_OK;
}

int
memory_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err)
{
    struct memory_target *t = self;
    struct memory_stream *s = &t->stream;
    gw_assert(s->begun);
    if (!memory_log_table(t, table_id)) {
        return gw_err_set(err, GW_FENCED, NULL, "table %u is not in the task", table_id);
    }
    Gw__TablePlan *p = gw_pb_new(&s->arena, Gw__TablePlan, gw__table_plan__init);
    p->target = gw_pb_new(&s->arena, Gw__Table, gw__table__init);
    p->target->id = table_id;
    p->state = GW__TABLE_STATE__STATE_ERROR;
    p->reason = gw_arena_strdup(&s->arena, reason);
    Gw__TablePlan **all = gw_arena_alloc(&s->arena, (s->suspended_n + 1) * sizeof(Gw__TablePlan *));
    if (s->suspended_n) {
        memcpy(all, s->suspended, s->suspended_n * sizeof *all);
    }
    all[s->suspended_n++] = p;
    s->suspended = all;
    trace(t, "suspend %u", table_id);
    return GW_OK;
}

// ---- commit ------------------------------------------------------------------------------------

static int
write_changes(struct memory_target *t, const char *name, struct gw_err *err)
{
    struct memory_stream *s = &t->stream;
    gw_buf_reset(&s->text);
    for (size_t i = 0; i < s->ops_n; i++) {
        const struct memory_op *op = &s->ops[i];
        gw_buf_printf(&s->text, "%c\t%u\t%u\t", op->came ? '+' : '-', op->rows->table->id, op->rows->generation);
        memory_rows_text(op->rows, op->row, &s->text);
    }
    gw_buf_put(&s->text, s->refused.len ? s->refused.data : "", s->refused.len);
    char path[MEMORY_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", t->path, name);
    int r = memory_write_file(path, s->text.data, s->text.len, err);
    return r == GW_OK ? memory_sync_dir(t->path, err) : r;
}

int
memory_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct memory_target *t = self;
    struct memory_stream *s = &t->stream;
    gw_assert(s->claimed);
    Gw__Command record = GW__COMMAND__INIT;
    Gw__TargetState body = GW__TARGET_STATE__INIT;
    Gw__Progress progress = *t->log.state->progress;
    char name[64] = "";
    int r = GW_OK;
    if (GW_FAULT("apply.stream.before_fence")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.before_fence");
    }
    if (r == GW_OK && (s->ops_n || s->refused.len)) {
        snprintf(name, sizeof name, "changes.%" PRIu64 ".%" PRIu64, s->epoch, ++s->commits);
        r = write_changes(t, name, err);
    }
    if (r == GW_OK && GW_FAULT("apply.stream.before_commit")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.before_commit");
    }
    record.body_case = GW__COMMAND__BODY_REGISTER;
    record.job = MEMORY_COMMIT;
    record.register_ = &body;
    body.task = name;
    body.progress = &progress;
    body.tables = s->suspended;
    body.n_tables = s->suspended_n;
    progress.position = (char *)(uintptr_t)position;
    progress.counts = (Gw__StreamCounts *)(uintptr_t)counts;
    progress.epoch = s->epoch;
    progress.updated_us = gw_wall_us();
    r = r == GW_OK ? memory_log_append(t, &record, err) : r;
    if (r == GW_OK && GW_FAULT("apply.stream.after_commit")) { // the answer is lost
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.after_commit");
    }
    s->begun = false;
    s->ops_n = s->mark = 0;
    s->suspended_n = s->suspended_mark = 0;
    s->refused.len = s->refused_mark = 0;
    trace(t, "commit %s%s", position, r == GW_OK ? "" : " failed");
    return r == GW_OK ? r : gw_err_wrap(err, "commit changes up to %s", position);
}
