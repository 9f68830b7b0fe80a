/* listeners.h - the sockets that a configuration asks for: those of its proxies, then those of its
 * pages. Bound before anything else, while privileged ports can still be had. One thread. */
#ifndef LANYARD_AGENT_LISTENERS_H
#define LANYARD_AGENT_LISTENERS_H

#include <stddef.h>

#include "agent/config.h"
#include "common/base/attr.h"
#include "common/base/err.h"

size_t listeners_count(const struct config *c);

/* Binds them all into `fds`, or none. Errors: ERR_CONFIG with FILE:LINE. */
NODISCARD enum err listeners_bind(const struct config *c, int fds[CONFIG_LISTENERS_MAX],
                                  struct err_info *info);

/* Closes the first `n`. */
void listeners_close(const int *fds, size_t n);

#endif
