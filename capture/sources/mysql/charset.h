// Texts of the log, which are in the column's character set, as UTF-8: as the server would convert them for a connection.
//
// The tables of one-byte sets come from the server itself, those of two- and four-byte Unicode need none; the
// East Asian ones are the C library's.
#ifndef GW_MYSQL_CHARSET_H
#define GW_MYSQL_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum my_charset_form {
    MY_CS_SAME, // UTF-8, or bytes that are no text
    MY_CS_TABLE,
    MY_CS_UTF16BE, // ucs2 too
    MY_CS_UTF16LE,
    MY_CS_UTF32BE,
    MY_CS_ICONV,
};
struct my_charset {
    char name[33];
    enum my_charset_form form;
    unsigned bytes_max; // of a character
    void *iconv;        // MY_CS_ICONV: open
    uint8_t len[256];   // MY_CS_TABLE: 0 = the byte has no Unicode form
    char utf8[256][4];
};
// By the name alone; a table is still empty. False: not known here.
bool my_charset_init(struct my_charset *c, const char *name, unsigned bytes_max);
void my_charset_fini(struct my_charset *c);
// The most that n bytes become.
size_t my_charset_room(const struct my_charset *c, size_t n);
// Returns what is behind the UTF-8 text; NULL: a character has no Unicode form.
char *my_charset_put(const struct my_charset *c, char *to, const uint8_t *p, size_t n);

#endif
