/* renewal.h - when a certificate is to be renewed, and when the CA is asked again about it
 * [RFC 9773 s4]. Pure; any thread.
 *
 * The instant in the CA's window is fixed by a hash of device and certificate: uniform over the
 * fleet, the same after every restart and on every node, and never drawn again at a poll (which
 * would favour early instants). Where the window moves, the instant moves with it. */
#ifndef LANYARD_PROVISIOND_CORE_RENEWAL_H
#define LANYARD_PROVISIOND_CORE_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

struct renewal {
    int64_t not_before, not_after;    /* of the certificate, Unix seconds */
    int64_t window_start, window_end; /* the CA's; 0, 0 while it has said none */
    int64_t chosen_at;                /* the instant */
    int64_t poll_at;                  /* when to ask the CA again; 0: never */
    int64_t failures;                 /* to ask it, in a row */
};

enum renewal_outcome {
    RENEWAL_WINDOW,    /* start and end are the CA's */
    RENEWAL_TEMPORARY, /* time-out or 5xx */
    RENEWAL_LONG_TERM, /* anything else that is no window */
};

struct renewal_answer {
    enum renewal_outcome outcome;
    int64_t start, end;
    int64_t retry_after_s; /* 0: none, or none that can be read */
};

enum renewal_why {
    RENEWAL_BY_LIFE,   /* two thirds of its life, half when that is under 10 days */
    RENEWAL_BY_CA,     /* an instant in the CA's window */
    RENEWAL_PAST,      /* the CA's window has ended: renew now */
    RENEWAL_IN_DANGER, /* too little life is left to wait for anything */
};

/* "lifetime", "ca-window", "window-past", "danger". Never NULL. */
const char *renewal_why_name(enum renewal_why why);

/* Of the device's id and something that names the certificate. */
uint64_t renewal_seed(const char *device_id, const char *certificate);

/* A certificate that was just issued: not_before and not_after are set, the rest is filled in. */
void renewal_begin(struct renewal *r, bool has_ari, uint64_t seed, int64_t now_s);

/* Takes the CA's answer. True when the window came to lie in the past by it: something has happened
 * to this certificate, and maybe to its neighbours. */
bool renewal_take(struct renewal *r, const struct renewal_answer *a, uint64_t seed, int64_t now_s);

/* When the device should renew, and why. `danger_percent` of the life: never later than that. */
int64_t renewal_at(const struct renewal *r, int64_t danger_percent, int64_t now_s,
                   enum renewal_why *why);

/* Whether this is one of the few certificates (one in 128) that the CA is asked about before all
 * others, where there are more of them than questions: they tell what happens to those that were
 * issued with them. */
bool renewal_is_sentinel(uint64_t seed);

/* Seconds until the device should ask again: often enough to hear of a revocation within hours. */
int64_t renewal_check_in_s(const struct renewal *r, uint64_t seed);

#endif
