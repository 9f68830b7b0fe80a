#include "provisiond/api/admitlists.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/pki/cert.h"
#include "provisiond/store/jobs.h"

#define LIST_FILE_MAX ((size_t)256 * 1024 * 1024) /* bytes: four million keys in hexadecimal */
#define LOOK_EVERY_MS 2000
#define FILES_MAX (1 + 3 * CONFIG_LIST_MAX)

/* What a file was when it was looked at: one that is replaced or written differs in some of it. */
struct stamp {
    bool there;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written, changed;
};

struct admitlists {
    struct job job; /* first: a look at the files */
    const struct config *config;
    struct jobs *thread;
    struct loop_timer *timer;
    struct admit_lists *now;
    bool busy, wanted, stale;
    /* between the loop and the thread, which take turns */
    bool force;
    bool has_changed;         /* by this look */
    struct admit_lists *read; /* by this look; NULL when nothing has changed */
    struct stamp seen[FILES_MAX];
};

/* --- reading --- */

static enum err load_set(struct digestset **out, const char *path, enum digestset_form form,
                         const char *where, struct err_info *info)
{
    struct buf text;
    if (path == NULL)
        return ERR_OK;
    buf_init(&text, LIST_FILE_MAX);
    enum err e = file_read(path, &text, info);
    if (e == ERR_OK)
        e = digestset_parse(out, buf_span(&text), form, info);
    buf_clear(&text);
    return e == ERR_OK ? e : err_prefix(info, ERR_CONFIG, "%s: %s: ", where, path);
}

static enum err load_factory(struct factory **out, const char *path, const char *where,
                             struct err_info *info)
{
    struct buf pem;
    if (path == NULL)
        return ERR_OK;
    buf_init(&pem, CERT_PEM_MAX);
    enum err e = file_read(path, &pem, info);
    if (e == ERR_OK)
        e = factory_new(out, buf_span(&pem), info);
    buf_clear(&pem);
    return e == ERR_OK ? e : err_prefix(info, ERR_CONFIG, "%s: %s: ", where, path);
}

static void lists_free(struct admit_lists *lists)
{
    if (lists == NULL)
        return;
    digestset_free(lists->blocked_keys);
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++) {
        factory_free(lists->zones[i].factory);
        digestset_free(lists->zones[i].allow);
        digestset_free(lists->zones[i].deny);
    }
    free(lists);
}

static enum err lists_load(struct admit_lists **out, const struct config *config,
                           struct err_info *info)
{
    struct admit_lists *lists = calloc(1, sizeof *lists);
    if (lists == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    enum err e = load_set(&lists->blocked_keys, config->blocked_keys, DIGESTSET_HEX,
                          config->blocked_where, info);
    for (size_t i = 0; i < config->n_zones && e == ERR_OK; i++) {
        const struct config_zone *z = &config->zones[i];
        struct admit_zone *a = &lists->zones[i];
        e = load_factory(&a->factory, z->factory_ca, z->where, info);
        if (e == ERR_OK)
            e = load_set(&a->allow, z->allow_devices, DIGESTSET_ID, z->where, info);
        if (e == ERR_OK)
            e = load_set(&a->deny, z->deny_devices, DIGESTSET_ID, z->where, info);
    }
    if (e != ERR_OK) {
        lists_free(lists);
        return e;
    }
    *out = lists;
    return ERR_OK;
}

/* --- looking --- */

static struct stamp stamp_take(const char *path)
{
    struct stat st;
    struct stamp s;
    memset(&s, 0, sizeof s); /* compared as bytes */
    if (path == NULL || stat(path, &st) != 0)
        return s;
    s.there = true;
    s.device = st.st_dev;
    s.inode = st.st_ino;
    s.size = st.st_size;
    s.written = st.st_mtim;
    s.changed = st.st_ctim;
    return s;
}

/* Whether any file differs from what was seen; it is seen now. */
static bool look(struct admitlists *w)
{
    bool differs = false;
    const struct config *c = w->config;
    for (size_t i = 0; i < 1 + 3 * c->n_zones; i++) {
        const struct config_zone *z = i == 0 ? NULL : &c->zones[(i - 1) / 3];
        const char *const own[] = { z == NULL ? NULL : z->factory_ca,
                                    z == NULL ? NULL : z->allow_devices,
                                    z == NULL ? NULL : z->deny_devices };
        struct stamp s = stamp_take(z == NULL ? c->blocked_keys : own[(i - 1) % 3]);
        differs = differs || memcmp(&s, &w->seen[i], sizeof s) != 0;
        w->seen[i] = s;
    }
    return differs;
}

/* The stamps are taken first: what is written while it is read differs at the next look. */
static enum err run_look(struct job *j, void *ctx)
{
    struct admitlists *w = (struct admitlists *)j;
    (void)ctx;
    w->has_changed = look(w) || w->force;
    return w->has_changed ? lists_load(&w->read, w->config, &j->info) : ERR_OK;
}

static void start_look(struct admitlists *w, bool force);

static void on_looked(struct job *j, enum err e)
{
    struct admitlists *w = (struct admitlists *)j;
    w->busy = false;
    if (e != ERR_OK) {
        w->stale = true;
        log_error("the lists of keys and devices stay as they were: %s", j->info.text);
    } else if (w->has_changed) {
        w->stale = false;
        lists_free(w->now);
        w->now = w->read;
        w->read = NULL;
        log_info("the lists of keys and devices were read again");
    }
    if (w->wanted) {
        w->wanted = false;
        start_look(w, true);
        return;
    }
    loop_timer_set(w->timer, LOOK_EVERY_MS);
}

static void start_look(struct admitlists *w, bool force)
{
    w->busy = true;
    w->force = force;
    w->job = (struct job){ .run = run_look, .done = on_looked };
    jobs_submit(w->thread, &w->job);
}

static void on_timer(void *arg)
{
    struct admitlists *w = arg;
    if (!w->busy)
        start_look(w, false);
}

void admitlists_reload(struct admitlists *w)
{
    if (w->timer == NULL)
        return; /* no file is configured */
    if (w->busy)
        w->wanted = true;
    else
        start_look(w, true);
}

const struct admit_lists *admitlists_now(const struct admitlists *w)
{
    return w->now;
}

bool admitlists_stale(const struct admitlists *w)
{
    return w->stale;
}

/* --- life --- */

static bool has_files(const struct config *c)
{
    bool any = c->blocked_keys != NULL;
    for (size_t i = 0; i < c->n_zones; i++)
        any = any || c->zones[i].factory_ca != NULL || c->zones[i].allow_devices != NULL ||
              c->zones[i].deny_devices != NULL;
    return any;
}

enum err admitlists_new(struct admitlists **out, struct loop *l, const struct config *config,
                        struct err_info *info)
{
    struct admitlists *w = calloc(1, sizeof *w);
    if (w == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    w->config = config;
    (void)look(w);
    enum err e = lists_load(&w->now, config, info);
    if (e == ERR_OK && has_files(config)) {
        e = jobs_new(&w->thread, l, NULL, NULL);
        if (e == ERR_OK)
            e = loop_timer_new(&w->timer, l, on_timer, w);
        if (e == ERR_OK)
            loop_timer_set(w->timer, LOOK_EVERY_MS);
        else
            (void)err_set(info, e, "out of memory");
    }
    if (e != ERR_OK) {
        admitlists_free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void admitlists_free(struct admitlists *w)
{
    if (w == NULL)
        return;
    if (w->thread != NULL)
        jobs_free(w->thread); /* first: its job is a part of this */
    loop_timer_free(w->timer);
    lists_free(w->now);
    lists_free(w->read);
    free(w);
}
