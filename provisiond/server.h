/* server.h - the running service: everything that main() starts and stops. */
#ifndef LANYARD_PROVISIOND_SERVER_H
#define LANYARD_PROVISIOND_SERVER_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "provisiond/config.h"

/* Binds, drops privileges, opens the stores, serves until SIGTERM or SIGINT, and ends cleanly: what
 * is under way at a CA goes on at the next start. Errors come before anything is served, with a
 * sentence that says what to do. */
NODISCARD enum err server_run(const struct config *config, struct err_info *info);

#endif
