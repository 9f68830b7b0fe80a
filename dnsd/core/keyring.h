/* keyring.h - the keys of one signed zone, and what each is there for. Immutable once the zone is
 * published.
 *
 * All keys of the ring are in the DNSKEY record set and sign it, and the CDS and CDNSKEY record
 * sets, so that a DS record of any of them is good; one key is active and signs the rest. No more
 * than one key signs an answer, however many there are. */
#ifndef LANYARD_DNSD_CORE_KEYRING_H
#define LANYARD_DNSD_CORE_KEYRING_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsd/core/sign.h"

#define KEYRING_MAX 4

struct keyring_key {
    struct sign_key key;
    bool wanted; /* the parent ought to have its DS: it is in CDS and CDNSKEY */
};

struct keyring {
    size_t n; /* 1..KEYRING_MAX */
    size_t active;
    int64_t made_s; /* when the youngest was made: a clock that shows less is wrong; 0: unknown */
    int64_t changes_s; /* when the next key is to be seen, active or gone; 0: not planned */
    int64_t changed_s; /* the last such time that had come when it was read; 0: none */
    unsigned budget;   /* signatures that a thread may make in a second; 0: any number */
    struct keyring_key keys[KEYRING_MAX];
};

/* A clock may have been set back by so much since a key was made. */
#define KEYRING_SLACK_S 300

/* Whether a clock that shows `now_s` can be right. */
static inline bool keyring_is_of(const struct keyring *ring, int64_t now_s)
{
    return now_s >= ring->made_s - KEYRING_SLACK_S;
}

/* Frees the ring, which came from malloc, with its keys. */
void keyring_free(struct keyring *ring);

#endif
