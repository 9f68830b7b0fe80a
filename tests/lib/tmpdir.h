/* tmpdir.h - a fresh folder for a test, and its end. Header-only. */
#ifndef LANYARD_TESTS_TMPDIR_H
#define LANYARD_TESTS_TMPDIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tmpdir {
    char path[64];
    char file[4][512]; /* tmpdir_file() hands them out in turn */
    unsigned next;
};

static inline void tmpdir_make(struct tmpdir *d)
{
    *d = (struct tmpdir){ .path = "/tmp/lanyard-test-XXXXXX" };
    if (mkdtemp(d->path) == NULL)
        abort();
}

/* The path of `name` in the folder; valid for the next three calls. */
static inline const char *tmpdir_file(struct tmpdir *d, const char *name)
{
    char *out = d->file[d->next++ % 4], path[sizeof d->path];
    memcpy(path, d->path, sizeof path); /* gcc takes source and target for one object otherwise */
    (void)snprintf(out, sizeof d->file[0], "%s/%s", path, name);
    return out;
}

static inline void tmpdir_write(struct tmpdir *d, const char *name, const char *text)
{
    FILE *f = fopen(tmpdir_file(d, name), "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

/* How many entries the folder has. */
static inline unsigned tmpdir_count(const struct tmpdir *d)
{
    unsigned n = 0;
    DIR *dir = opendir(d->path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

/* Removes the folder with its files and empty folders. */
static inline void tmpdir_remove(struct tmpdir *d)
{
    DIR *dir = opendir(d->path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        const char *path = tmpdir_file(d, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(path) != 0)
            (void)rmdir(path);
    }
    closedir(dir);
    (void)rmdir(d->path);
}

#endif
