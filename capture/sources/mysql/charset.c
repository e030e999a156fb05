#include "capture/sources/mysql/charset.h"

#include <iconv.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum my_charset_form form;
    const char *iconv;
} known[] = {
    {"", MY_CS_SAME, NULL},           {"binary", MY_CS_SAME, NULL},        {"utf8", MY_CS_SAME, NULL},
    {"utf8mb3", MY_CS_SAME, NULL},    {"utf8mb4", MY_CS_SAME, NULL},       {"ucs2", MY_CS_UTF16BE, NULL},
    {"utf16", MY_CS_UTF16BE, NULL},   {"utf16le", MY_CS_UTF16LE, NULL},    {"utf32", MY_CS_UTF32BE, NULL},
    {"big5", MY_CS_ICONV, "BIG5"},    {"cp932", MY_CS_ICONV, "CP932"},     {"eucjpms", MY_CS_ICONV, "EUC-JP-MS"},
    {"euckr", MY_CS_ICONV, "EUC-KR"}, {"gb18030", MY_CS_ICONV, "GB18030"}, {"gb2312", MY_CS_ICONV, "EUC-CN"},
    {"gbk", MY_CS_ICONV, "GBK"},      {"sjis", MY_CS_ICONV, "SHIFT_JIS"},  {"ujis", MY_CS_ICONV, "EUC-JP"},
};

bool
my_charset_init(struct my_charset *c, const char *name, unsigned bytes_max)
{
    *c = (struct my_charset){.form = MY_CS_TABLE, .bytes_max = bytes_max};
    snprintf(c->name, sizeof c->name, "%s", name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) != 0) {
            continue;
        }
        c->form = known[i].form;
        if (c->form == MY_CS_ICONV) {
            iconv_t cd = iconv_open("UTF-8", known[i].iconv);
            if (cd == (iconv_t)-1) {
                return false;
            }
            c->iconv = cd;
        }
        return true;
    }
    return bytes_max == 1;
}

void
my_charset_fini(struct my_charset *c)
{
    if (c->iconv) {
        iconv_close((iconv_t)c->iconv);
        c->iconv = NULL;
    }
}

size_t
my_charset_room(const struct my_charset *c, size_t n)
{
    switch (c->form) {
    case MY_CS_SAME: return n;
    case MY_CS_TABLE: return n * 3;
    case MY_CS_UTF16BE:
    case MY_CS_UTF16LE: return n * 2;
    case MY_CS_UTF32BE: return n;
    case MY_CS_ICONV: return n * 4;
    }
    return n * 4;
}

static char *
put_character(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

static bool
is_surrogate(uint32_t c)
{
    return c >= 0xd800 && c < 0xe000;
}

static char *
put_utf16(char *to, const uint8_t *p, size_t n, unsigned high)
{
    if (n % 2) {
        return NULL;
    }
    for (size_t i = 0; i < n; i += 2) {
        uint32_t c = (uint32_t)p[i + high] << 8 | p[i + 1 - high];
        if (is_surrogate(c)) {
            if (c >= 0xdc00 || i + 4 > n) {
                return NULL;
            }
            i += 2;
            uint32_t low = (uint32_t)p[i + high] << 8 | p[i + 1 - high];
            if (low < 0xdc00 || low >= 0xe000) {
                return NULL;
            }
            c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
        }
        to = put_character(to, c);
    }
    return to;
}

static char *
put_utf32(char *to, const uint8_t *p, size_t n)
{
    if (n % 4) {
        return NULL;
    }
    for (size_t i = 0; i < n; i += 4) {
        uint32_t c = (uint32_t)p[i] << 24 | (uint32_t)p[i + 1] << 16 | (uint32_t)p[i + 2] << 8 | p[i + 3];
        if (c > 0x10ffff || is_surrogate(c)) {
            return NULL;
        }
        to = put_character(to, c);
    }
    return to;
}

static char *
put_iconv(const struct my_charset *c, char *to, const uint8_t *p, size_t n)
{
    char *from = (char *)(uintptr_t)p; // iconv does not write there
    size_t room = my_charset_room(c, n);
    iconv_t cd = (iconv_t)c->iconv;
    (void)iconv(cd, NULL, NULL, NULL, NULL);
    return iconv(cd, &from, &n, &to, &room) == 0 && n == 0 ? to : NULL;
}

char *
my_charset_put(const struct my_charset *c, char *to, const uint8_t *p, size_t n)
{
    switch (c->form) {
    case MY_CS_SAME: memcpy(to, p, n); return to + n;
    case MY_CS_UTF16BE: return put_utf16(to, p, n, 0);
    case MY_CS_UTF16LE: return put_utf16(to, p, n, 1);
    case MY_CS_UTF32BE: return put_utf32(to, p, n);
    case MY_CS_ICONV: return put_iconv(c, to, p, n);
    case MY_CS_TABLE: break;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned len = c->len[p[i]];
        if (!len) {
            return NULL;
        }
        memcpy(to, c->utf8[p[i]], len);
        to += len;
    }
    return to;
}
