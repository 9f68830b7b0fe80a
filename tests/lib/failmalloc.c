/* failmalloc.c - preloaded into a program, lets one allocation fail: the file FAILMALLOC holds a
 * number, 64 bits, that each malloc, calloc and realloc counts down; the one that makes it zero
 * returns NULL, unless libconfuse, ldns or the dynamic linker asked for it: they do not look. */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAMES 32

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static _Atomic int64_t *left;

__attribute__((constructor)) static void map(void)
{
    void *frames[FRAMES];
    const char *path = getenv("FAILMALLOC");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p = MAP_FAILED;
    if (fd >= 0) {
        p = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    (void)backtrace(frames, FRAMES); /* it allocates at its first call */
    if (p != MAP_FAILED)
        left = p;
}

static int is_spared(void)
{
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES), spared = 0;
    char **names = backtrace_symbols(frames, n);
    for (int i = 0; names != NULL && i < n; i++)
        spared |= strstr(names[i], "libconfuse") != NULL || strstr(names[i], "libldns") != NULL ||
                  strstr(names[i], "ld-linux") != NULL;
    free(names);
    return spared;
}

static int fails(void)
{
    if (left == NULL || atomic_fetch_sub(left, 1) != 1 || is_spared())
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
