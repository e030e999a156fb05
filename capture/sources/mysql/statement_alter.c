// What ALTER TABLE, RENAME TABLE and CREATE TABLE say of columns and names.
#include <ctype.h>
#include <string.h>

#include "capture/sources/mysql/words.h"

// A name as the server knows it.
static bool
copy_name(const struct st_token *k, char ret[ST_NAME])
{
    size_t n = 0;
    if (k->what != ST_WORD && k->what != ST_QUOTED) {
        return false;
    }
    for (size_t i = 0; i < k->len; i++) {
        if (n + 1 >= ST_NAME) {
            return false;
        }
        ret[n++] = k->at[i];
        if (k->quote && k->at[i] == k->quote) {
            i++;
        }
    }
    ret[n] = 0;
    return n > 0;
}

static bool
read_table(struct st_text *t, const char *default_schema, size_t default_len, char schema[ST_NAME], char table[ST_NAME])
{
    struct st_token first = st_next(t), dot = st_peek(t);
    if (st_is_mark(&dot, '.')) {
        st_next(t);
        struct st_token second = st_next(t);
        return copy_name(&first, schema) && copy_name(&second, table);
    }
    if (default_len >= ST_NAME) {
        return false;
    }
    memcpy(schema, default_schema, default_len);
    schema[default_len] = 0;
    return copy_name(&first, table);
}

static void
unescape(const struct st_token *k, struct st_op *op)
{
    size_t n = 0;
    op->has = ST_DEFAULT_LITERAL;
    for (size_t i = 0; i < k->len; i++) {
        if (n + 1 >= sizeof op->value || (k->quote && k->at[i] == '\\')) { // sql_mode says what that is
            op->has = ST_DEFAULT_OTHER;
            return;
        }
        op->value[n++] = k->at[i];
        if (k->quote && k->at[i] == k->quote) {
            i++;
        }
    }
    op->value[n] = 0;
}

// 5, -5, 1.5, 'x', NULL; what is more than that is an expression.
static void
read_default(struct st_text *t, struct st_op *op)
{
    struct st_token k = st_next(t);
    if (k.what == ST_TEXT || (k.what == ST_QUOTED && k.quote == '"')) {
        unescape(&k, op);
        return;
    }
    if (st_is(&k, "NULL")) {
        op->has = ST_DEFAULT_NULL;
        return;
    }
    struct st_token number = {ST_WORD, k.at, 0, 0};
    const char *p = k.at;
    while (p < t->end && (isdigit((unsigned char)*p) || strchr("+-.", *p))) {
        p++;
    }
    number.len = (size_t)(p - k.at);
    bool whole = number.len > 0 && (p == t->end || !st_is_word((unsigned char)*p));
    if (whole) {
        t->at = p;
        unescape(&number, op);
    } else {
        op->has = ST_DEFAULT_OTHER;
    }
}

// A column's definition, to the end of the clause. false: it says more than a type, NULL, a default and a place.
static bool
read_definition(struct st_text *t, struct st_op *op, bool in_list)
{
    static const char *const more[] = {"PRIMARY", "AUTO_INCREMENT", "GENERATED",  "AS",     "VIRTUAL",
                                       "STORED",  "PERSISTENT",     "REFERENCES", "SERIAL", NULL};
    unsigned depth = 0;
    bool plain = true;
    for (;;) {
        struct st_text before = *t;
        struct st_token k = st_next(t);
        if (k.what == ST_END || (depth == 0 && (st_is_mark(&k, ',') || (in_list && st_is_mark(&k, ')'))))) {
            *t = before;
            return plain;
        }
        depth += st_is_mark(&k, '(');
        depth -= depth && st_is_mark(&k, ')');
        if (depth == 0 && st_is(&k, "DEFAULT")) {
            read_default(t, op);
        }
        if (depth == 0 && st_is(&k, "FIRST")) {
            op->place = ST_FIRST;
        } else if (depth == 0 && st_is(&k, "AFTER")) {
            struct st_token after = st_next(t);
            op->place = ST_AFTER;
            plain = copy_name(&after, op->after) && plain;
        }
        plain = plain && !st_is_one_of(&k, more);
    }
}

static bool
add_op(struct st_alter *a, enum st_what what, struct st_token name, struct st_op **ret)
{
    if (a->n == ST_OPS_MAX) {
        return false;
    }
    struct st_op *op = &a->ops[a->n++];
    *op = (struct st_op){.what = what};
    *ret = op;
    return copy_name(&name, op->name);
}

static bool
read_add(struct st_text *t, struct st_alter *a)
{
    static const char *const keys[] = {"INDEX", "KEY",     "UNIQUE",    "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN",
                                       "CHECK", "PRIMARY", "PARTITION", "PERIOD",   "SYSTEM",  NULL};
    struct st_op *op;
    st_accept(t, "COLUMN");
    st_accept_if_exists(t);
    struct st_token k = st_peek(t);
    if (st_is_one_of(&k, keys)) {
        return false;
    }
    bool list = st_is_mark(&k, '(');
    if (list) {
        st_next(t);
    }
    do {
        struct st_token first = st_peek(t);
        if (st_is_one_of(&first, keys) || !add_op(a, ST_ADD, st_next(t), &op) || !read_definition(t, op, list)) {
            return false;
        }
        k = list ? st_next(t) : (struct st_token){0};
    } while (list && st_is_mark(&k, ','));
    return !list || st_is_mark(&k, ')');
}

static bool
read_drop(struct st_text *t, struct st_alter *a)
{
    static const char *const others[] = {"PRIMARY",   "INDEX",  "KEY",    "CONSTRAINT",
                                         "PARTITION", "PERIOD", "SYSTEM", NULL};
    struct st_op *op;
    bool column = st_accept(t, "COLUMN");
    st_accept_if_exists(t);
    struct st_token k = st_peek(t);
    return (column || !st_is_one_of(&k, others)) && add_op(a, ST_DROP, st_next(t), &op);
}

static bool
read_rename(struct st_text *t, struct st_alter *a, const char *default_schema, size_t default_len)
{
    struct st_op *op;
    if (st_accept(t, "COLUMN")) {
        st_accept_if_exists(t);
        bool ok = add_op(a, ST_RENAME, st_next(t), &op) && st_accept(t, "TO");
        struct st_token to = st_next(t);
        return ok && copy_name(&to, op->to);
    }
    struct st_token mark = st_peek(t);
    if (!st_accept(t, "TO") && !st_accept(t, "AS") && st_is_mark(&mark, '=')) {
        st_next(t);
    }
    a->renamed = true;
    return read_table(t, default_schema, default_len, a->schema, a->table);
}

static bool
read_change(struct st_text *t, struct st_alter *a, bool rename)
{
    struct st_op *op;
    st_accept(t, "COLUMN");
    st_accept_if_exists(t);
    if (!add_op(a, rename ? ST_RENAME : ST_MODIFY, st_next(t), &op)) {
        return false;
    }
    op->modifies = true;
    struct st_token to = rename ? st_next(t) : (struct st_token){0};
    return (!rename || copy_name(&to, op->to)) && read_definition(t, op, false);
}

bool
st_alter_read(const struct st_statement *s, const char *default_schema, size_t default_len, struct st_alter *ret)
{
    char schema[ST_NAME], table[ST_NAME];
    struct st_text t = s->text;
    *ret = (struct st_alter){0};
    if (s->kind != ST_DDL || !st_accept(&t, "ALTER")) {
        return false;
    }
    st_accept(&t, "ONLINE");
    ret->other = st_accept(&t, "IGNORE"); // takes rows away that a new unique key does not allow
    if (!st_accept(&t, "TABLE")) {
        return false;
    }
    st_accept_if_exists(&t);
    if (!read_table(&t, default_schema, default_len, schema, table)) {
        return false;
    }
    st_accept_wait(&t);
    do {
        if (st_is_harmless(t)) {
            continue;
        }
        bool known = st_accept(&t, "ADD")      ? read_add(&t, ret)
                     : st_accept(&t, "DROP")   ? read_drop(&t, ret)
                     : st_accept(&t, "CHANGE") ? read_change(&t, ret, true)
                     : st_accept(&t, "MODIFY") ? read_change(&t, ret, false)
                     : st_accept(&t, "RENAME") ? read_rename(&t, ret, default_schema, default_len)
                                               : false;
        ret->other = ret->other || !known;
    } while (st_next_clause(&t));
    return true;
}

bool
st_made_read(const struct st_statement *s, const char *default_schema, size_t default_len, size_t at,
             struct st_made *ret)
{
    struct st_text t = s->text;
    *ret = (struct st_made){0};
    if (s->kind != ST_DDL) {
        return false;
    }
    if (st_accept(&t, "CREATE")) {
        if (st_accept(&t, "OR")) {
            st_accept(&t, "REPLACE");
        }
        bool table = st_accept(&t, "TABLE");
        st_accept_if_exists(&t);
        return at == 0 && table && read_table(&t, default_schema, default_len, ret->schema, ret->table);
    }
    if (!st_accept(&t, "RENAME") || (!st_accept(&t, "TABLE") && !st_accept(&t, "TABLES"))) {
        return false;
    }
    st_accept_if_exists(&t);
    for (size_t i = 0;; i++) {
        bool from = read_table(&t, default_schema, default_len, ret->from_schema, ret->from);
        st_accept_wait(&t);
        st_accept(&t, "TO");
        if (!from || !read_table(&t, default_schema, default_len, ret->schema, ret->table) || i == at) {
            return from && i == at && ret->table[0];
        }
        struct st_token k = st_next(&t);
        if (!st_is_mark(&k, ',')) {
            return false;
        }
    }
}
