/* pagefiles.h - the companion page and library below /companion/: the files of one folder, read at
 * start and served from memory, so that no request leads to a path. The page runs nothing that is
 * not in the folder, asks only this service and the names of the configured zones, and is framed by
 * nobody. The library may be imported by pages of any origin. One loop, its thread. */
#ifndef LANYARD_PROVISIOND_DISCOVERY_PAGEFILES_H
#define LANYARD_PROVISIOND_DISCOVERY_PAGEFILES_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/httpd.h"
#include "provisiond/config.h"

struct pagefiles; /* opaque */

/* Reads the folder that the configuration names, or the installed one where that is there. Files of
 * a type that is not known, and what begins with a dot, are left out. Blocking: at start.
 * Errors: ERR_NOMEM, ERR_CONFIG when it cannot be read or is larger than it may be. */
NODISCARD enum err pagefiles_new(struct pagefiles **out, const struct config *config,
                                 struct err_info *info);
void pagefiles_free(struct pagefiles *p);

/* Whether the request is for these, by its path. */
bool pagefiles_has(const struct httpd_req *r);

/* The httpd handler of such requests. */
void pagefiles_on_request(const struct pagefiles *p, struct httpd_req *r);

#endif
