/* page.h - the device's page: what `status` says, as HTML that needs neither scripts nor the
 * Internet. Everything in it is escaped. Pure; any thread. */
#ifndef LANYARD_AGENT_PAGE_H
#define LANYARD_AGENT_PAGE_H

#include <jansson.h>

#include "agent/events.h"
#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define PAGE_MAX (256 * 1024) /* bytes: make `out` this large */

/* Appends the page for `status` (see status_to_json()). Errors: ERR_LIMIT, ERR_NOMEM. */
NODISCARD enum err page_render(struct buf *out, const json_t *status, const struct events *events);

#endif
