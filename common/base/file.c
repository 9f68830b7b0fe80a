#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/secret.h"

static enum err fail(struct err_info *info, const char *what, const char *path)
{
    int errnum = errno;
    return err_set(info, err_from_errno(errnum), "cannot %s %s: %s", what, path, strerror(errnum));
}

/* Whom a secret may belong to besides root and this user, and how open it may be. */
struct secret_rule {
    uid_t owner;
    mode_t mode;
};

static enum err check_secret(int fd, const char *path, const struct secret_rule *rule,
                             struct err_info *info)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(info, "stat", path);
    if ((st.st_mode & 077 & ~rule->mode) != 0)
        return err_set(info, ERR_DENIED,
                       "%s holds a secret but is open to others (mode %04o): chmod 600 %s", path,
                       (unsigned)(st.st_mode & 07777), path);
    if (st.st_uid != geteuid() && st.st_uid != 0 && st.st_uid != rule->owner)
        return err_set(info, ERR_DENIED, "%s holds a secret but belongs to another user (uid %u)",
                       path, (unsigned)st.st_uid);
    return ERR_OK;
}

/* `rule` is NULL when the file is no secret. */
static enum err read_into(const char *path, struct buf *out, const struct secret_rule *rule,
                          struct err_info *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(info, "open", path);
    enum err e = rule != NULL ? check_secret(fd, path, rule, info) : ERR_OK;
    uint8_t piece[4096];
    while (e == ERR_OK) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            e = fail(info, "read", path);
        if (n <= 0)
            break;
        buf_add(out, piece, (size_t)n);
        e = buf_error(out);
        if (e != ERR_OK)
            (void)err_set(info, e, "%s is larger than %zu bytes", path, out->max);
    }
    explicit_bzero(piece, sizeof piece);
    close(fd);
    return e;
}

enum err file_read(const char *path, struct buf *out, struct err_info *info)
{
    return read_into(path, out, NULL, info);
}

enum err file_read_secret(const char *path, struct buf *out, struct err_info *info)
{
    return file_read_secret_of(path, geteuid(), out, info);
}

enum err file_read_secret_of(const char *path, uid_t owner, struct buf *out, struct err_info *info)
{
    return file_read_shared_secret(path, owner, 0600, out, info);
}

enum err file_read_shared_secret(const char *path, uid_t owner, mode_t mode, struct buf *out,
                                 struct err_info *info)
{
    struct secret_rule rule = { owner, mode };
    return read_into(path, out, &rule, info);
}

enum err file_sync_dir(const char *path, struct err_info *info)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(info, "open folder", path);
    enum err e = fsync(fd) == 0 ? ERR_OK : fail(info, "sync folder", path);
    close(fd);
    return e;
}

static enum err sync_parent(const char *path, struct err_info *info)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof dir)
        return err_set(info, ERR_LIMIT, "path too long: %s", path);
    memcpy(dir, slash == NULL ? "." : path, len);
    dir[len] = 0;
    return file_sync_dir(dir, info);
}

static enum err write_all(int fd, struct span content, const char *path, struct err_info *info)
{
    while (content.len > 0) {
        ssize_t n = write(fd, content.p, content.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(info, "write", path);
        content.p += n;
        content.len -= (size_t)n;
    }
    return fsync(fd) == 0 ? ERR_OK : fail(info, "sync", path);
}

static enum err write_file(const char *path, struct span content, mode_t mode, bool replace,
                           struct err_info *info)
{
    char tmp[PATH_MAX];
    uint64_t salt;
    secret_random(&salt, sizeof salt);
    int n = snprintf(tmp, sizeof tmp, "%s.%016llx.tmp", path, (unsigned long long)salt);
    if (n < 0 || (size_t)n >= sizeof tmp)
        return err_set(info, ERR_LIMIT, "path too long: %s", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return fail(info, "create", tmp);
    enum err e = write_all(fd, content, tmp, info);
    close(fd);
    if (e == ERR_OK && replace && rename(tmp, path) != 0)
        e = fail(info, "replace", path);
    if (e == ERR_OK && !replace && link(tmp, path) != 0)
        e = fail(info, "create", path);
    if (e != ERR_OK || !replace)
        (void)unlink(tmp);
    return e == ERR_OK ? sync_parent(path, info) : e;
}

enum err file_write_atomic(const char *path, struct span content, mode_t mode,
                           struct err_info *info)
{
    return write_file(path, content, mode, true, info);
}

enum err file_create_atomic(const char *path, struct span content, mode_t mode,
                            struct err_info *info)
{
    return write_file(path, content, mode, false, info);
}

enum err file_make_dir(const char *path, mode_t mode, struct err_info *info)
{
    if (mkdir(path, mode) == 0)
        return sync_parent(path, info);
    if (errno != EEXIST)
        return fail(info, "create folder", path);
    struct stat st;
    if (stat(path, &st) != 0)
        return fail(info, "stat", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(info, ERR_EXISTS, "%s is there, but is not a folder", path);
    return ERR_OK;
}
