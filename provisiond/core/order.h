/* order.h - the states of an order and what moves it between them. Pure; any thread.
 * The shell writes the new state down first, then acts on it: entering a state twice is harmless.
 * Words and order of the steps: [RFC 8555 s7.1.6, s7.4]. */
#ifndef LANYARD_PROVISIOND_CORE_ORDER_H
#define LANYARD_PROVISIOND_CORE_ORDER_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"

enum order_state {
    ORDER_ILLEGAL = 0,
    ORDER_QUEUED,      /* waits for its turn, or for its next attempt */
    ORDER_ORDERING,    /* newOrder is about to be sent */
    ORDER_AUTHORIZING, /* the order's URL is known: read its authorisations, write the values */
    ORDER_PUBLISHING,  /* values are in the store: read them back from every name server */
    ORDER_VALIDATING,  /* the CA is about to be asked to validate, or is validating */
    ORDER_FINALIZING,  /* the CSR is about to be sent, or the CA is issuing */
    ORDER_DOWNLOADING, /* the certificate exists at the CA */
    ORDER_VALID,       /* checked and stored: final */
    ORDER_INVALID,     /* this CSR will never be certified; the device must send another: final */
    ORDER_CANCELED,    /* replaced by a newer CSR, or its device is gone: final */
    ORDER_STATE_N
};

enum order_event {
    ORDER_EV_DUE,     /* its time has come */
    ORDER_EV_DONE,    /* the step is complete */
    ORDER_EV_READY,   /* the CA wants no more proof: authorisations were reused */
    ORDER_EV_ISSUED,  /* the CA has issued already */
    ORDER_EV_HELD,    /* the CA takes no new order now: back to the queue */
    ORDER_EV_LOST,    /* this order is of no use at the CA: start again, later */
    ORDER_EV_REFUSED, /* never with this CSR */
    ORDER_EV_CANCEL,
    ORDER_EVENT_N
};

/* The state after `ev` in `state`; ORDER_ILLEGAL when there is no such move. */
enum order_state order_next(enum order_state state, enum order_event ev);

bool order_is_final(enum order_state state);

/* Whether challenge values of the order may be live in this state. Everywhere else they are
 * removed. */
bool order_has_challenge(enum order_state state);

/* Whether the new state need not be written down: between it and the next one that is, nothing is
 * asked of the CA. After a crash the order goes on from `from`. */
bool order_is_passed(enum order_state from, enum order_state to);

/* Lower-case name as stored and shown, "validating". Never NULL. */
const char *order_state_name(enum order_state state);

/* Inverse of order_state_name(). Errors: ERR_INVALID. */
NODISCARD enum err order_state_parse(enum order_state *out, const char *name);

#endif
