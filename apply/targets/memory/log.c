// The task's log: its records are the commands that changed something, its state is what they add up to.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/targets/memory/memory_target.h"
#include "common/fault.h"
#include "common/plan.h"

enum { RECORD_MAX = 256 * 1024 * 1024 };

Gw__TablePlan *
memory_log_table(const struct memory_target *t, uint32_t id)
{
    const Gw__TargetState *s = t->log.state;
    for (size_t i = 0; s && i < s->n_tables; i++) {
        if (s->tables[i]->target->id == id) {
            return s->tables[i];
        }
    }
    return NULL;
}

Gw__Chunk *
memory_log_chunk(const struct memory_target *t, uint32_t table_id, uint32_t generation, uint32_t no)
{
    Gw__TablePlan *p = memory_log_table(t, table_id);
    if (!p || p->generation != generation) {
        return NULL;
    }
    if (no < p->n_chunks && p->chunks[no]->no == no) {
        return p->chunks[no];
    }
    for (size_t i = 0; i < p->n_chunks; i++) {
        if (p->chunks[i]->no == no) {
            return p->chunks[i];
        }
    }
    return NULL;
}

// ---- fold --------------------------------------------------------------------------------------

static void
begin_generation(Gw__TablePlan *p, uint32_t generation)
{
    if (p->generation != generation) {
        p->generation = generation;
        p->n_chunks = 0;
        p->n_steps_done = 0;
    }
}

// Of what a coordinator sends, only the plan is taken.
static void
set_plan(Gw__TablePlan *p)
{
    for (size_t i = 0; i < p->n_chunks; i++) {
        *p->chunks[i] = gw_plan_part(p->chunks[i]);
        p->chunks[i]->generation = p->generation;
    }
}

static void
fold_set(struct memory_target *t, const Gw__SetTable *set)
{
    Gw__TablePlan *p = memory_log_table(t, set->table_id);
    bool repeated = p->generation == set->generation;
    begin_generation(p, set->generation);
    p->state = set->state;
    p->reason = set->reason;
    if (!set->replace_chunks) {
        return;
    }
    p->one_snapshot = set->one_snapshot;
    if (!repeated) {
        p->chunks = set->chunks;
        p->n_chunks = set->n_chunks;
        set_plan(p);
    }
    // The order again, which was legal: the chunks are these. Claims that were made since are void.
    for (size_t i = 0; repeated && i < p->n_chunks; i++) {
        p->chunks[i]->epoch++;
    }
}

static void
fold_chunk(struct memory_target *t, const Gw__Chunk *c)
{
    Gw__Chunk *to = memory_log_chunk(t, c->table_id, c->generation, c->no);
    to->epoch = c->epoch;
    to->done = c->done;
    to->snapshot = c->snapshot;
    to->rows_read = c->rows_read;
    to->rows_written = c->rows_written;
    to->rows_refused = c->rows_refused;
    to->values_truncated = c->values_truncated;
    to->bytes = c->bytes;
}

static void
fold_step(struct memory_target *t, const Gw__FinishStep *f)
{
    Gw__TablePlan *p = memory_log_table(t, f->step->table_id);
    for (size_t i = 0; i < p->n_steps_done; i++) {
        if (strcmp(p->steps_done[i], f->step->name) == 0) {
            return;
        }
    }
    gw_pb_add(&t->log.arena, p, steps_done, f->step->name);
}

static void
fold_stream(struct memory_target *t, const Gw__Command *r)
{
    const Gw__TargetState *s = r->register_;
    if (r->job == MEMORY_CLAIM) {
        t->log.state->progress->epoch = s->progress->epoch;
        return;
    }
    t->log.state->progress = s->progress;
    if (s->task[0]) {
        gw_pb_add(&t->log.arena, &t->log, changes, s->task);
    }
    for (size_t i = 0; i < s->n_tables; i++) {
        Gw__TablePlan *p = memory_log_table(t, s->tables[i]->target->id);
        p->state = s->tables[i]->state;
        p->reason = s->tables[i]->reason;
    }
}

// The record was legal when it was written, and so it is now. It lives in the log's arena.
static void
fold(struct memory_target *t, Gw__Command *r)
{
    struct memory_log *l = &t->log;
    switch (r->body_case) {
    case GW__COMMAND__BODY_REGISTER:
        if (r->job == MEMORY_CLAIM || r->job == MEMORY_COMMIT) {
            fold_stream(t, r);
            break;
        }
        l->state = r->register_;
        l->state->exists = true;
        for (size_t i = 0; i < l->state->n_tables; i++) {
            set_plan(l->state->tables[i]);
        }
        break;
    case GW__COMMAND__BODY_SET_TABLE: fold_set(t, r->set_table); break;
    case GW__COMMAND__BODY_PREPARE: {
        Gw__TablePlan *p = memory_log_table(t, r->prepare->table->id);
        begin_generation(p, r->prepare->generation);
        p->state = r->job == MEMORY_PREPARED ? GW__TABLE_STATE__STATE_LOADING : GW__TABLE_STATE__STATE_CLEARING;
        break;
    }
    case GW__COMMAND__BODY_LOAD_CHUNK: fold_chunk(t, r->load_chunk->chunk); break;
    case GW__COMMAND__BODY_FINISH_STEP: fold_step(t, r->finish_step); break;
    case GW__COMMAND__BODY_COMPLETE:
        l->state->completed = true;
        l->state->completed_us = r->complete->completed_us;
        break;
    default: l->dropped = true;
    }
}

// ---- what may be appended ------------------------------------------------------------------------------------

static int
fenced(struct gw_err *err, const char *why)
{
    return gw_err_set(err, GW_FENCED, NULL, "%s", why);
}

#define OTHER_GODWIT "does another godwit work on the same task?"

// Byte for byte, like an engine that only has the bytes.
static bool
same_chunk(const Gw__Chunk *a, const Gw__Chunk *b)
{
    Gw__Chunk x = gw_plan_part(a), y = gw_plan_part(b);
    size_t n = gw__chunk__get_packed_size(&x);
    if (n != gw__chunk__get_packed_size(&y)) {
        return false;
    }
    uint8_t *bytes = malloc(2 * n + 1);
    gw_assert(bytes);
    gw__chunk__pack(&x, bytes);
    gw__chunk__pack(&y, bytes + n);
    bool same = memcmp(bytes, bytes + n, n) == 0;
    free(bytes);
    return same;
}

static bool
any_chunk(const Gw__TablePlan *p, bool done)
{
    for (size_t i = 0; i < p->n_chunks; i++) {
        if (p->chunks[i]->done == done) {
            return true;
        }
    }
    return false;
}

// The same plan, and nothing of it durable: an order that is repeated.
static bool
repeats(const struct memory_target *t, const Gw__TablePlan *p, const Gw__SetTable *set)
{
    bool same = p->n_chunks == set->n_chunks && !any_chunk(p, true);
    for (size_t i = 0; same && i < set->n_chunks; i++) {
        const Gw__Chunk *stored = memory_log_chunk(t, set->table_id, p->generation, set->chunks[i]->no);
        same = stored && same_chunk(stored, set->chunks[i]);
    }
    return same;
}

static int
legal_set(const struct memory_target *t, const Gw__SetTable *set, struct gw_err *err)
{
    const Gw__TablePlan *p = memory_log_table(t, set->table_id);
    if (!p || p->generation > set->generation) {
        return fenced(err, "its generation is not the newest");
    }
    if (set->replace_chunks && p->generation == set->generation && !repeats(t, p, set)) {
        gw_err_set(err, GW_FENCED, NULL, "generation %u is planned already", p->generation);
        gw_err_hint(err, OTHER_GODWIT);
        return GW_FENCED;
    }
    bool ends = set->state == GW__TABLE_STATE__STATE_LOADED || set->state == GW__TABLE_STATE__STATE_COMPLETED;
    if (ends && (p->generation != set->generation || set->replace_chunks || any_chunk(p, false)) &&
        GW_GUARD("apply.all_durable")) {
        gw_err_set(err, GW_FENCED, NULL, "the target has taken back chunks that were durable");
        gw_err_hint(err, "was it restored or failed over? run the task again: it loads what is missing");
        return GW_FENCED;
    }
    return GW_OK;
}

static int
legal_complete(const struct memory_target *t, struct gw_err *err)
{
    for (size_t i = 0; i < t->log.state->n_tables; i++) {
        Gw__TableState s = t->log.state->tables[i]->state;
        if (s != GW__TABLE_STATE__STATE_COMPLETED && s != GW__TABLE_STATE__STATE_ERROR) {
            gw_err_set(err, GW_FENCED, NULL, "a table of the task is not complete on the target");
            gw_err_hint(err, OTHER_GODWIT);
            return GW_FENCED;
        }
    }
    return GW_OK;
}

static int
legal_chunk(const struct memory_target *t, Gw__Chunk *c, struct gw_err *err)
{
    const Gw__TablePlan *p = memory_log_table(t, c->table_id);
    const Gw__Chunk *stored = memory_log_chunk(t, c->table_id, c->generation, c->no);
    if (!stored || p->state == GW__TABLE_STATE__STATE_CLEARING) {
        return fenced(err, "the chunk is not one of the table's present generation");
    }
    if (!c->done) { // a claim
        if (!same_chunk(stored, c) && GW_GUARD("apply.plan")) {
            gw_err_set(err, GW_FENCED, NULL, "chunk %u is not the stored plan's", c->no);
            gw_err_hint(err, OTHER_GODWIT);
            return GW_FENCED;
        }
        c->epoch = stored->epoch + 1;
        return stored->done ? GW_END : GW_OK;
    }
    bool ours_still = !stored->done && stored->epoch == c->epoch;
    return ours_still || !GW_GUARD("apply.fence") ? GW_OK : fenced(err, "somebody else owns the chunk now");
}

static int
legal_prepare(const struct memory_target *t, const Gw__PrepareTable *c, bool prepared, struct gw_err *err)
{
    const Gw__TablePlan *p = memory_log_table(t, c->table->id);
    if (!p || (p->generation > c->generation && GW_GUARD("apply.generation"))) {
        return fenced(err, p ? "a newer generation of it was begun" : "it is not in the task");
    }
    if (prepared && GW_GUARD("apply.generation") &&
        (p->generation != c->generation || p->state != GW__TABLE_STATE__STATE_CLEARING)) {
        return fenced(err, "somebody else has prepared it");
    }
    for (size_t i = 0; p->generation == c->generation && i < p->n_chunks; i++) {
        if (p->chunks[i]->done) {
            return fenced(err, "rows of this generation are durable in it");
        }
    }
    return GW_OK;
}

// Of what we append ourselves. Reading goes by the log alone: a task of the same name may be looked at.
static int
ours(const struct memory_target *t, const Gw__Command *r, struct gw_err *err)
{
    if (t->log.state && r->body_case != GW__COMMAND__BODY_DROP && strcmp(t->log.state->task_uuid, t->task->uuid) != 0) {
        gw_err_set(err, GW_FENCED, NULL, "the task of this name on the target is another one by now");
        gw_err_hint(err, OTHER_GODWIT);
        return GW_FENCED;
    }
    return GW_OK;
}

static int
legal_stream(const struct memory_target *t, const Gw__Command *r, struct gw_err *err)
{
    const Gw__Progress *stored = t->log.state->progress;
    Gw__Progress *p = r->register_->progress;
    if (!stored || !p) {
        return gw_err_set(err, GW_CONFIG, NULL, "the task has no stream of changes on the target");
    }
    for (size_t i = 0; i < r->register_->n_tables; i++) {
        if (!r->register_->tables[i]->target || !memory_log_table(t, r->register_->tables[i]->target->id)) {
            return fenced(err, "a table of the stream is not in the task");
        }
    }
    if (r->job == MEMORY_CLAIM) {
        p->epoch = stored->epoch + 1;
        return GW_OK;
    }
    return p->epoch == stored->epoch ? GW_OK : fenced(err, "somebody else owns the stream now");
}

static int
legal(const struct memory_target *t, Gw__Command *r, struct gw_err *err)
{
    const Gw__TablePlan *p = NULL;
    if (!t->log.state || t->log.dropped) {
        return fenced(err, "the task is not on the target any more");
    }
    switch (r->body_case) {
    case GW__COMMAND__BODY_REGISTER:
        return r->job == MEMORY_CLAIM || r->job == MEMORY_COMMIT ? legal_stream(t, r, err) : GW_OK;
    case GW__COMMAND__BODY_SET_TABLE: return legal_set(t, r->set_table, err);
    case GW__COMMAND__BODY_COMPLETE: return legal_complete(t, err);
    case GW__COMMAND__BODY_FINISH_STEP:
        p = memory_log_table(t, r->finish_step->step->table_id);
        return !p || p->generation != r->finish_step->generation
                   ? fenced(err, "its generation is not the table's present one")
                   : GW_OK;
    case GW__COMMAND__BODY_DROP:
        return r->job && t->log.state->progress && r->job != t->log.state->progress->epoch
                   ? fenced(err, "its stream was claimed meanwhile")
                   : GW_OK;
    case GW__COMMAND__BODY_PREPARE: return legal_prepare(t, r->prepare, r->job == MEMORY_PREPARED, err);
    case GW__COMMAND__BODY_LOAD_CHUNK: return legal_chunk(t, r->load_chunk->chunk, err);
    default: return GW_OK;
    }
}

// ---- reading -----------------------------------------------------------------------------------

// Reads record n + 1. GW_END if it is not there yet.
static int
read_next(struct memory_target *t, struct gw_err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%" PRIu64, t->log.n + 1);
    int fd = openat(t->log.dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return GW_END;
    }
    struct stat st;
    int failed = fd < 0 || fstat(fd, &st) != 0 ? errno : 0;
    size_t size = !failed && st.st_size < RECORD_MAX ? (size_t)st.st_size : 0;
    uint8_t *bytes = gw_arena_alloc(&t->log.arena, size + 1);
    for (size_t at = 0; !failed && at < size;) {
        ssize_t r = read(fd, bytes + at, size - at);
        failed = r < 0 && errno != EINTR ? errno : r == 0 ? EIO : 0;
        at += r > 0 ? (size_t)r : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    Gw__Command *record = failed ? NULL : gw__command__unpack(gw_arena_pb(&t->log.arena), size, bytes);
    bool sound =
        record && (t->log.n == 0 ? record->body_case == GW__COMMAND__BODY_REGISTER : legal(t, record, NULL) == GW_OK);
    if (!sound) {
        return failed ? gw_err_errno(err, failed, "read record %s of \"%s\"", name, t->path)
                      : gw_err_set(err, GW_CONFIG, NULL, "record %s of \"%s\" cannot be read", name, t->path);
    }
    fold(t, record);
    t->log.n++;
    return GW_OK;
}

static int
catch_up(struct memory_target *t, struct gw_err *err)
{
    int r = t->log.dir < 0 ? GW_END : GW_OK;
    while (r == GW_OK) {
        r = read_next(t, err);
    }
    return r == GW_END ? GW_OK : r;
}

void
memory_log_close(struct memory_target *t)
{
    if (t->log.dir >= 0) {
        close(t->log.dir);
    }
    gw_arena_fini(&t->log.arena);
    t->log = (struct memory_log){.dir = -1};
    gw_arena_init(&t->log.arena);
}

int
memory_log_open(struct memory_target *t, struct gw_err *err)
{
    memory_log_close(t);
    t->log.dir = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->log.dir < 0) {
        return errno == ENOENT ? GW_OK : gw_err_errno(err, errno, "open \"%s\"", t->path);
    }
    return catch_up(t, err);
}

// ---- appending ---------------------------------------------------------------------------------

static uint8_t *
pack(const Gw__Command *r, size_t *ret_n)
{
    uint8_t *p = malloc(gw__command__get_packed_size(r) + 1);
    gw_assert(p);
    *ret_n = gw__command__pack(r, p);
    return p;
}

// Is the log that is open still the one that stands there?
static bool
still_there(const struct memory_target *t)
{
    struct stat ours, theirs;
    return fstat(t->log.dir, &ours) == 0 && stat(t->path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

// GW_AGAIN: the number is taken.
static int
link_next(struct memory_target *t, const Gw__Command *record, struct gw_err *err)
{
    static unsigned count;
    char name[32], made[128], path[MEMORY_PATH + 128];
    snprintf(name, sizeof name, "%" PRIu64, t->log.n + 1);
    snprintf(made, sizeof made, "new.%s.%d.%u", t->owner, (int)getpid(), ++count);
    snprintf(path, sizeof path, "%s/%s", t->path, made);
    size_t n;
    uint8_t *bytes = pack(record, &n);
    int r = memory_write_file(path, bytes, n, err);
    free(bytes);
    int failed = 0;
    if (r == GW_OK) {
        failed = linkat(t->log.dir, made, t->log.dir, name, 0) != 0 ? errno : 0;
        unlink(path);
        failed = !failed && fsync(t->log.dir) != 0 ? errno : failed;
    }
    // A folder that has been taken away meanwhile holds no record that anybody will read.
    if (!still_there(t)) {
        return fenced(err, "the task is not on the target any more");
    }
    return r != GW_OK || failed == 0 ? r
           : failed == EEXIST        ? GW_AGAIN
                                     : gw_err_errno(err, failed, "write record %s of \"%s\"", name, t->path);
}

int
memory_log_append(struct memory_target *t, Gw__Command *record, struct gw_err *err)
{
    bool commits = record->job == MEMORY_COMMIT ||
                   (record->body_case == GW__COMMAND__BODY_LOAD_CHUNK && record->load_chunk->chunk->done);
    if (t->log.dir < 0 || !still_there(t)) {
        // The task was dropped and perhaps begun anew. A claim is made again there; what was claimed before is over.
        int r = commits ? fenced(err, "the task is not on the target any more") : memory_log_open(t, err);
        if (r != GW_OK) {
            return r;
        }
    }
    int r;
    do { // every turn but the last, somebody else has appended
        r = catch_up(t, err);
        r = r == GW_OK ? ours(t, record, err) : r;
        r = r == GW_OK ? legal(t, record, err) : r;
        r = r == GW_OK ? link_next(t, record, err) : r;
    } while (r == GW_AGAIN);
    return r == GW_OK ? read_next(t, err) : r;
}

int
memory_log_create(struct memory_target *t, const Gw__Command *first, struct gw_err *err)
{
    char fresh[MEMORY_PATH + 16], one[MEMORY_PATH + 32];
    snprintf(fresh, sizeof fresh, "%s/.new", t->control);
    snprintf(one, sizeof one, "%s/1", fresh);
    size_t n;
    uint8_t *bytes = pack(first, &n);
    int r = memory_remove_dir(fresh, err); // of one who died just here
    r = r == GW_OK ? memory_make_dir(fresh, err) : r;
    r = r == GW_OK ? memory_write_file(one, bytes, n, err) : r;
    r = r == GW_OK ? memory_sync_dir(fresh, err) : r;
    free(bytes);
    if (r == GW_OK && rename(fresh, t->path) != 0) {
        r = gw_err_errno(err, errno, "make \"%s\"", t->path);
    }
    r = r == GW_OK ? memory_sync_dir(t->control, err) : r;
    return r == GW_OK ? memory_log_open(t, err) : r;
}
