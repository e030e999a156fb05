#include "capture/sources/mysql/statement.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 64 * 4 };

// ---- words -------------------------------------------------------------------------------------

enum what { END, WORD, QUOTED, TEXT, MARK };
struct token {
    enum what what; // WORD: a keyword, name or number; QUOTED: a name; TEXT: a literal; MARK: one character
    const char *at;
    size_t len;
    char quote;
};

static bool
is_word(unsigned char c)
{
    return isalnum(c) || c == '_' || c == '$' || c >= 0x80 || c == '@';
}

static const char *
find(const char *p, const char *end, const char *what)
{
    const char *q = memmem(p, (size_t)(end - p), what, strlen(what));
    return q ? q + strlen(what) : end;
}

// Blanks and comments. What stands in /*! … */ and /*M! … */ is code: only its frame is skipped.
static const char *
skip(const char *p, const char *end)
{
    while (p < end) {
        size_t left = (size_t)(end - p);
        if (isspace((unsigned char)*p)) {
            p++;
        } else if (left >= 3 && (memcmp(p, "/*!", 3) == 0 || (left >= 4 && memcmp(p, "/*M!", 4) == 0))) {
            p += p[2] == '!' ? 3 : 4;
            while (p < end && isdigit((unsigned char)*p)) {
                p++;
            }
        } else if (left >= 2 && memcmp(p, "*/", 2) == 0) {
            p += 2;
        } else if (left >= 2 && memcmp(p, "/*", 2) == 0) {
            p = find(p + 2, end, "*/");
        } else if (*p == '#' || (left >= 2 && memcmp(p, "--", 2) == 0 && (left == 2 || isspace((unsigned char)p[2])))) {
            p = find(p, end, "\n");
        } else {
            break;
        }
    }
    return p;
}

static struct token
next(struct st_text *t)
{
    const char *p = t->at = skip(t->at, t->end);
    if (p >= t->end) {
        return (struct token){.what = END, .at = p};
    }
    if (*p == '`' || *p == '"' || *p == '\'') {
        char quote = *p;
        const char *from = ++p;
        for (; p < t->end; p++) {
            if (*p == '\\' && quote != '`' && p + 1 < t->end) {
                p++;
            } else if (*p == quote) {
                if (p + 1 >= t->end || p[1] != quote) {
                    break;
                }
                p++;
            }
        }
        t->at = p < t->end ? p + 1 : p;
        // "a" is a name under ANSI_QUOTES: taken for one where a name is looked for.
        return (struct token){quote == '\'' ? TEXT : QUOTED, from, (size_t)(p - from), quote};
    }
    const char *from = p;
    while (p < t->end && is_word((unsigned char)*p)) {
        p++;
    }
    t->at = p > from ? p : p + 1;
    return (struct token){p > from ? WORD : MARK, from, (size_t)(t->at - from), 0};
}

static bool
is(const struct token *k, const char *word)
{
    return k->what == WORD && strlen(word) == k->len && strncasecmp(k->at, word, k->len) == 0;
}

static bool
is_mark(const struct token *k, char c)
{
    return k->what == MARK && *k->at == c;
}

static bool
is_one_of(const struct token *k, const char *const *words)
{
    for (; *words; words++) {
        if (is(k, *words)) {
            return true;
        }
    }
    return false;
}

static struct token
peek(const struct st_text *t)
{
    struct st_text copy = *t;
    return next(&copy);
}

static bool
accept(struct st_text *t, const char *word)
{
    struct st_text copy = *t;
    struct token k = next(&copy);
    if (is(&k, word)) {
        *t = copy;
        return true;
    }
    return false;
}

// ---- kinds -------------------------------------------------------------------------------------

static enum st_kind
xa_kind(struct st_text t)
{
    struct token k = next(&t);
    return is(&k, "START") || is(&k, "BEGIN") ? ST_XA_START
           : is(&k, "COMMIT")                 ? ST_XA_COMMIT
           : is(&k, "ROLLBACK")               ? ST_XA_ROLLBACK
                                              : ST_XA_END;
}

static bool
ends_with_start(struct st_text t)
{
    struct token a = {0}, b = {0};
    for (struct token k = next(&t); k.what != END; k = next(&t)) {
        a = b;
        b = k;
    }
    return is(&a, "START") && is(&b, "TRANSACTION");
}

struct st_statement
st_read(const char *sql, size_t len)
{
    static const char *const changes[] = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD",    "CALL", "WITH",
                                          "SELECT", "DO",     "VALUES", "HANDLER", "EXECUTE", NULL};
    struct st_statement s = {.kind = ST_DDL, .text = {skip(sql, sql + len), sql + len}};
    struct st_text t = s.text;
    struct token k = next(&t);
    struct token second = peek(&t);
    if (is(&k, "BEGIN") || (is(&k, "START") && is(&second, "TRANSACTION"))) {
        s.kind = ST_BEGIN;
    } else if (is(&k, "COMMIT")) {
        s.kind = ST_COMMIT;
    } else if (is(&k, "ROLLBACK")) {
        s.kind = is(&second, "TO") || (accept(&t, "WORK") && accept(&t, "TO")) ? ST_ROLLBACK_TO : ST_ROLLBACK;
    } else if (is(&k, "SAVEPOINT") || is(&k, "RELEASE")) {
        s.kind = ST_SAVEPOINT;
    } else if (is(&k, "XA")) {
        s.kind = xa_kind(t);
    } else if (is_one_of(&k, changes) || is_mark(&k, '(')) {
        s.kind = ST_CHANGE;
    } else if (is(&k, "CREATE")) {
        s.starts_transaction = ends_with_start(t);
    }
    return s;
}

// ---- names -------------------------------------------------------------------------------------

// Whether the token is that name; quotes inside it are doubled.
static bool
is_name(const struct token *k, const char *name, bool fold)
{
    char plain[NAME_MAX_BYTES + 1];
    size_t n = 0;
    if (k->what != WORD && k->what != QUOTED) {
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
    struct token first = next(t);
    struct token dot = peek(t);
    if (is_mark(&dot, '.')) {
        next(t);
        struct token second = next(t);
        return is_name(&first, w->schema, w->fold) && is_name(&second, w->table, w->fold);
    }
    return is_default(w) && is_name(&first, w->table, w->fold);
}

static void
accept_if_exists(struct st_text *t)
{
    if (accept(t, "IF")) {
        accept(t, "NOT");
        accept(t, "EXISTS");
    }
}

// Whether one of the names of a list is the table.
static bool
in_list(struct st_text t, const struct target *w)
{
    for (;;) {
        if (take_name(&t, w)) {
            return true;
        }
        struct token k = next(&t);
        if (!is_mark(&k, ',')) {
            return false;
        }
    }
}

// ---- effects -----------------------------------------------------------------------------------

// The end of a clause of ALTER TABLE: the next comma outside of parentheses.
static bool
next_clause(struct st_text *t)
{
    unsigned depth = 0;
    for (struct token k = next(t); k.what != END; k = next(t)) {
        if (is_mark(&k, '(')) {
            depth++;
        } else if (is_mark(&k, ')') && depth) {
            depth--;
        } else if (is_mark(&k, ',') && depth == 0) {
            return true;
        }
    }
    return false;
}

// Whether a clause of ALTER TABLE leaves every row and every column as it is. What is not known here, does not.
static bool
is_harmless(struct st_text t)
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
                                          "NOWAIT",
                                          "WAIT",
                                          NULL};
    static const char *const partitions[] = {"ANALYZE", "CHECK",      "OPTIMIZE", "REBUILD",
                                             "REPAIR",  "REORGANIZE", "COALESCE", NULL};
    struct token k = next(&t);
    struct token second = peek(&t);
    if (k.what == END || is_one_of(&k, options)) {
        return true;
    }
    if (is(&k, "ADD")) {
        // ADD CONSTRAINT … PRIMARY KEY: then the key of its rows is another.
        for (struct st_text u = t; is_one_of(&second, keys);) {
            struct token any = next(&u);
            if (is(&any, "PRIMARY")) {
                return false;
            }
            if (any.what == END || is_mark(&any, '(') || is_mark(&any, ',')) {
                return true;
            }
        }
        return is(&second, "PARTITION");
    }
    if (is(&k, "DROP")) {
        return is_one_of(&second, keys);
    }
    if (is(&k, "RENAME")) {
        return is(&second, "INDEX") || is(&second, "KEY");
    }
    if (is(&k, "ALTER")) { // a default, or whether an index is used
        return true;
    }
    if (is(&k, "ENGINE")) {
        struct token value = next(&t);
        value = is_mark(&value, '=') ? next(&t) : value;
        return is(&value, "InnoDB");
    }
    return is_one_of(&k, partitions) && is(&second, "PARTITION");
}

// A table may also be met as what a clause names: RENAME TO t, EXCHANGE PARTITION p WITH TABLE t.
static bool
clause_takes(struct st_text t, const struct target *w)
{
    struct token k = next(&t);
    if (is(&k, "RENAME")) {
        if (!accept(&t, "TO")) {
            accept(&t, "AS");
        }
        return take_name(&t, w);
    }
    if (is(&k, "EXCHANGE")) {
        for (k = next(&t); k.what != END; k = next(&t)) {
            if (is(&k, "WITH") && accept(&t, "TABLE")) {
                return take_name(&t, w);
            }
        }
    }
    return false;
}

static enum st_effect
alter_effect(struct st_text t, const struct target *w)
{
    accept(&t, "ONLINE");
    accept(&t, "IGNORE");
    if (!accept(&t, "TABLE")) {
        return ST_NONE;
    }
    accept_if_exists(&t);
    bool ours = take_name(&t, w);
    do {
        if (ours && !is_harmless(t)) {
            return ST_ALTERED;
        }
        if (clause_takes(t, w)) {
            return ST_GONE;
        }
    } while (next_clause(&t));
    return ST_NONE;
}

static enum st_effect
drop_effect(struct st_text t, const struct target *w)
{
    if (accept(&t, "TEMPORARY")) {
        return ST_NONE;
    }
    if (accept(&t, "DATABASE") || accept(&t, "SCHEMA")) {
        accept_if_exists(&t);
        struct token k = next(&t);
        return is_name(&k, w->schema, w->fold) ? ST_GONE : ST_NONE;
    }
    if (accept(&t, "TABLE") || accept(&t, "TABLES")) {
        accept_if_exists(&t);
        return in_list(t, w) ? ST_GONE : ST_NONE;
    }
    if (accept(&t, "INDEX")) { // the primary key is an index of that name
        accept_if_exists(&t);
        struct token k = next(&t);
        return is_name(&k, "PRIMARY", true) && accept(&t, "ON") && take_name(&t, w) ? ST_ALTERED : ST_NONE;
    }
    return ST_NONE;
}

static enum st_effect
rename_effect(struct st_text t, const struct target *w)
{
    if (!accept(&t, "TABLE") && !accept(&t, "TABLES")) {
        return ST_NONE;
    }
    accept_if_exists(&t);
    for (;;) {
        bool from = take_name(&t, w);
        if (accept(&t, "WAIT")) {
            next(&t);
        } else {
            accept(&t, "NOWAIT");
        }
        accept(&t, "TO");
        if (take_name(&t, w) || from) {
            return ST_GONE;
        }
        struct token k = next(&t);
        if (!is_mark(&k, ',')) {
            return ST_NONE;
        }
    }
}

static enum st_effect
create_effect(struct st_text t, const struct target *w)
{
    if (!accept(&t, "OR") || !accept(&t, "REPLACE") || !accept(&t, "TABLE")) {
        return ST_NONE;
    }
    accept_if_exists(&t);
    return take_name(&t, w) ? ST_GONE : ST_NONE;
}

enum st_effect
st_effect_on(const struct st_statement *s, const char *default_schema, size_t default_len, const char *schema,
             const char *table, bool fold)
{
    struct target w = {default_schema, default_len, schema, table, fold};
    struct st_text t = s->text;
    struct token k = next(&t);
    if (s->kind != ST_DDL) {
        return ST_NONE;
    }
    if (is(&k, "TRUNCATE")) {
        accept(&t, "TABLE");
        return take_name(&t, &w) ? ST_TRUNCATED : ST_NONE;
    }
    return is(&k, "ALTER")    ? alter_effect(t, &w)
           : is(&k, "DROP")   ? drop_effect(t, &w)
           : is(&k, "RENAME") ? rename_effect(t, &w)
           : is(&k, "CREATE") ? create_effect(t, &w)
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
    for (struct token k = next(&t); k.what != END; k = next(&t)) {
        if (is_name(&k, schema, fold)) {
            return true;
        }
    }
    return false;
}

// ---- what ALTER TABLE does to columns ----------------------------------------------------------

// A name as the server knows it.
static bool
copy_name(const struct token *k, char ret[ST_NAME])
{
    size_t n = 0;
    if (k->what != WORD && k->what != QUOTED) {
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
    struct token first = next(t), dot = peek(t);
    if (is_mark(&dot, '.')) {
        next(t);
        struct token second = next(t);
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
unescape(const struct token *k, struct st_op *op)
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
    struct token k = next(t);
    if (k.what == TEXT || (k.what == QUOTED && k.quote == '"')) {
        unescape(&k, op);
        return;
    }
    if (is(&k, "NULL")) {
        op->has = ST_DEFAULT_NULL;
        return;
    }
    struct token number = {WORD, k.at, 0, 0};
    const char *p = k.at;
    while (p < t->end && (isdigit((unsigned char)*p) || strchr("+-.", *p))) {
        p++;
    }
    number.len = (size_t)(p - k.at);
    bool whole = number.len > 0 && (p == t->end || !is_word((unsigned char)*p));
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
        struct token k = next(t);
        if (k.what == END || (depth == 0 && (is_mark(&k, ',') || (in_list && is_mark(&k, ')'))))) {
            *t = before;
            return plain;
        }
        depth += is_mark(&k, '(');
        depth -= depth && is_mark(&k, ')');
        if (depth == 0 && is(&k, "DEFAULT")) {
            read_default(t, op);
        }
        if (depth == 0 && is(&k, "FIRST")) {
            op->place = ST_FIRST;
        } else if (depth == 0 && is(&k, "AFTER")) {
            struct token after = next(t);
            op->place = ST_AFTER;
            plain = copy_name(&after, op->after) && plain;
        }
        plain = plain && !is_one_of(&k, more);
    }
}

static bool
add_op(struct st_alter *a, enum st_what what, struct token name, struct st_op **ret)
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
    accept(t, "COLUMN");
    accept_if_exists(t);
    struct token k = peek(t);
    if (is_one_of(&k, keys)) {
        return false;
    }
    bool list = is_mark(&k, '(');
    if (list) {
        next(t);
    }
    do {
        struct token first = peek(t);
        if (is_one_of(&first, keys) || !add_op(a, ST_ADD, next(t), &op) || !read_definition(t, op, list)) {
            return false;
        }
        k = list ? next(t) : (struct token){0};
    } while (list && is_mark(&k, ','));
    return !list || is_mark(&k, ')');
}

static bool
read_drop(struct st_text *t, struct st_alter *a)
{
    static const char *const others[] = {"PRIMARY", "PARTITION", "PERIOD", "SYSTEM", NULL};
    struct st_op *op;
    bool column = accept(t, "COLUMN");
    accept_if_exists(t);
    struct token k = peek(t);
    return (column || !is_one_of(&k, others)) && add_op(a, ST_DROP, next(t), &op);
}

static bool
read_rename(struct st_text *t, struct st_alter *a, const char *default_schema, size_t default_len)
{
    struct st_op *op;
    if (accept(t, "COLUMN")) {
        accept_if_exists(t);
        bool ok = add_op(a, ST_RENAME, next(t), &op) && accept(t, "TO");
        struct token to = next(t);
        return ok && copy_name(&to, op->to);
    }
    struct token mark = peek(t);
    if (!accept(t, "TO") && !accept(t, "AS") && is_mark(&mark, '=')) {
        next(t);
    }
    a->renamed = true;
    return read_table(t, default_schema, default_len, a->schema, a->table);
}

static bool
read_change(struct st_text *t, struct st_alter *a, bool rename)
{
    struct st_op *op;
    accept(t, "COLUMN");
    accept_if_exists(t);
    if (!add_op(a, rename ? ST_RENAME : ST_MODIFY, next(t), &op)) {
        return false;
    }
    op->modifies = true;
    struct token to = rename ? next(t) : (struct token){0};
    return (!rename || copy_name(&to, op->to)) && read_definition(t, op, false);
}

bool
st_alter_read(const struct st_statement *s, const char *default_schema, size_t default_len, struct st_alter *ret)
{
    char schema[ST_NAME], table[ST_NAME];
    struct st_text t = s->text;
    *ret = (struct st_alter){0};
    if (s->kind != ST_DDL || !accept(&t, "ALTER")) {
        return false;
    }
    accept(&t, "ONLINE");
    accept(&t, "IGNORE");
    if (!accept(&t, "TABLE")) {
        return false;
    }
    accept_if_exists(&t);
    if (!read_table(&t, default_schema, default_len, schema, table)) {
        return false;
    }
    if (accept(&t, "WAIT")) {
        next(&t);
    } else {
        accept(&t, "NOWAIT");
    }
    do {
        if (is_harmless(t)) {
            continue;
        }
        bool known = accept(&t, "ADD")      ? read_add(&t, ret)
                     : accept(&t, "DROP")   ? read_drop(&t, ret)
                     : accept(&t, "CHANGE") ? read_change(&t, ret, true)
                     : accept(&t, "MODIFY") ? read_change(&t, ret, false)
                     : accept(&t, "RENAME") ? read_rename(&t, ret, default_schema, default_len)
                                            : false;
        ret->other = ret->other || !known;
    } while (next_clause(&t));
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
    if (accept(&t, "CREATE")) {
        if (accept(&t, "OR")) {
            accept(&t, "REPLACE");
        }
        bool table = accept(&t, "TABLE");
        accept_if_exists(&t);
        return at == 0 && table && read_table(&t, default_schema, default_len, ret->schema, ret->table);
    }
    if (!accept(&t, "RENAME") || (!accept(&t, "TABLE") && !accept(&t, "TABLES"))) {
        return false;
    }
    accept_if_exists(&t);
    for (size_t i = 0;; i++) {
        bool from = read_table(&t, default_schema, default_len, ret->from_schema, ret->from);
        if (accept(&t, "WAIT")) {
            next(&t);
        } else {
            accept(&t, "NOWAIT");
        }
        accept(&t, "TO");
        if (!from || !read_table(&t, default_schema, default_len, ret->schema, ret->table) || i == at) {
            return from && i == at && ret->table[0];
        }
        struct token k = next(&t);
        if (!is_mark(&k, ',')) {
            return false;
        }
    }
}
