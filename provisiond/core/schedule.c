#include "provisiond/core/schedule.h"

#define SAME_SET_S ((int64_t)120 * 86400) /* how far back Boulder looks for the same names */
#define GRACE_S 3600                      /* the first CA's, before the next one is asked */

const char *lane_name(enum lane lane)
{
    static const char *const NAMES[LANE_N] = { "emergency", "renewal", "new" };
    return (unsigned)lane < LANE_N ? NAMES[lane] : "unknown";
}

int64_t schedule_danger_at(int64_t not_before, int64_t not_after, int64_t percent)
{
    return not_after - (not_after - not_before) / 100 * percent;
}

/* When the order is to be taken elsewhere: in the danger zone, but not before the first CA had a
 * fair try. Of a certificate about to end, a quarter of what is left is fair. */
static int64_t failover_at(const struct schedule_cert *c, int64_t percent, int64_t now_s)
{
    int64_t left_s = c->not_after - now_s;
    int64_t danger_at = schedule_danger_at(c->not_before, c->not_after, percent);
    int64_t grace_s = left_s / 4 < GRACE_S ? left_s / 4 : GRACE_S;
    return danger_at > now_s + grace_s ? danger_at : now_s + grace_s;
}

void schedule_place(struct schedule_place *out, const struct schedule_cert *c,
                    const struct schedule_policy *policy, int64_t now_s)
{
    *out = (struct schedule_place){ .lane = LANE_NEW, .deadline_at = now_s, .pays = true };
    if (!c->exists)
        return;
    bool alive = now_s < c->not_after;
    bool known_set = c->same_issuer && now_s - c->not_before < SAME_SET_S;
    bool has_window = c->window_end > c->window_start;
    out->pays = !(policy->renewals_exempt && known_set);
    /* never across CAs or accounts, never for a certificate that has ended: certmagic, lego and
     * cert-manager were stuck for weeks on orders refused for that */
    out->replaces = alive && c->same_issuer && c->has_ari_id;
    if (!alive) {
        /* nothing is left to lose, but its owner is back: ahead of the renewals with time left */
        out->lane = out->pays ? LANE_NEW : LANE_RENEWAL;
        return;
    }
    int64_t danger_at = schedule_danger_at(c->not_before, c->not_after, policy->failover_percent);
    bool past = has_window && c->window_end <= now_s;
    if (has_window && out->replaces) {
        out->exempt_from = c->window_start;
        out->exempt_until = c->window_end;
    }
    if (past || now_s >= danger_at) {
        out->lane = LANE_EMERGENCY;
        out->deadline_at = c->not_after;
    } else {
        out->lane = LANE_RENEWAL;
        out->deadline_at = has_window && c->window_end < danger_at ? c->window_end : danger_at;
    }
    if (policy->failover_percent > 0)
        out->failover_at = failover_at(c, policy->failover_percent, now_s);
}
