/* tagkeys.h - the file with a zone's tag keys, the same that dnsd reads. Start-up only; blocking.
 */
#ifndef LANYARD_PROVISIOND_TAGKEYS_H
#define LANYARD_PROVISIOND_TAGKEYS_H

#include "common/base/attr.h"
#include "common/dns/tag.h"

/* Reads `path`, which must be closed to others and belong to root, this user or `user` (NULL: this
 * one). *out is the caller's, who calls tagkeys_free(). Errors: ERR_CONFIG, ERR_DENIED and the like
 * with a sentence; ERR_NOMEM. */
NODISCARD enum err tagkeys_read(struct tag_keys **out, const char *path, const char *user,
                                struct err_info *info);

/* Wipes and frees; NULL does nothing. */
void tagkeys_free(struct tag_keys *keys);

#endif
