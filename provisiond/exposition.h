/* exposition.h - all numbers of the service as Prometheus reads them. No id, address, name of a
 * device or token is ever a label. The loop's thread. */
#ifndef LANYARD_PROVISIOND_EXPOSITION_H
#define LANYARD_PROVISIOND_EXPOSITION_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/net/httpd.h"
#include "provisiond/api/api.h"
#include "provisiond/config.h"
#include "provisiond/discovery/discovery.h"
#include "provisiond/engine.h"
#include "provisiond/fleetcount.h"
#include "provisiond/owncert.h"
#include "provisiond/store/jobs.h"

struct exposition {
    const struct config *config;
    const struct httpd_counts *device, *public_; /* NULL: not served */
    const struct jobs_counts *store, *challenges;
    const struct api *api;
    const struct discovery *discovery;
    const struct engine *engine;
    const struct fleetcount *fleet;
    const struct owncert *owncert;
    int64_t started_s; /* Unix seconds */
    uint64_t reloads, reloads_failed;
};

/* Appends the text. Errors are those of `out`. */
void exposition_write(struct buf *out, const struct exposition *e);

#endif
