/* RFC 3339, read. */
#include <stdbool.h>

#include "prober/api_views.h"
#include "proto/base/err.h"

/* Exactly n digits at *p, which moves on; -1 otherwise. */
static int digits(const char **p, int n)
{
    int v = 0;
    for (; n > 0; n--, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        v = v * 10 + (**p - '0');
    }
    return v;
}

static bool take(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

/* Days since 1970-01-01. */
static int64_t day_number(int year, int month, int day)
{
    int64_t n = 0;
    for (int y = 1970; y < year; y++)
        n += 337 + days_of(y, 2);
    for (int m = 1; m < month; m++)
        n += days_of(year, m);
    return n + day - 1;
}

/* Up to nine digits behind the point, in nanoseconds; -1 if there are none. */
static int64_t fraction(const char **p)
{
    int64_t ns = 0;
    int64_t unit = 100000000;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9' && unit > 0; (*p)++, unit /= 10)
        ns += unit * (**p - '0');
    return *p == start ? -1 : ns;
}

/* "Z" or "+hh:mm" to the end, in seconds east. */
static int offset(const char *p, int64_t *seconds)
{
    *seconds = 0;
    if (take(&p, 'Z'))
        return *p ? ERR_BAD : 0;
    int sign = *p == '-' ? -1 : *p == '+' || *p == ' ' ? 1 : 0;
    p++;
    int hours = sign ? digits(&p, 2) : -1;
    int minutes = hours >= 0 && take(&p, ':') ? digits(&p, 2) : -1;
    if (minutes < 0 || hours > 23 || minutes > 59 || *p)
        return ERR_BAD;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return 0;
}

int api_parse_time(const char *text, uint64_t *unix_ns)
{
    static const char separators[] = "--T::";
    static const int widths[] = {4, 2, 2, 2, 2, 2};
    static const int most[] = {2200, 12, 31, 23, 59, 59};
    int v[6];
    for (int i = 0; i < 6; i++) {
        if (i > 0 && !take(&text, separators[i - 1]))
            return ERR_BAD;
        v[i] = digits(&text, widths[i]);
        if (v[i] < 0 || v[i] > most[i])
            return ERR_BAD;
    }
    if (v[0] < 1970 || v[1] < 1 || v[2] < 1 || v[2] > days_of(v[0], v[1]))
        return ERR_BAD;
    int64_t ns = take(&text, '.') ? fraction(&text) : 0;
    int64_t east_s;
    if (ns < 0 || offset(text, &east_s))
        return ERR_BAD;
    int64_t s = day_number(v[0], v[1], v[2]) * 86400 + v[3] * 3600 + v[4] * 60 +
                v[5] - east_s;
    if (s < 0)
        return ERR_BAD;
    *unix_ns = (uint64_t)s * 1000000000u + (uint64_t)ns;
    return 0;
}
