// SQL expressions as texts: whether two servers' texts are the same but for how they are written.
#ifndef GW_COMMON_EXPR_H
#define GW_COMMON_EXPR_H

#include <stdbool.h>

// True if both have the same words in the same order. White space, the letter case of what is not quoted, quotes around
// plain identifiers (`a`, "a", [a]), parentheses around the whole, and what MySQL and MariaDB write each in its own way
// (the character set before a literal: _utf8mb4'x'; lcase for lower) do not count; everything else does. False means only
// that they were not shown to be the same. `backslash`: a backslash in a literal escapes what follows, as in MySQL.
bool gw_expr_same(const char *a, const char *b, bool backslash);

#endif
