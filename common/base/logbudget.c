#include "common/base/logbudget.h"

unsigned logbudget_take_left_out(struct logbudget *b, int64_t now_ms)
{
    int64_t until_ms = atomic_load(&b->until_ms);
    if (until_ms == 0 || now_ms < until_ms ||
        !atomic_compare_exchange_strong(&b->until_ms, &until_ms, 0))
        return 0;
    atomic_store(&b->n_lines, 0);
    return atomic_exchange(&b->n_left_out, 0);
}

bool logbudget_spend(struct logbudget *b, int64_t now_ms, unsigned *left_out)
{
    int64_t none = 0;
    unsigned before = logbudget_take_left_out(b, now_ms);
    (void)atomic_compare_exchange_strong(&b->until_ms, &none, now_ms + LOGBUDGET_PERIOD_MS);
    if (atomic_fetch_add(&b->n_lines, 1) >= LOGBUDGET_LINES) {
        atomic_fetch_add(&b->n_left_out, before + 1);
        return false;
    }
    *left_out = before;
    return true;
}
