#include "capture/sources/mysql/words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 64 * 4 };

// ---- kinds -------------------------------------------------------------------------------------

static enum st_kind
xa_kind(struct st_text t)
{
    struct st_token k = st_next(&t);
    return st_is(&k, "START") || st_is(&k, "BEGIN") ? ST_XA_START
           : st_is(&k, "COMMIT")                    ? ST_XA_COMMIT
           : st_is(&k, "ROLLBACK")                  ? ST_XA_ROLLBACK
                                                    : ST_XA_END;
}

static bool
ends_with_start(struct st_text t)
{
    struct st_token a = {0}, b = {0};
    for (struct st_token k = st_next(&t); k.what != ST_END; k = st_next(&t)) {
        a = b;
        b = k;
    }
    return st_is(&a, "START") && st_is(&b, "TRANSACTION");
}

struct st_statement
st_read(const char *sql, size_t len)
{
    static const char *const changes[] = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD",    "CALL", "WITH",
                                          "SELECT", "DO",     "VALUES", "HANDLER", "EXECUTE", NULL};
    struct st_statement s = {.kind = ST_DDL, .text = {st_skip(sql, sql + len), sql + len}};
    struct st_text t = s.text;
    struct st_token k = st_next(&t);
    struct st_token second = st_peek(&t);
    if (st_is(&k, "BEGIN") || (st_is(&k, "START") && st_is(&second, "TRANSACTION"))) {
        s.kind = ST_BEGIN;
    } else if (st_is(&k, "COMMIT")) {
        s.kind = ST_COMMIT;
    } else if (st_is(&k, "ROLLBACK")) {
        s.kind = st_is(&second, "TO") || (st_accept(&t, "WORK") && st_accept(&t, "TO")) ? ST_ROLLBACK_TO : ST_ROLLBACK;
    } else if (st_is(&k, "SAVEPOINT") || st_is(&k, "RELEASE")) {
        s.kind = ST_SAVEPOINT;
    } else if (st_is(&k, "XA")) {
        s.kind = xa_kind(t);
    } else if (st_is_one_of(&k, changes) || st_is_mark(&k, '(')) {
        s.kind = ST_CHANGE;
    } else if (st_is(&k, "CREATE")) {
        s.starts_transaction = ends_with_start(t);
    }
    return s;
}

// ---- names -------------------------------------------------------------------------------------

// Whether the token is that name; quotes inside it are doubled.
static bool
is_name(const struct st_token *k, const char *name, bool fold)
{
    char plain[NAME_MAX_BYTES + 1];
    size_t n = 0;
    if (k->what != ST_WORD && k->what != ST_QUOTED) {
        return false;
    }
    for (size_t i = 0; i < k->len; i++) {
        if (n >= sizeof plain - 1) {
            return false;
        }
        plain[n++] = k->at[i];
        if (k->quote && k->at[i] == k->quote) {
            i++;
        }
    }
    plain[n] = 0;
    return fold ? strcasecmp(plain, name) == 0 : strcmp(plain, name) == 0;
}

struct target {
    const char *default_schema;
    size_t default_len;
    const char *schema, *table;
    bool fold;
};

static bool
is_default(const struct target *w)
{
    return strlen(w->schema) == w->default_len &&
           (w->fold ? strncasecmp(w->schema, w->default_schema, w->default_len)
                    : strncmp(w->schema, w->default_schema, w->default_len)) == 0;
}

// Reads [schema.]table; whether it is the one. False where there is no name.
static bool
take_name(struct st_text *t, const struct target *w)
{
    struct st_token first = st_next(t);
    struct st_token dot = st_peek(t);
    if (st_is_mark(&dot, '.')) {
        st_next(t);
        struct st_token second = st_next(t);
        return is_name(&first, w->schema, w->fold) && is_name(&second, w->table, w->fold);
    }
    return is_default(w) && is_name(&first, w->table, w->fold);
}

// Whether one of the names of a list is the table.
static bool
in_list(struct st_text t, const struct target *w)
{
    for (;;) {
        if (take_name(&t, w)) {
            return true;
        }
        struct st_token k = st_next(&t);
        if (!st_is_mark(&k, ',')) {
            return false;
        }
    }
}

// ---- effects -----------------------------------------------------------------------------------

// The end of a clause of ALTER TABLE: the next comma outside of parentheses.
bool
st_next_clause(struct st_text *t)
{
    unsigned depth = 0;
    for (struct st_token k = st_next(t); k.what != ST_END; k = st_next(t)) {
        if (st_is_mark(&k, '(')) {
            depth++;
        } else if (st_is_mark(&k, ')') && depth) {
            depth--;
        } else if (st_is_mark(&k, ',') && depth == 0) {
            return true;
        }
    }
    return false;
}

// Whether a clause of ALTER TABLE leaves every row and every column as it is. What is not known here, does not.
bool
st_is_harmless(struct st_text t)
{
    static const char *const keys[] = {"INDEX",      "KEY",     "UNIQUE", "FULLTEXT", "SPATIAL",
                                       "CONSTRAINT", "FOREIGN", "CHECK",  NULL};
    static const char *const options[] = {"AUTO_INCREMENT",
                                          "COMMENT",
                                          "FORCE",
                                          "ROW_FORMAT",
                                          "ALGORITHM",
                                          "LOCK",
                                          "DISABLE",
                                          "ENABLE",
                                          "ORDER",
                                          "STATS_PERSISTENT",
                                          "STATS_AUTO_RECALC",
                                          "STATS_SAMPLE_PAGES",
                                          "AVG_ROW_LENGTH",
                                          "CHECKSUM",
                                          "KEY_BLOCK_SIZE",
                                          "MAX_ROWS",
                                          "MIN_ROWS",
                                          "PACK_KEYS",
                                          "COMPRESSION",
                                          "PAGE_COMPRESSED",
                                          "PAGE_COMPRESSION_LEVEL",
                                          "ENCRYPTED",
                                          "ENCRYPTION",
                                          "ENCRYPTION_KEY_ID",
                                          NULL};
    static const char *const partitions[] = {"ANALYZE", "CHECK",      "OPTIMIZE", "REBUILD",
                                             "REPAIR",  "REORGANIZE", "COALESCE", NULL};
    struct st_token k = st_next(&t);
    struct st_token second = st_peek(&t);
    if (k.what == ST_END || st_is_one_of(&k, options)) {
        return true;
    }
    if (st_is(&k, "ADD")) {
        // ADD CONSTRAINT … PRIMARY KEY: then the key of its rows is another.
        for (struct st_text u = t; st_is_one_of(&second, keys);) {
            struct st_token any = st_next(&u);
            if (st_is(&any, "PRIMARY")) {
                return false;
            }
            if (any.what == ST_END || st_is_mark(&any, '(') || st_is_mark(&any, ',')) {
                return true;
            }
        }
        return st_is(&second, "PARTITION");
    }
    if (st_is(&k, "DROP")) {
        st_next(&t);
        st_accept_if_exists(&t);
        struct st_token name = st_next(&t); // the primary key is an index of that name
        return st_is_one_of(&second, keys) && !is_name(&name, "PRIMARY", true);
    }
    if (st_is(&k, "RENAME")) {
        return st_is(&second, "INDEX") || st_is(&second, "KEY");
    }
    if (st_is(&k, "ALTER")) { // a default, or whether an index is used
        return true;
    }
    if (st_is(&k, "ENGINE")) {
        struct st_token value = st_next(&t);
        value = st_is_mark(&value, '=') ? st_next(&t) : value;
        return st_is(&value, "InnoDB");
    }
    return st_is_one_of(&k, partitions) && st_is(&second, "PARTITION");
}

// A table may also be met as what a clause names: RENAME TO t, EXCHANGE PARTITION p WITH TABLE t.
static bool
clause_takes(struct st_text t, const struct target *w)
{
    struct st_token k = st_next(&t);
    if (st_is(&k, "RENAME")) {
        if (!st_accept(&t, "TO")) {
            st_accept(&t, "AS");
        }
        return take_name(&t, w);
    }
    if (st_is(&k, "EXCHANGE")) {
        for (k = st_next(&t); k.what != ST_END; k = st_next(&t)) {
            if (st_is(&k, "WITH") && st_accept(&t, "TABLE")) {
                return take_name(&t, w);
            }
        }
    }
    return false;
}

static enum st_effect
alter_effect(struct st_text t, const struct target *w)
{
    st_accept(&t, "ONLINE");
    bool takes_rows = st_accept(&t, "IGNORE"); // those that a new unique key does not allow
    if (!st_accept(&t, "TABLE")) {
        return ST_NONE;
    }
    st_accept_if_exists(&t);
    bool ours = take_name(&t, w);
    st_accept_wait(&t);
    do {
        if (ours && (takes_rows || !st_is_harmless(t))) {
            return ST_ALTERED;
        }
        if (clause_takes(t, w)) {
            return ST_GONE;
        }
    } while (st_next_clause(&t));
    return ST_NONE;
}

static enum st_effect
drop_effect(struct st_text t, const struct target *w)
{
    if (st_accept(&t, "TEMPORARY")) {
        return ST_NONE;
    }
    if (st_accept(&t, "DATABASE") || st_accept(&t, "SCHEMA")) {
        st_accept_if_exists(&t);
        struct st_token k = st_next(&t);
        return is_name(&k, w->schema, w->fold) ? ST_GONE : ST_NONE;
    }
    if (st_accept(&t, "TABLE") || st_accept(&t, "TABLES")) {
        st_accept_if_exists(&t);
        return in_list(t, w) ? ST_GONE : ST_NONE;
    }
    if (st_accept(&t, "INDEX")) { // the primary key is an index of that name
        st_accept_if_exists(&t);
        struct st_token k = st_next(&t);
        return is_name(&k, "PRIMARY", true) && st_accept(&t, "ON") && take_name(&t, w) ? ST_ALTERED : ST_NONE;
    }
    return ST_NONE;
}

static enum st_effect
rename_effect(struct st_text t, const struct target *w)
{
    if (!st_accept(&t, "TABLE") && !st_accept(&t, "TABLES")) {
        return ST_NONE;
    }
    st_accept_if_exists(&t);
    for (;;) {
        bool from = take_name(&t, w);
        st_accept_wait(&t);
        st_accept(&t, "TO");
        if (take_name(&t, w) || from) {
            return ST_GONE;
        }
        struct st_token k = st_next(&t);
        if (!st_is_mark(&k, ',')) {
            return ST_NONE;
        }
    }
}

static enum st_effect
create_effect(struct st_text t, const struct target *w)
{
    if (!st_accept(&t, "OR") || !st_accept(&t, "REPLACE") || !st_accept(&t, "TABLE")) {
        return ST_NONE;
    }
    st_accept_if_exists(&t);
    return take_name(&t, w) ? ST_GONE : ST_NONE;
}

enum st_effect
st_effect_on(const struct st_statement *s, const char *default_schema, size_t default_len, const char *schema,
             const char *table, bool fold)
{
    struct target w = {default_schema, default_len, schema, table, fold};
    struct st_text t = s->text;
    struct st_token k = st_next(&t);
    if (s->kind != ST_DDL) {
        return ST_NONE;
    }
    if (st_is(&k, "TRUNCATE")) {
        st_accept(&t, "TABLE");
        return take_name(&t, &w) ? ST_TRUNCATED : ST_NONE;
    }
    return st_is(&k, "ALTER")    ? alter_effect(t, &w)
           : st_is(&k, "DROP")   ? drop_effect(t, &w)
           : st_is(&k, "RENAME") ? rename_effect(t, &w)
           : st_is(&k, "CREATE") ? create_effect(t, &w)
                                 : ST_NONE;
}

bool
st_concerns_schema(const struct st_statement *s, const char *default_schema, size_t default_len, const char *schema,
                   bool fold)
{
    struct target w = {default_schema, default_len, schema, "", fold};
    if (is_default(&w)) {
        return true;
    }
    struct st_text t = s->text;
    for (struct st_token k = st_next(&t); k.what != ST_END; k = st_next(&t)) {
        if (is_name(&k, schema, fold)) {
            return true;
        }
    }
    return false;
}
