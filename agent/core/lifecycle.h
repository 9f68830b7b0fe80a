/* lifecycle.h - the way of the next certificate, as a table: which state follows which event.
 * Whether a certificate is being served meanwhile is a separate matter: renewal takes the same way
 * while the old one serves. Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_LIFECYCLE_H
#define LANYARD_AGENT_CORE_LIFECYCLE_H

#include <stdbool.h>

#include "common/base/attr.h"

enum lifecycle_state {
    LIFECYCLE_ILLEGAL, /* no state: the event cannot happen there */
    LIFECYCLE_ENROL,   /* tell the service who we are */
    LIFECYCLE_KEY,     /* make the pending key and CSR, or find them on disk */
    LIFECYCLE_SUBMIT,  /* hand the CSR in */
    LIFECYCLE_POLL,    /* ask until the certificate is there */
    LIFECYCLE_INSTALL, /* check it and put it in place; left before the loop goes on */
    LIFECYCLE_SERVE,   /* nothing to do until the renewal time */
    LIFECYCLE_GONE,    /* forgotten: final */
    LIFECYCLE_STATE_N
};

enum lifecycle_event {
    LIFECYCLE_EV_DUE,       /* the time stored for the next step has come */
    LIFECYCLE_EV_OK,        /* the step is done */
    LIFECYCLE_EV_ISSUED,    /* the service handed a chain over */
    LIFECYCLE_EV_UNKNOWN,   /* the service does not know this device */
    LIFECYCLE_EV_REKEY,     /* this key or CSR will never do: make another */
    LIFECYCLE_EV_NO_ORDER,  /* the service has no order of ours: hand the CSR in again */
    LIFECYCLE_EV_FAILED,    /* try again after the back-off */
    LIFECYCLE_EV_RENEW,     /* the user wants a new certificate now */
    LIFECYCLE_EV_FORGOTTEN, /* the service confirmed that the device is deleted */
    LIFECYCLE_EVENT_N
};

/* The state after `ev` in `s`; LIFECYCLE_ILLEGAL when `ev` cannot happen there. */
enum lifecycle_state lifecycle_next(enum lifecycle_state s, enum lifecycle_event ev);

/* Whether no event leads out of `s`. */
bool lifecycle_is_final(enum lifecycle_state s);

/* What was found on disk at start. */
struct lifecycle_facts {
    enum lifecycle_state stored; /* LIFECYCLE_ILLEGAL: none, or for another zone or service */
    bool has_pending;            /* a pending key and CSR for our name */
    bool has_current;            /* a usable certificate set for our name */
    bool pending_is_current;     /* the set was installed, but not yet noted: a crash between */
};

/* Where to go on after a start. Never LIFECYCLE_ILLEGAL, _INSTALL or _GONE. */
enum lifecycle_state lifecycle_resume(const struct lifecycle_facts *f);

/* The word in state.json and `status --json`, such as "enrol". Never NULL. */
const char *lifecycle_name(enum lifecycle_state s);

/* The state of that name; LIFECYCLE_ILLEGAL for any other text. */
enum lifecycle_state lifecycle_from_name(const char *name);

#endif
