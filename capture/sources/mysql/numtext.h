// Numbers and times as the server's own text of them, digit for digit. Each writes at `to` and returns what is behind it.
#ifndef GW_MYSQL_NUMTEXT_H
#define GW_MYSQL_NUMTEXT_H

#include <stdint.h>

enum { MY_NUMBER_MAX = 40 }; // bytes that any of them needs at most; for a double too

char *my_put_uint(char *to, uint64_t v);
char *my_put_int(char *to, int64_t v);
// The shortest text, from 6 digits on, that reads back to the same float.
char *my_put_float32(char *to, float f);
// As the server writes a DOUBLE without declared decimals: the shortest digits; an exponent from 1e15 and below 1e-15.
char *my_put_float64(char *to, double d);
// The same where the server has only `width` characters for it.
char *my_put_float64_within(char *to, double d, int width);

// As the log holds them. `scale` = digits of the fraction.
char *my_put_date(char *to, unsigned year, unsigned month, unsigned day);
char *my_put_clock(char *to, unsigned hour, unsigned minute, unsigned second, unsigned usec, unsigned scale);
char *my_put_epoch(char *to, uint32_t seconds, unsigned usec, unsigned scale); // 0.0 is the zero date

#endif
