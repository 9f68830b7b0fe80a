#include "agent/lib/lanyard_agent.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/config.h"
#include "agent/listeners.h"
#include "agent/statedir.h"
#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/pki/cert.h"
#include "common/pki/key.h"

#define PEM_MAX (256 * 1024)
#define NAME_MAX_LEN 256
#define N_KINDS 2

/* A certificate on its way to the host's thread. */
struct news {
    struct buf chain, key;
    int64_t not_after_s;
    bool is_new;
};

struct lanyard_agent {
    struct lanyard_agent_callbacks callbacks;
    char name[NAME_MAX_LEN], dir[PATH_MAX];
    pthread_t thread;
    bool has_thread;
    int lock, fd;
    struct loop *loop; /* both are the thread's once it runs */
    struct agent *agent;
    pthread_mutex_t mutex; /* over what follows: only the newest of each is kept */
    struct news news[N_KINDS];
    char *state; /* JSON for the host; NULL: nothing new */
};

/* ---- the agent's thread -----------------------------------------------------------------------
 */

static void wake_host(const struct lanyard_agent *a)
{
    uint64_t one = 1;
    ssize_t rc = write(a->fd, &one, sizeof one);
    (void)rc; /* full means that it is readable already */
}

static void init_news(struct news *n)
{
    buf_init(&n->chain, PEM_MAX);
    buf_init(&n->key, PEM_MAX);
    n->is_new = false;
}

static void clear_news(struct news *n)
{
    buf_clear(&n->chain);
    buf_wipe(&n->key);
    n->is_new = false;
}

static void on_certificate(void *arg, bool local, EVP_PKEY *key, STACK_OF(X509) * chain,
                           int64_t not_after_s)
{
    struct lanyard_agent *a = arg;
    struct news fresh = { .not_after_s = not_after_s };
    init_news(&fresh);
    fresh.is_new = true;
    enum err e = key_to_pem(key, &fresh.key);
    for (int i = 0; e == ERR_OK && i < sk_X509_num(chain); i++)
        e = cert_to_pem(sk_X509_value(chain, i), &fresh.chain);
    if (e != ERR_OK) {
        log_error("a certificate cannot be handed over: %s", err_name(e));
        clear_news(&fresh);
        return;
    }
    struct news *slot = &a->news[local ? LANYARD_AGENT_LOCAL : LANYARD_AGENT_PUBLIC];
    pthread_mutex_lock(&a->mutex);
    clear_news(slot);
    *slot = fresh;
    pthread_mutex_unlock(&a->mutex);
    wake_host(a);
}

static void on_state(void *arg)
{
    struct lanyard_agent *a = arg;
    json_t *root = agent_status(a->agent);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    if (text == NULL)
        return;
    pthread_mutex_lock(&a->mutex);
    free(a->state);
    a->state = text;
    pthread_mutex_unlock(&a->mutex);
    wake_host(a);
}

static void *work(void *arg)
{
    struct lanyard_agent *a = arg;
    agent_start(a->agent);
    loop_run(a->loop);
    on_state(a); /* stopped, or the device was forgotten by command */
    /* here, where SIGPIPE is blocked: connections say goodbye */
    agent_free(a->agent);
    return NULL;
}

static void renew(void *arg)
{
    const struct lanyard_agent *a = arg;
    agent_renew(a->agent);
}

/* ---- the host's thread ------------------------------------------------------------------------
 */

/* Without signals: they are the host's. */
static enum err start_thread(struct lanyard_agent *a, struct err_info *info)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    a->has_thread = pthread_create(&a->thread, NULL, work, a) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return a->has_thread ? ERR_OK : err_set(info, ERR_NOMEM, "cannot start a thread");
}

static enum err check_config(const struct config *c, const char *path, struct err_info *info)
{
    const char *key = c->reload_command != NULL    ? "reload_command"
                      : c->reload_pid_file != NULL ? "reload_pid_file"
                      : c->user != NULL            ? "user"
                      : c->port_mapping            ? "port_mapping"
                      : c->mdns                    ? "mdns"
                                                   : NULL;
    return key == NULL ? ERR_OK
                       : err_set(info, ERR_CONFIG,
                                 "%s: %s is for lanyard-agent, not for the library", path, key);
}

/* Takes over `config`. */
static enum err open_agent(struct lanyard_agent *a, struct config *config, const char *path,
                           struct err_info *info)
{
    int fds[CONFIG_LISTENERS_MAX];
    struct agent_host host = { on_certificate, on_state, a };
    enum err e = check_config(config, path, info);
    if (e == ERR_OK)
        e = statedir_make(config->state_dir, NULL, info);
    if (e == ERR_OK)
        e = statedir_lock(&a->lock, config->state_dir, info);
    if (e == ERR_OK)
        e = statedir_path(a->dir, config->state_dir, "current", info);
    if (e == ERR_OK && loop_new_hosted(&a->loop) != ERR_OK)
        e = err_set(info, ERR_NOMEM, "out of memory");
    if (e == ERR_OK)
        e = listeners_bind(config, fds, info);
    if (e != ERR_OK) {
        config_free(config);
        return e;
    }
    return agent_new(&a->agent, a->loop, config, path, fds, &host, info);
}

static enum err build(struct lanyard_agent *a, const char *config_path, struct err_info *info)
{
    struct config *config;
    a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->fd < 0)
        return err_set(info, ERR_IO, "cannot make an event descriptor");
    enum err e = config_load(&config, config_path, info);
    if (e != ERR_OK)
        return e;
    log_init("agent", config->log_level);
    e = open_agent(a, config, config_path, info);
    if (e != ERR_OK)
        return e;
    (void)snprintf(a->name, sizeof a->name, "%s", agent_name(a->agent));
    e = start_thread(a, info);
    if (e != ERR_OK)
        agent_free(a->agent);
    return e;
}

int lanyard_agent_new(struct lanyard_agent **out, const char *config_path,
                      const struct lanyard_agent_callbacks *callbacks, char *error,
                      size_t error_size)
{
    struct err_info info = { 0 };
    struct lanyard_agent *a = calloc(1, sizeof *a);
    enum err e = a == NULL ? err_set(&info, ERR_NOMEM, "out of memory") : ERR_OK;
    if (a != NULL) {
        a->fd = a->lock = -1;
        pthread_mutex_init(&a->mutex, NULL);
        for (size_t i = 0; i < N_KINDS; i++)
            init_news(&a->news[i]);
        if (callbacks->size != sizeof *callbacks || callbacks->certificate == NULL)
            e = err_set(&info, ERR_INVALID, "the callbacks are not those of this library");
        a->callbacks = *callbacks;
    }
    if (e == ERR_OK)
        e = build(a, config_path, &info);
    if (e == ERR_OK) {
        *out = a;
        return 0;
    }
    lanyard_agent_free(a);
    if (error_size > 0)
        (void)snprintf(error, error_size, "%s", info.text);
    return -1;
}

int lanyard_agent_fd(const struct lanyard_agent *a)
{
    return a->fd;
}

static void tell_certificate(const struct lanyard_agent *a, enum lanyard_agent_kind kind,
                             const struct news *n)
{
    struct lanyard_agent_certificate c = {
        .kind = kind,
        .name = a->name,
        .chain_pem = buf_str(&n->chain),
        .key_pem = buf_str(&n->key),
        .dir = kind == LANYARD_AGENT_PUBLIC ? a->dir : NULL,
        .not_after = n->not_after_s,
    };
    a->callbacks.certificate(a->callbacks.arg, &c);
}

void lanyard_agent_process(struct lanyard_agent *a)
{
    struct news news[N_KINDS];
    uint64_t count;
    ssize_t rc = read(a->fd, &count, sizeof count);
    (void)rc; /* nothing there: called without need */
    pthread_mutex_lock(&a->mutex);
    for (size_t i = 0; i < N_KINDS; i++) {
        news[i] = a->news[i];
        init_news(&a->news[i]);
    }
    char *state = a->state;
    a->state = NULL;
    pthread_mutex_unlock(&a->mutex);
    for (size_t i = 0; i < N_KINDS; i++) {
        if (news[i].is_new)
            tell_certificate(a, (enum lanyard_agent_kind)i, &news[i]);
        clear_news(&news[i]);
    }
    if (state != NULL && a->callbacks.state != NULL)
        a->callbacks.state(a->callbacks.arg, state);
    free(state);
}

int lanyard_agent_next_timeout_ms(struct lanyard_agent *a)
{
    pthread_mutex_lock(&a->mutex);
    bool any = a->state != NULL;
    for (size_t i = 0; i < N_KINDS; i++)
        any = any || a->news[i].is_new;
    pthread_mutex_unlock(&a->mutex);
    return any ? 0 : -1;
}

int lanyard_agent_renew(struct lanyard_agent *a)
{
    return loop_post(a->loop, renew, a) == ERR_OK ? 0 : -1;
}

void lanyard_agent_free(struct lanyard_agent *a)
{
    if (a == NULL)
        return;
    if (a->has_thread) {
        loop_stop(a->loop);
        (void)pthread_join(a->thread, NULL);
    }
    loop_free(a->loop);
    for (size_t i = 0; i < N_KINDS; i++)
        clear_news(&a->news[i]);
    free(a->state);
    pthread_mutex_destroy(&a->mutex);
    if (a->lock >= 0)
        close(a->lock);
    if (a->fd >= 0)
        close(a->fd);
    free(a);
}
