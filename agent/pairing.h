/* pairing.h - the short code that the device shows, so that who reads it can have the device shown
 * in a browser elsewhere: asked of the service when somebody wants one, kept until it ends, never
 * on disk and never in a log. One loop, its thread. */
#ifndef LANYARD_AGENT_PAIRING_H
#define LANYARD_AGENT_PAIRING_H

#include <jansson.h>

#include "agent/identity.h"
#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/fetch.h"
#include "common/net/loop.h"

struct pairing; /* opaque */

/* Of the service `server` over `pool` (borrowed), as api_new(). Asks nothing yet. Errors:
 * ERR_NOMEM.
 */
NODISCARD enum err pairing_new(struct pairing **out, struct loop *l, struct fetch *pool,
                               const char *server);

/* Called once when it is done: `text` is a sentence for a person, borrowed. */
typedef void pairing_fn(void *arg, bool ok, const char *text);

/* Has the service make a code, which takes the place of the one before; within a few seconds of one
 * that is still good, that one stays. fn is called later or at once. One at a time: ERR_AGAIN when
 * something is under way, and fn is not called. */
NODISCARD enum err pairing_ask(struct pairing *p, pairing_fn *fn, void *arg);

/* Has the service forget everybody whom a code has let in. As pairing_ask(). */
NODISCARD enum err pairing_revoke(struct pairing *p, pairing_fn *fn, void *arg);

/* Who asked is gone: its fn is not called. What was asked for goes on. */
void pairing_leave(struct pairing *p, void *arg);

/* At `now_s`: {"code", "expires_at" (Unix seconds)} while there is one, {"error"} when the last one
 * was not had, or null; a new reference. */
json_t *pairing_to_json(const struct pairing *p, int64_t now_s);

void pairing_free(struct pairing *p);

#endif
