/* access.h - who may read the six files of a certificate: owner, group and mode of each. Only root
 * gives a file to another user; everybody else, to a group of their own. One thread. */
#ifndef LANYARD_AGENT_ACCESS_H
#define LANYARD_AGENT_ACCESS_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "agent/forms.h"
#include "common/base/attr.h"
#include "common/base/err.h"

/* Of one file. */
struct access_rule {
    uid_t owner; /* (uid_t)-1: the agent's user */
    gid_t group; /* (gid_t)-1: the agent's */
    mode_t mode;
};

struct access {
    struct access_rule of[FORM_N];
};

/* What holds the key is for the agent's user alone, the rest for everybody who gets at it. */
extern const struct access ACCESS_PRIVATE;

/* The form whose file is called `name`. Errors: ERR_NOTFOUND. */
NODISCARD enum err access_find(const char *name, enum form_kind *out);

/* Sets one part of a rule from the text of the configuration; NULL and "" leave it.
 * Errors: ERR_CONFIG with what is wrong, and what would be right. */
NODISCARD enum err access_set_owner(struct access *a, enum form_kind form, const char *user,
                                    struct err_info *info);
NODISCARD enum err access_set_group(struct access *a, enum form_kind form, const char *group,
                                    struct err_info *info);
NODISCARD enum err access_set_mode(struct access *a, enum form_kind form, const char *mode,
                                   struct err_info *info);

/* Whether this process, as the user that it is now, can do as the rules say.
 * Errors: ERR_CONFIG with what to do about it. */
NODISCARD enum err access_check(const struct access *a, struct err_info *info);

/* Whether other users are meant to reach the files, and so through the folders above them. */
bool access_is_shared(const struct access *a);

/* Whether somebody may read, or change, a file of form `form` that is as `st` says, who may not by
 * `a`. Root and the agent's user always may. */
bool access_is_wider(const struct access *a, enum form_kind form, const struct stat *st);

/* Whether a file with the key in folder `dir` is wider than `a`. */
bool access_has_exposed_key(const struct access *a, const char *dir);

/* Gives the six files in `dir` what their rules say, as far as they have not got it, and syncs
 * them; at no moment may anybody read who may neither before nor after. Errors: ERR_DENIED,
 * ERR_IO, ERR_NOTFOUND. */
NODISCARD enum err access_give(const struct access *a, const char *dir, struct err_info *info);

/* Closes to all but the agent what is wider in `dir` than `a`, and opens nothing. Errors: as
 * above, but a file that is not there is none; the others are closed all the same. */
NODISCARD enum err access_narrow(const struct access *a, const char *dir, struct err_info *info);

#endif
