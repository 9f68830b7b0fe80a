/* privdrop.h - give up root after binding. Call before any thread is started. */
#ifndef LANYARD_NET_PRIVDROP_H
#define LANYARD_NET_PRIVDROP_H

#include "common/base/attr.h"
#include "common/base/err.h"

/* Becomes `user` (its primary group, no supplementary ones but those the account has). NULL or ""
 * keeps the present user. Does nothing when not root, and checks that root cannot be regained.
 * Errors: ERR_CONFIG for an unknown user, ERR_DENIED. */
NODISCARD enum err privdrop_to(const char *user, struct err_info *info);

/* Says in the log that this is root, if it is: once a program that faces the Internet is ready. */
void privdrop_warn_root(void);

/* Gives up every capability, of which the service manager may have given some for what was done so
 * far. Does nothing as root, who has them all. Errors: ERR_DENIED. */
NODISCARD enum err privdrop_capabilities(struct err_info *info);

#endif
