// Every slot but those of a chunk and of the stream.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/targets/memory/memory_target.h"
#include "common/copytext.h"
#include "common/fault.h"
#include "common/worker.h"

// ---- open --------------------------------------------------------------------------------------

static void
target_close(void *self)
{
    struct memory_target *t = self;
    if (t->open) {
        (void)memory_load_abort(t, NULL);
        memory_stream_close(t);
        memory_log_close(t);
        gw_arena_fini(&t->log.arena);
    }
    *t = (struct memory_target){0};
}

static int
target_open(void *self, const Gw__Task *task, const char *owner, const char *password, struct gw_err *err)
{
    (void)password;
    struct memory_target *t = self;
    *t = (struct memory_target){.task = task, .owner = owner, .open = true, .log = {.dir = -1}};
    gw_arena_init(&t->log.arena);
    for (size_t i = 0; i < task->target->n_params; i++) {
        const Gw__Setting *s = task->target->params[i];
        if (strcmp(s->key, "foreign-keys") == 0) {
            t->foreign_keys = strcmp(s->value, "on") == 0;
            continue;
        }
        bool dir = strcmp(s->key, "dir") == 0;
        if (!dir && strcmp(s->key, "refuse") != 0) {
            return gw_err_set(err, GW_CONFIG, NULL, "memory target: parameter %s is unknown", s->key);
        }
        if (strlen(s->value) >= (dir ? sizeof t->dir : sizeof t->refuse)) {
            return gw_err_set(err, GW_CONFIG, NULL, "memory target: parameter %s is too long", s->key);
        }
        snprintf(dir ? t->dir : t->refuse, dir ? sizeof t->dir : sizeof t->refuse, "%s", s->value);
    }
    if (t->dir[0] != '/') {
        return gw_err_set(err, GW_CONFIG, NULL, "memory target: parameter dir must be an absolute path");
    }
    struct gw_buf path;
    gw_buf_init(&path, sizeof t->path - 64);
    gw_buf_printf(&path, "%s/.", t->dir);
    memory_escape(&path, task->control_schema[0] ? task->control_schema : "godwit");
    snprintf(t->control, sizeof t->control, "%s", path.data);
    gw_buf_putc(&path, '/');
    memory_escape(&path, task->name);
    snprintf(t->path, sizeof t->path, "%s", path.data);
    bool fits = !path.overflowed;
    gw_buf_fini(&path);
    return fits ? GW_OK : gw_err_set(err, GW_CONFIG, NULL, "memory target: the task's name is too long");
}

int
memory_table_path(const struct memory_target *t, const Gw__Table *table, char *ret, size_t size, struct gw_err *err)
{
    struct gw_buf path;
    gw_buf_init(&path, size - 1);
    gw_buf_printf(&path, "%s/", t->dir);
    memory_escape(&path, table->schema);
    gw_buf_puts(&path, table->schema[0] ? "." : "");
    memory_escape(&path, table->name);
    snprintf(ret, size, "%s", path.data);
    bool fits = !path.overflowed;
    gw_buf_fini(&path);
    return fits ? GW_OK : gw_err_set(err, GW_CONFIG, NULL, "the name \"%s\" is too long", table->name);
}

// ---- preflight ---------------------------------------------------------------------------------

static void
find(struct gw_arena *a, Gw__Catalog *out, Gw__Severity severity, const Gw__Table *t, char *message, const char *action)
{
    Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    f->schema = gw_arena_strdup(a, t ? t->source_schema : "");
    f->table = gw_arena_strdup(a, t ? t->source_name : "");
    f->message = message;
    f->action = gw_arena_strdup(a, action);
    gw_pb_add(a, out, findings, f);
}

static int
preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
          struct gw_err *err)
{
    (void)resuming;
    struct memory_target *t = self;
    char parent[sizeof t->dir], path[MEMORY_PATH - 128];
    snprintf(parent, sizeof parent, "%s", t->dir);
    *strrchr(parent, '/') = 0; // the path is absolute
    bool there = access(t->dir, F_OK) == 0;
    if (access(there ? t->dir : parent[0] ? parent : "/", W_OK | X_OK) != 0) {
        find(a, findings, GW__SEVERITY__SEVERITY_ERROR, NULL,
             gw_arena_printf(a, "folder \"%s\" cannot be written", t->dir), "give this user write permission");
    }
    find(a, findings, GW__SEVERITY__SEVERITY_INFO, NULL, gw_arena_strdup(a, "this target keeps rows as text"),
         "keys, indexes and sequences are noted as done, and enforced by nobody");
    for (size_t i = 0; i < cat->n_tables; i++) {
        const Gw__Table *table = cat->tables[i];
        if (memory_table_path(t, table, path, sizeof path, NULL) != GW_OK ||
            strlen(strrchr(path, '/') + 1) > NAME_MAX) {
            find(a, findings, GW__SEVERITY__SEVERITY_ERROR, table,
                 gw_arena_strdup(a, "the name is too long for a folder"), "rename the table");
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(table->name, cat->tables[k]->name) == 0 && strcmp(table->schema, cat->tables[k]->schema) == 0) {
                find(a, findings, GW__SEVERITY__SEVERITY_ERROR, table,
                     gw_arena_printf(a, "\"%s\" would receive another table's name", table->name), "rename one");
            }
        }
    }
    (void)err;
    return GW_OK;
}

// ---- state -------------------------------------------------------------------------------------

static int
state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err)
{
    struct memory_target *t = self;
    int r = memory_log_open(t, err);
    if (r != GW_OK) {
        return r;
    }
    Gw__TargetState none = GW__TARGET_STATE__INIT;
    *ret = none;
    if (t->log.state && !t->log.dropped) {
        Gw__TargetState bare = *t->log.state;
        bare.n_tables = with_plan ? bare.n_tables : 0;
        *ret = *(Gw__TargetState *)gw_pb_dup(a, &bare);
    }
    return GW_OK;
}

// The control folder, made and locked; *ret is closed by the caller.
static int
lock_control(struct memory_target *t, int *ret, struct gw_err *err)
{
    for (;;) {
        int r = memory_make_dir(t->dir, err);
        r = r == GW_OK ? memory_make_dir(t->control, err) : r;
        if (r != GW_OK) {
            return r;
        }
        int fd = open(t->control, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat ours, theirs;
        bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
        int failed = locked ? 0 : errno;
        // Whoever held the lock before may have removed the folder.
        if (locked && fstat(fd, &ours) == 0 && stat(t->control, &theirs) == 0 && ours.st_ino == theirs.st_ino) {
            *ret = fd;
            return GW_OK;
        }
        if (fd >= 0) {
            close(fd);
        }
        if (failed == EWOULDBLOCK) {
            gw_err_set(err, GW_AGAIN, GW_CODE_LOCKED, "another process registers or drops a task in \"%s\"",
                       t->control);
            gw_err_hint(err, "see who has it open: fuser -v FOLDER");
            return GW_AGAIN;
        }
        if (failed && failed != ENOENT && failed != EINTR) {
            return gw_err_errno(err, failed, "lock \"%s\"", t->control);
        }
    }
}

static int
state_register(void *self, const Gw__TargetState *state, struct gw_err *err)
{
    struct memory_target *t = self;
    int lock = -1, r = lock_control(t, &lock, err);
    if (r != GW_OK) {
        return r;
    }
    r = memory_log_open(t, err);
    if (r == GW_OK && t->log.dropped) { // by one who died before it was gone
        r = memory_remove_dir(t->path, err);
        memory_log_close(t);
    }
    if (r == GW_OK && t->log.state) {
        if (strcmp(t->log.state->task_uuid, state->task_uuid) != 0) {
            r = gw_err_set(err, GW_CONFIG, NULL, "task \"%s\" is on the target already, begun by somebody else",
                           t->task->name);
        }
    } else if (r == GW_OK) {
        Gw__Command first = GW__COMMAND__INIT;
        first.body_case = GW__COMMAND__BODY_REGISTER;
        first.register_ = (Gw__TargetState *)(uintptr_t)state;
        r = memory_log_create(t, &first, err);
    }
    close(lock);
    return r;
}

static int
state_set(void *self, const Gw__SetTable *set, struct gw_err *err)
{
    Gw__Command record = GW__COMMAND__INIT;
    record.body_case = GW__COMMAND__BODY_SET_TABLE;
    record.set_table = (Gw__SetTable *)(uintptr_t)set;
    return memory_log_append(self, &record, err);
}

static int
state_complete(void *self, int64_t completed_us, struct gw_err *err)
{
    Gw__Command record = GW__COMMAND__INIT;
    Gw__Complete complete = GW__COMPLETE__INIT;
    complete.completed_us = completed_us;
    record.body_case = GW__COMMAND__BODY_COMPLETE;
    record.complete = &complete;
    return memory_log_append(self, &record, err);
}

// ---- tables ------------------------------------------------------------------------------------

// Removes files of chunks out of the table's folder: of other tasks if `all`, of this task's earlier generations, and with
// `ended` those of this generation that were never committed. Files of a chunk that is or may become durable stay.
static int
sweep(struct memory_target *t, const Gw__TablePlan *p, bool all, bool ended, struct gw_err *err)
{
    char path[MEMORY_PATH - 128];
    int r = memory_table_path(t, p->target, path, sizeof path, err);
    DIR *d = r == GW_OK ? opendir(path) : NULL;
    if (!d) {
        return r == GW_OK && errno != ENOENT ? gw_err_errno(err, errno, "open folder \"%s\"", path) : r;
    }
    size_t uuid = strlen(t->log.state->task_uuid);
    bool merged = t->log.n_changes > 0; // its rows are in one file: keep_rows
    int failed = 0;
    for (struct dirent *e; !failed && (errno = 0, e = readdir(d));) {
        unsigned generation = 0, no = 0;
        uint64_t epoch = 0;
        bool drop = all && e->d_name[0] != '.' && strcmp(e->d_name, "columns") != 0;
        if (strncmp(e->d_name, t->log.state->task_uuid, uuid) == 0 &&
            sscanf(e->d_name + uuid, ".%u.%u.%" SCNu64, &generation, &no, &epoch) == 3) {
            const Gw__Chunk *c = memory_log_chunk(t, p->target->id, generation, no);
            drop = generation < p->generation || (ended && (merged || !(c && c->done && c->epoch == epoch)));
        }
        failed = drop && unlinkat(dirfd(d), e->d_name, 0) != 0 && errno != ENOENT ? errno : 0;
    }
    closedir(d);
    return failed ? gw_err_errno(err, failed, "clear folder \"%s\"", path) : GW_OK;
}

static int
write_columns(struct memory_target *t, const Gw__Table *table, struct gw_err *err)
{
    char path[MEMORY_PATH - 128], file[MEMORY_PATH];
    int r = memory_table_path(t, table, path, sizeof path, err);
    r = r == GW_OK ? memory_make_dir(path, err) : r;
    if (r != GW_OK) {
        return r;
    }
    struct gw_buf text;
    gw_buf_init(&text, 16 * 1024 * 1024);
    for (size_t i = 0; i < table->n_columns; i++) {
        if (!table->columns[i]->left_out) {
            gw_buf_puts(&text, text.len ? "\t" : "");
            gw_copy_put_field(&text, table->columns[i]->name, strlen(table->columns[i]->name));
        }
    }
    gw_buf_putc(&text, '\n');
    snprintf(file, sizeof file, "%s/columns", path);
    r = memory_write_file(file, text.data, text.len, err);
    gw_buf_fini(&text);
    r = r == GW_OK ? memory_sync_dir(path, err) : r;
    return r == GW_OK ? memory_sync_dir(t->dir, err) : r;
}

static int
prepare(void *self, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct memory_target *t = self;
    Gw__Command record = GW__COMMAND__INIT;
    Gw__PrepareTable body = GW__PREPARE_TABLE__INIT;
    Gw__Table bare = GW__TABLE__INIT;
    bare.id = table->id;
    body.table = &bare;
    body.generation = generation;
    record.body_case = GW__COMMAND__BODY_PREPARE;
    record.prepare = &body;
    int r = memory_log_append(t, &record, err);
    if (r == GW_OK && GW_FAULT("apply.prepare.clearing")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.prepare.clearing");
    }
    bool keep = !t->task->load || t->task->load->prep_mode == GW__PREP_MODE__DO_NOTHING;
    r = r == GW_OK ? write_columns(t, table, err) : r;
    r = r == GW_OK ? sweep(t, memory_log_table(t, table->id), !keep, false, err) : r;
    if (r == GW_OK && GW_FAULT("apply.prepare.cleared")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.prepare.cleared");
    }
    record.job = MEMORY_PREPARED;
    r = r == GW_OK ? memory_log_append(t, &record, err) : r;
    if (r == GW_OK && GW_FAULT("apply.prepare.after")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.prepare.after");
    }
    return r == GW_OK ? r : gw_err_wrap(err, "prepare table \"%s\"", table->name);
}

static int
write_rows(struct memory_target *t, const struct memory_rows *rows, struct gw_err *err)
{
    char folder[MEMORY_PATH - 128], path[MEMORY_PATH];
    int r = memory_table_path(t, rows->table, folder, sizeof folder, err);
    if (r != GW_OK || access(folder, F_OK) != 0) {
        return r; // never prepared
    }
    struct gw_buf *out = &t->stream.text;
    gw_buf_reset(out);
    for (uint32_t i = 0; i < rows->n; i++) {
        if (rows->rows[i].live) {
            memory_rows_text(rows, i, out);
        }
    }
    snprintf(path, sizeof path, "%s/%s.rows", folder, t->log.state->task_uuid);
    r = memory_write_file(path, out->len ? out->data : "", out->len, err);
    return r == GW_OK ? memory_sync_dir(folder, err) : r;
}

// The rows that a stream has changed are in the log, which goes: they are written out before. The claim makes sure that nobody
// changes them any more; *ret_epoch is what the log must still have when it is dropped.
static int
keep_rows(struct memory_target *t, uint64_t *ret_epoch, struct gw_err *err)
{
    struct gw_arena a;
    Gw__Progress progress = GW__PROGRESS__INIT;
    gw_arena_init(&a);
    int r = memory_stream_claim(t, &a, false, &progress, err);
    *ret_epoch = progress.epoch;
    gw_arena_fini(&a);
    for (size_t i = 0; r == GW_OK && i < t->stream.tables_n; i++) {
        r = write_rows(t, &t->stream.tables[i], err);
    }
    memory_stream_close(t);
    return r;
}

static int
drop_log(struct memory_target *t, struct gw_err *err)
{
    // Away at once and then bit by bit: nobody must find half a log.
    char old[MEMORY_PATH + 16];
    snprintf(old, sizeof old, "%s/.old", t->control);
    int r = memory_remove_dir(old, err);
    r = r == GW_OK ? memory_log_open(t, err) : r;
    if (r != GW_OK || !t->log.state) {
        return r;
    }
    Gw__Command record = GW__COMMAND__INIT;
    Gw__DropTask body = GW__DROP_TASK__INIT;
    record.body_case = GW__COMMAND__BODY_DROP;
    record.drop = &body;
    if (t->log.n_changes && !t->log.dropped) {
        r = keep_rows(t, &record.job, err);
    }
    r = r != GW_OK || t->log.dropped ? r : memory_log_append(t, &record, err);
    for (size_t i = 0; r == GW_OK && i < t->log.state->n_tables; i++) {
        r = sweep(t, t->log.state->tables[i], false, true, err);
    }
    if (r == GW_OK && rename(t->path, old) != 0) {
        r = gw_err_errno(err, errno, "remove \"%s\"", t->path);
    }
    r = r == GW_OK ? memory_remove_dir(old, err) : r;
    memory_log_close(t);
    return r;
}

static int
state_drop(void *self, struct gw_err *err)
{
    struct memory_target *t = self;
    if (access(t->control, F_OK) != 0 && errno == ENOENT) {
        return GW_OK;
    }
    int lock = -1, r = lock_control(t, &lock, err);
    if (r != GW_OK) {
        return r;
    }
    r = drop_log(t, err);
    if (r == GW_OK) {
        (void)rmdir(t->control); // stays as long as another task is in it
        r = memory_sync_dir(t->dir, err);
    }
    close(lock);
    return r;
}

// ---- finish ------------------------------------------------------------------------------------

static void
add_step(struct gw_arena *a, Gw__Steps *steps, const Gw__Table *t, Gw__StepPhase phase, const char *kind,
         const char *object)
{
    Gw__Step *s = gw_pb_new(a, Gw__Step, gw__step__init);
    s->table_id = t->id;
    s->phase = phase;
    s->kind = gw_arena_strdup(a, kind);
    s->object = gw_arena_strdup(a, object);
    s->name = gw_arena_printf(a, "%s %s", kind, object);
    s->weight = t->bytes_estimate;
    gw_pb_add(a, steps, steps, s);
}

static int
finish_plan(void *self, struct gw_arena *a, const Gw__Table *t, Gw__Steps *ret, struct gw_err *err)
{
    (void)self;
    (void)err;
    for (size_t i = 0; i < t->n_indexes; i++) {
        add_step(a, ret, t, GW__STEP_PHASE__STEP_KEYS, "index", t->indexes[i]->name);
    }
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        add_step(a, ret, t, GW__STEP_PHASE__STEP_CONSTRAINTS, "foreign key", t->foreign_keys[i]->name);
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        if (t->columns[i]->identity != GW__IDENTITY__IDENTITY_NONE) {
            add_step(a, ret, t, GW__STEP_PHASE__STEP_SEQUENCES, "sequence", t->columns[i]->name);
        }
    }
    return GW_OK;
}

static int
finish_step(void *self, const Gw__Table *table, const Gw__Step *s, uint32_t generation, struct gw_err *err)
{
    Gw__Command record = GW__COMMAND__INIT;
    Gw__FinishStep body = GW__FINISH_STEP__INIT;
    Gw__Step bare = *s;
    bare.table_id = table->id;
    body.step = &bare;
    body.generation = generation;
    record.body_case = GW__COMMAND__BODY_FINISH_STEP;
    record.finish_step = &body;
    int r = memory_log_append(self, &record, err);
    if (r == GW_OK && GW_FAULT("apply.finish.after_step")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.finish.after_step");
    }
    return r;
}

const struct gw_target_ops gw_target_memory = {
    .version = GW_TARGET_VERSION,
    .name = "memory",
    .caps = GW_TARGET_SCHEMAS | GW_TARGET_STREAM,
    .state_size = sizeof(struct memory_target),
    .open = target_open,
    .close = target_close,
    .preflight = preflight,
    .state_load = state_load,
    .state_register = state_register,
    .state_set = state_set,
    .state_complete = state_complete,
    .state_drop = state_drop,
    .prepare = prepare,
    .load_begin = memory_load_begin,
    .load_write = memory_load_write,
    .load_refuse = memory_load_refuse,
    .load_commit = memory_load_commit,
    .load_abort = memory_load_abort,
    .finish_plan = finish_plan,
    .finish_step = finish_step,
    .stream_claim = memory_stream_claim,
    .stream_begin = memory_stream_begin,
    .stream_apply = memory_stream_apply,
    .stream_mark = memory_stream_mark,
    .stream_back = memory_stream_back,
    .stream_refuse = memory_stream_refuse,
    .stream_suspend = memory_stream_suspend,
    .stream_commit = memory_stream_commit,
};
