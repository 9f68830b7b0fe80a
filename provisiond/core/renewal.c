#include "provisiond/core/renewal.h"

#include "provisiond/core/schedule.h"

#define SHORT_LIFE_S (10 * 86400)
#define POLL_MIN_S 60 /* [RFC 9773 s4.3: clamp] */
#define POLL_MAX_S 86400
#define POLL_LONG_S (6 * 3600) /* after what will not pass by itself, or without Retry-After */
#define CHECK_S (6 * 3600)
#define MARGIN_S 3600 /* of a window's end: the order must be at the CA before it */
#define CHECK_MIN_S 5
#define SENTINEL_ONE_IN 128

const char *renewal_why_name(enum renewal_why why)
{
    static const char *const NAMES[] = { "lifetime", "ca-window", "window-past", "danger" };
    return (unsigned)why < sizeof NAMES / sizeof NAMES[0] ? NAMES[why] : "unknown";
}

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

uint64_t renewal_seed(const char *device_id, const char *certificate)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then mixed: the low bits alone would not do */
    for (const char *p = device_id; *p != 0; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    h = (h ^ '/') * 0x100000001b3u;
    for (const char *p = certificate; *p != 0; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    return mix(h);
}

/* A share of `span_s`, uniform in [0, span_s). */
static int64_t share(int64_t span_s, uint64_t seed)
{
    return span_s <= 0 ? 0
                       : (int64_t)((double)span_s * ((double)(seed >> 11) / 9007199254740992.0));
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

void renewal_begin(struct renewal *r, bool has_ari, uint64_t seed, int64_t now_s)
{
    int64_t life_s = r->not_after - r->not_before;
    int64_t due_s = life_s < SHORT_LIFE_S ? life_s / 2 : life_s / 3 * 2;
    /* up to 2 % of the life earlier, so that what was issued together does not come together */
    r->chosen_at = r->not_before + due_s - share(life_s / 50, seed);
    r->window_start = r->window_end = 0;
    r->failures = 0;
    r->poll_at = has_ari ? now_s : 0;
}

static void poll_again(struct renewal *r, int64_t in_s, int64_t now_s)
{
    /* an ended certificate is not asked about [RFC 9773 s4.3] */
    r->poll_at = now_s + in_s < r->not_after ? now_s + in_s : 0;
}

bool renewal_take(struct renewal *r, const struct renewal_answer *a, uint64_t seed, int64_t now_s)
{
    enum renewal_outcome outcome = a->outcome;
    if (outcome == RENEWAL_WINDOW && a->end <= a->start)
        outcome = RENEWAL_LONG_TERM; /* as if it had not answered [RFC 9773 s4.2] */
    if (outcome == RENEWAL_TEMPORARY) {
        int64_t base_s = POLL_MIN_S << clamp(r->failures, 0, 9);
        r->failures++;
        base_s = clamp(base_s, POLL_MIN_S, POLL_LONG_S);
        poll_again(r, base_s + share(base_s / 4, mix(seed ^ (uint64_t)r->failures)), now_s);
        return false;
    }
    if (outcome == RENEWAL_LONG_TERM) {
        r->failures++;
        poll_again(r, POLL_LONG_S, now_s);
        return false;
    }
    bool was_past = r->window_end != 0 && r->window_end <= now_s;
    r->failures = 0;
    if (a->start != r->window_start || a->end != r->window_end) {
        r->window_start = a->start;
        r->window_end = a->end;
        int64_t span_s = a->end - a->start;
        r->chosen_at = a->start + share(span_s - clamp(span_s / 8, 0, MARGIN_S), seed);
    }
    poll_again(r,
               a->retry_after_s > 0 ? clamp(a->retry_after_s, POLL_MIN_S, POLL_MAX_S) : POLL_LONG_S,
               now_s);
    return !was_past && r->window_end <= now_s;
}

int64_t renewal_at(const struct renewal *r, int64_t danger_percent, int64_t now_s,
                   enum renewal_why *why)
{
    int64_t danger_at = schedule_danger_at(r->not_before, r->not_after, danger_percent);
    *why = r->window_end != 0 ? RENEWAL_BY_CA : RENEWAL_BY_LIFE;
    if (r->window_end != 0 && r->window_end <= now_s) {
        *why = RENEWAL_PAST;
        return now_s;
    }
    if (danger_at < r->chosen_at) {
        *why = RENEWAL_IN_DANGER;
        return danger_at;
    }
    return r->chosen_at;
}

bool renewal_is_sentinel(uint64_t seed)
{
    return mix(seed ^ 0x2545f491u) % SENTINEL_ONE_IN == 0;
}

int64_t renewal_check_in_s(const struct renewal *r, uint64_t seed)
{
    int64_t s = clamp((r->not_after - r->not_before) / 16, CHECK_MIN_S, CHECK_S);
    return s - s / 4 + share(s / 2, mix(seed ^ 0x5bd1e995u));
}
