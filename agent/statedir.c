#include "agent/statedir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/statefile.h"
#include "common/base/file.h"

#define SPACE_MIN (256 * 1024) /* bytes: two generations and what is written beside them */
#define FILES_MIN 24

static enum err fail(struct err_info *info, const char *what, const char *path)
{
    int errnum = errno;
    return err_set(info, err_from_errno(errnum), "cannot %s %s: %s", what, path, strerror(errnum));
}

enum err statedir_path(char out[PATH_MAX], const char *dir, const char *name, struct err_info *info)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= PATH_MAX)
        return err_set(info, ERR_LIMIT, "path too long: %s/%s", dir, name);
    return ERR_OK;
}

enum err statedir_make(const char *dir, const char *user, struct err_info *info)
{
    struct stat st;
    bool is_new = stat(dir, &st) != 0;
    enum err e = file_make_dir(dir, 0700, info);
    if (e != ERR_OK || !is_new || user == NULL || geteuid() != 0)
        return e;
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL)
        return err_set(info, ERR_CONFIG, "there is no user %s", user);
    if (chown(dir, pw->pw_uid, pw->pw_gid) != 0)
        return fail(info, "give away", dir);
    return ERR_OK;
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* Removes the temporary files that a crash in the middle of file_write_atomic() leaves. */
static void remove_temporary(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(d)) != NULL) {
        if (ends_with(entry->d_name, ".tmp"))
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    }
    (void)closedir(d);
}

enum err statedir_lock(int *fd, const char *dir, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statefile_check_all(dir, info);
    if (e == ERR_OK)
        e = statedir_path(path, dir, "lock", info);
    if (e != ERR_OK)
        return e;
    int f = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f < 0 && errno == EROFS) /* nothing can be stored, but what is there can be served */
        f = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (f < 0)
        return fail(info, "open", path);
    if (flock(f, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            e = err_set(info, ERR_EXISTS, "another lanyard-agent is using %s", dir);
        else
            e = fail(info, "lock", path);
        close(f);
        return e;
    }
    remove_temporary(dir);
    *fd = f;
    return ERR_OK;
}

enum err statedir_check(const char *dir, struct err_info *info)
{
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0)
        return fail(info, "look at", dir);
    unsigned long long left = (unsigned long long)fs.f_bavail * fs.f_frsize;
    if ((fs.f_flag & ST_RDONLY) != 0)
        return err_set(info, ERR_IO,
                       "%s is on a read-only file system: the next certificate cannot be stored; "
                       "mount it for writing",
                       dir);
    if (left < SPACE_MIN || (fs.f_files > 0 && fs.f_favail < FILES_MIN))
        return err_set(info, ERR_IO,
                       "%s: the disk is full (%llu kB and %llu files left): the next certificate "
                       "cannot be stored; make room",
                       dir, left / 1024, (unsigned long long)fs.f_favail);
    if (access(dir, R_OK | W_OK | X_OK) != 0)
        return fail(info, "write in", dir);
    return ERR_OK;
}

enum err statedir_remove_folder(const char *path, struct err_info *info)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return errno == ENOENT ? ERR_OK : fail(info, "open folder", path);
    enum err e = ERR_OK;
    const struct dirent *entry;
    while (e == ERR_OK && (entry = readdir(d)) != NULL) {
        if (!is_dot(entry->d_name) && unlinkat(dirfd(d), entry->d_name, 0) != 0 && errno != ENOENT)
            e = fail(info, "remove a file of", path);
    }
    (void)closedir(d);
    if (e == ERR_OK && rmdir(path) != 0)
        e = fail(info, "remove", path);
    return e;
}
