/* treeprint.h - everything that can be seen of a folder, as text to compare: names, kinds, modes,
 * owners, inodes, times and contents, down to the last file. Header-only: each test program uses
 * its own. */
#ifndef LANYARD_TESTS_TREEPRINT_H
#define LANYARD_TESTS_TREEPRINT_H

#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *treeprint_out;

/* FNV-1a of what is in a file, or of where a link points. */
static inline uint64_t treeprint_sum(const char *path, int kind)
{
    uint64_t sum = 14695981039346656037u;
    char bytes[4096];
    size_t n = 0;
    FILE *f = kind == FTW_F ? fopen(path, "r") : NULL;
    if (kind == FTW_SL) {
        ssize_t len = readlink(path, bytes, sizeof bytes);
        n = len > 0 ? (size_t)len : 0;
    }
    do {
        for (size_t i = 0; i < n; i++)
            sum = (sum ^ (uint8_t)bytes[i]) * 1099511628211u;
        n = f != NULL ? fread(bytes, 1, sizeof bytes, f) : 0;
    } while (n > 0);
    if (f != NULL)
        (void)fclose(f);
    return sum;
}

static inline int treeprint_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)at;
    (void)fprintf(treeprint_out, "%s %o %u:%u %llu %lld.%09ld %016llx\n", path,
                  (unsigned)st->st_mode, (unsigned)st->st_uid, (unsigned)st->st_gid,
                  (unsigned long long)st->st_ino, (long long)st->st_mtim.tv_sec,
                  st->st_mtim.tv_nsec, (unsigned long long)treeprint_sum(path, kind));
    return 0;
}

static inline int treeprint_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The caller frees it. */
static inline char *treeprint(const char *dir)
{
    char *text = NULL, *lines[512], *next = NULL;
    size_t len, n = 0;
    treeprint_out = open_memstream(&text, &len);
    if (treeprint_out == NULL || nftw(dir, treeprint_one, 16, FTW_PHYS) != 0 ||
        fclose(treeprint_out) != 0)
        abort();
    /* a folder lists its files in any order */
    for (char *l = strtok_r(text, "\n", &next); l != NULL; l = strtok_r(NULL, "\n", &next)) {
        if (n == sizeof lines / sizeof lines[0])
            abort();
        lines[n++] = l;
    }
    qsort(lines, n, sizeof lines[0], treeprint_compare);
    char *sorted = NULL;
    FILE *out = open_memstream(&sorted, &len);
    for (size_t i = 0; out != NULL && i < n; i++)
        (void)fprintf(out, "%s\n", lines[i]);
    if (out == NULL || fclose(out) != 0)
        abort();
    free(text);
    return sorted;
}

#endif
