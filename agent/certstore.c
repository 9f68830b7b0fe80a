#include "agent/certstore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/x509v3.h>

#include "agent/forms.h"
#include "agent/statedir.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define GENERATIONS_MAX 64 /* folders looked at; we keep CERTSTORE_KEEP + 1 */
#define CSR_MAX 8192

static enum err fail(struct err_info *info, const char *what, const char *path)
{
    int errnum = errno;
    return err_set(info, err_from_errno(errnum), "cannot %s %s: %s", what, path, strerror(errnum));
}

void certset_clear(struct certset *set)
{
    EVP_PKEY_free(set->key);
    sk_X509_pop_free(set->chain, X509_free);
    *set = (struct certset){ 0 };
}

/* A new file in a folder that nobody looks into yet: plain write and sync. */
static enum err write_new(const char *dir, const char *name, struct span content, mode_t mode,
                          struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, dir, name, info);
    if (e != ERR_OK)
        return e;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return fail(info, "create", path);
    while (e == ERR_OK && content.len > 0) {
        ssize_t n = write(fd, content.p, content.len);
        if (n < 0 && errno != EINTR)
            e = fail(info, "write", path);
        if (n > 0) {
            content.p += n;
            content.len -= (size_t)n;
        }
    }
    if (e == ERR_OK && fsync(fd) != 0)
        e = fail(info, "sync", path);
    close(fd);
    return e;
}

/* The number in a folder name such as "12"; 0 for anything else. */
static unsigned parse_generation(const char *name)
{
    if (name[0] < '1' || name[0] > '9')
        return 0;
    char *end;
    errno = 0;
    unsigned long n = strtoul(name, &end, 10);
    return *end == 0 && errno == 0 && n < UINT_MAX ? (unsigned)n : 0;
}

/* The generation that `current` points to; 0 when there is no such link. */
static unsigned current_generation(const char *state_dir)
{
    static const char PREFIX[] = "generations/";
    char path[PATH_MAX], target[64];
    struct err_info unused;
    if (statedir_path(path, state_dir, "current", &unused) != ERR_OK)
        return 0;
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0)
        return 0;
    target[n] = 0;
    return strncmp(target, PREFIX, sizeof PREFIX - 1) == 0
               ? parse_generation(target + sizeof PREFIX - 1)
               : 0;
}

static int compare_descending(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Removes half-written folders, generations that never became current, and old ones. */
static enum err prune(const char *generations, unsigned current, struct err_info *info)
{
    unsigned old[GENERATIONS_MAX];
    size_t n_old = 0;
    char path[PATH_MAX];
    DIR *d = opendir(generations);
    if (d == NULL)
        return fail(info, "open folder", generations);
    enum err e = ERR_OK;
    const struct dirent *entry;
    while (e == ERR_OK && (entry = readdir(d)) != NULL) {
        unsigned n = parse_generation(entry->d_name);
        if (entry->d_name[0] == '.' || (n != 0 && n == current))
            continue;
        if (n != 0 && n < current && n_old < GENERATIONS_MAX) {
            old[n_old++] = n;
            continue;
        }
        e = statedir_path(path, generations, entry->d_name, info);
        if (e == ERR_OK)
            e = statedir_remove_folder(path, info);
    }
    (void)closedir(d);
    qsort(old, n_old, sizeof old[0], compare_descending);
    for (size_t i = CERTSTORE_KEEP; e == ERR_OK && i < n_old; i++) {
        (void)snprintf(path, sizeof path, "%s/%u", generations, old[i]);
        e = statedir_remove_folder(path, info);
    }
    return e;
}

/* As prune(), where a failure leaves things untidy, but no worse. */
static void tidy(const char *generations, unsigned current)
{
    struct err_info info;
    if (prune(generations, current, &info) != ERR_OK)
        log_warn("%s", info.text);
}

static enum err remove_named(const char *state_dir, const char *name, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, name, info);
    return e == ERR_OK ? statedir_remove_folder(path, info) : e;
}

static enum err unlink_named(const char *state_dir, const char *name, struct err_info *info)
{
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, name, info);
    if (e == ERR_OK && unlink(path) != 0 && errno != ENOENT)
        e = fail(info, "remove", path);
    return e;
}

enum err certstore_prepare(const char *state_dir, struct err_info *info)
{
    char generations[PATH_MAX];
    enum err e = statedir_path(generations, state_dir, "generations", info);
    if (e == ERR_OK)
        e = file_make_dir(generations, 0700, info);
    if (e == ERR_OK)
        e = remove_named(state_dir, "pending.new", info);
    if (e == ERR_OK)
        e = remove_named(state_dir, "pending.old", info);
    if (e == ERR_OK)
        e = unlink_named(state_dir, "current.new", info);
    if (e == ERR_OK)
        e = prune(generations, current_generation(state_dir), info);
    return e;
}

static void read_name(struct certset *set)
{
    X509 *leaf = sk_X509_value(set->chain, 0);
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    const GENERAL_NAME *gn = names != NULL ? sk_GENERAL_NAME_value(names, 0) : NULL;
    if (gn != NULL && gn->type == GEN_DNS)
        (void)snprintf(set->name, sizeof set->name, "%.*s", ASN1_STRING_length(gn->d.dNSName),
                       (const char *)ASN1_STRING_get0_data(gn->d.dNSName));
    GENERAL_NAMES_free(names);
}

static void read_issuer(struct certset *set)
{
    X509 *leaf = sk_X509_value(set->chain, 0);
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL && X509_NAME_print_ex(bio, X509_get_issuer_name(leaf), 0, XN_FLAG_RFC2253) >= 0)
        (void)BIO_gets(bio, set->issuer, (int)sizeof set->issuer);
    BIO_free_all(bio);
}

static enum err read_chain(const char *path, struct certset *set, struct err_info *info)
{
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = file_read(path, &pem, info);
    if (e == ERR_OK)
        e = cert_chain_parse(&set->chain, buf_span(&pem), info);
    buf_clear(&pem);
    if (e != ERR_OK)
        return e;
    X509 *leaf = sk_X509_value(set->chain, 0);
    e = cert_validity(leaf, &set->not_before_s, &set->not_after_s);
    if (e == ERR_OK)
        e = cert_serial_hex(leaf, set->serial, sizeof set->serial);
    if (e != ERR_OK)
        return err_set(info, e, "%s holds a damaged certificate", path);
    read_name(set);
    read_issuer(set);
    if (EVP_PKEY_eq(X509_get0_pubkey(leaf), set->key) != 1)
        return err_set(info, ERR_CRYPTO, "%s does not belong to the key beside it", path);
    return ERR_OK;
}

enum err certstore_current(const char *state_dir, const struct access *access, struct certset *out,
                           struct err_info *info)
{
    struct certset set = { .generation = current_generation(state_dir) };
    const struct access_rule *rule = &access->of[FORM_PRIVKEY];
    if (set.generation == 0)
        return err_set(info, ERR_NOTFOUND, "there is no certificate yet");
    char path[PATH_MAX];
    enum err e = statedir_path(path, state_dir, "current/privkey.pem", info);
    if (e == ERR_OK)
        e = key_load_shared(&set.key, path, rule->owner, rule->mode, info);
    if (e == ERR_OK)
        e = statedir_path(path, state_dir, "current/fullchain.pem", info);
    if (e == ERR_OK)
        e = read_chain(path, &set, info);
    if (e != ERR_OK) {
        certset_clear(&set);
        /* the link is there but not what it names: damage, not "none yet" */
        return e == ERR_NOTFOUND ? ERR_INVALID : e;
    }
    *out = set;
    return ERR_OK;
}

/* Highest number in use under `generations`, so that the next one is new. */
static unsigned last_generation(const char *generations)
{
    unsigned last = 0;
    DIR *d = opendir(generations);
    const struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        unsigned n = parse_generation(entry->d_name);
        last = n > last ? n : last;
    }
    if (d != NULL)
        (void)closedir(d);
    return last;
}

/* Lets others through a folder, without a look at what is in it, or not any more. */
static enum err set_folder(const char *dir, bool open, struct err_info *info)
{
    struct stat st;
    if (stat(dir, &st) != 0)
        return fail(info, "stat", dir);
    mode_t mode = st.st_mode & 07777, want = open ? mode | 0011 : mode & ~(mode_t)0077;
    if (mode != want && chmod(dir, want) != 0)
        return fail(info, open ? "let other users through folder" : "close folder", dir);
    return ERR_OK;
}

static enum err share_forms(const char *dir, const struct access *access, struct err_info *info)
{
    enum err e = access_give(access, dir, info);
    return e == ERR_OK ? set_folder(dir, true, info) : e;
}

static enum err write_forms(const char *dir, const struct forms *forms, const struct access *access,
                            struct err_info *info)
{
    if (mkdir(dir, 0700) != 0)
        return fail(info, "create folder", dir);
    enum err e = ERR_OK;
    for (int i = 0; e == ERR_OK && i < FORM_N; i++)
        e = write_new(dir, FORMS[i].name, buf_span(&forms->content[i]),
                      FORMS[i].has_key ? 0600 : 0644, info);
    if (e == ERR_OK && access_is_shared(access))
        e = share_forms(dir, access, info);
    return e == ERR_OK ? file_sync_dir(dir, info) : e;
}

/* The two folders above the generations. */
static enum err open_way(const char *state_dir, const struct access *access, struct err_info *info)
{
    char generations[PATH_MAX];
    if (!access_is_shared(access))
        return ERR_OK;
    enum err e = statedir_path(generations, state_dir, "generations", info);
    if (e == ERR_OK)
        e = set_folder(generations, true, info);
    return e == ERR_OK ? set_folder(state_dir, true, info) : e;
}

bool certstore_is_exposed(const char *state_dir, const struct access *access)
{
    char dir[PATH_MAX];
    return current_generation(state_dir) != 0 &&
           statedir_path(dir, state_dir, "current", NULL) == ERR_OK &&
           access_has_exposed_key(access, dir);
}

/* One of the sets that are kept. */
static enum err set_access_of(const char *dir, bool is_current, const struct access *access,
                              struct err_info *info)
{
    bool is_shared = access_is_shared(access);
    if (is_current && is_shared)
        return share_forms(dir, access, info);
    enum err e = access_narrow(access, dir, info);
    return e == ERR_OK && !is_shared ? set_folder(dir, false, info) : e;
}

enum err certstore_set_access(const char *state_dir, const struct access *access,
                              struct err_info *info)
{
    char generations[PATH_MAX], dir[PATH_MAX];
    unsigned current = current_generation(state_dir);
    enum err e = statedir_path(generations, state_dir, "generations", info), first = ERR_OK;
    DIR *d = e == ERR_OK ? opendir(generations) : NULL;
    if (e == ERR_OK && d == NULL)
        return errno == ENOENT ? ERR_OK : fail(info, "open folder", generations);
    const struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        struct err_info why;
        unsigned n = parse_generation(entry->d_name);
        if (n == 0)
            continue;
        e = statedir_path(dir, generations, entry->d_name, &why);
        if (e == ERR_OK)
            e = set_access_of(dir, n == current, access, &why);
        if (e != ERR_OK && first == ERR_OK) { /* the other sets are closed all the same */
            first = e;
            *info = why;
        }
    }
    if (d != NULL)
        (void)closedir(d);
    if (first != ERR_OK || current == 0)
        return first;
    return access_is_shared(access) ? open_way(state_dir, access, info)
                                    : set_folder(generations, false, info);
}

/* Points `current` at generation `n`: the one moment in which the set in use changes. */
static enum err switch_current(const char *state_dir, unsigned n, struct err_info *info)
{
    char target[64], link_new[PATH_MAX], link[PATH_MAX];
    (void)snprintf(target, sizeof target, "generations/%u", n);
    enum err e = statedir_path(link_new, state_dir, "current.new", info);
    if (e == ERR_OK)
        e = statedir_path(link, state_dir, "current", info);
    if (e != ERR_OK)
        return e;
    if (unlink(link_new) != 0 && errno != ENOENT)
        return fail(info, "remove", link_new);
    if (symlink(target, link_new) != 0)
        return fail(info, "create link", link_new);
    if (rename(link_new, link) != 0)
        return fail(info, "replace", link);
    return file_sync_dir(state_dir, info);
}

static enum err install_forms(const char *state_dir, const struct forms *forms,
                              const struct access *access, struct err_info *info)
{
    char generations[PATH_MAX], dir[PATH_MAX + 16], dir_new[PATH_MAX + 32];
    enum err e = statedir_path(generations, state_dir, "generations", info);
    if (e == ERR_OK) /* there from the start, but a reload command may do anything */
        e = file_make_dir(generations, 0700, info);
    if (e != ERR_OK)
        return e;
    unsigned current = current_generation(state_dir), last = last_generation(generations);
    tidy(generations, current);
    unsigned n = (last > current ? last : current) + 1;
    (void)snprintf(dir, sizeof dir, "%s/%u", generations, n);
    (void)snprintf(dir_new, sizeof dir_new, "%s.new", dir);
    e = write_forms(dir_new, forms, access, info);
    if (e == ERR_OK && rename(dir_new, dir) != 0)
        e = fail(info, "rename", dir_new);
    if (e == ERR_OK)
        e = file_sync_dir(generations, info);
    if (e == ERR_OK)
        e = open_way(state_dir, access, info);
    if (e == ERR_OK)
        e = switch_current(state_dir, n, info);
    tidy(generations, current_generation(state_dir));
    return e;
}

enum err certstore_install(const char *state_dir, EVP_PKEY *key, STACK_OF(X509) * chain,
                           const struct forms_bundle *bundle, const struct access *access,
                           struct err_info *info)
{
    struct forms forms;
    forms_init(&forms);
    enum err e = forms_make(&forms, key, chain, bundle, info);
    if (e == ERR_OK)
        e = install_forms(state_dir, &forms, access, info);
    forms_wipe(&forms);
    return e;
}

static enum err write_pending(const char *dir, EVP_PKEY *key, struct span csr_pem,
                              struct err_info *info)
{
    struct buf pem;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = key_to_pem(key, &pem);
    if (e != ERR_OK)
        (void)err_set(info, e, "cannot write a key as PEM");
    if (e == ERR_OK && mkdir(dir, 0700) != 0)
        e = fail(info, "create folder", dir);
    if (e == ERR_OK)
        e = write_new(dir, "privkey.pem", buf_span(&pem), 0600, info);
    if (e == ERR_OK)
        e = write_new(dir, "csr.pem", csr_pem, 0600, info);
    if (e == ERR_OK)
        e = file_sync_dir(dir, info);
    buf_wipe(&pem);
    return e;
}

enum err certstore_pending_put(const char *state_dir, EVP_PKEY *key, struct span csr_pem,
                               struct err_info *info)
{
    char dir_new[PATH_MAX], dir[PATH_MAX];
    enum err e = statedir_path(dir_new, state_dir, "pending.new", info);
    if (e == ERR_OK)
        e = statedir_path(dir, state_dir, "pending", info);
    if (e == ERR_OK)
        e = statedir_remove_folder(dir_new, info);
    if (e == ERR_OK)
        e = write_pending(dir_new, key, csr_pem, info);
    if (e == ERR_OK)
        e = certstore_pending_drop(state_dir, info);
    if (e == ERR_OK && rename(dir_new, dir) != 0)
        e = fail(info, "rename", dir_new);
    if (e == ERR_OK)
        e = file_sync_dir(state_dir, info);
    return e;
}

enum err certstore_pending_get(const char *state_dir, EVP_PKEY **key, struct buf *csr_pem,
                               struct err_info *info)
{
    char path[PATH_MAX];
    EVP_PKEY *k = NULL;
    enum err e = statedir_path(path, state_dir, "pending/csr.pem", info);
    if (e == ERR_OK)
        e = file_read(path, csr_pem, info);
    if (e == ERR_OK)
        e = statedir_path(path, state_dir, "pending/privkey.pem", info);
    if (e == ERR_OK)
        e = key_load(&k, path, info);
    if (e == ERR_OK)
        *key = k;
    return e;
}

enum err certstore_pending_drop(const char *state_dir, struct err_info *info)
{
    char dir_old[PATH_MAX], dir[PATH_MAX];
    enum err e = statedir_path(dir_old, state_dir, "pending.old", info);
    if (e == ERR_OK)
        e = statedir_path(dir, state_dir, "pending", info);
    if (e == ERR_OK)
        e = statedir_remove_folder(dir_old, info);
    if (e != ERR_OK)
        return e;
    /* renamed first, so that a half-removed folder is never taken for a pending one */
    if (rename(dir, dir_old) != 0)
        return errno == ENOENT ? ERR_OK : fail(info, "rename", dir);
    return statedir_remove_folder(dir_old, info);
}

enum err certstore_wipe(const char *state_dir, struct err_info *info)
{
    char generations[PATH_MAX];
    enum err e = certstore_pending_drop(state_dir, info);
    if (e == ERR_OK)
        e = unlink_named(state_dir, "current", info);
    if (e == ERR_OK)
        e = statedir_path(generations, state_dir, "generations", info);
    if (e == ERR_OK && access(generations, F_OK) == 0)
        e = prune(generations, 0, info);
    if (e == ERR_OK && rmdir(generations) != 0 && errno != ENOENT)
        e = fail(info, "remove", generations);
    return e;
}
