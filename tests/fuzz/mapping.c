// Patterns against the definition of their signs; and selection against a reading of the rules, one by one.
#include "common/mapping.h"
#include "tests/fuzz/fuzz.h"

enum { LEN_MAX = 64 };

static size_t
char_len(const char *s)
{
    size_t n = 1;
    for (; n < 4 && ((unsigned char)*s & 0xc0) == 0xc0 && ((unsigned char)s[n] & 0xc0) == 0x80; n++) {
    }
    return n;
}

// By the table: does the rest of the pattern match the rest of the text?
static bool
defined_match(const char *p, const char *t)
{
    static bool m[LEN_MAX + 1][LEN_MAX + 1];
    size_t np = strlen(p), nt = strlen(t);
    for (size_t i = np + 1; i-- > 0;) {
        for (size_t k = nt + 1; k-- > 0;) {
            if (i == np) {
                m[i][k] = k == nt;
            } else if (p[i] == '%') {
                m[i][k] = m[i + 1][k] || (k < nt && m[i][k + char_len(t + k)]);
            } else if (p[i] == '_') {
                m[i][k] = k < nt && m[i + 1][k + char_len(t + k)];
            } else {
                m[i][k] = k < nt && p[i] == t[k] && m[i + 1][k + 1];
            }
        }
    }
    return m[0][0];
}

// Over bytes that are not UTF-8 `%` may stop inside a character: there only memory is looked at.
static bool
is_utf8(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t need = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 0;
        if (!need || char_len((const char *)p) != need) {
            return false;
        }
        p += need;
    }
    return true;
}

static bool
rule_means(const Gw__SelectionRule *r, const char *schema, const char *table)
{
    return r->action == GW__RULE_ACTION__EXPLICIT
               ? strcmp(r->schema, schema) == 0 && strcmp(r->table, table) == 0
               : gw_pattern_match(r->schema, schema) && gw_pattern_match(r->table, table);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct gw_arena a;
    gw_arena_init(&a);
    const char *schema = input_text(&in, &a), *table = input_text(&in, &a);
    if (!schema[0]) {
        schema = "s";
    }
    Gw__Task *task = gw_pb_new(&a, Gw__Task, gw__task__init);
    Gw__Catalog *cat = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    while (in.left && task->n_selection < 16) {
        Gw__SelectionRule *r = gw_pb_new(&a, Gw__SelectionRule, gw__selection_rule__init);
        r->action = (Gw__RuleAction)(input_byte(&in) % 3);
        r->type = GW__TABLE_TYPE__TYPE_ALL;
        r->load_order = (int8_t)input_byte(&in);
        r->schema = input_text(&in, &a);
        r->table = input_text(&in, &a);
        gw_pb_add(&a, task, selection, r);
        if (strlen(r->table) <= LEN_MAX && strlen(table) <= LEN_MAX && is_utf8(r->table) && is_utf8(table)) {
            gw_assert(gw_pattern_match(r->table, table) == defined_match(r->table, table));
        }
        Gw__TableSettingsRule *s = gw_pb_new(&a, Gw__TableSettingsRule, gw__table_settings_rule__init);
        s->schema = r->schema;
        s->table = r->table;
        gw_pb_add(&a, task, table_settings, s);
    }
    bool in_any = false, out = false;
    int32_t want = 0, order = 0;
    for (size_t i = 0; i < task->n_selection; i++) {
        const Gw__SelectionRule *r = task->selection[i];
        if (rule_means(r, schema, table) && r->action == GW__RULE_ACTION__EXCLUDE) {
            out = true;
        } else if (rule_means(r, schema, table)) {
            want = !in_any || r->load_order > want ? r->load_order : want;
            in_any = true;
        }
    }
    bool selected = gw_mapping_selected(task, schema, table, GW__TABLE_KIND__TABLE_PLAIN, &order);
    gw_assert(selected == (in_any && !out));
    gw_assert(!selected || order == want);
    const Gw__TableSettingsRule *s = gw_mapping_table_settings(task, schema, table);
    gw_assert(!s || (gw_pattern_match(s->schema, schema) && gw_pattern_match(s->table, table)));
    gw_mapping_unmatched(task, cat, &a);
    gw_assert(cat->n_findings == task->n_selection);
    gw_arena_fini(&a);
    return 0;
}
