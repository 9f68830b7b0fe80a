/* current.h - the certificate that each device has now, and when it is to be renewed: one row for a
 * device and zone, which the next certificate takes over; what was replaced is never asked about
 * again. Blocking: store thread, inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_CURRENT_H
#define LANYARD_PROVISIOND_STORE_CURRENT_H

#include "common/pki/devid.h"
#include "provisiond/core/renewal.h"
#include "provisiond/issuer.h"
#include "provisiond/store/sql.h"

#define CURRENT_EXPLANATION_MAX 256

struct current_row {
    char device_id[DEVID_LEN + 1];
    char zone[256];
    int64_t order_id;
    char issuer[64];
    char account[ISSUER_URL_MAX]; /* under which it was issued */
    char ari_id[128];             /* "" when it has none */
    struct renewal renewal;
    bool sentinel;                             /* asked about before those that are none */
    char explanation[CURRENT_EXPLANATION_MAX]; /* the CA's URL, "" when none */
};

/* Takes the place of the device's certificate before it. */
NODISCARD enum err current_put(struct sql *db, const struct current_row *row,
                               struct err_info *info);

/* Errors: ERR_NOTFOUND. */
NODISCARD enum err current_get(struct sql *db, const char *device_id, const char *zone,
                               struct current_row *out, struct err_info *info);

/* Calls fn for up to `max` certificates of `issuer` that the CA is to be asked about, sentinels
 * before others, those that wait longest first, and keeps other nodes off them until `lease_until`.
 * Devices not seen since `seen_after` are passed over, and not looked at again before
 * current_resume(). */
NODISCARD enum err current_claim(struct sql *db, const char *issuer, int64_t now_s,
                                 int64_t lease_until, int64_t seen_after, int64_t max,
                                 void (*fn)(void *arg, const struct current_row *row), void *arg,
                                 struct err_info *info);

/* When the question about a certificate of `issuer` that waits longest was or is due; 0: none
 * waits. */
NODISCARD enum err current_poll_due(struct sql *db, const char *issuer, int64_t *at,
                                    struct err_info *info);

/* Writes the renewal and the explanation, unless the certificate was replaced meanwhile. */
NODISCARD enum err current_save(struct sql *db, const struct current_row *row,
                                struct err_info *info);

/* The device is back: its certificate is asked about again. */
NODISCARD enum err current_resume(struct sql *db, const struct current_row *row, int64_t now_s,
                                  struct err_info *info);

/* What `issuer` issued from `from` until before `until` is asked about now: the window of one of
 * them moved into the past. A revocation rarely comes alone, and the regular turn may be hours
 * away. */
NODISCARD enum err current_alarm(struct sql *db, const char *issuer, int64_t from, int64_t until,
                                 int64_t now_s, struct err_info *info);

/* Calls fn with how many certificates of `issuer`, of active devices seen since `seen_after`, are
 * to be renewed on each day from now, 0..days-1; what is due already counts for day 0. Days without
 * any are left out. Reads all of them. */
NODISCARD enum err current_forecast(struct sql *db, const char *issuer, int64_t now_s, int64_t days,
                                    int64_t seen_after,
                                    void (*fn)(void *arg, int64_t day, int64_t n), void *arg,
                                    struct err_info *info);

/* No certificate of `issuer` is asked about later than a day from now: a wait that is longer was
 * reckoned by a clock that was ahead. They are spread over the day as they were. */
NODISCARD enum err current_clock_back(struct sql *db, const char *issuer, int64_t now_s,
                                      struct err_info *info);

#endif
