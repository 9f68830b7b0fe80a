/* treecopy.h - a copy of a folder as a crash would leave it: with owners, groups and modes, and
 * without what was written and not synced. Header-only: each test program uses its own. */
#ifndef LANYARD_TESTS_TREECOPY_H
#define LANYARD_TESTS_TREECOPY_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREECOPY_FILE_MAX (64 * 1024) /* bytes */

/* The inodes with bytes that are not synced. */
struct treecopy_loss {
    ino_t inodes[64];
    size_t n;
};

/* What is left of them. */
enum treecopy_rest { TREECOPY_ALL, TREECOPY_HALF, TREECOPY_NONE };

static inline bool treecopy_is_lost(const struct treecopy_loss *l, ino_t inode)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->inodes[i] == inode)
            return true;
    }
    return false;
}

/* Notes whether `inode` has such bytes. */
static inline void treecopy_note(struct treecopy_loss *l, ino_t inode, bool lost)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->inodes[i] != inode)
            l->inodes[n++] = l->inodes[i];
    }
    if (lost && n == sizeof l->inodes / sizeof l->inodes[0])
        abort();
    if (lost)
        l->inodes[n++] = inode;
    l->n = n;
}

static inline void treecopy_file(const char *from, const char *to, const struct stat *st,
                                 const struct treecopy_loss *l, enum treecopy_rest rest)
{
    static char bytes[TREECOPY_FILE_MAX];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t len = in >= 0 ? read(in, bytes, sizeof bytes) : -1;
    if (len < 0 || len == sizeof bytes || out < 0)
        abort();
    if (rest != TREECOPY_ALL && treecopy_is_lost(l, st->st_ino))
        len = rest == TREECOPY_HALF ? len / 2 : 0;
    if (write(out, bytes, (size_t)len) != len || fchown(out, st->st_uid, st->st_gid) != 0 ||
        fchmod(out, st->st_mode & 07777) != 0)
        abort();
    close(in);
    close(out);
}

static inline void treecopy_link(const char *from, const char *to)
{
    char target[256];
    ssize_t len = readlink(from, target, sizeof target - 1);
    if (len < 0)
        abort();
    target[len] = 0;
    if (symlink(target, to) != 0)
        abort();
}

/* `to` is an empty folder. Files, folders and links, as long as they are small. */
static inline void treecopy(const char *from, const char *to, const struct treecopy_loss *l,
                            enum treecopy_rest rest)
{
    char a[512], b[512];
    struct stat st;
    const struct dirent *entry;
    DIR *d = opendir(from);
    if (d == NULL || stat(from, &st) != 0)
        abort();
    if (chown(to, st.st_uid, st.st_gid) != 0 || chmod(to, st.st_mode & 07777) != 0)
        abort();
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(a, sizeof a, "%s/%s", from, entry->d_name);
        (void)snprintf(b, sizeof b, "%s/%s", to, entry->d_name);
        if (lstat(a, &st) != 0)
            abort();
        if (S_ISDIR(st.st_mode)) {
            if (mkdir(b, 0700) != 0)
                abort();
            treecopy(a, b, l, rest);
        } else if (S_ISLNK(st.st_mode)) {
            treecopy_link(a, b);
        } else {
            treecopy_file(a, b, &st, l, rest);
        }
    }
    (void)closedir(d);
}

#endif
