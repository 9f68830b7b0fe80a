#include "agent/access.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/statedir.h"

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

bool access_is_wider(const struct access *a, enum form_kind form, const struct stat *st)
{
    const struct access_rule *r = &a->of[form];
    gid_t group = r->group != NO_GROUP ? r->group : getegid();
    bool for_all = (r->mode & 0004) != 0;
    if ((st->st_mode & 0022) != 0 || ((st->st_mode & 0004) != 0 && !for_all))
        return true;
    if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != r->owner)
        return true;
    bool for_its_group = (r->mode & 0040) != 0 && st->st_gid == group;
    return (st->st_mode & 0040) != 0 && !for_all && !for_its_group;
}

static enum err complain(struct err_info *info, const char *what, const char *path)
{
    int errnum = errno;
    return err_set(info, err_from_errno(errnum), "cannot %s %s: %s", what, path, strerror(errnum));
}

/* Gives `fd`, which is as `st` says, what the rule says. */
static enum err apply(const struct access_rule *r, int fd, const struct stat *st, const char *path,
                      struct err_info *info)
{
    uid_t owner = r->owner;
    gid_t group = r->group;
    mode_t mode = st->st_mode & 07777;
    if (owner == NOBODY && st->st_uid != 0)
        owner = geteuid();
    if (group == NO_GROUP && (r->mode & 0044) == 0040)
        group = getegid();
    bool moves =
        (owner != NOBODY && owner != st->st_uid) || (group != NO_GROUP && group != st->st_gid);
    if (!moves && mode == r->mode)
        return ERR_OK;
    /* in between for nobody whom it was not for, nor will be */
    if (moves && (mode & ~r->mode) != 0) {
        mode &= r->mode;
        if (fchmod(fd, mode) != 0)
            return complain(info, "set the mode of", path);
    }
    if (moves && fchown(fd, owner, group) != 0)
        return complain(info, "set owner and group of", path);
    if (mode != r->mode && fchmod(fd, r->mode) != 0)
        return complain(info, "set the mode of", path);
    return fsync(fd) == 0 ? ERR_OK : complain(info, "sync", path);
}

/* Opens a file of form `form` in `dir`. */
static enum err open_form(int *fd, char path[PATH_MAX], struct stat *st, const char *dir,
                          enum form_kind form, struct err_info *info)
{
    enum err e = statedir_path(path, dir, FORMS[form].name, info);
    if (e != ERR_OK)
        return e;
    *fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return complain(info, "open", path);
    if (fstat(*fd, st) == 0)
        return ERR_OK;
    close(*fd);
    return complain(info, "stat", path);
}

bool access_has_exposed_key(const struct access *a, const char *dir)
{
    bool exposed = false;
    for (int i = 0; i < FORM_N; i++) {
        char path[PATH_MAX];
        struct stat st;
        if (FORMS[i].has_key && statedir_path(path, dir, FORMS[i].name, NULL) == ERR_OK &&
            stat(path, &st) == 0)
            exposed = exposed || access_is_wider(a, (enum form_kind)i, &st);
    }
    return exposed;
}

enum err access_give(const struct access *a, const char *dir, struct err_info *info)
{
    enum err e = ERR_OK;
    for (int i = 0; e == ERR_OK && i < FORM_N; i++) {
        char path[PATH_MAX];
        struct stat st;
        int fd;
        e = open_form(&fd, path, &st, dir, (enum form_kind)i, info);
        if (e != ERR_OK)
            return e;
        e = apply(&a->of[i], fd, &st, path, info);
        close(fd);
    }
    return e;
}

enum err access_narrow(const struct access *a, const char *dir, struct err_info *info)
{
    enum err first = ERR_OK;
    for (int i = 0; i < FORM_N; i++) {
        char path[PATH_MAX];
        struct stat st;
        struct err_info why;
        int fd;
        enum err e = open_form(&fd, path, &st, dir, (enum form_kind)i, &why);
        if (e == ERR_OK) {
            const struct access_rule alone = { NOBODY, NO_GROUP, a->of[i].mode & 0700 };
            if (access_is_wider(a, (enum form_kind)i, &st))
                e = apply(&alone, fd, &st, path, &why);
            close(fd);
        }
        if (e != ERR_OK && e != ERR_NOTFOUND && first == ERR_OK) {
            first = e;
            *info = why;
        }
    }
    return first;
}
