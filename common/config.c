#include "common/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "common/buf.h"
#include "common/config_priv.h"
#include "common/policy.h"
#include "common/url.h"

enum { FILE_MAX = 16 << 20, TASK_NAME_MAX = 64, LOB_MAX_KB = 32 };

void
gw_config_warn(struct gw_config *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = gw_arena_vprintf(c->a, fmt, ap);
    va_end(ap);
    gw_pb_add(c->a, c->task, warnings, s);
}

// ---- defaults ----------------------------------------------------------------------------------

static Gw__Endpoint *
new_endpoint(struct gw_arena *a)
{
    return gw_pb_new(a, Gw__Endpoint, gw__endpoint__init);
}

// The values that AWS DMS documents, but for LOBs: nothing is cut unless the file asks for it.
static Gw__Task *
new_task(struct gw_arena *a)
{
    Gw__Task *t = gw_pb_new(a, Gw__Task, gw__task__init);
    t->migration_type = gw_arena_strdup(a, "full-load");
    t->control_schema = gw_arena_strdup(a, "godwit");
    t->source = new_endpoint(a);
    t->target = new_endpoint(a);
    t->load = gw_pb_new(a, Gw__LoadSettings, gw__load_settings__init);
    t->load->prep_mode = GW__PREP_MODE__DO_NOTHING;
    t->load->max_subtasks = 8;
    t->load->commit_rate = 10000;
    t->lob = gw_pb_new(a, Gw__LobSettings, gw__lob_settings__init);
    t->lob->support_lobs = true;
    Gw__ErrorSettings *e = t->errors = gw_pb_new(a, Gw__ErrorSettings, gw__error_settings__init);
    e->data_error = GW__ERROR_POLICY__LOG_ERROR;
    e->data_truncation = GW__ERROR_POLICY__LOG_ERROR;
    e->data_escalation = GW__ERROR_POLICY__SUSPEND_TABLE;
    e->table_error = GW__ERROR_POLICY__SUSPEND_TABLE;
    e->table_escalation = GW__ERROR_POLICY__STOP_TASK;
    e->recoverable_count = -1;
    e->recoverable_interval_s = 5;
    e->throttling = true;
    e->throttling_max_s = 1800;
    e->fail_on_no_tables = true;
    e->apply_delete = GW__ERROR_POLICY__IGNORE_RECORD;
    e->apply_insert = GW__ERROR_POLICY__LOG_ERROR;
    e->apply_update = GW__ERROR_POLICY__LOG_ERROR;
    e->apply_escalation = GW__ERROR_POLICY__LOG_ERROR;
    Gw__StreamSettings *s = t->stream = gw_pb_new(a, Gw__StreamSettings, gw__stream_settings__init);
    s->commit_us = 1000000;
    s->batch_min_us = 1000000;
    s->batch_max_us = 30000000;
    s->memory_bytes = UINT64_C(64) << 20;
    t->chunk_bytes = 32 << 20;
    t->window_bytes = 4 << 20;
    t->batch_bytes = 256 << 10;
    return t;
}

// ---- endpoints ---------------------------------------------------------------------------------

struct endpoint_ctx {
    struct gw_config *c;
    Gw__Endpoint *ep;
    char *url;
};

static int
ep_url(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct endpoint_ctx *x = ctx;
    char *url;
    int r = gw_json_string(v, x->c->a, &url, at, err);
    r = r == GW_OK ? gw_url_parse(url, x->c->a, x->ep, err) : r;
    if (r != GW_OK && !strstr(err->message, gw_json_path_text(x->c->a, at))) {
        gw_err_wrap(err, "%s", gw_json_path_text(x->c->a, at));
    }
    return r;
}

static int
ep_text(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct endpoint_ctx *x = ctx;
    return gw_json_string(v, x->c->a, (char **)((char *)x->ep + k->offset), at, err);
}

static int
ep_password(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)ctx;
    (void)k;
    (void)v;
    gw_json_error(at, err, "a task file holds no password");
    gw_err_hint(err, "name it by \"password-env\" or \"password-file\" instead");
    return GW_CONFIG;
}

static int
ep_settings(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct endpoint_ctx *x = ctx;
    if (!json_is_object(v)) {
        return gw_json_error(at, err, "an object is needed here");
    }
    const char *key;
    json_t *value;
    json_object_foreach(v, key, value)
    {
        struct gw_json_path here = {at, key, -1};
        if (strcasestr(key, "password")) {
            return ep_password(ctx, k, value, &here, err);
        }
        Gw__Setting *s = gw_pb_new(x->c->a, Gw__Setting, gw__setting__init);
        char *lower = gw_arena_strdup(x->c->a, key);
        for (char *p = lower; *p; p++) {
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        }
        s->key = lower;
        if (json_is_boolean(value)) {
            s->value = gw_arena_strdup(x->c->a, json_is_true(value) ? "true" : "false");
        } else {
            int r = gw_json_string(value, x->c->a, &s->value, &here, err);
            if (r != GW_OK) {
                return r;
            }
        }
        gw_pb_add(x->c->a, x->ep, settings, s);
    }
    return GW_OK;
}

static const struct gw_key endpoint_keys[] = {
    {"url", ep_url, 0, 0, 0, NULL, true},
    {"password-env", ep_text, offsetof(Gw__Endpoint, password_env), 0, 0, NULL, false},
    {"password-file", ep_text, offsetof(Gw__Endpoint, password_file), 0, 0, NULL, false},
    {"password", ep_password, 0, 0, 0, NULL, false},
    {"settings", ep_settings, 0, 0, 0, NULL, false},
};

static int
set_endpoint(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct gw_config *c = ctx;
    struct endpoint_ctx x = {c, *(Gw__Endpoint **)((char *)c->task + k->offset), NULL};
    int r = gw_json_object(v, endpoint_keys, sizeof endpoint_keys / sizeof *endpoint_keys, &x, at, err);
    if (r == GW_OK && x.ep->password_env[0] && x.ep->password_file[0]) {
        return gw_json_error(at, err, "password-env and password-file contradict each other");
    }
    return r;
}

// ---- the other keys ----------------------------------------------------------------------------

static int
set_name(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct gw_config *c = ctx;
    int r = gw_json_string(v, c->a, &c->task->name, at, err);
    if (r != GW_OK) {
        return r;
    }
    const char *s = c->task->name;
    size_t ok = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    if (!s[0] || s[ok] || ok > TASK_NAME_MAX) {
        return gw_json_error(at, err, "a task's name is 1 to %d letters, digits, \"_\" and \"-\"", TASK_NAME_MAX);
    }
    return GW_OK;
}

static const char *const migration_types[] = {"full-load", "full-load-and-cdc", "cdc", NULL};

static int
set_migration_type(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct gw_config *c = ctx;
    int type;
    int r = gw_json_enum(v, migration_types, &type, at, err);
    if (r == GW_OK) {
        c->task->migration_type = gw_arena_strdup(c->a, migration_types[type]);
    }
    return r;
}

static int
set_text(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct gw_config *c = ctx;
    return gw_json_string(v, c->a, (char **)((char *)c->task + k->offset), at, err);
}

// DMS's interfaces hand mappings and settings over as JSON in a text; both forms are taken.
static int
inner(struct gw_config *c, json_t *v, const struct gw_json_path *at,
      int (*set)(struct gw_config *, json_t *, const struct gw_json_path *, struct gw_err *), struct gw_err *err)
{
    if (!json_is_string(v)) {
        return set(c, v, at, err);
    }
    json_t *parsed = gw_json_parse(gw_json_path_text(c->a, at), json_string_value(v), json_string_length(v), err);
    if (!parsed) {
        return GW_CONFIG;
    }
    int r = set(c, parsed, at, err);
    json_decref(parsed);
    return r;
}

static int
set_mappings(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return inner(ctx, v, at, gw_config_rules, err);
}

static int
set_settings(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return inner(ctx, v, at, gw_config_settings, err);
}

// godwit's own settings: min and max are in the unit of the key, `names` holds the unit's size.
static int
set_size(struct gw_config *c, const struct gw_key *k, json_t *v, long long unit, const struct gw_json_path *at,
         struct gw_err *err)
{
    long long n;
    int r = gw_json_int(v, k->min, k->max, &n, at, err);
    if (r == GW_OK) {
        *(uint64_t *)((char *)c->task + k->offset) = (uint64_t)(n * unit);
    }
    return r;
}

static int
set_mb(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    return set_size(ctx, k, v, 1 << 20, at, err);
}

static int
set_kb(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    return set_size(ctx, k, v, 1 << 10, at, err);
}

static const struct gw_key own_keys[] = {
    {"chunk-size-mb", set_mb, offsetof(Gw__Task, chunk_bytes), 1, 16384, NULL, false},
    {"chunk-size-kb", set_kb, offsetof(Gw__Task, chunk_bytes), 8, 16384 << 10, NULL, false},
    {"window-mb", set_mb, offsetof(Gw__Task, window_bytes), 1, 64, NULL, false},
    {"batch-kb", set_kb, offsetof(Gw__Task, batch_bytes), 4, 4096, NULL, false},
};

static int
set_own(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, own_keys, sizeof own_keys / sizeof *own_keys, ctx, at, err);
}

static const struct gw_key task_keys[] = {
    {"task", set_name, 0, 0, 0, NULL, true},
    {"migration-type", set_migration_type, 0, 0, 0, NULL, false},
    {"cdc-start-position", set_text, offsetof(Gw__Task, cdc_start_position), 0, 0, NULL, false},
    {"source", set_endpoint, offsetof(Gw__Task, source), 0, 0, NULL, true},
    {"target", set_endpoint, offsetof(Gw__Task, target), 0, 0, NULL, true},
    {"table-mappings", set_mappings, 0, 0, 0, NULL, true},
    {"task-settings", set_settings, 0, 0, 0, NULL, false},
    {"settings", set_own, 0, 0, 0, NULL, false},
};

// ---- what decides what lands where -------------------------------------------------------------

static void
hash_message(XXH3_state_t *h, const void *msg)
{
    struct gw_buf b;
    gw_buf_init(&b, FILE_MAX);
    size_t n = protobuf_c_message_get_packed_size(msg);
    char *at = gw_buf_room(&b, n);
    gw_assert(at);
    protobuf_c_message_pack(msg, (uint8_t *)at);
    XXH3_64bits_update(h, &n, sizeof n);
    XXH3_64bits_update(h, at, n);
    gw_buf_fini(&b);
}

static void
hash_text(XXH3_state_t *h, const char *s)
{
    XXH3_64bits_update(h, s, strlen(s) + 1);
}

// Names of rules, users, time-outs, sizes and error policies may change between two runs of a task; these not.
static char *
mapping_hash(struct gw_arena *a, const Gw__Task *t)
{
    XXH3_state_t *h = XXH3_createState();
    gw_assert(h);
    XXH3_64bits_reset(h);
    hash_text(h, t->source->engine);
    hash_text(h, t->source->database);
    hash_text(h, t->target->engine);
    hash_text(h, t->target->database);
    hash_text(h, t->target_schema);
    hash_message(h, t->lob);
    for (size_t i = 0; i < t->n_selection; i++) {
        Gw__SelectionRule rule = *t->selection[i];
        rule.name = rule.id = (char *)protobuf_c_empty_string;
        rule.load_order = 0;
        hash_message(h, &rule);
    }
    for (size_t i = 0; i < t->n_table_settings; i++) {
        const Gw__TableSettingsRule *rule = t->table_settings[i];
        hash_text(h, rule->schema);
        hash_text(h, rule->table);
        XXH3_64bits_update(h, &rule->lob_mode, sizeof rule->lob_mode);
        XXH3_64bits_update(h, &rule->lob_max_bytes, sizeof rule->lob_max_bytes);
    }
    XXH64_hash_t digest = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return gw_arena_printf(a, "%016llx", (unsigned long long)digest);
}

// ---- the whole ---------------------------------------------------------------------------------

static int
check(const Gw__Task *t, struct gw_err *err)
{
    const Gw__Endpoint *s = t->source, *d = t->target;
    if (strcmp(s->engine, "sqlite") == 0 && strcmp(d->engine, "sqlite") == 0 && strcmp(s->database, d->database) == 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "source and target are the same file, \"%s\"", s->database);
    }
    if (strcmp(s->url, d->url) == 0 && !t->target_schema[0]) {
        return gw_err_set(err, GW_CONFIG, NULL, "source and target are the same database, %s", s->url);
    }
    if (t->cdc_start_position[0] && gw_task_loads(t)) {
        return gw_err_set(err, GW_CONFIG, NULL, "cdc-start-position goes with migration-type \"cdc\" alone");
    }
    if (t->batch_bytes > t->window_bytes) {
        return gw_err_set(err, GW_CONFIG, NULL, "settings: batch-kb is larger than window-mb");
    }
    return GW_OK;
}

int
gw_config_parse(const char *name, const char *text, size_t len, struct gw_arena *a, Gw__Task **ret, struct gw_err *err)
{
    json_t *root = gw_json_parse(name, text, len, err);
    if (!root) {
        return GW_CONFIG;
    }
    struct gw_config c = {.a = a, .task = new_task(a), .lob_max_kb = LOB_MAX_KB};
    int r = gw_json_object(root, task_keys, sizeof task_keys / sizeof *task_keys, &c, NULL, err);
    json_decref(root);
    r = r == GW_OK ? check(c.task, err) : r;
    if (r != GW_OK) {
        return gw_err_wrap(err, "%s", name);
    }
    c.task->mapping_hash = mapping_hash(a, c.task);
    *ret = c.task;
    return GW_OK;
}

int
gw_config_load(const char *path, struct gw_arena *a, Gw__Task **ret, struct gw_err *err)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        int saved = errno;
        if (f) {
            fclose(f);
        }
        return gw_err_errno(err, saved, "open task file \"%s\"", path);
    }
    if (S_ISDIR(st.st_mode)) {
        fclose(f);
        return gw_err_set(err, GW_CONFIG, NULL, "task file \"%s\" is a folder", path);
    }
    struct gw_buf b;
    gw_buf_init(&b, FILE_MAX);
    size_t n;
    char *at;
    while ((at = gw_buf_room(&b, 65536)) && (n = fread(at, 1, 65536, f)) > 0) {
        gw_buf_added(&b, n);
    }
    int r = GW_OK;
    if (ferror(f)) {
        r = gw_err_errno(err, EIO, "read task file \"%s\"", path);
    } else if (!at) {
        r = gw_err_set(err, GW_CONFIG, NULL, "task file \"%s\" is larger than %d MB", path, FILE_MAX >> 20);
    }
    fclose(f);
    r = r == GW_OK ? gw_config_parse(path, b.len ? b.data : "", b.len, a, ret, err) : r;
    gw_buf_fini(&b);
    return r;
}
