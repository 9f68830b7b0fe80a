#include "dnsd/keyfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "common/base/file.h"

#define FILE_MAX 4096 /* bytes of a key file */
#define SECRET_TEXT_LEN 44
#define PATH_LEN 4096

/* The names that the times have in a file. */
static const char *const TIMES[] = { [KEYFILE_PUBLISHED] = "Publish",
                                     [KEYFILE_ACTIVE] = "Activate",
                                     [KEYFILE_INACTIVE] = "Inactive",
                                     [KEYFILE_RETIRED] = "Delete" };

const char *keyfile_state_name(enum keyfile_state s)
{
    static const char *const NAMES[] = { "made", "published", "active", "inactive", "retired" };
    return NAMES[s];
}

enum keyfile_state keyfile_state(const struct keyfile *k, int64_t now_s)
{
    for (unsigned i = KEYFILE_RETIRED; i > KEYFILE_MADE; i--) {
        if (k->at_s[i] != 0 && k->at_s[i] <= now_s)
            return (enum keyfile_state)i;
    }
    return KEYFILE_MADE;
}

static bool read_time(int64_t *out, const char *text)
{
    struct tm tm = { .tm_year = 0 };
    const char *end = strptime(text, "%Y%m%d%H%M%S", &tm);
    if (end == NULL || *end != 0)
        return false;
    *out = (int64_t)timegm(&tm);
    return *out > 0;
}

static bool read_secret(uint8_t out[SIGN_SECRET_LEN], const char *text)
{
    uint8_t bytes[SECRET_TEXT_LEN];
    bool ok =
        strlen(text) == SECRET_TEXT_LEN && text[SECRET_TEXT_LEN - 1] == '=' &&
        text[SECRET_TEXT_LEN - 2] != '=' &&
        EVP_DecodeBlock(bytes, (const unsigned char *)text, SECRET_TEXT_LEN) == SIGN_SECRET_LEN + 1;
    if (ok)
        memcpy(out, bytes, SIGN_SECRET_LEN);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return ok;
}

/* One line, "Name: value". False when the value is not one. */
static bool read_line(struct keyfile *k, unsigned *seen, char *line)
{
    char *value = strstr(line, ": ");
    if (value == NULL)
        return line[0] == 0;
    *value = 0;
    value += 2;
    if (strcmp(line, "Private-key-format") == 0) {
        *seen |= 1;
        return strncmp(value, "v1.", 3) == 0;
    }
    if (strcmp(line, "Algorithm") == 0) {
        *seen |= 2;
        return strncmp(value, "13", 2) == 0 && (value[2] == 0 || value[2] == ' ');
    }
    if (strcmp(line, "PrivateKey") == 0) {
        *seen |= 4;
        return read_secret(k->secret, value);
    }
    if (strcmp(line, "Created") == 0)
        return read_time(&k->made_s, value);
    for (unsigned i = KEYFILE_PUBLISHED; i <= KEYFILE_RETIRED; i++) {
        if (strcmp(line, TIMES[i]) == 0)
            return read_time(&k->at_s[i], value);
    }
    return true; /* of BIND's, and of no meaning here */
}

static enum err parse(struct keyfile *k, char *text, const char *path, struct err_info *info)
{
    unsigned seen = 0, number = 0;
    for (char *line = text; line != NULL && *line != 0;) {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = 0;
        number++;
        if (!read_line(k, &seen, line))
            return err_set(info, ERR_CONFIG,
                           "%s:%u: not a line of a private key of algorithm 13: put the file back "
                           "from a backup, or retire the key",
                           path, number);
        line = next;
    }
    if (seen != 7)
        return err_set(info, ERR_CONFIG, "%s: the file is not whole: put it back from a backup",
                       path);
    struct sign_key key;
    enum err e = sign_key_init(&key, k->secret);
    if (e == ERR_NOMEM)
        return err_set(info, e, "out of memory");
    if (e == ERR_OK)
        sign_key_clear(&key);
    if (e != ERR_OK || key.tag != k->tag)
        return err_set(info, ERR_CONFIG,
                       "%s: this is not the key of tag %u: put the file back from a backup", path,
                       (unsigned)k->tag);
    return ERR_OK;
}

static enum err read_one(struct keyfile *k, const char *path, struct err_info *info)
{
    struct buf b;
    buf_init(&b, FILE_MAX);
    enum err e = file_read_secret(path, &b, info);
    if (e != ERR_OK && e != ERR_NOMEM)
        e = ERR_CONFIG;
    char *text = e == ERR_OK ? buf_take(&b) : NULL;
    if (e == ERR_OK && text == NULL)
        e = err_set(info, ERR_NOMEM, "out of memory");
    if (e == ERR_OK)
        e = parse(k, text, path, info);
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
    buf_wipe(&b);
    return e;
}

/* Whether `name` is that of a key of the zone, and of which tag. */
static bool is_key_of(const char *name, const char *zone, uint16_t *tag)
{
    size_t len = strlen(zone);
    if (name[0] != 'K' || strncmp(name + 1, zone, len) != 0 ||
        strncmp(name + 1 + len, ".+013+", 6) != 0)
        return false;
    unsigned v = 0;
    const char *p = name + 7 + len;
    for (unsigned i = 0; i < 5; i++, p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = 10 * v + (unsigned)(*p - '0');
    }
    *tag = (uint16_t)v;
    return v <= UINT16_MAX && strcmp(p, ".private") == 0;
}

static int by_tag(const void *a, const void *b)
{
    return (int)((const struct keyfile *)a)->tag - (int)((const struct keyfile *)b)->tag;
}

enum err keyfiles_read(struct keyfiles **out, const char *dir, const char *zone,
                       struct err_info *info)
{
    struct keyfiles *k = calloc(1, sizeof *k);
    if (k == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    enum err e = ERR_OK;
    DIR *d = opendir(dir);
    if (d == NULL)
        e = err_set(info, ERR_CONFIG, "cannot read the folder %s: %s%s", dir, strerror(errno),
                    errno == ENOENT ? ": make it, and a key in it: lanyard-dnsd key make" : "");
    for (struct dirent *entry; e == ERR_OK && (entry = readdir(d)) != NULL;) {
        uint16_t tag;
        char path[PATH_LEN];
        if (!is_key_of(entry->d_name, zone, &tag))
            continue;
        if (k->n == KEYFILES_MAX)
            e = err_set(info, ERR_CONFIG,
                        "%s: more than %d keys of zone %s: move away retired ones", dir,
                        KEYFILES_MAX, zone);
        else if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) >= sizeof path)
            e = err_set(info, ERR_CONFIG, "%s: the path is too long", dir);
        else {
            k->at[k->n].tag = tag;
            e = read_one(&k->at[k->n++], path, info);
        }
    }
    if (d != NULL)
        closedir(d);
    if (e != ERR_OK) {
        keyfiles_free(k);
        return e;
    }
    qsort(k->at, k->n, sizeof k->at[0], by_tag);
    *out = k;
    return ERR_OK;
}

void keyfiles_free(struct keyfiles *k)
{
    if (k == NULL)
        return;
    OPENSSL_cleanse(k, sizeof *k);
    free(k);
}

enum err keyfile_make(struct keyfile *out, int64_t now_s)
{
    struct sign_key key;
    BIGNUM *d = NULL;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    enum err e = ERR_CRYPTO;
    *out = (struct keyfile){ .made_s = now_s };
    if (pkey != NULL && EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
        BN_bn2binpad(d, out->secret, SIGN_SECRET_LEN) == SIGN_SECRET_LEN)
        e = sign_key_init(&key, out->secret);
    BN_clear_free(d);
    EVP_PKEY_free(pkey);
    if (e != ERR_OK)
        return e;
    out->tag = key.tag;
    sign_key_clear(&key);
    return ERR_OK;
}

static int print_time(char *out, size_t cap, const char *name, int64_t at_s)
{
    struct tm tm;
    char text[32];
    time_t t = (time_t)at_s;
    if (at_s == 0 || gmtime_r(&t, &tm) == NULL ||
        strftime(text, sizeof text, "%Y%m%d%H%M%S", &tm) == 0)
        return 0;
    return snprintf(out, cap, "%s: %s\n", name, text);
}

enum err keyfile_write(const struct keyfile *k, const char *dir, const char *zone, bool replace,
                       struct err_info *info)
{
    char path[PATH_LEN], text[FILE_MAX], secret[SECRET_TEXT_LEN + 1];
    if ((size_t)snprintf(path, sizeof path, "%s/K%s.+013+%05u.private", dir, zone,
                         (unsigned)k->tag) >= sizeof path)
        return err_set(info, ERR_CONFIG, "%s: the path is too long", dir);
    (void)EVP_EncodeBlock((unsigned char *)secret, k->secret, SIGN_SECRET_LEN);
    int len = snprintf(text, sizeof text,
                       "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n"
                       "PrivateKey: %s\n",
                       secret);
    len += print_time(text + len, sizeof text - (size_t)len, "Created", k->made_s);
    for (unsigned i = KEYFILE_PUBLISHED; i <= KEYFILE_RETIRED; i++)
        len += print_time(text + len, sizeof text - (size_t)len, TIMES[i], k->at_s[i]);
    struct span content = { (const uint8_t *)text, (size_t)len };
    enum err e = replace ? file_write_atomic(path, content, 0600, info)
                         : file_create_atomic(path, content, 0600, info);
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(secret, sizeof secret);
    return e;
}

/* Notes between which times of `f` the ring is right. */
static void note_changes(struct keyring *ring, const struct keyfile *f, int64_t now_s)
{
    for (unsigned i = KEYFILE_PUBLISHED; i <= KEYFILE_RETIRED; i++) {
        int64_t at_s = f->at_s[i];
        if (at_s > now_s && (ring->changes_s == 0 || at_s < ring->changes_s))
            ring->changes_s = at_s;
        if (at_s <= now_s && at_s > ring->changed_s)
            ring->changed_s = at_s;
    }
}

/* Puts the keys that are seen at `now_s` into `ring`. */
static enum err fill_ring(struct keyring *ring, const struct keyfiles *files, const char *dir,
                          const char *zone, int64_t now_s, struct err_info *info)
{
    int64_t active_s = 0;
    for (size_t i = 0; i < files->n; i++) {
        const struct keyfile *f = &files->at[i];
        enum keyfile_state state = keyfile_state(f, now_s);
        ring->made_s = f->made_s > ring->made_s ? f->made_s : ring->made_s;
        if (!keyring_is_of(ring, now_s))
            return err_set(info, ERR_CONFIG,
                           "%s: key %u of zone %s was made later than now: set the clock", dir,
                           (unsigned)f->tag, zone);
        note_changes(ring, f, now_s);
        if (state == KEYFILE_MADE || state == KEYFILE_RETIRED)
            continue;
        if (ring->n == KEYRING_MAX)
            return err_set(info, ERR_CONFIG, "%s: more than %d keys of zone %s: retire some", dir,
                           KEYRING_MAX, zone);
        struct keyring_key *k = &ring->keys[ring->n];
        if (sign_key_init(&k->key, f->secret) != ERR_OK)
            return err_set(info, ERR_NOMEM, "out of memory");
        k->wanted = state != KEYFILE_INACTIVE;
        if (state == KEYFILE_ACTIVE && f->at_s[KEYFILE_ACTIVE] > active_s) {
            active_s = f->at_s[KEYFILE_ACTIVE];
            ring->active = ring->n;
        }
        ring->n++;
    }
    if (active_s == 0)
        return err_set(info, ERR_CONFIG,
                       "%s: zone %s has no active key: lanyard-dnsd key make, then key activate",
                       dir, zone);
    return ERR_OK;
}

enum err keyfile_ring(struct keyring **out, const char *dir, const char *zone, int64_t now_s,
                      struct err_info *info)
{
    struct keyfiles *files = NULL;
    struct keyring *ring = calloc(1, sizeof *ring);
    enum err e = ring == NULL ? err_set(info, ERR_NOMEM, "out of memory")
                              : keyfiles_read(&files, dir, zone, info);
    if (e == ERR_OK)
        e = fill_ring(ring, files, dir, zone, now_s, info);
    if (e == ERR_OK) {
        *out = ring;
        ring = NULL;
    }
    keyring_free(ring);
    keyfiles_free(files);
    return e;
}
