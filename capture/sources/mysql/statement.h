// What a statement in the log means for the tables of a stream. Pure; the text is cut into words, not understood.
//
// In the log of a server that logs rows, a statement is one of: the frame of a transaction, DDL, or (where a session has
// switched rows off) a change whose rows are nowhere.
#ifndef GW_MYSQL_STATEMENT_H
#define GW_MYSQL_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>

enum st_kind {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_ROLLBACK_TO,
    ST_SAVEPOINT, // and RELEASE
    ST_XA_START,
    ST_XA_END,
    ST_XA_COMMIT,
    ST_XA_ROLLBACK,
    ST_CHANGE, // INSERT, UPDATE …: logged as a statement
    ST_DDL,
};
struct st_text {
    const char *at, *end;
};
struct st_statement {
    enum st_kind kind;
    bool starts_transaction; // MySQL's CREATE TABLE … START TRANSACTION: rows follow
    struct st_text text;     // from the first word on
};
struct st_statement st_read(const char *sql, size_t len);

// What DDL does to one table.
enum st_effect {
    ST_NONE, // nothing that matters: another table, or indexes, statistics, comments …
    ST_TRUNCATED,
    ST_GONE,    // dropped, renamed, replaced
    ST_ALTERED, // its rows may be others now, and no row events say so
};
// `fold`: names of schemas and tables are compared without case (lower_case_table_names).
enum st_effect st_effect_on(const struct st_statement *s, const char *default_schema, size_t default_len,
                            const char *schema, const char *table, bool fold);
// ---- what ALTER TABLE does to columns

enum { ST_OPS_MAX = 64, ST_NAME = 64 * 4 + 1 };
struct st_op {
    enum st_what { ST_ADD, ST_DROP, ST_RENAME, ST_MODIFY } what; // RENAME: CHANGE, too
    bool modifies;                                               // RENAME: with a definition
    char name[ST_NAME], to[ST_NAME];                             // to: RENAME
    enum st_place { ST_STAYS, ST_FIRST, ST_AFTER } place;        // STAYS: where it is; a new one at the end
    char after[ST_NAME];
    // ADD: what the rows get that are there.
    enum st_default { ST_DEFAULT_NONE, ST_DEFAULT_NULL, ST_DEFAULT_LITERAL, ST_DEFAULT_OTHER } has;
    char value[256]; // of a literal, unescaped
};
struct st_alter {
    struct st_op ops[ST_OPS_MAX]; // in the statement's order
    size_t n;
    bool other;   // and something more, which is not known here, or changes rows without a trace
    bool renamed; // the table itself, to:
    char schema[ST_NAME], table[ST_NAME];
};
// Reads an ALTER TABLE. false: it is none.
bool st_alter_read(const struct st_statement *s, const char *default_schema, size_t default_len, struct st_alter *ret);

// The `at`th pair of a RENAME TABLE, or the one table of a CREATE TABLE (`from` is empty then). false: there is no such.
struct st_made {
    char from_schema[ST_NAME], from[ST_NAME], schema[ST_NAME], table[ST_NAME];
};
bool st_made_read(const struct st_statement *s, const char *default_schema, size_t default_len, size_t at,
                  struct st_made *ret);

// Whether a word or quoted name of the statement is the schema's, or the default schema is.
bool st_concerns_schema(const struct st_statement *s, const char *default_schema, size_t default_len,
                        const char *schema, bool fold);

#endif
