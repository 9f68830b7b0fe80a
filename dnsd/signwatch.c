#include "dnsd/signwatch.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define STEP_S 60 /* between two polls, by which the clocks have to differ to be worth a word */

struct signwatch {
    struct signer *signer;
    int64_t offset_s;     /* of the wall clock from the monotonic one, when last looked at */
    bool failing;         /* the last attempt to sign did */
    int64_t reloaded_for; /* the last time of a key that a reload was asked for */
    bool set_back;        /* the clock was, since signwatch_wants_reload() looked */
    struct signwatch_counts counts;
};

static int64_t offset_of(int64_t now_s, int64_t mono_ms)
{
    return now_s - mono_ms / 1000;
}

enum err signwatch_new(struct signwatch **out, int64_t now_s, int64_t mono_ms)
{
    struct signwatch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    enum err e = signer_new(&w->signer, 0);
    if (e != ERR_OK) {
        free(w);
        return e;
    }
    w->offset_s = offset_of(now_s, mono_ms);
    *out = w;
    return ERR_OK;
}

void signwatch_free(struct signwatch *w)
{
    if (w == NULL)
        return;
    signer_free(w->signer);
    free(w);
}

const struct signwatch_counts *signwatch_counts(const struct signwatch *w)
{
    return &w->counts;
}

/* Says when somebody sets the clock, right or wrong. */
static void watch_steps(struct signwatch *w, int64_t now_s, int64_t mono_ms)
{
    int64_t offset_s = offset_of(now_s, mono_ms), step_s = offset_s - w->offset_s;
    if (step_s > STEP_S || step_s < -STEP_S) {
        w->counts.clock_steps++;
        w->set_back |= step_s < 0;
        log_warn("the clock of this machine was set %s by %" PRId64
                 " seconds: signatures of DNSSEC follow it",
                 step_s > 0 ? "ahead" : "back", step_s > 0 ? step_s : -step_s);
    }
    w->offset_s = offset_s;
}

/* A signed zone whose keys say that the clock is wrong, or NULL. */
static const struct zone *find_younger(const struct view *v, int64_t now_s)
{
    for (size_t i = 0; i < v->n_zones; i++) {
        const struct keyring *ring = v->zones[i]->keyring;
        if (ring != NULL && (now_s < SIGN_CLOCK_MIN || !keyring_is_of(ring, now_s)))
            return v->zones[i];
    }
    return NULL;
}

static void watch_clock(struct signwatch *w, const struct view *v, int64_t now_s)
{
    const struct zone *z = find_younger(v, now_s);
    if ((z != NULL) == w->counts.clock_is_wrong)
        return;
    w->counts.clock_is_wrong = z != NULL;
    char shown[CLOCK_TEXT_MAX];
    clock_format(now_s, shown, sizeof shown);
    if (z != NULL)
        log_error(
            "the clock of this machine is wrong, it shows %s, before the keys of zone %s were "
            "made: what needs a signature is SERVFAIL until it is set",
            shown, z->text);
    else
        log_info("the clock of this machine shows %s, which may be right: answers are signed again",
                 shown);
}

/* Makes up to *n_left signatures anew that are due in zone number `i`. */
static enum err renew_zone(struct signwatch *w, const struct view *v, size_t i, int64_t now_s,
                           size_t *n_left, struct view **out)
{
    struct presigned *fresh = NULL;
    size_t n = 0;
    enum err e =
        presigned_renew(&fresh, v->presigned[i], v->zones[i], w->signer, now_s, *n_left, &n);
    if (e != ERR_OK || n == 0) {
        presigned_retire(fresh, v->presigned[i]);
        return e;
    }
    if (*out == NULL && view_renew(out, v) != ERR_OK) {
        presigned_retire(fresh, v->presigned[i]);
        return ERR_NOMEM;
    }
    (*out)->presigned[i] = fresh;
    *n_left -= n;
    w->counts.renewed += n;
    log_debug("zone %s: %zu signatures made anew", v->zones[i]->text, n);
    return ERR_OK;
}

void signwatch_poll(struct signwatch *w, const struct view *v, int64_t now_s, int64_t mono_ms,
                    struct view **out)
{
    size_t n_left = SIGNWATCH_MAX, n_signed = 0;
    enum err failed = ERR_OK;
    *out = NULL;
    for (size_t i = 0; i < v->n_zones; i++)
        n_signed += v->zones[i]->keyring != NULL;
    watch_clock(w, v, now_s);
    if (n_signed > 0)
        watch_steps(w, now_s, mono_ms);
    for (size_t i = 0; i < v->n_zones && n_left > 0 && !w->counts.clock_is_wrong; i++) {
        if (v->presigned[i] == NULL || !presigned_is_due(v->presigned[i], now_s))
            continue;
        enum err e = renew_zone(w, v, i, now_s, &n_left, out);
        if (e == ERR_OK)
            continue;
        if (!w->failing)
            log_error(
                "zone %s: static records cannot be signed anew (%s); it is tried every second",
                v->zones[i]->text, err_name(e));
        failed = e;
    }
    w->failing = failed != ERR_OK;
    w->counts.failed += w->failing;
}

bool signwatch_wants_reload(struct signwatch *w, const struct view *v, int64_t now_s)
{
    bool set_back = w->set_back;
    w->set_back = false;
    for (size_t i = 0; i < v->n_zones; i++) {
        const struct keyring *ring = v->zones[i]->keyring;
        if (ring != NULL && set_back && now_s < ring->changed_s) {
            log_info("zone %s: the time of a key that had come is still to come",
                     v->zones[i]->text);
            w->reloaded_for = 0;
            return true;
        }
        if (ring == NULL || ring->changes_s == 0 || ring->changes_s > now_s ||
            ring->changes_s <= w->reloaded_for)
            continue;
        log_info("zone %s: the time of a key has come", v->zones[i]->text);
        w->reloaded_for = ring->changes_s;
        return true;
    }
    return false;
}
