/* mutate N SEED... FOLDER: N inputs for each seed, each one of the folder's files broken at random,
 * to the contract of a fuzz target. libFuzzer looks for new paths; this is volume, the same every
 * time, also where there is no libFuzzer. Fails when memory grows by more than 2 MiB (not with a
 * sanitizer). */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 4096
#define INPUT_MAX 1024 /* longer files are left out */
#define GROWTH_MAX_KIB 2048

struct input {
    size_t len;
    uint8_t bytes[INPUT_MAX + 64];
};

static struct input good[FILES_MAX];
static size_t n_good;
static uint64_t state;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* xorshift64*: below `n`. */
static size_t random_below(size_t n)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)(state * 0x2545f4914f6cdd1du >> 32) % n;
}

static void read_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = e->d_name[0] != '.' && n_good < FILES_MAX ? fopen(path, "rb") : NULL;
        if (f == NULL)
            continue;
        struct input *in = &good[n_good];
        in->len = fread(in->bytes, 1, sizeof in->bytes, f);
        n_good += in->len > 0 && in->len <= INPUT_MAX;
        fclose(f);
    }
    if (dir != NULL)
        closedir(dir);
}

static void mutate(struct input *in)
{
    size_t at = in->len > 0 ? random_below(in->len) : 0, n = 1 + random_below(8);
    switch (random_below(5)) {
    case 0:
        in->bytes[at] = (uint8_t)random_below(256);
        break;
    case 1:
        in->bytes[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 2: /* some more bytes, or the same ones twice */
        n = n < INPUT_MAX - in->len ? n : INPUT_MAX - in->len;
        memmove(in->bytes + at + n, in->bytes + at, in->len - at);
        in->len += n;
        break;
    case 3:
        n = n < in->len - at ? n : in->len - at;
        memmove(in->bytes + at, in->bytes + at + n, in->len - at - n);
        in->len -= n;
        break;
    default: /* a number that parsers think about */
        in->bytes[at] = (uint8_t[]){ 0, 63, 64, 127, 128, 191, 192, 255 }[n - 1];
    }
}

static long resident_kib(void)
{
    long kib = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL &&
           sscanf(line, "VmRSS: %ld", &kib) != 1)
        ;
    if (f != NULL)
        fclose(f);
    return kib;
}

static void run(unsigned long n)
{
    static struct input in;
    for (unsigned long i = 0; i < n; i++) {
        in = good[random_below(n_good)];
        for (size_t k = random_below(4) + 1; k > 0; k--)
            mutate(&in);
        uint8_t *exact = malloc(in.len > 0 ? in.len : 1); /* so that a sanitizer sees its end */
        if (exact == NULL)
            abort();
        memcpy(exact, in.bytes, in.len);
        (void)LLVMFuzzerTestOneInput(exact, in.len);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s N SEED... FOLDER\n", argv[0]);
        return 2;
    }
    unsigned long n = strtoul(argv[1], NULL, 10);
    read_folder(argv[argc - 1]);
    if (n_good == 0) {
        fprintf(stderr, "%s: no inputs\n", argv[argc - 1]);
        return 2;
    }
    state = 1;
    run(1000); /* what is made once is there */
    long before_kib = resident_kib();
    for (int i = 2; i < argc - 1; i++) {
        state = strtoull(argv[i], NULL, 10) * 2 + 1;
        run(n);
    }
    long grown_kib = resident_kib() - before_kib;
    printf("%lu inputs for each of %d seeds, from %zu files; memory grew by %ld KiB\n", n, argc - 3,
           n_good, grown_kib);
#ifdef LANYARD_SANITIZED /* which keeps what was freed for a while */
    grown_kib = 0;
#endif
    return grown_kib <= GROWTH_MAX_KIB ? 0 : 1;
}
