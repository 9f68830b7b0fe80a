#include "agent/core/relayfail.h"

#include <stdio.h>
#include <string.h>

static struct relayfail_entry *find(struct relayfail *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->list[i].name, name) == 0)
            return &f->list[i];
    }
    return NULL;
}

static void take_out(struct relayfail *f, struct relayfail_entry *e)
{
    size_t at = (size_t)(e - f->list);
    memmove(e, e + 1, (f->n - at - 1) * sizeof *e);
    f->n--;
}

static void look_later(const struct relayfail *f, struct relayfail_entry *e, int64_t now_ms,
                       uint32_t random)
{
    int64_t least_ms = RELAYFAIL_LOOK_UNITS * f->unit_ms;
    e->look_ms = now_ms + least_ms + (int64_t)(random % 1024) * least_ms / 1024;
}

static void begin(struct relayfail *f)
{
    f->failing = false;
    f->heard = false;
}

void relayfail_use(struct relayfail *f, const struct relaygrant *grant)
{
    const char *name = grant != NULL ? grant->name : "";
    if (strcmp(f->used.name, name) != 0)
        begin(f);
    (void)snprintf(f->used.name, sizeof f->used.name, "%s", name);
    (void)snprintf(f->used.control, sizeof f->used.control, "%s",
                   grant != NULL ? grant->control : "");
}

bool relayfail_tried(struct relayfail *f, bool connected, int64_t now_ms, uint32_t random)
{
    struct relayfail_entry *known = find(f, f->used.name);
    if (connected) {
        begin(f);
        if (known != NULL)
            take_out(f, known);
        return known != NULL;
    }
    f->failing = true;
    if (!f->heard || known != NULL || now_ms - f->heard_ms < RELAYFAIL_AFTER_UNITS * f->unit_ms)
        return false;
    if (f->n == RELAYFAIL_MAX)
        take_out(f, f->list); /* the oldest */
    struct relayfail_entry *e = &f->list[f->n++];
    *e = f->used;
    e->since_ms = now_ms;
    e->told = false;
    look_later(f, e, now_ms, random);
    return true;
}

void relayfail_report(struct relayfail *f, bool answered, int64_t now_ms)
{
    for (size_t i = f->n; i > 0; i--) {
        if (answered)
            f->list[i - 1].told = true;
        else if (!f->list[i - 1].told)
            take_out(f, &f->list[i - 1]);
    }
    if (!answered) {
        f->heard = false;
    } else if (f->failing && !f->heard) {
        f->heard = true;
        f->heard_ms = now_ms;
    }
}

const struct relayfail_entry *relayfail_next(const struct relayfail *f)
{
    const struct relayfail_entry *next = NULL;
    for (size_t i = 0; i < f->n; i++) {
        if (next == NULL || f->list[i].look_ms < next->look_ms)
            next = &f->list[i];
    }
    return next;
}

bool relayfail_looked(struct relayfail *f, bool works, int64_t now_ms, uint32_t random)
{
    const struct relayfail_entry *next = relayfail_next(f);
    struct relayfail_entry *e = next != NULL ? find(f, next->name) : NULL;
    if (e == NULL)
        return false;
    bool over = works || now_ms - e->since_ms >= RELAYFAIL_HOLD_UNITS * f->unit_ms;
    if (over)
        take_out(f, e);
    else
        look_later(f, e, now_ms, random);
    return over;
}
