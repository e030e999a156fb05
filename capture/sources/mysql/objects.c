// Keys, indexes, foreign keys and checks, from the items of the CREATE text.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/mysql_source.h"

// Does the text begin with the word? *p moves behind it.
static bool
take(const char **p, const char *word)
{
    const char *at = my_ddl_skip(*p);
    size_t n = strlen(word);
    if (strncasecmp(at, word, n) != 0) {
        return false;
    }
    *p = my_ddl_skip(at + n);
    return true;
}

static size_t
part_end(const char *p)
{
    const char *start = p;
    for (int depth = 0; *p && (depth || *p != ','); p++) {
        if (*p == '`' || *p == '\'') {
            char quote = *p++;
            while (*p && *p != quote) {
                p += *p == '\\' && quote == '\'' && p[1] ? 2 : 1;
            }
            if (!*p) {
                break;
            }
        }
        depth += (*p == '(') - (*p == ')');
    }
    return (size_t)(p - start);
}

// `a`(10) DESC, (lower(`b`))
static void
add_parts(struct gw_arena *a, Gw__Index *ix, const char *list)
{
    while (*(list = my_ddl_skip(list))) {
        size_t n = part_end(list);
        const char *p = gw_arena_memdup0(a, list, n);
        Gw__IndexPart *part = gw_pb_new(a, Gw__IndexPart, gw__index_part__init);
        char *name = my_ddl_name(a, &p);
        if (name) {
            part->column = name;
            char *length = *p == '(' ? my_ddl_inside(a, &p) : NULL;
            part->prefix_length = length ? (uint32_t)strtoul(length, NULL, 10) : 0;
        } else {
            char *expr = my_ddl_inside(a, &p);
            part->expression = expr ? expr : gw_arena_strdup(a, list);
        }
        part->descending = my_ddl_word(p, "DESC") != NULL;
        gw_pb_add(a, ix, parts, part);
        list += n + (list[n] == ',');
    }
}

// What stands behind the parts: USING BTREE COMMENT 'x' /*!80000 INVISIBLE */
static void
add_options(struct gw_arena *a, Gw__Index *ix, const char *options)
{
    const char *comment = my_ddl_word(options, "COMMENT");
    char *text = comment ? my_ddl_string(a, &comment) : NULL;
    ix->native_ddl = gw_arena_strdup(a, my_ddl_skip(options));
    if (text) {
        ix->comment = text;
        const char *word = my_ddl_word(options, "COMMENT") - strlen("COMMENT");
        ix->native_ddl = gw_arena_printf(a, "%.*s%s", (int)(word - options), options, my_ddl_skip(comment));
    }
    const char *method = my_ddl_word(options, "USING");
    if (method && strncasecmp(my_ddl_skip(method), "HASH", 4) == 0) {
        ix->method = gw_arena_strdup(a, "hash");
    }
}

static bool
add_index(struct gw_arena *a, Gw__Table *t, const char *p)
{
    Gw__Index *ix = gw_pb_new(a, Gw__Index, gw__index__init);
    if (take(&p, "UNIQUE ")) {
        ix->is_unique = true;
    } else if (take(&p, "FULLTEXT ")) {
        ix->method = gw_arena_strdup(a, "fulltext");
    } else if (take(&p, "SPATIAL ")) {
        ix->method = gw_arena_strdup(a, "spatial");
    }
    if (!take(&p, "KEY ") && !take(&p, "INDEX ")) {
        return false;
    }
    char *name = my_ddl_name(a, &p);
    const char *method = my_ddl_word(p, "USING"); // MariaDB may put it before the parts
    char *parts = NULL;
    if (name && *my_ddl_skip(p) != '(') {
        const char *open = strchr(p, '(');
        p = open && method && method < open ? open : p;
    }
    parts = name ? my_ddl_inside(a, &p) : NULL;
    if (!parts) {
        return false;
    }
    ix->name = name;
    add_parts(a, ix, parts);
    add_options(a, ix, p);
    gw_pb_add(a, t, indexes, ix);
    return true;
}

static bool
add_primary(struct gw_arena *a, Gw__Table *t, const char *p, Gw__Catalog *cat)
{
    if (!take(&p, "PRIMARY KEY")) {
        return false;
    }
    const char *open = strchr(p, '(');
    char *list = open ? my_ddl_inside(a, &open) : NULL;
    Gw__Index parts = GW__INDEX__INIT;
    add_parts(a, &parts, list ? list : "");
    t->primary_key_name = gw_arena_strdup(a, "PRIMARY");
    for (size_t i = 0; i < parts.n_parts; i++) {
        gw_pb_add(a, t, primary_key, parts.parts[i]->column);
        if (parts.parts[i]->prefix_length) {
            my_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, parts.parts[i]->column,
                    gw_arena_printf(a, "the primary key takes the first %u characters of the column",
                                    parts.parts[i]->prefix_length),
                    "the target's primary key takes the whole column");
        }
    }
    return true;
}

static void
add_names(struct gw_arena *a, char ***vec, size_t *n, const char *list)
{
    for (char *name; (name = my_ddl_name(a, &list));) {
        *(char **)gw_arena_push(a, vec, n, sizeof **vec) = name;
        list = my_ddl_skip(list);
        list += *list == ',';
    }
}

static char *
action_of(struct gw_arena *a, const char *text, const char *event)
{
    static const char *const actions[] = {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"};
    for (const char *p = text; (p = my_ddl_word(p, "ON"));) {
        const char *at = p;
        if (!take(&at, event)) {
            continue;
        }
        for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
            if (take(&at, actions[i])) {
                return gw_arena_strdup(a, actions[i]);
            }
        }
    }
    return gw_arena_strdup(a, "NO ACTION"); // the server leaves its default out
}

static bool
add_foreign_key(struct gw_arena *a, Gw__Table *t, char *name, const char *p)
{
    if (!take(&p, "FOREIGN KEY")) {
        return false;
    }
    char *columns = my_ddl_inside(a, &p);
    if (!columns || !take(&p, "REFERENCES")) {
        return false;
    }
    char *ref = my_ddl_name(a, &p), *schema = NULL;
    if (ref && *p == '.') {
        p++;
        schema = ref;
        ref = my_ddl_name(a, &p);
    }
    char *ref_columns = ref ? my_ddl_inside(a, &p) : NULL;
    if (!ref_columns) {
        return false;
    }
    Gw__ForeignKey *fk = gw_pb_new(a, Gw__ForeignKey, gw__foreign_key__init);
    fk->name = name;
    fk->ref_schema = schema ? schema : t->source_schema;
    fk->ref_table = ref;
    add_names(a, &fk->columns, &fk->n_columns, columns);
    add_names(a, &fk->ref_columns, &fk->n_ref_columns, ref_columns);
    fk->on_delete = action_of(a, p, "DELETE");
    fk->on_update = action_of(a, p, "UPDATE");
    fk->match = gw_arena_strdup(a, "SIMPLE");
    gw_pb_add(a, t, foreign_keys, fk);
    return true;
}

// MariaDB's JSON is a LONGTEXT with this check.
static bool
is_json_check(struct gw_arena *a, const Gw__Table *t, const char *expr)
{
    const char *p = expr;
    while (*p == '(') {
        p++;
    }
    if (!take(&p, "json_valid(")) {
        return false;
    }
    char *name = my_ddl_name(a, &p);
    Gw__Column *c = name ? my_column_of(t, name) : NULL;
    if (!c || strspn(p, ") ") != strlen(p) || c->type->kind != GW__KIND__KIND_TEXT || c->type->length) {
        return false;
    }
    c->type->kind = GW__KIND__KIND_JSON;
    c->type->native = gw_arena_strdup(a, "json");
    c->is_lob = true;
    return true;
}

static void
add_check(struct gw_arena *a, Gw__Table *t, char *name, const char *p, Gw__Catalog *cat)
{
    char *expr = my_ddl_inside(a, &p);
    if (!expr || is_json_check(a, t, expr)) {
        return;
    }
    if (strcasestr(p, "NOT ENFORCED")) {
        my_find(a, cat, t, GW__SEVERITY__SEVERITY_INFO, name, gw_arena_strdup(a, "the check is not enforced"),
                "it is left out");
        return;
    }
    Gw__Check *c = gw_pb_new(a, Gw__Check, gw__check__init);
    c->name = name;
    c->native = expr;
    gw_pb_add(a, t, checks, c);
}

static void
add_item(struct gw_arena *a, Gw__Table *t, const char *item, Gw__Catalog *cat)
{
    const char *p = item;
    char *name = my_ddl_name(a, &p);
    if (name) { // a column: its own check is all that is left to find
        const char *check = my_ddl_word(p, "CHECK");
        if (check) {
            add_check(a, t, gw_arena_printf(a, "%s_%s_check", t->source_name, name), check, cat);
        }
        return;
    }
    if (add_primary(a, t, p, cat) || add_index(a, t, p)) {
        return;
    }
    name = gw_arena_strdup(a, "");
    if (take(&p, "CONSTRAINT")) {
        char *given = my_ddl_name(a, &p);
        name = given ? given : name;
        p = my_ddl_skip(p);
    }
    if (add_foreign_key(a, t, name, p)) {
        return;
    }
    if (take(&p, "CHECK")) {
        add_check(a, t, name[0] ? name : gw_arena_printf(a, "%s_check%zu", t->source_name, t->n_checks + 1), p, cat);
    } else {
        my_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "", gw_arena_printf(a, "not understood: %.200s", item),
                "it is left out on the target");
    }
}

void
my_objects(struct gw_arena *a, Gw__Table *t, const struct my_ddl *ddl, Gw__Catalog *cat)
{
    for (size_t i = 0; i < ddl->n_items; i++) {
        add_item(a, t, ddl->items[i], cat);
    }
}
