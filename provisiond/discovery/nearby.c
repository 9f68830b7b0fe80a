/* nearby.c - GET /v1/nearby: the devices that let themselves be found, and were seen behind the
 * same public address as who asks. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "provisiond/discovery/lookup.h"
#include "provisiond/store/report.h"

#define NEARBY_MAX 32 /* devices */

struct found {
    size_t n;
    char ids[NEARBY_MAX][DEVID_LEN + 1];
};

static void add_found(void *arg, struct report_row *row)
{
    struct found *f = arg;
    if (f->n < NEARBY_MAX)
        memcpy(f->ids[f->n++], row->device, sizeof row->device);
}

static enum err run(struct job *j, void *ctx)
{
    struct visit *v = (struct visit *)j;
    struct found f = { .n = 0 };
    char network[NETWORK_TEXT_MAX];
    int64_t now_s = clock_now_s();
    network_text(&v->from, network);
    enum err e = report_each_near(ctx, network, now_s - OBSERVED_PROVEN_S, NEARBY_MAX, add_found,
                                  &f, &j->info);
    return e == ERR_OK ? lookup_devices(v, ctx, f.ids, f.n, now_s) : e;
}

static void done(struct job *j, enum err e)
{
    struct visit *v = (struct visit *)j;
    if (e == ERR_OK)
        lookup_respond(v);
    else
        visit_store_failed(v, e);
}

void visit_nearby(struct visit *v)
{
    visit_store(v, run, done);
}
