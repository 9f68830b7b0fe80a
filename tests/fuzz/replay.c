/* replay.c - runs a fuzz target over every file of the folders and files on the command line, so
 * that the corpus is a plain test in every build. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        exit(1);
    }
    if (S_ISDIR(st.st_mode)) {
        unsigned n = 0;
        DIR *d = opendir(path);
        for (struct dirent *de; d != NULL && (de = readdir(d)) != NULL;) {
            char child[4096];
            if (de->d_name[0] == '.')
                continue;
            (void)snprintf(child, sizeof child, "%s/%s", path, de->d_name);
            n += replay(child);
        }
        closedir(d);
        return n;
    }
    /* exactly as large as the input, so that a read past its end is seen */
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size);
    FILE *f = fopen(path, "rb");
    if (data == NULL || f == NULL || size > INPUT_MAX || fread(data, 1, size, f) != size) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    unsigned n = 0;
    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    printf("%u inputs replayed\n", n);
    return n > 0 ? 0 : 1;
}
