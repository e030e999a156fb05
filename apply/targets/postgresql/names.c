// Names. PostgreSQL keeps 63 bytes of an identifier and drops the rest with no more than a notice, so every name
// is cut here, in the same way, before it is quoted or compared with a catalogue.
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "pgt.h"

bool
pgt_too_long(const char *name)
{
    return strlen(name) > PGT_NAME_MAX;
}

// Bytes of `name` that fit into `max` without cutting a UTF-8 character (the server's pg_mbcliplen).
static size_t
clip_len(const char *name, size_t max)
{
    size_t n = strlen(name);
    if (n <= max) {
        return n;
    }
    n = max;
    while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80) {
        n--;
    }
    return n;
}

const char *
pgt_clip(struct gw_arena *a, const char *name)
{
    return pgt_too_long(name) ? gw_arena_memdup0(a, name, clip_len(name, PGT_NAME_MAX)) : name;
}

const char *
pgt_schema(const Gw__Table *t)
{
    return pgt_set(t->schema) ? t->schema : "public";
}

void
pgt_ident(struct gw_buf *sql, const char *name)
{
    char cut[PGT_NAME_MAX + 1];
    size_t n = clip_len(name, PGT_NAME_MAX);
    memcpy(cut, name, n);
    cut[n] = 0;
    gw_pg_ident(sql, cut);
}

void
pgt_qname(struct gw_buf *sql, const char *schema, const char *name)
{
    if (pgt_set(schema)) {
        pgt_ident(sql, schema);
        gw_buf_putc(sql, '.');
    }
    pgt_ident(sql, name);
}

void
pgt_tname(struct gw_buf *sql, const Gw__Table *t)
{
    pgt_qname(sql, pgt_schema(t), t->name);
}

char *
pgt_tname_dup(struct gw_arena *a, const Gw__Table *t)
{
    PGT_BUF b;
    gw_buf_init(&b, 4096);
    pgt_tname(&b, t);
    return gw_arena_strdup(a, b.data);
}

void
pgt_idents(struct gw_buf *sql, size_t n, char *const *names)
{
    for (size_t i = 0; i < n; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        pgt_ident(sql, names[i]);
    }
}

bool
pgt_native(const Gw__Table *t)
{
    return t->engine && strcmp(t->engine, "postgresql") == 0;
}

const Gw__Column *
pgt_column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

// A name that had to be cut gets a hash of what it was, so that two long names do not become one.
static char *
fit(struct gw_arena *a, const char *name)
{
    if (!pgt_too_long(name)) {
        return gw_arena_strdup(a, name);
    }
    unsigned long long h = XXH64(name, strlen(name), 0);
    return gw_arena_printf(a, "%.*s_%08llx", (int)clip_len(name, PGT_NAME_MAX - 9), name, h & 0xFFFFFFFFULL);
}

char *
pgt_make_name(struct gw_arena *a, const char *table, const char *rest, const char *suffix)
{
    const char *whole =
        pgt_set(rest) ? gw_arena_printf(a, "%s_%s%s", table, rest, suffix) : gw_arena_printf(a, "%s%s", table, suffix);
    return fit(a, whole);
}

char *
pgt_index_name(struct gw_arena *a, const Gw__Table *t, const char *name)
{
    if (pgt_native(t)) {
        return gw_arena_strdup(a, name); // unique within the schema there, as here
    }
    // MySQL's index names belong to their table, PostgreSQL's to the schema.
    size_t n = strlen(t->name);
    if (strncasecmp(name, t->name, n) == 0 && name[n] == '_') {
        return fit(a, name);
    }
    return pgt_make_name(a, t->name, name, "");
}

char *
pgt_pk_name(struct gw_arena *a, const Gw__Table *t)
{
    if (pgt_native(t) && pgt_set(t->primary_key_name)) {
        return gw_arena_strdup(a, t->primary_key_name);
    }
    return pgt_make_name(a, t->name, "", "_pkey");
}

char *
pgt_spare_name(struct gw_arena *a, const Gw__Table *t, const char *name)
{
    const char *whole = gw_arena_printf(a, "%s.%s.%s", pgt_schema(t), t->name, name);
    unsigned long long h = XXH64(whole, strlen(whole), 0);
    return gw_arena_printf(a, "%.*s_%08llx", (int)clip_len(name, PGT_NAME_MAX - 9), name, h & 0xFFFFFFFFULL);
}

bool
pgt_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    if (!text || strncasecmp(text, word, n) != 0) {
        return false;
    }
    return !(isalnum((unsigned char)text[n]) || text[n] == '_');
}

// One part of a name: "quo""ted" or plain. Returns what follows it, NULL if it is neither.
static const char *
name_part(struct gw_arena *a, const char *p, char **ret)
{
    char *out = gw_arena_alloc(a, strlen(p) + 1);
    size_t n = 0;
    if (*p == '"') {
        for (p++; *p; p++) {
            if (*p == '"' && *++p != '"') {
                out[n] = 0;
                *ret = out;
                return p;
            }
            out[n++] = *p;
        }
        return NULL; // no closing quote
    }
    while (*p && *p != '.') {
        out[n++] = *p++;
    }
    out[n] = 0;
    *ret = out;
    return n ? p : NULL;
}

bool
pgt_split_name(struct gw_arena *a, const char *text, char **schema, char **name)
{
    char *first = NULL, *second = NULL;
    const char *p = name_part(a, text, &first);
    if (p && *p == '.') {
        p = name_part(a, p + 1, &second);
    }
    if (!p || *p) {
        return false;
    }
    *schema = second ? first : gw_arena_strdup(a, "");
    *name = second ? second : first;
    return true;
}
