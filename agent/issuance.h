/* issuance.h - gets the certificate, keeps it, renews it: walks the table of core/lifecycle.h with
 * the service on one side and the disk on the other. The state is stored before it is acted on.
 * One loop, its thread; blocks for disk and, with RSA, for the making of a key. */
#ifndef LANYARD_AGENT_ISSUANCE_H
#define LANYARD_AGENT_ISSUANCE_H

#include <stdbool.h>

#include "agent/certstore.h"
#include "agent/config.h"
#include "agent/core/answer.h"
#include "agent/identity.h"
#include "agent/journal.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"

#define ISSUANCE_NAME_MAX 256

struct issuance; /* opaque */

struct issuance_options {
    const struct config *config;       /* borrowed; see issuance_set_config() */
    const struct identity *identity;   /* borrowed */
    struct fetch *pool;                /* api_pool_new(); borrowed */
    struct truetime *time;             /* borrowed; NULL: the clock's */
    void (*on_certificate)(void *arg); /* a new set is in place: issuance_current() */
    void (*on_state)(void *arg);       /* what the facts below say has changed; NULL: not told */
    void (*on_clock)(void *arg);       /* the time is another than it was taken to be */
    void *arg;
};

/* Reads what is on disk. Nothing is sent before issuance_start(). Errors: ERR_CONFIG, ERR_IO and
 * the like with a sentence. A damaged or missing certificate is not an error: it is replaced. */
NODISCARD enum err issuance_new(struct issuance **out, struct loop *l,
                                const struct issuance_options *o, struct err_info *info);

/* Goes on where the last run stopped. */
void issuance_start(struct issuance *s);

/* The set in place; NULL when there is none. Borrowed until the next on_certificate call. */
const struct certset *issuance_current(const struct issuance *s);

/* What is remembered, for status. Borrowed. */
const struct journal *issuance_journal(const struct issuance *s);

/* What the service last said about the order; "" when nothing. Borrowed. */
const char *issuance_detail(const struct issuance *s);

/* Why what is remembered could not be stored; "" when it was. Borrowed. */
const char *issuance_storage(const struct issuance *s);

/* Unix seconds of the next step; 0: it is under way. */
int64_t issuance_next_at(const struct issuance *s);

/* The network is another: an exchange that is under way is begun anew, since nothing may come of
 * it. Safe at any time: what is asked twice is done once. */
void issuance_reconnect(struct issuance *s);

/* "*.<id>.<zone>". */
const char *issuance_name(const struct issuance *s);

/* Notes the result of the reload command, on disk as well. */
void issuance_note_hook(struct issuance *s, const struct hook_result *r);

/* The service said with an answer to something else when to renew: what GET /v1/renewal would have
 * said. It will do so again in `again_s`, so that there is no need to ask before. */
void issuance_note_renewal(struct issuance *s, const struct answer *a, int64_t again_s);

/* Gets a new certificate now; without one in place, tries again at once. */
void issuance_renew(struct issuance *s);

/* Asks the service to delete the device, then removes identity, keys and certificates. With `force`
 * they are removed whatever the service says. fn(arg, e, info) is called once, later: after ERR_OK
 * nothing more happens; otherwise everything is as before. */
void issuance_forget(struct issuance *s, bool force,
                     void (*fn)(void *arg, enum err e, const struct err_info *info), void *arg);

/* Uses `c` from now on (same server, zone and state_dir). */
void issuance_set_config(struct issuance *s, const struct config *c);

void issuance_free(struct issuance *s);

#endif
