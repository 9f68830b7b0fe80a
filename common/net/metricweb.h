/* metricweb.h - the page that Prometheus reads, /metrics, over plain HTTP: for a loopback or
 * management address. One loop, its thread. */
#ifndef LANYARD_NET_METRICWEB_H
#define LANYARD_NET_METRICWEB_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/loop.h"

struct metricweb; /* opaque */

/* Serves on the listening socket *fd, which becomes -1: taken over; one that is not on a loopback
 * or private address is worth a line in the log. write(out, arg) appends the text, on the loop, for
 * each request. Errors: ERR_NOMEM, ERR_IO. */
NODISCARD enum err metricweb_new(struct metricweb **out, struct loop *l, int *fd,
                                 void (*write)(struct buf *out, void *arg), void *arg);

/* Closes everything at once. NULL does nothing. */
void metricweb_free(struct metricweb *w);

#endif
