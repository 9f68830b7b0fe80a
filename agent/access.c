#include "agent/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

#define NOBODY ((uid_t)-1) /* as chown(2) has it: no change */
#define NO_GROUP ((gid_t)-1)
#define GROUPS_MAX 256
#define KEY_MODE_MAX 0640
#define MODE_MAX 0644

#define PRIVATE(m)                                                                                 \
    {                                                                                              \
        .owner = NOBODY, .group = NO_GROUP, .mode = (m)                                            \
    }

const struct access ACCESS_PRIVATE = { .of = {
                                           [FORM_PRIVKEY] = PRIVATE(0600),
                                           [FORM_CERT] = PRIVATE(0644),
                                           [FORM_CHAIN] = PRIVATE(0644),
                                           [FORM_FULLCHAIN] = PRIVATE(0644),
                                           [FORM_COMBINED] = PRIVATE(0600),
                                           [FORM_BUNDLE] = PRIVATE(0600),
                                       } };

enum err access_find(const char *name, enum form_kind *out)
{
    for (int i = 0; i < FORM_N; i++) {
        if (strcmp(FORMS[i].name, name) == 0) {
            *out = (enum form_kind)i;
            return ERR_OK;
        }
    }
    return ERR_NOTFOUND;
}

enum err access_set_owner(struct access *a, enum form_kind form, const char *user,
                          struct err_info *info)
{
    if (user == NULL || user[0] == 0)
        return ERR_OK;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL)
        return err_set(info, ERR_CONFIG, "there is no user %.64s", user);
    a->of[form].owner = pw->pw_uid;
    return ERR_OK;
}

enum err access_set_group(struct access *a, enum form_kind form, const char *group,
                          struct err_info *info)
{
    if (group == NULL || group[0] == 0)
        return ERR_OK;
    const struct group *gr = getgrnam(group);
    if (gr == NULL)
        return err_set(info, ERR_CONFIG, "there is no group %.64s", group);
    a->of[form].group = gr->gr_gid;
    return ERR_OK;
}

enum err access_set_mode(struct access *a, enum form_kind form, const char *mode,
                         struct err_info *info)
{
    if (mode == NULL || mode[0] == 0)
        return ERR_OK;
    unsigned long max = FORMS[form].has_key ? KEY_MODE_MAX : MODE_MAX, bits = 0;
    if (strlen(mode) == 4 && strspn(mode, "01234567") == 4)
        bits = strtoul(mode, NULL, 8);
    if ((bits & 0400) == 0 || (bits & ~max) != 0)
        return err_set(info, ERR_CONFIG,
                       FORMS[form].has_key
                           ? "\"%.16s\" is not a mode for a file with the key: 0400 to 0640, "
                             "nothing for others"
                           : "\"%.16s\" is not a mode for a certificate: 0400 to 0644",
                       mode);
    a->of[form].mode = (mode_t)bits;
    return ERR_OK;
}

static bool is_ours(gid_t group)
{
    gid_t groups[GROUPS_MAX];
    int n = getgroups(GROUPS_MAX, groups);
    for (int i = 0; i < n; i++) {
        if (groups[i] == group)
            return true;
    }
    return group == getegid();
}

enum err access_check(const struct access *a, struct err_info *info)
{
    if (geteuid() == 0)
        return ERR_OK;
    for (int i = 0; i < FORM_N; i++) {
        const struct access_rule *r = &a->of[i];
        if (r->owner != NOBODY && r->owner != geteuid())
            return err_set(info, ERR_CONFIG,
                           "file \"%s\": only root can give a file to another owner: use group "
                           "instead, or run the agent as root and without `user`",
                           FORMS[i].name);
        if (r->group != NO_GROUP && !is_ours(r->group)) {
            const struct group *gr = getgrgid(r->group);
            return err_set(info, ERR_CONFIG,
                           "file \"%s\": the agent's user (uid %u) is not in group %s: add it "
                           "(adduser, or SupplementaryGroups= of the unit), and start again",
                           FORMS[i].name, (unsigned)geteuid(), gr != NULL ? gr->gr_name : "?");
        }
    }
    return ERR_OK;
}

bool access_is_shared(const struct access *a)
{
    return memcmp(a, &ACCESS_PRIVATE, sizeof *a) != 0;
}

enum err access_give(const struct access *a, enum form_kind form, int fd, const char *path,
                     struct err_info *info)
{
    const struct access_rule *r = &a->of[form];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(info, err_from_errno(errno), "cannot stat %s: %s", path, strerror(errno));
    bool moves = (r->owner != NOBODY && r->owner != st.st_uid) ||
                 (r->group != NO_GROUP && r->group != st.st_gid);
    /* the mode last: never open to a group that it was not meant for */
    if ((moves && fchown(fd, r->owner, r->group) != 0) ||
        ((st.st_mode & 07777) != r->mode && fchmod(fd, r->mode) != 0))
        return err_set(info, err_from_errno(errno), "cannot set owner, group and mode of %s: %s",
                       path, strerror(errno));
    return ERR_OK;
}
