/* api.h - the device API over mutual TLS: who calls is proved by the key of the connection, and a
 * device only ever speaks for itself: no path or body names another one. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_API_API_H
#define LANYARD_PROVISIOND_API_API_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/httpd.h"
#include "provisiond/config.h"
#include "provisiond/store/jobs.h"

struct api; /* opaque */

struct api_parts {
    struct loop *loop;
    const struct config *config; /* borrowed until api_free() */
    struct jobs *store;          /* borrowed until api_free() */
    void (*on_order)(void *arg); /* a new order waits */
    void *arg;
};

/* Checks the route table first: a route without a rule of who may call it does not start.
 * Errors: ERR_NOMEM, ERR_ILLEGAL. */
NODISCARD enum err api_new(struct api **out, const struct api_parts *parts, struct err_info *info);

/* Long polls are answered now, and from now on at once. */
void api_stop(struct api *a);

/* The listener must be closed before, and the store's jobs done. */
void api_free(struct api *a);

/* The httpd handler of the device listener. */
void api_on_device_request(void *api, struct httpd_req *r);

/* Reads the files of keys and devices again, in a thread of its own. */
void api_reload_lists(struct api *a);

/* Appends the metrics. Errors are those of `out`. */
void api_write_metrics(const struct api *a, struct buf *out);

/* The orders of a device have changed: answers those who wait for it. */
void api_on_change(void *api, const char *device_id);

#endif
