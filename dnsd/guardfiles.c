#include "dnsd/guardfiles.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "dnsd/core/persist.h"

#define KEYS_TEXT_MAX 4096
#define UNSETTLED_MAX 5 /* polls that a file may be waited for */

/* What tells one content of a file from the next; also of a file put in its place. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written, changed;
};

struct guardfile {
    struct guardfile *next;
    char *path;
    uint32_t zone;
    enum guardfile_kind kind;
    struct stamp read; /* of what is in force, or was refused */
    struct stamp seen; /* of the last poll */
    unsigned n_unsettled;
    bool missing;
    bool was_read;           /* something of it is in force */
    struct err_info failure; /* why the system cannot read it, which was told; empty: it can */
};

struct guardfiles {
    struct guardfile *files;
    uid_t owner; /* of keys, besides root and this process' user */
};

enum err guardfiles_new(struct guardfiles **out, const char *user)
{
    struct guardfiles *g = calloc(1, sizeof *g);
    if (g == NULL)
        return ERR_NOMEM;
    g->owner = geteuid();
    const struct passwd *pw = user != NULL && geteuid() == 0 ? getpwnam(user) : NULL;
    if (pw != NULL)
        g->owner = pw->pw_uid;
    *out = g;
    return ERR_OK;
}

void guardfiles_free(struct guardfiles *g)
{
    if (g == NULL)
        return;
    while (g->files != NULL) {
        struct guardfile *f = g->files;
        g->files = f->next;
        free(f->path);
        free(f);
    }
    free(g);
}

static enum err stamp_take(struct stamp *out, const char *path, struct err_info *info)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set(info, err_from_errno(errno), "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) /* a pipe would be waited for */
        return err_set(info, ERR_IO, "cannot read %s: not a file", path);
    *out = (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim };
    return ERR_OK;
}

static bool time_equal(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           time_equal(a->written, b->written) && time_equal(a->changed, b->changed);
}

static enum err read_keys(const struct guardfiles *g, const char *path, struct guard *out,
                          struct err_info *info)
{
    struct buf text;
    unsigned line;
    buf_init(&text, KEYS_TEXT_MAX);
    struct tag_keys *keys = calloc(1, sizeof *keys);
    enum err e = keys == NULL ? err_set(info, ERR_NOMEM, "out of memory")
                              : file_read_secret_of(path, g->owner, &text, info);
    if (e == ERR_OK) {
        e = tag_keys_parse(keys, buf_span(&text), &line, info);
        if (e == ERR_CONFIG)
            e = err_prefix(info, e, "%s:%u: ", path, line);
    }
    buf_wipe(&text);
    if (e != ERR_OK) {
        free(keys);
        return e;
    }
    out->tag_keys = keys;
    return ERR_OK;
}

static enum err read_suspended(const char *path, struct guard *out, struct err_info *info)
{
    struct buf text;
    unsigned line;
    uint64_t seed;
    buf_init(&text, SUSPENDED_TEXT_MAX);
    secret_random(&seed, sizeof seed);
    enum err e = file_read(path, &text, info);
    if (e == ERR_OK) {
        e = suspended_parse(&out->suspended, buf_span(&text), seed, &line, info);
        if (e == ERR_CONFIG)
            e = err_prefix(info, e, "%s:%u: ", path, line);
    }
    buf_clear(&text);
    return e;
}

static enum err read_persist(const char *path, struct guard *out, struct err_info *info)
{
    struct buf text;
    unsigned line;
    buf_init(&text, PERSIST_TEXT_MAX);
    enum err e = file_read(path, &text, info);
    if (e == ERR_OK) {
        e = persist_parse(&out->persist, buf_span(&text), &line, info);
        if (e == ERR_CONFIG)
            e = err_prefix(info, e, "%s:%u: ", path, line);
    }
    buf_clear(&text);
    return e;
}

/* Reads `f` into its member of *out; the others stay. */
static enum err read_file(const struct guardfiles *g, const struct guardfile *f, struct guard *out,
                          struct err_info *info)
{
    switch (f->kind) {
    case GUARDFILE_TAG_KEYS:
        return read_keys(g, f->path, out, info);
    case GUARDFILE_SUSPENDED:
        return read_suspended(f->path, out, info);
    case GUARDFILE_PERSIST:
        return read_persist(f->path, out, info);
    }
    return ERR_ILLEGAL;
}

/* What belongs to root is not readable any more once root was given up. */
static void check_owner(const struct guardfiles *g, const char *path)
{
    struct stat st;
    if (geteuid() == 0 && g->owner != 0 && stat(path, &st) == 0 && st.st_uid == 0)
        log_warn("%s can only be read at the start, by root: give it to the user that dnsd becomes "
                 "for its changes to be noticed",
                 path);
}

/* The list of suspended ids is made by lanyard-provisiond, which may be started after us: while it
 * is not there nobody is suspended. Its folder must be. */
static bool may_come_later(const struct guardfile *f)
{
    struct stat st;
    char *folder = strdup(f->path);
    if (folder == NULL)
        return false;
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = 0;
    bool is_there = stat(slash == NULL ? "." : folder, &st) == 0 && S_ISDIR(st.st_mode);
    free(folder);
    return f->kind == GUARDFILE_SUSPENDED && is_there;
}

/* Reads `f` for the first time. */
static enum err read_first(const struct guardfiles *g, struct view *v, struct guardfile *f,
                           struct err_info *info)
{
    /* before reading: what is written meanwhile is a change */
    enum err e = stamp_take(&f->read, f->path, info);
    f->seen = f->read;
    if (e == ERR_NOTFOUND && may_come_later(f)) {
        log_warn("zone %s: nobody is suspended while %s is not there: it is read when it comes",
                 v->zones[f->zone]->text, f->path);
        f->missing = true;
        return ERR_OK;
    }
    if (e == ERR_NOTFOUND && f->kind == GUARDFILE_TAG_KEYS)
        return err_set(info, e,
                       "cannot read %s: No such file: make a key with (umask 077; openssl rand "
                       "-hex 16 >FILE), the same one that lanyard-provisiond reads",
                       f->path);
    if (e == ERR_OK)
        e = read_file(g, f, &v->guards[f->zone], info);
    f->was_read = e == ERR_OK;
    return e;
}

enum err guardfiles_add(struct guardfiles *g, struct view *v, uint32_t zone,
                        enum guardfile_kind kind, const char *path, struct err_info *info)
{
    struct guardfile *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        free(f);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    f->zone = zone;
    f->kind = kind;
    enum err e = read_first(g, v, f, info);
    if (e != ERR_OK) {
        free(f->path);
        free(f);
        return e;
    }
    if (kind == GUARDFILE_TAG_KEYS)
        check_owner(g, path);
    f->next = g->files;
    g->files = f;
    return ERR_OK;
}

/* Whether `f` has to be read now. */
static bool is_due(struct guardfile *f)
{
    struct stamp now;
    struct err_info why;
    if (stamp_take(&now, f->path, &why) != ERR_OK) {
        if (!f->missing)
            log_warn("%s; what was read from it before stays", why.text);
        f->missing = true;
        return false;
    }
    f->missing = false;
    bool settled = stamp_equal(&now, &f->seen) || f->n_unsettled == UNSETTLED_MAX;
    f->seen = now;
    if (stamp_equal(&now, &f->read) || !settled) {
        f->n_unsettled = settled ? 0 : f->n_unsettled + 1;
        return false;
    }
    f->n_unsettled = 0;
    f->read = now;
    return true;
}

enum err guardfiles_check_kept(const struct guardfiles *g, const struct guardfiles *before,
                               struct err_info *info)
{
    for (const struct guardfile *f = g->files; f != NULL; f = f->next) {
        const struct guardfile *b = before->files;
        while (b != NULL && (b->kind != f->kind || strcmp(b->path, f->path) != 0))
            b = b->next;
        if (!f->was_read && b != NULL && b->was_read)
            return err_set(info, ERR_CONFIG, "%s is gone: without it nobody would be suspended",
                           f->path);
    }
    return ERR_OK;
}

/* Puts what `f` holds now into *out, made of `v` where it is still NULL. */
static enum err refresh(const struct guardfiles *g, struct guardfile *f, const struct view *v,
                        struct view **out, struct err_info *info)
{
    struct guard fresh = { NULL, NULL, NULL };
    enum err e = read_file(g, f, &fresh, info);
    if (e != ERR_OK)
        return e;
    if (*out == NULL && view_renew(out, v) != ERR_OK) {
        free(fresh.tag_keys);
        suspended_free(fresh.suspended);
        persist_free(fresh.persist);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    f->was_read = true;
    struct guard *to = &(*out)->guards[f->zone];
    const char *zone = v->zones[f->zone]->text;
    switch (f->kind) {
    case GUARDFILE_TAG_KEYS:
        to->tag_keys = fresh.tag_keys;
        log_info("zone %s: tag keys read again", zone);
        break;
    case GUARDFILE_SUSPENDED:
        to->suspended = fresh.suspended;
        log_info("zone %s: suspended list read again: %zu ids, %zu ranges of addresses", zone,
                 fresh.suspended->n_ids, fresh.suspended->n_ranges4 + fresh.suspended->n_ranges6);
        break;
    case GUARDFILE_PERSIST:
        to->persist = fresh.persist;
        log_info("zone %s: accounts read again: %u", zone, fresh.persist->set.n);
        break;
    }
    return ERR_OK;
}

void guardfiles_poll(struct guardfiles *g, const struct view *v, struct view **out)
{
    *out = NULL;
    for (struct guardfile *f = g->files; f != NULL; f = f->next) {
        struct err_info info = { .text = "" };
        if (!is_due(f))
            continue;
        enum err e = refresh(g, f, v, out, &info);
        /* no descriptor, no memory: that passes, and the file does not change when it does */
        bool passes = e == ERR_IO || e == ERR_NOMEM;
        if (passes)
            memset(&f->read, 0, sizeof f->read);
        if (e != ERR_OK && !(passes && strcmp(info.text, f->failure.text) == 0))
            log_error("%s; what was read from it before stays", info.text);
        f->failure = passes ? info : (struct err_info){ .text = "" };
    }
}
