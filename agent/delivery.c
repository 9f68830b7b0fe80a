#include "agent/delivery.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/core/backoff.h"
#include "agent/hook.h"
#include "agent/reloadsignal.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"

#define ENV_N 8

struct delivery {
    struct loop *loop;
    struct delivery_options o;
    struct hook *hook;          /* NULL with a host */
    struct servedcheck *served; /* NULL: not looked at */
    struct loop_timer *again;
    bool running;     /* the command is */
    bool newer;       /* a newer certificate came meanwhile */
    unsigned in_vain; /* attempts in a row */
    int64_t next_ms;  /* monotonic: the next attempt; 0: none is planned */
};

static void look(struct delivery *d)
{
    const struct certset *set = issuance_current(d->o.issuance);
    if (d->served != NULL && set != NULL)
        servedcheck_expect(d->served, sk_X509_value(set->chain, 0));
}

static void cancel(struct delivery *d)
{
    loop_timer_cancel(d->again);
    d->next_ms = 0;
}

static void try_later(struct delivery *d)
{
    const struct certset *set = issuance_current(d->o.issuance);
    uint32_t random;
    if (set == NULL || config_reload(d->o.config) == NULL || d->next_ms != 0)
        return;
    secret_random(&random, sizeof random);
    d->in_vain++;
    int64_t wait_ms = 1000 * backoff_delay_s(d->in_vain, d->o.config->retry_s,
                                             set->not_after_s - set->not_before_s, random);
    d->next_ms = clock_mono_ms() + wait_ms;
    loop_timer_set(d->again, wait_ms);
    log_warn("the %s is tried again in %lld s", config_reload(d->o.config),
             (long long)wait_ms / 1000);
}

static bool went_well(const struct hook_result *r)
{
    return r->exit_status == 0 && !r->timed_out;
}

static void run(struct delivery *d);

static void on_done(void *arg, const struct hook_result *r)
{
    struct delivery *d = arg;
    const char *what = config_reload(d->o.config);
    d->running = false;
    if (what == NULL) /* the configuration changed meanwhile */
        what = "reload command";
    if (r->timed_out)
        log_error("the %s was stopped after %lld s", what,
                  (long long)d->o.config->reload_timeout_ms / 1000);
    else if (r->exit_status < 0)
        log_error("the %s failed: %s", what, r->output);
    else if (r->exit_status != 0)
        log_error("the %s failed with exit status %d", what, r->exit_status);
    else
        log_info("the %s is done", what);
    events_add(d->o.events, r->at, "the %s %s", what, went_well(r) ? "is done" : "failed");
    issuance_note_hook(d->o.issuance, r);
    if (d->newer) {
        run(d);
        return;
    }
    if (!went_well(r))
        try_later(d);
    else if (d->served == NULL)
        d->in_vain = 0;
    look(d);
}

/* The command may have lied, or the application ignored it. */
static void on_served(void *arg, enum served what)
{
    struct delivery *d = arg;
    if (d->running)
        return; /* there is another look after it */
    if (what == SERVED_OTHER)
        try_later(d);
    else if (what == SERVED_CURRENT && d->next_ms == 0)
        d->in_vain = 0;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static void free_env(char *env[ENV_N])
{
    for (size_t i = 0; i < ENV_N; i++)
        free(env[i]);
}

static char *env_text(const char *key, const char *value, const char *more)
{
    char *text = NULL;
    return asprintf(&text, "%s=%s%s", key, value, more) < 0 ? NULL : text;
}

/* False when out of memory; free_env() in any case. */
static bool make_env(const struct delivery *d, char *env[ENV_N])
{
    const struct config *c = d->o.config;
    const char *dir = c->state_dir, *path = getenv("PATH");
    size_t n = 0;
    env[n++] = env_text("PATH", path != NULL ? path : "/usr/sbin:/usr/bin:/sbin:/bin", "");
    env[n++] = env_text("LANYARD_ID", d->o.id->text, "");
    env[n++] = env_text("LANYARD_ZONE", c->zone, "");
    env[n++] = env_text("LANYARD_NAME", issuance_name(d->o.issuance), "");
    env[n++] = env_text("LANYARD_CERT_DIR", dir, "/current");
    env[n++] = env_text("LANYARD_FULLCHAIN", dir, "/current/fullchain.pem");
    env[n++] = env_text("LANYARD_PRIVKEY", dir, "/current/privkey.pem");
    for (size_t i = 0; i < n; i++) {
        if (env[i] == NULL)
            return false;
    }
    return true;
}

static void run_command(struct delivery *d, unsigned generation)
{
    char *env[ENV_N] = { NULL };
    struct err_info info;
    const struct config *c = d->o.config;
    enum err e = !make_env(d, env) ? err_set(&info, ERR_NOMEM, "out of memory")
                                   : hook_run(d->hook, c->reload_command, env, c->reload_timeout_ms,
                                              generation, on_done, d, &info);
    free_env(env);
    d->running = e == ERR_OK;
    if (d->running)
        return;
    struct hook_result failed = { .generation = generation,
                                  .at = clock_now_s(),
                                  .exit_status = -1 };
    (void)snprintf(failed.output, sizeof failed.output, "%s", info.text);
    on_done(d, &failed);
}

static void run(struct delivery *d)
{
    const struct certset *set = issuance_current(d->o.issuance);
    const struct config *c = d->o.config;
    d->newer = d->running;
    if (d->running)
        return;
    cancel(d);
    if (set == NULL || config_reload(c) == NULL) {
        d->in_vain = 0;
        look(d);
    } else if (c->reload_command != NULL) {
        run_command(d, set->generation);
    } else {
        struct hook_result r;
        reloadsignal_send(&r, c->reload_pid_file, c->reload_signal, set->generation);
        on_done(d, &r);
    }
}

static void on_again(void *arg)
{
    run(arg);
}

/* ---- start and end ----------------------------------------------------------------------------
 */

/* Makes, or ends, the look at the application as the configuration says. */
static enum err use_served_check(struct delivery *d)
{
    char name[ISSUANCE_NAME_MAX + 8];
    servedcheck_free(d->served);
    d->served = NULL;
    if (!d->o.config->check_served)
        return ERR_OK;
    (void)snprintf(name, sizeof name, "check%s", issuance_name(d->o.issuance) + 1);
    return servedcheck_new(&d->served, d->loop, &d->o.config->served_at, name, on_served, d);
}

enum err delivery_new(struct delivery **out, struct loop *l, const struct delivery_options *o)
{
    struct delivery *d = calloc(1, sizeof *d);
    if (d == NULL)
        return ERR_NOMEM;
    d->loop = l;
    d->o = *o;
    enum err e = loop_timer_new(&d->again, l, on_again, d);
    if (e == ERR_OK && !o->hosted)
        e = hook_new(&d->hook, l);
    if (e == ERR_OK)
        e = use_served_check(d);
    if (e != ERR_OK) {
        delivery_free(d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

void delivery_start(struct delivery *d)
{
    const struct certset *set = issuance_current(d->o.issuance);
    const struct hook_result *last = &issuance_journal(d->o.issuance)->hook;
    /* a crash between the new certificate and its reload command, or one that failed */
    if (set != NULL && (last->generation != set->generation || !went_well(last)))
        run(d);
    else
        look(d);
}

void delivery_renewed(struct delivery *d)
{
    d->in_vain = 0;
    run(d);
}

enum err delivery_set_config(struct delivery *d, const struct config *c)
{
    d->o.config = c;
    enum err e = use_served_check(d);
    if (d->next_ms != 0)
        run(d);
    else if (!d->running)
        look(d);
    return e;
}

const struct served_result *delivery_served(const struct delivery *d)
{
    return d->served != NULL ? servedcheck_result(d->served) : NULL;
}

unsigned delivery_attempts(const struct delivery *d)
{
    return d->in_vain;
}

int64_t delivery_next_at(const struct delivery *d, int64_t now_s)
{
    int64_t left_ms = d->next_ms - clock_mono_ms();
    if (d->next_ms == 0)
        return 0;
    return now_s + (left_ms > 0 ? left_ms / 1000 : 0);
}

void delivery_free(struct delivery *d)
{
    if (d == NULL)
        return;
    servedcheck_free(d->served);
    hook_free(d->hook);
    loop_timer_free(d->again);
    free(d);
}
