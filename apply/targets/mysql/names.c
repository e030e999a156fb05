// Names. MySQL holds 64 characters of an identifier and refuses longer ones. Names of tables, columns and databases are
// never changed here (preflight reports them); names of keys and checks, which nobody selects by, are cut to fit.
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "myt.h"

static size_t
characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++) {
        n += ((unsigned char)*s & 0xC0) != 0x80;
    }
    return n;
}

bool
myt_too_long(const char *name)
{
    return characters(name) > MYT_NAME_MAX;
}

const char *
myt_schema(const struct myt *t, const Gw__Table *table)
{
    return myt_set(table->schema) ? table->schema : t->database;
}

void
myt_tname(struct gw_buf *sql, const struct myt *t, const Gw__Table *table)
{
    gw_my_qname(sql, myt_schema(t, table), table->name);
}

char *
myt_tname_dup(struct gw_arena *a, const struct myt *t, const Gw__Table *table)
{
    MYT_BUF b;
    gw_buf_init(&b, 8192);
    myt_tname(&b, t, table);
    return gw_arena_strdup(a, b.data);
}

void
myt_idents(struct gw_buf *sql, size_t n, char *const *names)
{
    for (size_t i = 0; i < n; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_my_ident(sql, names[i]);
    }
}

bool
myt_native(const Gw__Table *t)
{
    return t->engine && strcmp(t->engine, "mysql") == 0;
}

bool
myt_same_name(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

const Gw__Column *
myt_column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

bool
myt_in_pk(const Gw__Table *t, const char *column)
{
    for (size_t i = 0; i < t->n_primary_key; i++) {
        if (strcmp(t->primary_key[i], column) == 0) {
            return true;
        }
    }
    return false;
}

char *
myt_fit(struct gw_arena *a, const char *name)
{
    if (!myt_too_long(name)) {
        return gw_arena_strdup(a, name);
    }
    size_t bytes = 0, n = 0;
    while (n < MYT_NAME_MAX - 9) {
        bytes++;
        n += ((unsigned char)name[bytes] & 0xC0) != 0x80;
    }
    unsigned long long h = XXH64(name, strlen(name), 0);
    return gw_arena_printf(a, "%.*s_%08llx", (int)bytes, name, h & 0xFFFFFFFFULL);
}

char *
myt_table_name(struct gw_arena *a, const Gw__Table *t, const char *name)
{
    if (myt_native(t)) {
        return gw_arena_strdup(a, name); // unique in the database there, as here
    }
    // Elsewhere two tables may have constraints of one name.
    size_t n = strlen(t->name);
    if (strncasecmp(name, t->name, n) == 0 && name[n] == '_') {
        return myt_fit(a, name);
    }
    return myt_fit(a, gw_arena_printf(a, "%s_%s", t->name, name));
}

// information_schema compares without case, so that with lower_case_table_names=0 `A` and `a` would be one.
void
myt_where_table(struct gw_buf *sql, const struct myt *t, const char *schema_col, const char *schema,
                const char *name_col, const char *name)
{
    myt_put(t, sql, "$s = $l AND $s = $l", schema_col, schema, name_col, name);
    if (!t->fold_names) {
        myt_put(t, sql, " AND BINARY $s = $l AND BINARY $s = $l", schema_col, schema, name_col, name);
    }
}

bool
myt_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    if (!text || strncasecmp(text, word, n) != 0) {
        return false;
    }
    return !(isalnum((unsigned char)text[n]) || text[n] == '_');
}
