/* exposition.h - the relay's numbers in the text that Prometheus reads: by zone, never by device or
 * address. The loop's thread. */
#ifndef LANYARD_PROVISIOND_RELAY_EXPOSITION_H
#define LANYARD_PROVISIOND_RELAY_EXPOSITION_H

#include "common/base/buf.h"
#include "provisiond/relay/hub.h"

void exposition_write(struct buf *out, const struct hub *h);

#endif
