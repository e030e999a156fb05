// SQL as the server's log has it, cut into words. Pure.
#ifndef GW_MYSQL_WORDS_H
#define GW_MYSQL_WORDS_H

#include "capture/sources/mysql/statement.h"

struct st_token {
    enum {
        ST_END,
        ST_WORD,
        ST_QUOTED,
        ST_TEXT,
        ST_MARK
    } what;         // WORD: a keyword, name or number; QUOTED: a name; TEXT: a literal;
    const char *at; // MARK: one character
    size_t len;
    char quote;
};
bool st_is_word(unsigned char c);                    // may be in a name without quotes
const char *st_skip(const char *p, const char *end); // blanks and comments
struct st_token st_next(struct st_text *t);
struct st_token st_peek(const struct st_text *t);
bool st_is(const struct st_token *k, const char *word); // a word that is no quoted name, in any case of letters
bool st_is_mark(const struct st_token *k, char c);
bool st_is_one_of(const struct st_token *k, const char *const *words); // ends with NULL
bool st_accept(struct st_text *t, const char *word);                   // goes past it if it comes next
void st_accept_if_exists(struct st_text *t);                           // IF [NOT] EXISTS
void st_accept_wait(struct st_text *t);                                // MariaDB's WAIT n, NOWAIT

// statement.c: goes behind the next comma outside of parentheses; false: there is none.
bool st_next_clause(struct st_text *t);
// Whether a clause of ALTER TABLE leaves every row and every column as it is. What is not known here, does not.
bool st_is_harmless(struct st_text t);

#endif
