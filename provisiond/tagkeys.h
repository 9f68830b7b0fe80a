/* tagkeys.h - the file with a zone's tag keys, the same that dnsd reads, and the names that they
 * make. The file can be read again at any time. Reading blocks; any thread. */
#ifndef LANYARD_PROVISIOND_TAGKEYS_H
#define LANYARD_PROVISIOND_TAGKEYS_H

#include "common/base/attr.h"
#include "common/dns/tag.h"

struct tagkeys; /* opaque */

/* Reads `path`, which must be closed to others and belong to root, this user or `user` (NULL: this
 * one). *out is the caller's, who calls tagkeys_free(). Errors: ERR_CONFIG, ERR_DENIED and the like
 * with a sentence; ERR_NOMEM. */
NODISCARD enum err tagkeys_new(struct tagkeys **out, const char *path, const char *user,
                               struct err_info *info);

/* Reads the file again; on an error, those of tagkeys_new(), the keys stay as they were. */
NODISCARD enum err tagkeys_reload(struct tagkeys *k, const char *user, struct err_info *info);

/* The label of the public address `ip` of the device `id`, by the first key: tag_label(). */
void tagkeys_label(struct tagkeys *k, char out[TAG_LABEL_MAX], struct span id, const struct ip *ip);

/* Wipes and frees; NULL does nothing. */
void tagkeys_free(struct tagkeys *k);

#endif
