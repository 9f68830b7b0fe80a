#include "agent/identity.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/issued.h"
#include "agent/statedir.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

void identity_clear(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    *id = (struct identity){ 0 };
}

enum err identity_load(struct identity *out, const char *state_dir, bool make,
                       struct err_info *info)
{
    char path[PATH_MAX];
    struct identity id = { 0 };
    enum err e = statedir_path(path, state_dir, "identity.pem", info);
    if (e == ERR_OK)
        e = make ? key_load_or_make(&id.key, path, KEY_P256, info) : key_load(&id.key, path, info);
    if (e != ERR_OK)
        return e;
    /* a device that lost its time still needs a certificate that is valid for everybody else */
    int64_t now_s = clock_now_s();
    if (now_s < ISSUED_CLOCK_FLOOR_S)
        now_s = ISSUED_CLOCK_FLOOR_S;
    e = devid_from_key(&id.id, id.key);
    if (e == ERR_OK)
        e = cert_new_identity(&id.cert, id.key, now_s);
    if (e != ERR_OK) {
        identity_clear(&id);
        return err_set(info, e, "%s holds a key that cannot be an identity", path);
    }
    *out = id;
    return ERR_OK;
}

enum err identity_remove(const char *state_dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, "identity.pem", info);
    if (e != ERR_OK)
        return e;
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(info, err_from_errno(errno), "cannot remove %s: %s", path, strerror(errno));
    return file_sync_dir(state_dir, info);
}
