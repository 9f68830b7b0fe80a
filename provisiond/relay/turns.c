#include "provisiond/relay/turns.h"

#define SECOND_US INT64_C(1000000)
#define CREDIT_US                                                                                  \
    (SECOND_US / 10) /* what was not used may be made up for later: a tenth second                 \
                      */

void turns_init(struct turns *t)
{
    *t = (struct turns){ .bytes_per_s = 0 };
    TAILQ_INIT(&t->ready);
    TAILQ_INIT(&t->parked);
}

void turns_member_init(struct turns_member *m)
{
    *m = (struct turns_member){ .place = TURNS_OUT };
    TAILQ_INIT(&m->jobs);
}

void turns_set_pace(struct turns *t, int64_t bytes_per_s, int64_t member_bytes_per_s)
{
    t->bytes_per_s = bytes_per_s;
    t->member_bytes_per_s = member_bytes_per_s;
    t->next_us = 0;
}

static void place(struct turns *t, struct turns_member *m, enum turns_place where)
{
    if (m->place == TURNS_READY)
        TAILQ_REMOVE(&t->ready, m, entry);
    else if (m->place == TURNS_PARKED)
        TAILQ_REMOVE(&t->parked, m, entry);
    m->place = where;
    if (where == TURNS_READY)
        TAILQ_INSERT_TAIL(&t->ready, m, entry);
    else if (where == TURNS_PARKED)
        TAILQ_INSERT_TAIL(&t->parked, m, entry);
}

void turns_add(struct turns *t, struct turns_member *m, struct turns_job *job)
{
    if (job->queued)
        return;
    job->queued = true;
    TAILQ_INSERT_TAIL(&m->jobs, job, entry);
    if (m->place == TURNS_OUT)
        place(t, m, TURNS_READY);
}

void turns_remove(struct turns *t, struct turns_member *m, struct turns_job *job)
{
    if (!job->queued)
        return;
    job->queued = false;
    TAILQ_REMOVE(&m->jobs, job, entry);
    if (TAILQ_EMPTY(&m->jobs))
        place(t, m, TURNS_OUT);
}

/* Parked members whose time has come go back to the end of the queue. Returns the time until the
 * next one of the others, -1 when there is none. */
static int64_t unpark(struct turns *t, int64_t now_us)
{
    int64_t wait_us = -1;
    struct turns_member *m = TAILQ_FIRST(&t->parked), *next;
    for (; m != NULL; m = next) {
        next = TAILQ_NEXT(m, entry);
        int64_t left_us = m->next_us - now_us;
        if (left_us <= 0 || t->member_bytes_per_s == 0)
            place(t, m, TURNS_READY);
        else if (wait_us < 0 || left_us < wait_us)
            wait_us = left_us;
    }
    return wait_us;
}

/* Small turns at a slow pace: nobody waits long for the turn of another. */
static size_t turn_bytes(int64_t bytes_per_s)
{
    int64_t n = bytes_per_s / 100;
    if (bytes_per_s == 0 || n > TURNS_BYTES_MAX)
        return TURNS_BYTES_MAX;
    return n < TURNS_BYTES_MIN ? TURNS_BYTES_MIN : (size_t)n;
}

struct turns_job *turns_next(struct turns *t, int64_t now_us, struct turns_member **m,
                             size_t *budget, int64_t *wait_us)
{
    int64_t parked_us = TAILQ_EMPTY(&t->parked) ? -1 : unpark(t, now_us);
    struct turns_member *first;
    while ((first = TAILQ_FIRST(&t->ready)) != NULL) {
        if (t->bytes_per_s > 0 && t->next_us > now_us) {
            *wait_us = t->next_us - now_us;
            return NULL;
        }
        if (t->member_bytes_per_s == 0 || first->next_us <= now_us)
            break;
        place(t, first, TURNS_PARKED);
        if (parked_us < 0 || first->next_us - now_us < parked_us)
            parked_us = first->next_us - now_us;
    }
    if (first == NULL) {
        *wait_us = parked_us;
        return NULL;
    }
    size_t all = turn_bytes(t->bytes_per_s), own = turn_bytes(t->member_bytes_per_s);
    struct turns_job *job = TAILQ_FIRST(&first->jobs);
    job->queued = false;
    TAILQ_REMOVE(&first->jobs, job, entry);
    place(t, first, TAILQ_EMPTY(&first->jobs) ? TURNS_OUT : TURNS_READY);
    *m = first;
    *budget = all < own ? all : own;
    return job;
}

static void advance(int64_t *next_us, int64_t bytes_per_s, size_t bytes, int64_t now_us)
{
    if (bytes_per_s == 0)
        return;
    if (*next_us < now_us - CREDIT_US)
        *next_us = now_us - CREDIT_US;
    *next_us += (int64_t)bytes * SECOND_US / bytes_per_s;
}

void turns_used(struct turns *t, struct turns_member *m, size_t bytes, int64_t now_us)
{
    advance(&t->next_us, t->bytes_per_s, bytes, now_us);
    advance(&m->next_us, t->member_bytes_per_s, bytes, now_us);
}
