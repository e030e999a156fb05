#include "common/mapping.h"

#include <string.h>

// The length of the UTF-8 character at s (1 for a byte that starts none).
static size_t
char_len(const char *s)
{
    size_t n = 1;
    if (((unsigned char)*s & 0xc0) == 0xc0) {
        while (n < 4 && ((unsigned char)s[n] & 0xc0) == 0x80) {
            n++;
        }
    }
    return n;
}

bool
gw_pattern_match(const char *pattern, const char *text)
{
    // After a `%` only the last one can need another try: its run grows by a character.
    const char *again_p = NULL, *again_t = NULL;
    while (*text) {
        if (*pattern == '%') {
            again_p = ++pattern;
            again_t = text;
        } else if (*pattern == '_') {
            pattern++;
            text += char_len(text);
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (again_p) {
            again_t += char_len(again_t);
            pattern = again_p;
            text = again_t;
        } else {
            return false;
        }
    }
    while (*pattern == '%') {
        pattern++;
    }
    return !*pattern;
}

static bool
schema_matches(const char *pattern, const char *schema)
{
    return gw_pattern_match(pattern, schema) || (!schema[0] && gw_pattern_match(pattern, "main"));
}

static bool
type_matches(Gw__TableType type, Gw__TableKind kind)
{
    bool view = kind == GW__TABLE_KIND__TABLE_VIEW;
    return type == GW__TABLE_TYPE__TYPE_ALL || view == (type == GW__TABLE_TYPE__TYPE_VIEW);
}

static bool
rule_matches(const Gw__SelectionRule *r, const char *schema, const char *table, Gw__TableKind kind)
{
    if (!type_matches(r->type, kind)) {
        return false;
    }
    if (r->action == GW__RULE_ACTION__EXPLICIT) { // names, not patterns
        return (strcmp(r->schema, schema) == 0 || (!schema[0] && strcmp(r->schema, "main") == 0)) &&
               strcmp(r->table, table) == 0;
    }
    return schema_matches(r->schema, schema) && gw_pattern_match(r->table, table);
}

bool
gw_mapping_selected(const Gw__Task *task, const char *schema, const char *table, Gw__TableKind kind,
                    int32_t *load_order)
{
    bool in = false;
    int32_t order = 0;
    for (size_t i = 0; i < task->n_selection; i++) {
        const Gw__SelectionRule *r = task->selection[i];
        if (!rule_matches(r, schema, table, kind)) {
            continue;
        }
        if (r->action == GW__RULE_ACTION__EXCLUDE) {
            return false;
        }
        order = !in || r->load_order > order ? r->load_order : order;
        in = true;
    }
    if (in) {
        *load_order = order;
    }
    return in;
}

// Plain names beat patterns; among patterns the one with more literal characters; then the later rule.
static size_t
specificity(const char *pattern)
{
    size_t n = 0;
    bool wild = false;
    for (; *pattern; pattern++) {
        wild = wild || *pattern == '%' || *pattern == '_';
        n += *pattern != '%' && *pattern != '_';
    }
    return wild ? n : n + 1000;
}

const Gw__TableSettingsRule *
gw_mapping_table_settings(const Gw__Task *task, const char *schema, const char *table)
{
    const Gw__TableSettingsRule *best = NULL;
    size_t best_n = 0;
    for (size_t i = 0; i < task->n_table_settings; i++) {
        const Gw__TableSettingsRule *r = task->table_settings[i];
        if (!schema_matches(r->schema, schema) || !gw_pattern_match(r->table, table)) {
            continue;
        }
        size_t n = specificity(r->schema) + specificity(r->table);
        if (!best || n >= best_n) {
            best = r;
            best_n = n;
        }
    }
    return best;
}

static bool
matches_any(const Gw__SelectionRule *r, const Gw__Catalog *cat)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        const Gw__Table *t = cat->tables[i];
        if (rule_matches(r, t->schema, t->name, t->kind)) {
            return true;
        }
    }
    return false;
}

void
gw_mapping_unmatched(const Gw__Task *task, Gw__Catalog *cat, struct gw_arena *a)
{
    for (size_t i = 0; i < task->n_selection; i++) {
        const Gw__SelectionRule *r = task->selection[i];
        if (matches_any(r, cat)) {
            continue;
        }
        // `_` is part of so many names that a pattern without `%` is taken for one.
        bool named =
            r->action != GW__RULE_ACTION__EXCLUDE && (r->action == GW__RULE_ACTION__EXPLICIT || !strchr(r->table, '%'));
        Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
        f->severity = named ? GW__SEVERITY__SEVERITY_ERROR : GW__SEVERITY__SEVERITY_WARNING;
        f->object = gw_arena_printf(a, "rule %s", r->id);
        f->message = named ? gw_arena_printf(a, "table \"%s.%s\" of selection rule %s (\"%s\") is not on the source",
                                             r->schema, r->table, r->id, r->name)
                           : gw_arena_printf(a, "selection rule %s (\"%s\") matches no table: \"%s.%s\"", r->id,
                                             r->name, r->schema, r->table);
        f->action = gw_arena_strdup(a, named ? "correct the name (names are case-sensitive), grant the privilege to"
                                               " see it, or take the rule out"
                                             : "the rule has no effect");
        gw_pb_add(a, cat, findings, f);
    }
}
