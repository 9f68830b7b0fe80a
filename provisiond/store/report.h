/* report.h - what devices last said about themselves, and the addresses that they were seen at.
 * Blocking: store thread or admin command, inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_REPORT_H
#define LANYARD_PROVISIOND_STORE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pki/devid.h"
#include "provisiond/core/network.h"
#include "provisiond/core/reportbody.h"
#include "provisiond/store/sql.h"

#define REPORT_EVERY_S 21600    /* how often a device is told to report */
#define OBSERVED_PROVEN_S 86400 /* so long an address counts as the device's own */
#define OBSERVED_MAX 2          /* addresses of a device: one a family */

struct report_row {
    char device[DEVID_LEN + 1];
    char zone[256]; /* of the device; not stored here */
    int64_t at;
    char name[REPORTBODY_NAME_MAX]; /* "" when it has none */
    bool nearby;                    /* may be shown to browsers in its network */
    char *body;                     /* JSON as reportbody_write() makes it; heap */
};

struct observed_row {
    struct ip ip;
    char address[NETWORK_TEXT_MAX]; /* the same as text */
    int64_t at;
};

/* Takes the place of the device's report before it; row->zone is not looked at. */
NODISCARD enum err report_put(struct sql *db, const struct report_row *row, struct err_info *info);

/* The report of an active device; *out is then report_clear()'s. Errors: ERR_NOTFOUND, ERR_NOMEM.
 */
NODISCARD enum err report_get(struct sql *db, const char *device, struct report_row *out,
                              struct err_info *info);

void report_clear(struct report_row *row);

/* Calls fn for the active devices that let themselves be found, reported at `since_s` or later, and
 * were seen in `network` (network_text()) at `since_s` or later: the latest first, at most `max`.
 * The row is borrowed. */
NODISCARD enum err report_each_near(struct sql *db, const char *network, int64_t since_s,
                                    int64_t max, void (*fn)(void *arg, struct report_row *row),
                                    void *arg, struct err_info *info);

/* Notes that a connection of the device itself came from `ip` at `now_s`. */
NODISCARD enum err observed_put(struct sql *db, const char *device, const struct ip *ip,
                                int64_t now_s, struct err_info *info);

/* The addresses of the device not older than `since_s`, IPv4 before IPv6. */
NODISCARD enum err observed_list(struct sql *db, const char *device, int64_t since_s,
                                 struct observed_row out[OBSERVED_MAX], size_t *n,
                                 struct err_info *info);

/* Forgets both of a device. */
NODISCARD enum err report_delete(struct sql *db, const char *device, struct err_info *info);

/* Removes up to `max` of each that are older than `before_s`; *n_removed is counted up. */
NODISCARD enum err report_prune(struct sql *db, int64_t before_s, int64_t max, int64_t *n_removed,
                                struct err_info *info);

#endif
