#include "capture/sources/mysql/numtext.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *
my_put_uint(char *to, uint64_t v)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n) {
        *to++ = digits[--n];
    }
    return to;
}

char *
my_put_int(char *to, int64_t v)
{
    if (v < 0) {
        *to++ = '-';
        return my_put_uint(to, UINT64_C(0) - (uint64_t)v);
    }
    return my_put_uint(to, (uint64_t)v);
}

char *
my_put_float32(char *to, float f)
{
    for (int digits = 6; digits <= 9; digits++) {
        int n = snprintf(to, MY_NUMBER_MAX, "%.*g", digits, (double)f);
        if (digits == 9 || strtof(to, NULL) == f) {
            return to + n;
        }
    }
    return to;
}

// "d.ddde±xx" with one more in the last digit. False: a carry would make it longer, or ends in a zero, and is not needed.
static bool
one_up(char *text)
{
    char *p = strchr(text, 'e') - 1;
    for (; p >= text; p--) {
        if (*p == '9') {
            *p = '0';
        } else if (*p != '.') {
            ++*p;
            return true;
        }
    }
    return false;
}

// Whether n digits are enough. The nearest number of n digits may read back to another double where one that is farther off does
// not: below a power of two doubles lie twice as close as above it.
static bool
digits_suffice(char text[40], int n, double d)
{
    int exponent;
    snprintf(text, 40, "%.*e", n - 1, d);
    return strtod(text, NULL) == d || (frexp(d, &exponent) == 0.5 && one_up(text) && strtod(text, NULL) == d);
}

// The fewest digits that read back to d, and of those the nearest: "d.ddd" without a point, and where the point is.
static unsigned
shortest(double d, char digits[24], int *ret_point)
{
    char text[40];
    // Up to 15 digits are told apart by every double but the smallest, which have fewer bits.
    for (int n = d < DBL_MIN ? 1 : 15; n < 17 && !digits_suffice(text, n, d); n++) {
        continue;
    }
    if (strtod(text, NULL) != d) {
        snprintf(text, sizeof text, "%.*e", 16, d);
    }
    char *e = strchr(text, 'e');
    *ret_point = (int)strtol(e + 1, NULL, 10) + 1;
    unsigned len = 0;
    for (char *p = text; p < e; p++) {
        if (*p != '.') {
            digits[len++] = *p;
        }
    }
    while (len > 1 && digits[len - 1] == '0') {
        len--;
    }
    return len;
}

static char *
put(char *to, const char *p, unsigned n)
{
    memcpy(to, p, n);
    return to + n;
}

static char *
put_zeros(char *to, int n)
{
    while (n-- > 0) {
        *to++ = '0';
    }
    return to;
}

char *
my_put_float64(char *to, double d)
{
    return my_put_float64_within(to, d, 330);
}

// The rules of the server's my_gcvt (strings/dtoa.c) for a field that takes at least the form with an exponent.
char *
my_put_float64_within(char *to, double d, int width)
{
    enum { DIGITS = 15 };
    char digits[24];
    int point;
    if (signbit(d)) {
        *to++ = '-';
        d = -d;
        width--;
    }
    unsigned len = shortest(d, digits, &point);
    int plain = point <= 0 ? (int)len - point + 2 : point < (int)len ? (int)len + 1 : point;
    if (plain <= width && point >= -DIGITS + 1 && (point <= DIGITS || (int)len > point)) {
        if (point <= 0) {
            return put(put_zeros(put(to, "0.", 2), -point), digits, len);
        }
        if ((int)len <= point) {
            return put_zeros(put(to, digits, len), point - (int)len);
        }
        to = put(to, digits, (unsigned)point);
        *to++ = '.';
        return put(to, digits + point, len - (unsigned)point);
    }
    *to++ = digits[0];
    if (len > 1) {
        *to++ = '.';
        to = put(to, digits + 1, len - 1);
    }
    *to++ = 'e';
    return my_put_int(to, point - 1);
}

// ---- times -------------------------------------------------------------------------------------

static char *
put_padded(char *to, unsigned v, unsigned width)
{
    for (unsigned i = width; i > 0; i--) {
        to[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return to + width;
}

char *
my_put_date(char *to, unsigned year, unsigned month, unsigned day)
{
    to = put_padded(to, year, 4);
    *to++ = '-';
    to = put_padded(to, month, 2);
    *to++ = '-';
    return put_padded(to, day, 2);
}

char *
my_put_clock(char *to, unsigned hour, unsigned minute, unsigned second, unsigned usec, unsigned scale)
{
    to = put_padded(to, hour, hour > 99 ? hour > 999 ? 4 : 3 : 2);
    *to++ = ':';
    to = put_padded(to, minute, 2);
    *to++ = ':';
    to = put_padded(to, second, 2);
    if (scale) {
        for (unsigned i = scale; i < 6; i++) {
            usec /= 10;
        }
        *to++ = '.';
        to = put_padded(to, usec, scale);
    }
    return to;
}

// Days since 1970 into a date of the Gregorian calendar; a year begins in March, so that a leap day is its last.
static char *
put_day(char *to, unsigned days)
{
    unsigned z = days + 719468, era = z / 146097, of_era = z - era * 146097;
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned m = (5 * of_year + 2) / 153;
    unsigned day = of_year - (153 * m + 2) / 5 + 1, month = m < 10 ? m + 3 : m - 9;
    return my_put_date(to, year + era * 400 + (month <= 2), month, day);
}

char *
my_put_epoch(char *to, uint32_t seconds, unsigned usec, unsigned scale)
{
    unsigned of_day = seconds % 86400;
    to = seconds || usec ? put_day(to, seconds / 86400) : my_put_date(to, 0, 0, 0);
    *to++ = ' ';
    return my_put_clock(to, of_day / 3600, of_day / 60 % 60, of_day % 60, usec, scale);
}
