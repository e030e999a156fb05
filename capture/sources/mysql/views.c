// What a view selects, with what the views that it reads select: a reader under a snapshot gets the rows of the snapshot
// through the views of today.
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "capture/sources/mysql/mysql_source.h"

enum { VIEWS_MAX = 4096 };

struct view {
    const char *schema, *name;
};
struct walk {
    struct my_source *s;
    struct gw_arena *a;
    struct view *views; // found so far; those before `at` are hashed
    size_t n, at;
    uint64_t hash;
};

static void
meet(struct walk *w, const char *schema, const char *name)
{
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->views[i].schema, schema) == 0 && strcmp(w->views[i].name, name) == 0) {
            return;
        }
    }
    *(struct view *)gw_arena_push(w->a, &w->views, &w->n, sizeof *w->views) =
        (struct view){gw_arena_strdup(w->a, schema), gw_arena_strdup(w->a, name)};
}

// Appends every `name` of the text as a literal. Which of them are views, and not columns or aliases, the server knows.
static void
put_names(struct walk *w, struct gw_buf *sql, const char *text)
{
    for (const char *p = text; *p;) {
        if (*p == '\'') {
            for (p++; *p && *p != '\''; p++) {
                p += *p == '\\' && p[1];
            }
            p += *p != 0;
        } else if (*p == '`') {
            const char *name = my_ddl_name(w->a, &p);
            if (!name) {
                return;
            }
            gw_buf_puts(sql, ", ");
            gw_my_literal(sql, name, strlen(name));
        } else {
            p++;
        }
    }
}

static int
meet_views_of(struct walk *w, const struct view *v, const char *text, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF names, sql;
    gw_buf_init(&names, MY_SQL_MAX);
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_my_literal(&names, v->schema, strlen(v->schema));
    put_names(w, &names, text);
    gw_buf_printf(&sql,
                  "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'VIEW'"
                  " AND table_schema IN (%s) AND table_name IN (%s) ORDER BY 1, 2",
                  names.data, names.data);
    int r = gw_my_query(w->s->db, &res, sql.data, err);
    for (MYSQL_ROW row; r == GW_OK && (row = mysql_fetch_row(res));) {
        meet(w, row[0], row[1]);
    }
    return r;
}

// Of SHOW CREATE, which tells of now: inside of a snapshot MySQL answers information_schema from the snapshot. Who may not
// see the text learns nothing from it.
static int
hash_text(struct walk *w, const struct view *v, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SHOW CREATE VIEW ");
    gw_my_qname(&sql, v->schema, v->name);
    struct gw_err why = {0};
    int r = gw_my_query(w->s->db, &res, sql.data, &why);
    if (r == GW_CONFIG) {
        w->hash = XXH64("?", 1, w->hash);
        return GW_OK;
    }
    if (r != GW_OK) {
        *err = why;
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    const char *text = row && mysql_num_fields(res) > 1 && row[1] ? row[1] : "";
    w->hash = XXH64(text, strlen(text), w->hash);
    return meet_views_of(w, v, text, err);
}

int
my_hash_view_texts(struct my_source *s, const Gw__Table *t, uint64_t *ret, struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    struct walk w = {.s = s, .a = &a, .hash = 2};
    meet(&w, t->source_schema, t->source_name);
    int r = GW_OK;
    while (r == GW_OK && w.at < w.n && w.at < VIEWS_MAX) {
        struct view v = w.views[w.at++]; // a copy: the list may move
        r = hash_text(&w, &v, err);
    }
    gw_arena_fini(&a);
    if (r == GW_OK) {
        *ret = w.hash;
    }
    return r;
}
