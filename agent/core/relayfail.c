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
    int64_t least_ms = e->look_units * f->unit_ms;
    e->look_ms = now_ms + least_ms + (int64_t)(random % 1024) * least_ms / 1024;
}

/* What is remembered of `name`; NULL: nothing. */
static struct relayfail_past *find_past(struct relayfail *f, const char *name)
{
    for (size_t i = 0; i < RELAYFAIL_MAX; i++) {
        if (name[0] != 0 && strcmp(f->past[i].name, name) == 0)
            return &f->past[i];
    }
    return NULL;
}

static void forget_past(struct relayfail *f, const char *name)
{
    struct relayfail_past *p = find_past(f, name);
    if (p != NULL)
        *p = (struct relayfail_past){ .name = "" };
}

static void note_past(struct relayfail *f, const struct relayfail_entry *e, int64_t now_ms)
{
    struct relayfail_past *p = find_past(f, e->name), *old = f->past;
    for (size_t i = 1; i < RELAYFAIL_MAX; i++) {
        if (f->past[i].off_ms < old->off_ms)
            old = &f->past[i]; /* or free */
    }
    p = p != NULL ? p : old;
    p->off_ms = now_ms;
    p->look_units = e->look_units;
    (void)snprintf(p->name, sizeof p->name, "%s", e->name);
}

/* How long to leave it alone. */
static int64_t first_look_units(struct relayfail *f, const char *name, int64_t now_ms)
{
    const struct relayfail_past *p = find_past(f, name);
    if (p == NULL || now_ms - p->off_ms >= RELAYFAIL_PAST_UNITS * f->unit_ms)
        return RELAYFAIL_LOOK_UNITS;
    int64_t units = 2 * p->look_units;
    return units < RELAYFAIL_HOLD_UNITS ? units : RELAYFAIL_HOLD_UNITS;
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
        forget_past(f, f->used.name);
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
    e->look_units = first_look_units(f, e->name, now_ms);
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
    if (works)
        note_past(f, e, now_ms);
    if (over)
        take_out(f, e);
    else
        look_later(f, e, now_ms, random);
    return over;
}
