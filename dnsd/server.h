/* server.h - the running daemon: sockets, threads, reload. The main thread's. */
#ifndef LANYARD_DNSD_SERVER_H
#define LANYARD_DNSD_SERVER_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/config.h"

struct server; /* opaque */

/* Binds every socket of `config`, which is borrowed for as long as the server lives, except for its
 * view, which is taken. No thread runs yet. `path` is the configuration file, read again at reload;
 * borrowed. Errors: ERR_CONFIG with "FILE:LINE: ..." for an address that cannot be bound. */
NODISCARD enum err server_new(struct server **out, struct config *config, const char *path,
                              struct err_info *info);

/* Starts the threads, and returns after SIGTERM or SIGINT, when they have ended. SIGHUP reloads; it
 * may be blocked until here, and is unblocked. */
NODISCARD enum err server_run(struct server *s, struct err_info *info);

void server_free(struct server *s);

#endif
