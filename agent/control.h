/* control.h - the local socket through which the commands talk to the daemon: the client sends one
 * line, a command; the daemon answers with one JSON object and closes. Mode 0600: whoever may use
 * it could read the keys anyway. Server: one loop, its thread. Client: blocking. */
#ifndef LANYARD_AGENT_CONTROL_H
#define LANYARD_AGENT_CONTROL_H

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/loop.h"

#define CONTROL_REPLY_MAX (256 * 1024) /* bytes */

struct control;     /* the listener; opaque */
struct control_req; /* one request, until it is answered; opaque */

/* Called for each complete line. The handler answers now or later with control_reply(). */
typedef void control_handler(void *arg, struct control_req *req, const char *command);

/* Listens at `path`. Errors: those of listen_unix(), ERR_NOMEM. */
NODISCARD enum err control_new(struct control **out, struct loop *l, const char *path,
                               control_handler *fn, void *arg, struct err_info *info);

/* Sends `reply` (its reference is taken) and gives up `req`, whether the client is there or not. */
void control_reply(struct control_req *req, json_t *reply);

/* Closes everything and removes the socket. Replies on their way get a last chance to leave. */
void control_free(struct control *c);

/* Sends `command` to the daemon at `path` and parses its reply, waiting at most `timeout_ms`. The
 * caller calls json_decref(*out). Errors: ERR_UNAVAILABLE when no daemon listens there, ERR_DENIED,
 * ERR_TIMEOUT, ERR_REMOTE. */
NODISCARD enum err control_ask(json_t **out, const char *path, const char *command,
                               int64_t timeout_ms, struct err_info *info);

#endif
