/* report.h - tells the service what this device says about itself (announce.h): at the start, soon
 * after a change, and now and then when nothing changes. Over IPv4 and over IPv6, since an address
 * is proven by a connection from it. Failures wait as the issuance does, also over a restart. One
 * loop, its thread; blocks for disk when a name or a wait changes. */
#ifndef LANYARD_AGENT_REPORT_H
#define LANYARD_AGENT_REPORT_H

#include <stdbool.h>

#include <jansson.h>

#include "agent/config.h"
#include "agent/core/answer.h"
#include "agent/core/relaygrant.h"
#include "agent/core/reported.h"
#include "agent/core/truetime.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"
#include "common/pki/devid.h"

struct report; /* opaque */

struct report_options {
    const struct config *config; /* this and all below: borrowed; see report_set_config() */
    struct fetch *pool;
    const struct truetime *time;
    const struct devid *id;
    /* The body, heap, NULL when out of memory; `lasting`: without what is no news by itself. */
    char *(*compose)(void *arg, bool lasting);
    void (*on_answer)(void *arg, const struct answer *a); /* the service has taken a report */
    void (*on_failed)(void *arg);                         /* it got through by no way */
    void *arg;
};

/* Reads what is remembered. Nothing is sent before report_set_enrolled(). Errors: ERR_NOMEM. */
NODISCARD enum err report_new(struct report **out, struct loop *l, const struct report_options *o);

/* Whether the service knows the device: from then on it is told, until it is false. */
void report_set_enrolled(struct report *r, bool enrolled);

/* Something may have changed: when the body is another than before, or the gateway is, it is sent
 * within a second, but for what core/pace.h says. */
void report_changed(struct report *r);

/* The same though nothing has changed: what the service answered last may not hold any more. Not
 * while reports fail, which are tried again anyway. */
void report_ask(struct report *r);

/* The relay that the service named last, also before this start, with a ticket that holds.
 * Errors: ERR_NOTFOUND, ERR_INVALID; *out is then untouched. */
NODISCARD enum err report_relay(const struct report *r, struct relaygrant *out);

/* The names of public addresses, as last told. Borrowed until the next on_answer call. */
const struct reported *report_last(const struct report *r);

/* For `status --json`; the caller's. NULL when out of memory. */
json_t *report_to_json(const struct report *r);

void report_set_config(struct report *r, const struct config *c);

void report_free(struct report *r);

#endif
