/* guardfiles.h - the files of tag keys, suspended ids and accounts behind the guards of a view:
 * read at start and reload, then watched. One that changed is read again, alone, into a renewed
 * view; one that is wrong or gone leaves what was read before in force. The main thread's. */
#ifndef LANYARD_DNSD_GUARDFILES_H
#define LANYARD_DNSD_GUARDFILES_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/view.h"

#define GUARDFILES_POLL_MS 1000 /* between two calls of guardfiles_poll() */

enum guardfile_kind { GUARDFILE_TAG_KEYS, GUARDFILE_SUSPENDED, GUARDFILE_PERSIST };

struct guardfiles; /* opaque */

/* None yet. `user` is whom the process becomes after binding, or NULL: a file of keys may belong to
 * that user too. The caller owns *out and calls guardfiles_free(). Errors: ERR_NOMEM. */
NODISCARD enum err guardfiles_new(struct guardfiles **out, const char *user);

void guardfiles_free(struct guardfiles *g);

/* Reads the file at `path` for zone number `zone` of `v`, which is not published yet, and
 * remembers it. A list of suspended ids that is not there (but its folder is) is an empty one, with
 * a line in the log. Errors: ERR_CONFIG with "PATH:LINE: ..." for what is in it; ERR_NOTFOUND,
 * ERR_DENIED, ERR_IO for the file itself; ERR_NOMEM. */
NODISCARD enum err guardfiles_add(struct guardfiles *g, struct view *v, uint32_t zone,
                                  enum guardfile_kind kind, const char *path,
                                  struct err_info *info);

/* Whether a list of suspended ids that `before` had read is not there for `g`, made anew:
 * ERR_CONFIG with which. Whoever is suspended stays so, whatever happens to the file. */
NODISCARD enum err guardfiles_check_kept(const struct guardfiles *g,
                                         const struct guardfiles *before, struct err_info *info);

/* Looks whether files changed. A change has to be a poll old, so that nobody is caught writing; or
 * five, if they never stop. One that the system cannot read is tried again at each poll. *out is
 * then a renewed view of `v`, NULL otherwise. */
void guardfiles_poll(struct guardfiles *g, const struct view *v, struct view **out);

#endif
