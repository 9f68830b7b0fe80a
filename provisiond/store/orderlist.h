/* orderlist.h - orders as an operator sees them: listed, hurried, canceled. Blocking: admin
 * command, inside a transaction where it writes. */
#ifndef LANYARD_PROVISIOND_STORE_ORDERLIST_H
#define LANYARD_PROVISIOND_STORE_ORDERLIST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pki/devid.h"
#include "provisiond/core/order.h"
#include "provisiond/store/sql.h"

struct orderlist_row {
    int64_t id;
    char device_id[DEVID_LEN + 1], zone[256], issuer[64];
    enum order_state state;
    int64_t lost, due_at, created_at;
    bool held; /* a node works on it */
    char problem[64], detail[256], url[512];
};

struct orderlist_filter {
    bool open_only;
    int64_t id;            /* 0: any */
    const char *device_id; /* NULL: any */
    int64_t limit, now_s;
};

/* Calls fn for each order that passes, newest first. */
NODISCARD enum err orderlist_each(struct sql *db, const struct orderlist_filter *f,
                                  void (*fn)(void *arg, const struct orderlist_row *row), void *arg,
                                  struct err_info *info);

/* Makes a waiting order due now. ERR_NOTFOUND when there is none of that number that is open and
 * held by no node. */
NODISCARD enum err orderlist_hurry(struct sql *db, int64_t id, int64_t now_s,
                                   struct err_info *info);

/* Cancels an open order, whoever works on it. ERR_NOTFOUND when none of that number is open. */
NODISCARD enum err orderlist_cancel(struct sql *db, int64_t id, int64_t now_s,
                                    struct err_info *info);

#endif
