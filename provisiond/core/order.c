#include "provisiond/core/order.h"

#include <stdint.h>
#include <string.h>

/* clang-format off */
static const uint8_t NEXT[ORDER_STATE_N][ORDER_EVENT_N] = { /* 0 == ORDER_ILLEGAL */
    [ORDER_QUEUED] = {
        [ORDER_EV_DUE] = ORDER_ORDERING, [ORDER_EV_CANCEL] = ORDER_CANCELED },
    [ORDER_ORDERING] = {
        [ORDER_EV_DUE] = ORDER_ORDERING, [ORDER_EV_DONE] = ORDER_AUTHORIZING,
        [ORDER_EV_READY] = ORDER_FINALIZING, [ORDER_EV_ISSUED] = ORDER_DOWNLOADING,
        [ORDER_EV_HELD] = ORDER_QUEUED, [ORDER_EV_LOST] = ORDER_QUEUED,
        [ORDER_EV_REFUSED] = ORDER_INVALID, [ORDER_EV_CANCEL] = ORDER_CANCELED },
    [ORDER_AUTHORIZING] = {
        [ORDER_EV_DUE] = ORDER_AUTHORIZING, [ORDER_EV_DONE] = ORDER_PUBLISHING,
        [ORDER_EV_READY] = ORDER_FINALIZING, [ORDER_EV_ISSUED] = ORDER_DOWNLOADING,
        [ORDER_EV_LOST] = ORDER_QUEUED, [ORDER_EV_REFUSED] = ORDER_INVALID,
        [ORDER_EV_CANCEL] = ORDER_CANCELED },
    [ORDER_PUBLISHING] = {
        [ORDER_EV_DUE] = ORDER_PUBLISHING, [ORDER_EV_DONE] = ORDER_VALIDATING,
        [ORDER_EV_READY] = ORDER_FINALIZING, [ORDER_EV_ISSUED] = ORDER_DOWNLOADING,
        [ORDER_EV_LOST] = ORDER_QUEUED, [ORDER_EV_REFUSED] = ORDER_INVALID,
        [ORDER_EV_CANCEL] = ORDER_CANCELED },
    [ORDER_VALIDATING] = {
        [ORDER_EV_DUE] = ORDER_VALIDATING, [ORDER_EV_DONE] = ORDER_FINALIZING,
        [ORDER_EV_READY] = ORDER_FINALIZING, [ORDER_EV_ISSUED] = ORDER_DOWNLOADING,
        [ORDER_EV_LOST] = ORDER_QUEUED, [ORDER_EV_REFUSED] = ORDER_INVALID,
        [ORDER_EV_CANCEL] = ORDER_CANCELED },
    [ORDER_FINALIZING] = {
        [ORDER_EV_DUE] = ORDER_FINALIZING, [ORDER_EV_DONE] = ORDER_DOWNLOADING,
        [ORDER_EV_ISSUED] = ORDER_DOWNLOADING, [ORDER_EV_LOST] = ORDER_QUEUED,
        [ORDER_EV_REFUSED] = ORDER_INVALID, [ORDER_EV_CANCEL] = ORDER_CANCELED },
    [ORDER_DOWNLOADING] = {
        [ORDER_EV_DUE] = ORDER_DOWNLOADING, [ORDER_EV_DONE] = ORDER_VALID,
        [ORDER_EV_LOST] = ORDER_QUEUED, [ORDER_EV_REFUSED] = ORDER_INVALID,
        [ORDER_EV_CANCEL] = ORDER_CANCELED },
};
/* clang-format on */

static const char *const NAMES[ORDER_STATE_N] = {
    [ORDER_ILLEGAL] = "illegal",       [ORDER_QUEUED] = "queued",
    [ORDER_ORDERING] = "ordering",     [ORDER_AUTHORIZING] = "authorizing",
    [ORDER_PUBLISHING] = "publishing", [ORDER_VALIDATING] = "validating",
    [ORDER_FINALIZING] = "finalizing", [ORDER_DOWNLOADING] = "downloading",
    [ORDER_VALID] = "valid",           [ORDER_INVALID] = "invalid",
    [ORDER_CANCELED] = "canceled",
};

enum order_state order_next(enum order_state state, enum order_event ev)
{
    if ((unsigned)state >= ORDER_STATE_N || (unsigned)ev >= ORDER_EVENT_N)
        return ORDER_ILLEGAL;
    return (enum order_state)NEXT[state][ev];
}

bool order_is_final(enum order_state state)
{
    return state == ORDER_VALID || state == ORDER_INVALID || state == ORDER_CANCELED;
}

bool order_has_challenge(enum order_state state)
{
    return state == ORDER_AUTHORIZING || state == ORDER_PUBLISHING || state == ORDER_VALIDATING;
}

bool order_is_passed(enum order_state from, enum order_state to)
{
    return from == ORDER_AUTHORIZING && to == ORDER_PUBLISHING;
}

const char *order_state_name(enum order_state state)
{
    return (unsigned)state < ORDER_STATE_N ? NAMES[state] : NAMES[ORDER_ILLEGAL];
}

enum err order_state_parse(enum order_state *out, const char *name)
{
    for (unsigned i = ORDER_QUEUED; i < ORDER_STATE_N; i++) {
        if (strcmp(NAMES[i], name) == 0) {
            *out = (enum order_state)i;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}
