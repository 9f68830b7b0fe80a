#include "dnsd/health.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define TICK_MS 1000
#define STALL_MS 5000 /* a thread that has not answered for this long hangs */
#define CHECK_MS 5000 /* between looks at the stores */
#define STALE_MS (3 * CHECK_MS)

struct health {
    struct health_parts parts;
    struct loop_timer *timer;
    int64_t tick_ms;
    bool alive;
    int64_t checked_ms; /* the stores, last asked for */
    int64_t asked_ms[]; /* each thread, since when it owes an answer */
};

static void ask_threads(struct health *h, int64_t now_ms)
{
    bool alive = true;
    for (size_t i = 0; i < h->parts.n_mailboxes; i++) {
        struct mailbox *m = h->parts.mailboxes[i];
        if (mailbox_has_answered(m)) {
            mailbox_ping(m);
            h->asked_ms[i] = now_ms;
        } else if (now_ms - h->asked_ms[i] >= STALL_MS) {
            alive = false;
        }
    }
    if (!alive && h->alive)
        log_error("a thread has not answered for %d ms", STALL_MS);
    else if (alive && !h->alive)
        log_info("all threads answer again");
    h->alive = alive;
}

static void on_tick(void *arg)
{
    struct health *h = arg;
    int64_t now_ms = clock_mono_ms();
    loop_timer_set(h->timer, h->tick_ms);
    ask_threads(h, now_ms);
    if (h->alive && h->parts.notify->watchdog_ms > 0)
        notify_alive(h->parts.notify);
    if (h->checked_ms == 0 || now_ms - h->checked_ms >= CHECK_MS) {
        h->checked_ms = now_ms;
        reader_check(h->parts.reader, *h->parts.view);
    }
}

enum err health_new(struct health **out, const struct health_parts *parts)
{
    struct health *h = calloc(1, sizeof *h + parts->n_mailboxes * sizeof h->asked_ms[0]);
    if (h == NULL)
        return ERR_NOMEM;
    h->parts = *parts;
    h->alive = true;
    int64_t third_ms = parts->notify->watchdog_ms / 3;
    h->tick_ms = third_ms > 0 && third_ms < TICK_MS ? third_ms : TICK_MS;
    if (loop_timer_new(&h->timer, parts->loop, on_tick, h) != ERR_OK) {
        free(h);
        return ERR_NOMEM;
    }
    on_tick(h);
    *out = h;
    return ERR_OK;
}

void health_free(struct health *h)
{
    if (h == NULL)
        return;
    loop_timer_free(h->timer);
    free(h);
}

bool health_is_alive(const struct health *h)
{
    return h->alive;
}

const char *health_not_ready(const struct health *h)
{
    int64_t at_ms;
    if (!h->alive)
        return "a thread hangs";
    switch (reader_last_check(h->parts.reader, &at_ms)) {
    case READER_UNCHECKED:
        return "the challenge store has not been read yet";
    case READER_UNREADABLE:
        return "the challenge store cannot be read";
    case READER_READABLE:
        break;
    }
    return clock_mono_ms() - at_ms >= STALE_MS ? "the challenge store does not answer" : NULL;
}
