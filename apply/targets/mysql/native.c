// Texts of an equal engine, where MySQL and MariaDB differ: names of collations, and the storage engine.
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "myt.h"

const char *
myt_default_collation(const struct myt *t)
{
    // Other engines compare text byte by byte, and 'a' is not 'a '.
    return t->server.mariadb ? "utf8mb4_nopad_bin" : t->server.version >= 80017 ? "utf8mb4_0900_bin" : "utf8mb4_bin";
}

static bool
has(const char *name, const char *part)
{
    return strcasestr(name, part) != NULL;
}

// MariaDB lacks one of MySQL's character sets.
static bool
is_gb18030(const char *name)
{
    return strncasecmp(name, "gb18030", 7) == 0;
}

const char *
myt_charset(const struct myt *t, const char *name)
{
    return t->server.mariadb && is_gb18030(name) ? "utf8mb4" : name;
}

static const char *
for_mariadb(const struct myt *t, const char *name)
{
    if (is_gb18030(name)) {
        return has(name, "_bin") ? "utf8mb4_bin" : "utf8mb4_unicode_520_ci";
    }
    if (!has(name, "_0900_")) {
        return name;
    }
    bool uca1400 = t->server.version >= 101000;
    if (has(name, "_bin")) {
        return "utf8mb4_nopad_bin";
    }
    if (has(name, "_as_cs")) {
        return uca1400 ? "utf8mb4_uca1400_nopad_as_cs" : "utf8mb4_nopad_bin";
    }
    if (has(name, "_as_ci")) {
        return uca1400 ? "utf8mb4_uca1400_nopad_as_ci" : "utf8mb4_unicode_520_nopad_ci";
    }
    return uca1400 ? "utf8mb4_uca1400_nopad_ai_ci" : "utf8mb4_unicode_520_nopad_ci";
}

// MySQL's unpadded collations are those of utf8mb4. For the others, the padded one of the same name.
static const char *const padded[][2] = {
    {"latin1_swedish_nopad_ci", "latin1_swedish_ci"},
    {"latin1_nopad_bin", "latin1_bin"},
    {"latin2_general_nopad_ci", "latin2_general_ci"},
    {"latin2_nopad_bin", "latin2_bin"},
    {"ascii_general_nopad_ci", "ascii_general_ci"},
    {"ascii_nopad_bin", "ascii_bin"},
    {"cp1250_general_nopad_ci", "cp1250_general_ci"},
    {"cp1251_general_nopad_ci", "cp1251_general_ci"},
    {"ucs2_general_nopad_ci", "ucs2_general_ci"},
    {"ucs2_nopad_bin", "ucs2_bin"},
    {"utf8mb3_general_nopad_ci", "utf8mb3_general_ci"},
    {"utf8mb3_unicode_nopad_ci", "utf8mb3_unicode_ci"},
    {"utf8mb3_unicode_520_nopad_ci", "utf8mb3_unicode_520_ci"},
    {"utf8mb3_nopad_bin", "utf8mb3_bin"},
};

static const char *
for_mysql(const struct myt *t, const char *name)
{
    bool uca0900 = t->server.version >= 80000;
    bool utf8mb4 = strncasecmp(name, "utf8mb4", 7) == 0 || strncasecmp(name, "uca1400", 7) == 0;
    if (has(name, "uca1400")) {
        if (!utf8mb4) {
            return "utf8_unicode_ci";
        }
        return !uca0900              ? "utf8mb4_unicode_520_ci"
               : has(name, "_as_cs") ? "utf8mb4_0900_as_cs"
               : has(name, "_as_ci") ? "utf8mb4_0900_as_ci"
                                     : "utf8mb4_0900_ai_ci";
    }
    const char *nopad = strcasestr(name, "_nopad_");
    if (!nopad || (utf8mb4 && uca0900)) {
        return !nopad ? name : has(name, "nopad_bin") ? myt_default_collation(t) : "utf8mb4_0900_ai_ci";
    }
    if (utf8mb4) {
        return has(name, "nopad_bin") ? myt_default_collation(t) : "utf8mb4_unicode_520_ci";
    }
    for (size_t i = 0; i < sizeof padded / sizeof *padded; i++) {
        if (strcasecmp(padded[i][0], name) == 0) {
            return padded[i][1];
        }
    }
    return name;
}

const char *
myt_collation(const struct myt *t, const char *name)
{
    return t->server.mariadb ? for_mariadb(t, name) : for_mysql(t, name);
}

// ---- table options: words, = and quoted texts

struct token {
    const char *at;
    size_t len;
};

static bool
next_token(const char **p, struct token *ret)
{
    const char *s = *p;
    while (isspace((unsigned char)*s)) {
        s++;
    }
    ret->at = s;
    if (!*s) {
        return false;
    }
    if (*s == '\'' || *s == '"' || *s == '`') {
        char q = *s++;
        while (*s && (*s != q || s[1] == q)) {
            s += (*s == '\\' && q != '`' && s[1]) || *s == q ? 2 : 1;
        }
        s += *s ? 1 : 0;
    } else if (isalnum((unsigned char)*s) || *s == '_') {
        while (isalnum((unsigned char)*s) || *s == '_') {
            s++;
        }
    } else {
        s++;
    }
    ret->len = (size_t)(s - ret->at);
    *p = s;
    return true;
}

static bool
is_word(const struct token *k, const char *word)
{
    return k->len == strlen(word) && strncasecmp(k->at, word, k->len) == 0;
}

static bool
is_transactional(const struct token *k)
{
    return is_word(k, "InnoDB");
}

void
myt_put_options(struct gw_buf *sql, const struct myt *t, const char *options)
{
    enum { NONE, ENGINE, COLLATE, CHARSET } after = NONE;
    bool engine = false;
    struct token k;
    for (const char *p = options; next_token(&p, &k);) {
        gw_buf_putc(sql, ' ');
        if (after == ENGINE && !is_word(&k, "=")) {
            gw_buf_puts(sql, "InnoDB"); // a chunk and its progress are one transaction, or nothing holds
            after = NONE;
        } else if (after != NONE && !is_word(&k, "=")) {
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)k.len, k.at);
            gw_buf_puts(sql, after == COLLATE ? myt_collation(t, name) : myt_charset(t, name));
            after = NONE;
        } else {
            after = is_word(&k, "ENGINE")    ? ENGINE
                    : is_word(&k, "COLLATE") ? COLLATE
                    : is_word(&k, "CHARSET") ? CHARSET
                                             : after;
            engine = engine || after == ENGINE;
            gw_buf_put(sql, k.at, k.len);
        }
    }
    if (!engine) {
        gw_buf_puts(sql, " ENGINE=InnoDB");
    }
}

// The word behind `option` and =.
static bool
value_of(const char *options, const char *option, struct token *ret)
{
    bool after = false;
    for (const char *p = options ? options : ""; next_token(&p, ret);) {
        if (after && !is_word(ret, "=")) {
            return true;
        }
        after = after || is_word(ret, option);
    }
    return false;
}

bool
myt_options_other_engine(const char *options, char *ret, size_t size)
{
    struct token k;
    bool yes = value_of(options, "ENGINE", &k) && !is_transactional(&k);
    if (yes) {
        snprintf(ret, size, "%.*s", (int)k.len, k.at);
    }
    return yes;
}

bool
myt_options_collation(const char *options, char *ret, size_t size)
{
    struct token k;
    bool yes = value_of(options, "COLLATE", &k);
    if (yes) {
        snprintf(ret, size, "%.*s", (int)k.len, k.at);
    }
    return yes;
}
