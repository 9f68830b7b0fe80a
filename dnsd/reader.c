#include "dnsd/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/logbudget.h"
#include "dnsd/lane.h"

#define LANES_MAX (2 * READER_STORES_MAX) /* of the old view and of the new one */

const char *const READER_RESULT_NAMES[] = { "values", "none", "failed", "expired", "not_asked" };

struct reader {
    pthread_mutex_t lock; /* of everything */
    struct lane *keeper;  /* has no store: old views end on its thread, when no other is left */
    struct lane *lanes[LANES_MAX];
    size_t n_lanes;
    struct lane *ending[LANES_MAX]; /* told to end, not freed yet */
    size_t n_ending;
    struct reader_counts gone; /* of lanes that were freed */
    int64_t check_ms;          /* of the last reader_check(); 0 for never */
    struct logbudget budget;   /* of lines that a store has no thread */
    struct view_change *change;
    void (*released)(struct view_change *change);
    size_t n_passing; /* lanes that may still have questions of the old view */
};

static bool view_names(const struct view *v, const char *url)
{
    for (size_t i = 0; i < v->n_zones; i++) {
        if (v->zones[i]->challenges != NULL && strcmp(v->zones[i]->challenges, url) == 0)
            return true;
    }
    return false;
}

/* The lane of `url`, made where needed; NULL when that fails. The caller has the lock. */
static struct lane *lane_of(struct reader *r, const char *url)
{
    struct lane *l = NULL;
    struct err_info why = { .text = "too many challenge stores" };
    unsigned left_out;
    for (size_t i = 0; i < r->n_lanes; i++) {
        if (strcmp(lane_url(r->lanes[i]), url) == 0)
            return r->lanes[i];
    }
    if (r->n_lanes == LANES_MAX || lane_new(&l, url, &why) != ERR_OK) {
        if (logbudget_spend(&r->budget, clock_mono_ms(), &left_out))
            log_error("cannot read a challenge store: %s; %u such lines were left out before",
                      why.text, left_out);
        return NULL;
    }
    r->lanes[r->n_lanes++] = l;
    return l;
}

/* Frees lanes that have ended. The caller has the lock. */
static void sweep(struct reader *r)
{
    for (size_t i = 0; i < r->n_ending;) {
        struct lane *l = r->ending[i];
        if (!lane_has_ended(l)) {
            i++;
            continue;
        }
        lane_add_counts(l, &r->gone);
        r->ending[i] = r->ending[--r->n_ending];
        lane_free(l);
    }
}

/* Ends the lanes of stores that `v` does not name. The caller has the lock. */
static void end_unnamed(struct reader *r, const struct view *v)
{
    for (size_t i = 0; i < r->n_lanes;) {
        struct lane *l = r->lanes[i];
        if (view_names(v, lane_url(l)) || r->n_ending == LANES_MAX) {
            i++;
            continue;
        }
        lane_stop(l);
        r->ending[r->n_ending++] = l;
        r->lanes[i] = r->lanes[--r->n_lanes];
    }
}

/* The keeper's thread: no thread looks at the old view any more. */
static void retire(void *arg)
{
    struct reader *r = arg;
    pthread_mutex_lock(&r->lock);
    struct view_change *change = r->change;
    r->change = NULL;
    end_unnamed(r, change->view);
    pthread_mutex_unlock(&r->lock);
    view_retire(change->old, change->view);
    r->released(change);
}

/* A lane's thread: its questions of the old view are answered. */
static void on_passed(void *arg)
{
    struct reader *r = arg;
    pthread_mutex_lock(&r->lock);
    if (--r->n_passing == 0)
        lane_mark(r->keeper, retire, r);
    pthread_mutex_unlock(&r->lock);
}

enum err reader_new(struct reader **out, struct err_info *info)
{
    struct reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    enum err e = lane_new(&r->keeper, NULL, info);
    if (e != ERR_OK) {
        free(r);
        return e;
    }
    (void)pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return ERR_OK;
}

void reader_free(struct reader *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_lanes; i++) /* all at once: each may have a slow read in hand */
        lane_stop(r->lanes[i]);
    pthread_mutex_unlock(&r->lock);
    lane_end(r->keeper); /* it looks at the others, and they at it */
    for (size_t i = 0; i < r->n_lanes; i++)
        lane_free(r->lanes[i]);
    for (size_t i = 0; i < r->n_ending; i++)
        lane_free(r->ending[i]);
    lane_free(r->keeper);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

bool reader_submit(struct reader *r, const struct query_challenge *challenge,
                   const struct reader_return *ret)
{
    pthread_mutex_lock(&r->lock);
    struct lane *l = lane_of(r, challenge->zone->challenges);
    bool taken = l != NULL && lane_submit(l, challenge, ret);
    pthread_mutex_unlock(&r->lock);
    return taken;
}

void reader_release(struct reader *r, struct view_change *change,
                    void (*released)(struct view_change *change))
{
    pthread_mutex_lock(&r->lock);
    r->change = change;
    r->released = released;
    r->n_passing = r->n_lanes + 1;
    lane_mark(r->keeper, on_passed, r);
    for (size_t i = 0; i < r->n_lanes; i++)
        lane_mark(r->lanes[i], on_passed, r);
    pthread_mutex_unlock(&r->lock);
}

void reader_check(struct reader *r, const struct view *view)
{
    pthread_mutex_lock(&r->lock);
    r->check_ms = clock_mono_ms();
    sweep(r);
    for (size_t i = 0; i < view->n_zones; i++) {
        const char *url = view->zones[i]->challenges;
        struct lane *l = url != NULL ? lane_of(r, url) : NULL;
        if (l != NULL)
            lane_check(l);
    }
    pthread_mutex_unlock(&r->lock);
}

enum reader_state reader_last_check(struct reader *r, int64_t *at_ms)
{
    pthread_mutex_lock(&r->lock);
    enum reader_state state = r->check_ms == 0 ? READER_UNCHECKED : READER_READABLE;
    *at_ms = r->check_ms;
    for (size_t i = 0; i < r->n_lanes; i++) {
        int64_t lane_at_ms;
        enum reader_state s = lane_last_check(r->lanes[i], &lane_at_ms);
        if (s == READER_UNREADABLE || (s == READER_UNCHECKED && state == READER_READABLE))
            state = s;
        if (lane_at_ms < *at_ms)
            *at_ms = lane_at_ms;
    }
    pthread_mutex_unlock(&r->lock);
    return state;
}

void reader_count(struct reader *r, struct reader_counts *out)
{
    pthread_mutex_lock(&r->lock);
    *out = r->gone;
    for (size_t i = 0; i < r->n_lanes; i++)
        lane_add_counts(r->lanes[i], out);
    for (size_t i = 0; i < r->n_ending; i++)
        lane_add_counts(r->ending[i], out);
    pthread_mutex_unlock(&r->lock);
}
