#include "common/net/privdrop.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/secret.h"

enum err privdrop_to(const char *user, struct err_info *info)
{
    if (user == NULL || user[0] == 0 || geteuid() != 0)
        return ERR_OK;
    errno = 0;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL)
        return err_set(info, ERR_CONFIG, "there is no user '%s': make it (adduser --system %s)",
                       user, user);
    if (initgroups(user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
        return err_set(info, ERR_DENIED, "cannot become user '%s': %s", user, strerror(errno));
    if (pw->pw_uid != 0 && setuid(0) == 0)
        return err_set(info, ERR_DENIED, "root was not given up");
    secret_harden_process(); /* changing user made the process dumpable again */
    return ERR_OK;
}

enum err privdrop_capabilities(struct err_info *info)
{
    struct __user_cap_header_struct self = { .version = _LINUX_CAPABILITY_VERSION_3 };
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
    struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3];
    if (geteuid() == 0)
        return ERR_OK;
    /* without any there is nothing to ask of a filter of system calls that may refuse it */
    if (syscall(SYS_capget, &self, held) == 0 && memcmp(held, none, sizeof none) == 0)
        return ERR_OK;
    if (syscall(SYS_capset, &self, none) == 0)
        return ERR_OK;
    return err_set(info, ERR_DENIED, "cannot give up capabilities: %s", strerror(errno));
}

void privdrop_warn_root(void)
{
    if (geteuid() == 0)
        log_warn("this stays root, which a fault in it would give away: set user, whom it becomes "
                 "once it listens");
}
