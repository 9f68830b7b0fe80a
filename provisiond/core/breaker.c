#include "provisiond/core/breaker.h"

#define FAILURES_MAX 5
#define FIRST_WAIT_MS 30000
#define WAIT_MAX_MS 900000
#define PROBE_LIMIT_MS 120000 /* a probe that reports nothing for so long is forgotten */
#define RETRY_AFTER_MAX_S 86400

bool breaker_allows(const struct breaker *b, int64_t now_ms)
{
    return !b->open || now_ms >= b->probe_at_ms;
}

void breaker_begin(struct breaker *b, int64_t now_ms)
{
    if (!b->open || now_ms < b->probe_at_ms)
        return;
    b->probing = true;
    b->probe_at_ms = now_ms + PROBE_LIMIT_MS;
}

void breaker_succeed(struct breaker *b)
{
    *b = (struct breaker){ 0 };
}

void breaker_fail(struct breaker *b, int64_t now_ms, int64_t retry_after_s, uint32_t random)
{
    b->failures++;
    if (b->failures < FAILURES_MAX && !b->open)
        return;
    if (!b->open) {
        b->open = true;
        b->open_since_ms = now_ms;
    } else if (!b->probing) {
        return; /* requests that were under way when it opened say nothing new */
    }
    int64_t wait_ms = FIRST_WAIT_MS << (b->trips < 5 ? b->trips : 5);
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS;
    wait_ms += (int64_t)(random % 1024) * wait_ms / 2048;
    if (retry_after_s > RETRY_AFTER_MAX_S)
        retry_after_s = RETRY_AFTER_MAX_S;
    if (wait_ms < retry_after_s * 1000)
        wait_ms = retry_after_s * 1000;
    b->trips++;
    b->probing = false;
    b->probe_at_ms = now_ms + wait_ms;
}
