// One chunk: its rows in a file of its own, which counts once the log says so.
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "apply/targets/memory/memory_target.h"
#include "common/copytext.h"
#include "common/fault.h"
#include "common/plan.h"

int
memory_load_begin(void *self, struct gw_arena *a, const Gw__Table *table, const Gw__Chunk *c, bool careful,
                  uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err)
{
    struct memory_target *t = self;
    gw_assert(!t->loading);
    Gw__Command record = GW__COMMAND__INIT;
    Gw__LoadChunk load = GW__LOAD_CHUNK__INIT;
    record.body_case = GW__COMMAND__BODY_LOAD_CHUNK;
    record.load_chunk = &load;
    Gw__Chunk claim = gw_plan_part(c); // the whole plan: it must be the stored one
    claim.generation = c->generation;
    load.chunk = &claim;
    int r = memory_log_append(t, &record, err);
    gw__chunk__init(&t->chunk);
    t->chunk.table_id = c->table_id;
    t->chunk.generation = c->generation;
    t->chunk.no = c->no;
    t->chunk.epoch = claim.epoch;
    if (r == GW_END) {
        *done = *(Gw__Chunk *)gw_pb_dup(a, memory_log_chunk(t, c->table_id, c->generation, c->no));
        return GW_END;
    }
    if (r == GW_OK && GW_FAULT("apply.after_claim")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.after_claim");
    }
    char folder[MEMORY_PATH - 128];
    r = r == GW_OK ? memory_table_path(t, table, folder, sizeof folder, err) : r;
    if (r != GW_OK) {
        return gw_err_wrap(err, "begin chunk %u of \"%s\"", c->no, table->name);
    }
    // The claim before this one can never be committed any more.
    for (uint64_t epoch = t->chunk.epoch - 1; epoch <= t->chunk.epoch; epoch++) {
        char refused[MEMORY_PATH + 16];
        snprintf(t->rows_path, sizeof t->rows_path, "%s/%s.%u.%u.%" PRIu64, folder, t->log.state->task_uuid,
                 c->generation, c->no, epoch);
        snprintf(refused, sizeof refused, "%s.refused", t->rows_path);
        unlink(t->rows_path);
        unlink(refused);
    }
    t->rows = fopen(t->rows_path, "wxe");
    if (!t->rows) {
        return gw_err_errno(err, errno, "make \"%s\"", t->rows_path);
    }
    t->fields = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        t->fields += !table->columns[i]->left_out;
    }
    t->loading = true;
    t->careful = careful;
    t->table = table;
    t->written = 0;
    *ret_epoch = t->chunk.epoch;
    return GW_OK;
}

int
memory_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct memory_target *t = self;
    gw_assert(t->loading);
    size_t at = 0, refuse = strlen(t->refuse);
    struct gw_copy_field field;
    for (uint32_t i = 0; i < nrows; i++) {
        size_t n = gw_copy_row_len(rows + at, len - at);
        size_t fields = n ? gw_copy_split(rows + at, n, &field, 1) : 0;
        if (n == 0 || (fields != t->fields && t->fields)) {
            return gw_err_set(err, GW_BUG, NULL, "a row of \"%s\" has %zu fields, the table %zu", t->table->name,
                              fields, t->fields);
        }
        if (refuse && memmem(rows + at, n, t->refuse, refuse)) {
            return gw_err_set(err, GW_DATA, "REFUSED", "the row contains \"%s\"", t->refuse);
        }
        at += n;
    }
    if (at != len) {
        return gw_err_set(err, GW_BUG, NULL, "%zu bytes behind the last row", len - at);
    }
    // Only now: in careful mode nothing of a call that refuses a row may stay.
    if (fwrite(rows, 1, len, t->rows) != len) {
        return gw_err_errno(err, errno, "write \"%s\"", t->rows_path);
    }
    t->written += nrows;
    return GW_OK;
}

int
memory_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err)
{
    struct memory_target *t = self;
    gw_assert(t->loading && t->careful);
    char path[MEMORY_PATH + 16];
    snprintf(path, sizeof path, "%s.refused", t->rows_path);
    if (!t->refused) {
        t->refused = fopen(path, "wxe");
    }
    struct gw_buf line;
    gw_buf_init(&line, 2 * r->len + 8192);
    gw_copy_put_field(&line, r->why->code, strlen(r->why->code));
    gw_buf_putc(&line, '\t');
    gw_copy_put_field(&line, r->why->message, strlen(r->why->message));
    gw_buf_putc(&line, '\t');
    gw_buf_put(&line, r->row, r->len);
    bool ended = r->len && r->row[r->len - 1] == '\n';
    gw_buf_put(&line, "\n", ended ? 0 : 1);
    bool ok = t->refused && fwrite(line.data, 1, line.len, t->refused) == line.len;
    gw_buf_fini(&line);
    return ok ? GW_OK : gw_err_errno(err, errno, "write \"%s\"", path);
}

static bool
sync_file(FILE **f)
{
    bool ok = !*f || (fflush(*f) == 0 && fsync(fileno(*f)) == 0);
    int failed = errno;
    ok = !*f || (fclose(*f) == 0 && ok); // fclose frees it in any case
    *f = NULL;
    errno = ok ? errno : failed;
    return ok;
}

static int
commit(struct memory_target *t, const struct gw_target_counts *n, const char *snapshot, struct gw_err *err)
{
    if (n->rows_written != t->written) {
        return gw_err_set(err, GW_BUG, NULL, "%" PRIu64 " rows were written, not %" PRIu64, t->written,
                          n->rows_written);
    }
    if (GW_FAULT("apply.before_fence")) {
        return gw_err_set(err, GW_RETRY, NULL, "fault point apply.before_fence");
    }
    if (!sync_file(&t->rows) || !sync_file(&t->refused)) {
        return gw_err_errno(err, errno, "sync \"%s\"", t->rows_path);
    }
    char folder[MEMORY_PATH];
    snprintf(folder, sizeof folder, "%s", t->rows_path);
    *strrchr(folder, '/') = 0;
    int r = memory_sync_dir(folder, err);
    if (r == GW_OK && GW_FAULT("apply.before_commit")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.before_commit");
    }
    t->chunk.done = true;
    t->chunk.snapshot = (char *)(uintptr_t)snapshot;
    t->chunk.rows_read = n->rows_read;
    t->chunk.rows_written = n->rows_written;
    t->chunk.rows_refused = n->rows_refused;
    t->chunk.values_truncated = n->values_truncated;
    t->chunk.bytes = n->bytes;
    Gw__Command record = GW__COMMAND__INIT;
    Gw__LoadChunk load = GW__LOAD_CHUNK__INIT;
    record.body_case = GW__COMMAND__BODY_LOAD_CHUNK;
    record.load_chunk = &load;
    load.chunk = &t->chunk;
    r = r == GW_OK ? memory_log_append(t, &record, err) : r;
    if (r == GW_OK && GW_FAULT("apply.after_commit")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.after_commit");
    }
    return r;
}

int
memory_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err)
{
    struct memory_target *t = self;
    gw_assert(t->loading);
    int r = commit(t, counts, snapshot, err);
    if (r != GW_OK) {
        gw_err_wrap(err, "commit chunk %u of \"%s\"", t->chunk.no, t->table->name);
    }
    t->loading = false;
    if (r != GW_OK) {
        (void)memory_load_abort(t, NULL);
    }
    return r;
}

// What is in the files is left to the next claim: whether they count, only the log knows.
int
memory_load_abort(void *self, struct gw_err *err)
{
    (void)err;
    struct memory_target *t = self;
    if (t->rows) {
        fclose(t->rows);
    }
    if (t->refused) {
        fclose(t->refused);
    }
    t->rows = t->refused = NULL;
    t->loading = false;
    return GW_OK;
}
