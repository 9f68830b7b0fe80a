#include "agent/core/patience.h"

#include "common/base/attr.h"

static const int64_t WAITS_MS[] = { 2000, 3000, 5000, 10000 };

bool patience_note(struct patience *p, bool good, int64_t *wait_ms)
{
    bool lasts = good || p->in_vain >= ARRAY_LEN(WAITS_MS);
    *wait_ms = lasts ? PATIENCE_EVERY_MS : WAITS_MS[p->in_vain];
    p->in_vain = lasts ? 0 : p->in_vain + 1;
    return lasts;
}
