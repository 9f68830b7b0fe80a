/* treedir.h - a folder of one test with folders in it, gone with it. Header-only: each test program
 * uses its own. */
#ifndef LANYARD_TESTS_TREEDIR_H
#define LANYARD_TESTS_TREEDIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct treedir {
    char path[64];
};

static inline void treedir_make(struct treedir *d)
{
    /* in memory where there is such a place: tests that sync a thousand times are slow on a disk */
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(d->path, sizeof d->path, "%s/lanyard-test-XXXXXX", parent);
    if (mkdtemp(d->path) == NULL)
        abort();
}

static inline int treedir_unlink(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void treedir_remove(struct treedir *d)
{
    (void)nftw(d->path, treedir_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* "folder/name", in a buffer that the next call but three uses again. */
static inline const char *treedir_path(const struct treedir *d, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", d->path, name);
    return path;
}

static inline void treedir_write(const struct treedir *d, const char *name, const char *text,
                                 mode_t mode)
{
    const char *path = treedir_path(d, name);
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 || chmod(path, mode) != 0)
        abort();
}

#endif
