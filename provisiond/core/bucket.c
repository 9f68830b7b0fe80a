#include "provisiond/core/bucket.h"

#include <ctype.h>
#include <string.h>

#define US 1000000
#define COUNT_MAX 1000000000
#define PERIOD_MAX_S ((int64_t)366 * 86400)

static const char *const NAMES[BUCKET_KIND_N] = {
    [BUCKET_ALL] = "all", [BUCKET_ORDERS] = "orders",     [BUCKET_DOMAIN] = "domain",
    [BUCKET_SET] = "set", [BUCKET_FAILURES] = "failures",
};

const char *bucket_kind_name(enum bucket_kind kind)
{
    return (unsigned)kind < BUCKET_KIND_N ? NAMES[kind] : "unknown";
}

struct bucket_limit bucket_limit_default(enum bucket_kind kind)
{
    static const struct bucket_limit DEFAULTS[BUCKET_KIND_N] = {
        [BUCKET_ORDERS] = { 300, 3 * 3600 },
        [BUCKET_DOMAIN] = { 50, 7 * 86400 },
        [BUCKET_SET] = { 5, 7 * 86400 },
        [BUCKET_FAILURES] = { 5, 3600 },
    };
    return DEFAULTS[(unsigned)kind < BUCKET_KIND_N ? kind : BUCKET_ALL];
}

/* A number of 1..max at *p, which moves behind it; 0 when there is none. */
static int64_t parse_number(const char **p, int64_t max)
{
    int64_t n = 0;
    for (; isdigit((unsigned char)**p); ++*p) {
        n = n * 10 + (**p - '0');
        if (n > max)
            return 0;
    }
    return n;
}

static int64_t unit_s(char c)
{
    return c == 's' ? 1 : c == 'm' ? 60 : c == 'h' ? 3600 : c == 'd' ? 86400 : 0;
}

enum err bucket_limit_parse(struct bucket_limit *out, const char *text)
{
    if (strcmp(text, "none") == 0) {
        *out = (struct bucket_limit){ 0, 0 };
        return ERR_OK;
    }
    const char *p = text;
    int64_t count = parse_number(&p, COUNT_MAX);
    if (count == 0 || *p++ != '/')
        return ERR_INVALID;
    int64_t units = isdigit((unsigned char)*p) ? parse_number(&p, PERIOD_MAX_S) : 1;
    int64_t period_s = *p != 0 ? units * unit_s(*p) : 0;
    if (period_s == 0 || period_s > PERIOD_MAX_S || p[1] != 0)
        return ERR_INVALID;
    *out = (struct bucket_limit){ count, period_s };
    return ERR_OK;
}

int64_t bucket_reserve(struct bucket_limit limit)
{
    return limit.count / 10;
}

int64_t bucket_step_us(struct bucket_limit limit)
{
    /* rounded up: never faster than the CA counts */
    return limit.count == 0 ? 0 : (limit.period_s * US + limit.count - 1) / limit.count;
}

int64_t bucket_reach_us(struct bucket_limit limit, int64_t reserve)
{
    int64_t events = limit.count - 1 - reserve;
    return events > 0 ? bucket_step_us(limit) * events : 0;
}

int64_t bucket_wait_us(int64_t tat_us, struct bucket_limit limit, int64_t reserve, int64_t now_us)
{
    int64_t wait_us = tat_us - now_us - bucket_reach_us(limit, reserve);
    return wait_us > 0 ? wait_us : 0;
}

int64_t bucket_level(int64_t tat_us, struct bucket_limit limit, int64_t now_us)
{
    if (limit.count == 0)
        return -1;
    int64_t step_us = bucket_step_us(limit);
    int64_t used = tat_us > now_us ? (tat_us - now_us + step_us - 1) / step_us : 0;
    return used < limit.count ? limit.count - used : 0;
}

int64_t bucket_spend(int64_t tat_us, struct bucket_limit limit, int64_t now_us)
{
    return (tat_us > now_us ? tat_us : now_us) + bucket_step_us(limit);
}

int64_t bucket_refund(int64_t tat_us, struct bucket_limit limit)
{
    int64_t back_us = tat_us - bucket_step_us(limit);
    return back_us > 0 ? back_us : 0;
}

int64_t bucket_park(int64_t tat_us, struct bucket_limit limit, int64_t until_us)
{
    int64_t parked_us = until_us + bucket_reach_us(limit, 0);
    return parked_us > tat_us ? parked_us : tat_us;
}
