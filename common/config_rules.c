// "table-mappings": {"rules": […]}, as DMS spells them. Each rule-type has its table of keys; those of which the
// work cannot be done yet are refused by the rule's id, so that nobody believes in a mask that is not there.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/config_priv.h"

enum { RULES_MAX = 10000 };

struct rule {
    struct gw_config *c;
    const struct gw_json_path *at;
    char *id, *name;
    char *schema, *table;
    int type, action;
    long long load_order;
    bool located;
    Gw__TableSettingsRule *settings;
};

static const char *const rule_types[] = {"selection",      "table-settings", "transformation",
                                         "object-mapping", "validation",     NULL};
enum { SELECTION, TABLE_SETTINGS };

// ---- setters -----------------------------------------------------------------------------------

static int
ignore(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)ctx, (void)k, (void)v, (void)at, (void)err; // read already
    return GW_OK;
}

static int
text(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct rule *x = ctx;
    return gw_json_string(v, x->c->a, (char **)((char *)x + k->offset), at, err);
}

static int
choice(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    return gw_json_enum(v, k->names, (int *)((char *)ctx + k->offset), at, err);
}

static int
order(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct rule *x = ctx;
    return gw_json_int(v, k->min, k->max, &x->load_order, at, err);
}

static int
filters(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    if (json_is_array(v) && json_array_size(v) == 0) {
        return GW_OK;
    }
    return gw_json_error(at, err, "rule %s has filters, which are not supported yet", x->id);
}

static const char *const table_types[] = {"table", "view", "all", NULL};
static const char *const actions[] = {"include", "exclude", "explicit", NULL};

static const struct gw_key locator_keys[] = {
    {"schema-name", text, offsetof(struct rule, schema), 0, 0, NULL, true},
    {"table-name", text, offsetof(struct rule, table), 0, 0, NULL, true},
    {"table-type", choice, offsetof(struct rule, type), 0, 0, table_types, false},
};

static int
locator(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, locator_keys, sizeof locator_keys / sizeof *locator_keys, ctx, at, err);
}

// ---- parallel-load -----------------------------------------------------------------------------

static const char *const parallel_types[] = {
    "auto", "none", "partitions-auto", "subpartitions-auto", "partitions-list", "ranges", NULL};

static int
each_text(struct rule *x, json_t *v, char ***ret, size_t *n, const struct gw_json_path *at, struct gw_err *err)
{
    if (!json_is_array(v)) {
        return gw_json_error(at, err, "a list is needed here");
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        struct gw_json_path here = {at, NULL, (int)i};
        char *s;
        int r = gw_json_string(json_array_get(v, i), x->c->a, &s, &here, err);
        if (r != GW_OK) {
            return r;
        }
        *(char **)gw_arena_push(x->c->a, ret, n, sizeof **ret) = s;
    }
    return GW_OK;
}

static int
parallel_type(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct rule *x = ctx;
    int type;
    int r = gw_json_enum(v, k->names, &type, at, err);
    if (r == GW_OK) {
        x->settings->parallel = (Gw__ParallelType)type;
    }
    return r;
}

static int
partitions(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    return each_text(x, v, &x->settings->partitions, &x->settings->n_partitions, at, err);
}

static int
subpartitions(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    return each_text(x, v, &x->settings->subpartitions, &x->settings->n_subpartitions, at, err);
}

static int
columns(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    return each_text(x, v, &x->settings->columns, &x->settings->n_columns, at, err);
}

static int
boundaries(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    if (!json_is_array(v)) {
        return gw_json_error(at, err, "a list of lists is needed here");
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        struct gw_json_path here = {at, NULL, (int)i};
        Gw__Boundary *b = gw_pb_new(x->c->a, Gw__Boundary, gw__boundary__init);
        int r = each_text(x, json_array_get(v, i), &b->values, &b->n_values, &here, err);
        if (r != GW_OK) {
            return r;
        }
        gw_pb_add(x->c->a, x->settings, boundaries, b);
    }
    return GW_OK;
}

static int
number_of_partitions(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct rule *x = ctx;
    long long n;
    int r = gw_json_int(v, k->min, k->max, &n, at, err);
    if (r == GW_OK) {
        x->settings->number_of_partitions = (uint32_t)n;
    }
    return r;
}

static const struct gw_key parallel_keys[] = {
    {"type", parallel_type, 0, 0, 0, parallel_types, true},
    {"partitions", partitions, 0, 0, 0, NULL, false},
    {"subpartitions", subpartitions, 0, 0, 0, NULL, false},
    {"columns", columns, 0, 0, 0, NULL, false},
    {"boundaries", boundaries, 0, 0, 0, NULL, false},
    {"number-of-partitions", number_of_partitions, 0, 0, 100000, NULL, false},
};

// What belongs together: each type with exactly the keys that it needs.
static int
check_parallel(const Gw__TableSettingsRule *s, const struct gw_json_path *at, struct gw_err *err)
{
    bool ranges = s->parallel == GW__PARALLEL_TYPE__RANGES;
    bool list = s->parallel == GW__PARALLEL_TYPE__PARTITIONS_LIST;
    if (ranges && (!s->n_columns || !s->n_boundaries)) {
        return gw_json_error(at, err, "ranges needs \"columns\" and \"boundaries\"");
    }
    if (list && !s->n_partitions && !s->n_subpartitions) {
        return gw_json_error(at, err, "partitions-list needs \"partitions\"");
    }
    if (!ranges && (s->n_columns || s->n_boundaries)) {
        return gw_json_error(at, err, "\"columns\" and \"boundaries\" belong to type ranges");
    }
    if (!list && (s->n_partitions || s->n_subpartitions)) {
        return gw_json_error(at, err, "\"partitions\" belongs to type partitions-list");
    }
    for (size_t i = 0; i < s->n_boundaries; i++) {
        if (s->boundaries[i]->n_values != s->n_columns) {
            return gw_json_error(at, err, "boundary %zu has %zu values for %zu columns", i, s->boundaries[i]->n_values,
                                 s->n_columns);
        }
    }
    return GW_OK;
}

static int
parallel(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    int r = gw_json_object(v, parallel_keys, sizeof parallel_keys / sizeof *parallel_keys, x, at, err);
    return r == GW_OK ? check_parallel(x->settings, at, err) : r;
}

// ---- lob-settings ------------------------------------------------------------------------------

static const char *const lob_modes[] = {"default", "limited", "unlimited", "none", NULL};

static int
lob_mode(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct rule *x = ctx;
    int mode;
    int r = gw_json_enum(v, k->names, &mode, at, err);
    if (r == GW_OK) {
        x->settings->lob_mode = (Gw__LobMode)mode;
    }
    return r;
}

static int
lob_size(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct rule *x = ctx;
    long long kb;
    int r = gw_json_int(v, k->min, k->max, &kb, at, err);
    if (r == GW_OK) {
        x->settings->lob_max_bytes = (uint64_t)kb * 1024;
    }
    return r;
}

static const struct gw_key lob_keys[] = {
    {"mode", lob_mode, 0, 0, 0, lob_modes, false},
    {"bulk-max-size", lob_size, 0, 0, 1 << 20, NULL, false},
};

static int
lob(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct rule *x = ctx;
    int r = gw_json_object(v, lob_keys, sizeof lob_keys / sizeof *lob_keys, x, at, err);
    if (r == GW_OK && x->settings->lob_mode == GW__LOB_MODE__LOB_LIMITED && !x->settings->lob_max_bytes) {
        return gw_json_error(at, err, "mode limited needs \"bulk-max-size\" (KB)");
    }
    return r;
}

// ---- one rule ----------------------------------------------------------------------------------

#define COMMON_KEYS                                                                                                    \
    {"rule-type", ignore, 0, 0, 0, NULL, true}, {"rule-id", ignore, 0, 0, 0, NULL, true},                              \
        {"rule-name", text, offsetof(struct rule, name), 0, 0, NULL, false},                                           \
    {                                                                                                                  \
        "object-locator", locator, 0, 0, 0, NULL, true                                                                 \
    }

static const struct gw_key selection_keys[] = {
    COMMON_KEYS,
    {"rule-action", choice, offsetof(struct rule, action), 0, 0, actions, true},
    {"load-order", order, 0, -2147483647, 2147483647, NULL, false},
    {"filters", filters, 0, 0, 0, NULL, false},
};

static const struct gw_key settings_keys[] = {
    COMMON_KEYS,
    {"rule-action", ignore, 0, 0, 0, NULL, false}, // DMS writes one, of no meaning
    {"parallel-load", parallel, 0, 0, 0, NULL, false},
    {"lob-settings", lob, 0, 0, 0, NULL, false},
};

static json_t *
find(json_t *object, const char *name)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (strcasecmp(key, name) == 0) {
            return value;
        }
    }
    return NULL;
}

static void
add_selection(const struct rule *x)
{
    Gw__SelectionRule *s = gw_pb_new(x->c->a, Gw__SelectionRule, gw__selection_rule__init);
    s->id = x->id;
    s->name = x->name;
    s->schema = x->schema;
    s->table = x->table;
    s->type = (Gw__TableType)x->type;
    s->action = (Gw__RuleAction)x->action;
    s->load_order = (int32_t)x->load_order;
    gw_pb_add(x->c->a, x->c->task, selection, s);
}

static void
add_settings(const struct rule *x)
{
    x->settings->id = x->id;
    x->settings->name = x->name;
    x->settings->schema = x->schema;
    x->settings->table = x->table;
    gw_pb_add(x->c->a, x->c->task, table_settings, x->settings);
}

static int
one_rule(struct gw_config *c, json_t *v, const struct gw_json_path *at, char **ret_id, struct gw_err *err)
{
    if (!json_is_object(v)) {
        return gw_json_error(at, err, "a rule is an object");
    }
    json_t *type_v = find(v, "rule-type"), *id_v = find(v, "rule-id");
    if (!type_v || !id_v) {
        return gw_json_error(at, err, "key \"%s\" is missing", type_v ? "rule-id" : "rule-type");
    }
    struct rule x = {.c = c, .at = at, .name = gw_arena_strdup(c->a, "")};
    int type;
    struct gw_json_path type_at = {at, "rule-type", -1}, id_at = {at, "rule-id", -1};
    int r = gw_json_string(id_v, c->a, &x.id, &id_at, err);
    r = r == GW_OK ? gw_json_enum(type_v, rule_types, &type, &type_at, err) : r;
    if (r != GW_OK) {
        return r;
    }
    *ret_id = x.id;
    if (type != SELECTION && type != TABLE_SETTINGS) {
        gw_json_error(at, err, "rule %s: rule-type \"%s\" is not supported yet", x.id, rule_types[type]);
        gw_err_hint(err, "take the rule out; the data would otherwise arrive without what it asks for");
        return GW_CONFIG;
    }
    x.settings = gw_pb_new(c->a, Gw__TableSettingsRule, gw__table_settings_rule__init);
    if (type == SELECTION) {
        r = gw_json_object(v, selection_keys, sizeof selection_keys / sizeof *selection_keys, &x, at, err);
    } else {
        r = gw_json_object(v, settings_keys, sizeof settings_keys / sizeof *settings_keys, &x, at, err);
    }
    if (r != GW_OK) {
        return r;
    }
    if (type == SELECTION) {
        add_selection(&x);
    } else {
        add_settings(&x);
    }
    return GW_OK;
}

// ---- all rules ---------------------------------------------------------------------------------

static int
list(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct gw_config *c = ctx;
    if (!json_is_array(v) || json_array_size(v) > RULES_MAX) {
        return gw_json_error(at, err, "a list of at most %d rules is needed here", RULES_MAX);
    }
    json_t *ids = json_object();
    int r = GW_OK;
    for (size_t i = 0; r == GW_OK && i < json_array_size(v); i++) {
        struct gw_json_path here = {at, NULL, (int)i};
        char *id = NULL;
        r = one_rule(c, json_array_get(v, i), &here, &id, err);
        if (r == GW_OK && json_object_get(ids, id)) {
            r = gw_json_error(&here, err, "rule-id %s is there twice", id);
        } else if (r == GW_OK && json_object_set_new(ids, id, json_true()) != 0) {
            r = gw_json_error(&here, err, "rule-id %s is no valid text", id);
        }
    }
    json_decref(ids);
    return r;
}

static bool
same_object(const Gw__SelectionRule *a, const Gw__SelectionRule *b)
{
    return strcmp(a->schema, b->schema) == 0 && strcmp(a->table, b->table) == 0 && a->type == b->type;
}

// The same object taken in by one rule and out by another: one of the two is a mistake.
static int
check_rules(const Gw__Task *t, const struct gw_json_path *at, struct gw_err *err)
{
    bool any = false;
    for (size_t i = 0; i < t->n_selection; i++) {
        const Gw__SelectionRule *a = t->selection[i];
        any = any || a->action != GW__RULE_ACTION__EXCLUDE;
        for (size_t j = 0; j < i; j++) {
            const Gw__SelectionRule *b = t->selection[j];
            bool opposed = (a->action == GW__RULE_ACTION__EXCLUDE) != (b->action == GW__RULE_ACTION__EXCLUDE);
            if (opposed && same_object(a, b)) {
                return gw_json_error(at, err,
                                     "rules %s and %s contradict each other: one includes and one excludes"
                                     " \"%s.%s\"",
                                     b->id, a->id, a->schema, a->table);
            }
        }
    }
    if (!any) {
        return gw_json_error(at, err, "no selection rule includes a table");
    }
    return GW_OK;
}

static const struct gw_key mapping_keys[] = {
    {"rules", list, 0, 0, 0, NULL, true},
};

int
gw_config_rules(struct gw_config *c, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    int r = gw_json_object(v, mapping_keys, sizeof mapping_keys / sizeof *mapping_keys, c, at, err);
    return r == GW_OK ? check_rules(c->task, at, err) : r;
}
