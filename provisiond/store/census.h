/* census.h - the fleet in numbers, counted by the database. Reads tables from end to end: only for
 * a connection that nobody waits for. Blocking: a thread of its own, or an admin command. */
#ifndef LANYARD_PROVISIOND_STORE_CENSUS_H
#define LANYARD_PROVISIOND_STORE_CENSUS_H

#include <stdint.h>

#include "provisiond/core/order.h"
#include "provisiond/core/schedule.h"
#include "provisiond/store/sql.h"

/* Upper ends of the classes of days left; the last class is all longer ones. */
#define CENSUS_DAYS                                                                                \
    {                                                                                              \
        0, 1, 2, 3, 5, 7, 14, 30, 45, 60, 90                                                       \
    }
#define CENSUS_DAYS_N 12

struct census {
    uint64_t devices[3];            /* by enum device_state */
    uint64_t reporting;             /* devices that reported in time */
    uint64_t orders[ORDER_STATE_N]; /* that are not final */
    uint64_t days[CENSUS_DAYS_N];   /* newest certificates of active devices, by days left */
    uint64_t at_risk;        /* of these, less than a sixth of the lifetime left, and not expired */
    uint64_t lanes[LANE_N];  /* orders that are not final */
    uint64_t windows_missed; /* certificates of active devices whose window at the CA has ended */
};

/* Errors: ERR_UNAVAILABLE. */
NODISCARD enum err census_take(struct sql *db, int64_t now_s, struct census *out,
                               struct err_info *info);

#endif
