/* keyfile.h - the private keys of signed zones as files, and where each is in its life.
 *
 * The files are BIND's: K<zone>.+013+<tag>.private, format v1.3 with its times, so that ldns and
 * BIND's tools read them. A key is made, published (others may see it), active (it signs), inactive
 * (it no longer signs, but is still seen) and retired, at the times in its file. Blocking; start-up
 * and reload, and `lanyard-dnsd key`. */
#ifndef LANYARD_DNSD_KEYFILE_H
#define LANYARD_DNSD_KEYFILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "dnsd/core/keyring.h"

#define KEYFILE_NAME_MAX 256
#define KEYFILES_MAX 64 /* keys of one zone, retired ones included */

enum keyfile_state {
    KEYFILE_MADE,
    KEYFILE_PUBLISHED,
    KEYFILE_ACTIVE,
    KEYFILE_INACTIVE,
    KEYFILE_RETIRED
};

/* When a key gets to a state; 0 is not yet planned. */
struct keyfile {
    uint16_t tag;
    uint8_t secret[SIGN_SECRET_LEN];
    int64_t made_s;
    int64_t at_s[KEYFILE_RETIRED + 1]; /* by state; [KEYFILE_MADE] is not used */
};

/* The keys of a zone. */
struct keyfiles {
    size_t n;
    struct keyfile at[KEYFILES_MAX];
};

/* The word for a state, such as "active". */
const char *keyfile_state_name(enum keyfile_state s);

enum keyfile_state keyfile_state(const struct keyfile *k, int64_t now_s);

/* Reads the keys of the zone whose name in text is `zone` in the folder `dir`, in the order of
 * their tags. The caller clears and frees *out by keyfiles_free(). Errors: ERR_CONFIG with the file
 * and what is wrong: one that others may read, that is broken, or that is not the key of its tag;
 * ERR_NOMEM. */
NODISCARD enum err keyfiles_read(struct keyfiles **out, const char *dir, const char *zone,
                                 struct err_info *info);
void keyfiles_free(struct keyfiles *k);

/* Makes a new key into *out, in memory. Errors: ERR_CRYPTO, ERR_NOMEM. */
NODISCARD enum err keyfile_make(struct keyfile *out, int64_t now_s);

/* Writes the key, mode 0600; `replace` says that its file is there already. Errors: of
 * file_write_atomic(). */
NODISCARD enum err keyfile_write(const struct keyfile *k, const char *dir, const char *zone,
                                 bool replace, struct err_info *info);

/* The ring of a zone at `now_s`; the caller frees it by keyring_free(). Errors: as keyfiles_read(),
 * and ERR_CONFIG when no key is active, too many are seen, or one was made later than now. */
NODISCARD enum err keyfile_ring(struct keyring **out, const char *dir, const char *zone,
                                int64_t now_s, struct err_info *info);

#endif
