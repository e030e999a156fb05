// What this target will do with the mapped tables, found without changing anything.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply/targets/sqlite/sqlite_target.h"

enum { COLUMNS_MAX = 2000 }; // SQLITE_MAX_COLUMN, unless SQLite was built with less

void
lite_find(struct lite_report *r, Gw__Severity severity, const Gw__Table *t, const char *object, char *message,
          const char *action)
{
    Gw__Finding *f = gw_pb_new(r->a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    if (t) {
        f->schema = gw_arena_strdup(r->a, t->source_schema);
        f->table = gw_arena_strdup(r->a, t->source_name);
    }
    f->object = gw_arena_strdup(r->a, object);
    f->message = message;
    f->action = gw_arena_strdup(r->a, action);
    gw_pb_add(r->a, r->out, findings, f);
}
#define SAY(...) gw_arena_printf(r->a, __VA_ARGS__)

static const Gw__Table *
find_parent(void *arg, const char *name)
{
    const struct lite_report *r = arg;
    for (size_t i = 0; i < r->cat->n_tables; i++) {
        if (strcasecmp(r->cat->tables[i]->name, name) == 0) {
            return r->cat->tables[i];
        }
    }
    return NULL;
}

// ---- columns -----------------------------------------------------------------------------------

// Kinds that have no counterpart, and what is made of them.
static const struct {
    Gw__Kind kind;
    const char *action;
} replaced[] = {
    {GW__KIND__KIND_NUMERIC, "exact decimals are kept as text: they compare as text unless cast"},
    {GW__KIND__KIND_ENUM, "kept as text; the list of labels is not enforced"},
    {GW__KIND__KIND_SET, "kept as text; the list of labels is not enforced"},
    {GW__KIND__KIND_ARRAY, "kept as text"},
    {GW__KIND__KIND_INTERVAL, "kept as text"},
    {GW__KIND__KIND_INET, "kept as text"},
    {GW__KIND__KIND_XML, "kept as text"},
    {GW__KIND__KIND_OTHER, "kept as text"},
    {GW__KIND__KIND_GEOMETRY, "kept as bytes: SRID and WKB"},
};

static void
check_column(struct lite_report *r, const Gw__Table *t, const Gw__Column *c)
{
    const Gw__Type *type = c->type;
    for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++) {
        if (replaced[i].kind == type->kind) {
            lite_find(r, GW__SEVERITY__SEVERITY_INFO, t, c->name,
                      SAY("type %s has no counterpart in SQLite", type->native), replaced[i].action);
        }
    }
    bool beyond = type->kind == GW__KIND__KIND_INT64 && type->is_unsigned;
    if (beyond) {
        lite_find(r, GW__SEVERITY__SEVERITY_INFO, t, c->name, SAY("SQLite's integers end at 9223372036854775807"),
                  lite_is_rowid(t, c) ? "a row with a greater key is refused" : "greater values are kept as text");
    }
    if (c->default_kind == GW__DEFAULT_KIND__DEFAULT_EXPRESSION) {
        lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, c->name,
                  SAY("default %s is in another engine's words", c->default_native), "the column has no default");
    }
    if (c->generated[0] && !(c->left_out && c->generated_portable[0])) {
        lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, c->name,
                  SAY("generated column: its expression is in another engine's words"),
                  "a plain column with the values of the load");
    }
    if (c->identity != GW__IDENTITY__IDENTITY_NONE && !lite_is_rowid(t, c)) {
        lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, c->name,
                  SAY("SQLite numbers only an integer that is the whole primary key"),
                  "a plain column: later rows must bring their number");
    }
    if (c->on_update_now) {
        lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, c->name,
                  SAY("ON UPDATE CURRENT_TIMESTAMP has no counterpart in SQLite"), "left out");
    }
}

static void
check_names(struct lite_report *r, const Gw__Table *t)
{
    if (t->n_columns > COLUMNS_MAX) {
        lite_find(r, GW__SEVERITY__SEVERITY_ERROR, t, "",
                  SAY("the table has %zu columns, SQLite's limit is %d", t->n_columns, (int)COLUMNS_MAX),
                  "leave columns or the table out");
        return;
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(t->columns[i]->name, t->columns[k]->name) == 0) {
                lite_find(
                    r, GW__SEVERITY__SEVERITY_ERROR, t, t->columns[i]->name,
                    SAY("columns \"%s\" and \"%s\" are one name to SQLite", t->columns[k]->name, t->columns[i]->name),
                    "rename one");
            }
        }
    }
    if (strncasecmp(t->name, "sqlite_", 7) == 0) {
        lite_find(r, GW__SEVERITY__SEVERITY_ERROR, t, "", SAY("names that begin with sqlite_ are reserved"),
                  "rename the table");
    }
    static const char *const control[] = {"tasks", "tables", "chunks", "steps", "progress", "exceptions"};
    size_t n = strlen(r->t->prefix);
    for (size_t i = 0; i < sizeof control / sizeof *control; i++) {
        if (strncasecmp(t->name, r->t->prefix, n) == 0 && strcasecmp(t->name + n, control[i]) == 0) {
            lite_find(r, GW__SEVERITY__SEVERITY_ERROR, t, "", SAY("\"%s\" is a control table", t->name),
                      "rename the table, or choose another ControlSchema");
        }
    }
}

// ---- keys --------------------------------------------------------------------------------------

static void
check_constraints(struct lite_report *r, const Gw__Table *t, const struct lite_parents *parents)
{
    for (size_t i = 0; i < t->n_indexes; i++) {
        const char *why = lite_index_refused(t, t->indexes[i]);
        bool exclusion = t->indexes[i]->is_constraint && !t->indexes[i]->is_unique;
        if (why) {
            lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, t->indexes[i]->name, SAY("%s", why),
                      exclusion ? "the constraint is left out" : "the index is left out");
        } else if (t->indexes[i]->nulls_not_distinct) {
            lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, t->indexes[i]->name,
                      SAY("SQLite takes every NULL for distinct"), "rows with NULL are not held unique");
        }
        for (size_t k = 0; !why && k < t->indexes[i]->n_parts; k++) {
            if (t->indexes[i]->parts[k]->prefix_length) {
                lite_find(r, GW__SEVERITY__SEVERITY_INFO, t, t->indexes[i]->name, SAY("SQLite has no prefix indexes"),
                          "the whole column is indexed");
                break;
            }
        }
    }
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        const Gw__ForeignKey *fk = t->foreign_keys[i];
        if (!lite_key_kept(fk, parents)) {
            bool there = find_parent(r, fk->ref_table) != NULL;
            lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, fk->name,
                      there ? SAY("table \"%s\" has no unique key over just the columns referred to", fk->ref_table)
                            : SAY("table \"%s\" is not part of the task", fk->ref_table),
                      "the foreign key is left out");
        }
    }
    bool native = strcmp(t->engine, "sqlite") == 0;
    for (size_t i = 0; i < t->n_checks; i++) {
        if (!native && !lite_check_text(t, t->checks[i])) {
            lite_find(r, GW__SEVERITY__SEVERITY_WARNING, t, t->checks[i]->name,
                      SAY("check (%s) is in another engine's words", t->checks[i]->native), "it is left out");
        }
    }
}

// ---- clashes and the file -----------------------------------------------------------------------

// An index shares its namespace with tables, over the whole file.
static void
check_clashes(struct lite_report *r)
{
    for (size_t i = 0; i < r->cat->n_tables; i++) {
        const Gw__Table *t = r->cat->tables[i];
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(t->name, r->cat->tables[k]->name) == 0) {
                lite_find(r, GW__SEVERITY__SEVERITY_ERROR, t, "",
                          SAY("tables \"%s\".\"%s\" and \"%s\".\"%s\" are one name to SQLite",
                              r->cat->tables[k]->schema, r->cat->tables[k]->name, t->schema, t->name),
                          "rename one, or move them in two tasks into two files");
            }
        }
        for (size_t k = 0; k < t->n_indexes; k++) {
            const char *name = lite_index_name(r->a, t, t->indexes[k]);
            if (find_parent(r, name) && !lite_index_refused(t, t->indexes[k])) {
                lite_find(r, GW__SEVERITY__SEVERITY_ERROR, t, t->indexes[k]->name,
                          SAY("index \"%s\" would have the name of a table", name), "rename one");
            }
        }
    }
}

// A table that would be loaded into itself would be dropped or emptied first. A file is the same by whatever name.
static void
check_itself(struct lite_report *r)
{
    static const char scheme[] = "sqlite:"; // sqlite:<path>#<application id>
    const char *id = r->cat->identity, *end = strrchr(id, '#');
    if (strncmp(id, scheme, sizeof scheme - 1) != 0 || !end) {
        return;
    }
    id += sizeof scheme - 1;
    struct stat ours, theirs;
    const char *path = gw_arena_memdup0(r->a, id, (size_t)(end - id));
    bool same = strcmp(path, r->t->path) == 0 || (stat(path, &theirs) == 0 && stat(r->t->path, &ours) == 0 &&
                                                  ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino);
    for (size_t i = 0; same && i < r->cat->n_tables; i++) {
        for (size_t k = 0; k < r->cat->n_tables; k++) {
            if (strcasecmp(r->cat->tables[i]->name, r->cat->tables[k]->source_name) == 0) {
                lite_find(r, GW__SEVERITY__SEVERITY_ERROR, NULL, "",
                          SAY("source and target are the same table: \"%s\" would be loaded into itself",
                              r->cat->tables[k]->source_name),
                          "name another file");
                return;
            }
        }
    }
}

int
lite_preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
               struct gw_err *err)
{
    struct lite_report report = {.t = self, .a = a, .cat = cat, .out = findings}, *r = &report;
    struct lite_parents parents = {.find = find_parent, .arg = r};
    int rc = lite_target_find(r->t, err);
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", r->t->path);
    *strrchr(folder, '/') = 0; // the path is absolute
    // SQLite makes its journal beside the file.
    if (access(folder[0] ? folder : "/", W_OK) != 0 || (r->t->db && access(r->t->path, W_OK) != 0)) {
        lite_find(r, GW__SEVERITY__SEVERITY_ERROR, NULL, "",
                  SAY("database \"%s\" or its folder cannot be written", r->t->path),
                  "give this user write permission");
    }
    check_itself(r);
    check_clashes(r);
    for (size_t i = 0; i < cat->n_tables && rc == GW_OK; i++) {
        const Gw__Table *t = cat->tables[i];
        check_names(r, t);
        for (size_t k = 0; k < t->n_columns && strcmp(t->engine, "sqlite") != 0; k++) {
            check_column(r, t, t->columns[k]);
        }
        check_constraints(r, t, &parents);
        rc = lite_preflight_existing(r, t, resuming, err);
    }
    return rc == GW_OK ? GW_OK : gw_err_wrap(err, "look at database \"%s\"", r->t->path);
}
