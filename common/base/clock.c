#include "common/base/clock.h"

#include <time.h>

int64_t clock_now_s(void)
{
    return (int64_t)time(NULL);
}

int64_t clock_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_boot_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void clock_format(int64_t at_s, char *out, size_t cap)
{
    time_t t = (time_t)at_s; /* 32 bits with Debian 12 on armhf */
    struct tm tm;
    if ((int64_t)t != at_s || gmtime_r(&t, &tm) == NULL ||
        strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        if (cap > 0)
            out[0] = 0;
    }
}
