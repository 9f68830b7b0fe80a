/* main.c - lanyard-agent: arguments, the order of the start, and the commands that talk to the
 * daemon. Exit status: 0 done, 1 failed, 2 wrong arguments or configuration, 3 no daemon. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/config.h"
#include "agent/control.h"
#include "agent/core/verdictview.h"
#include "agent/doctor.h"
#include "agent/identity.h"
#include "agent/issuance.h"
#include "agent/listeners.h"
#include "agent/probe.h"
#include "agent/statedir.h"
#include "agent/status.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "common/net/privdrop.h"

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2, EXIT_NO_DAEMON = 3 };

#define ASK_MS 10000
#define FORGET_MS 60000
#define PAIR_MS 40000  /* more than the agent gives the service */
#define PROBE_MS 90000 /* two looks, each at its longest */

static const char USAGE[] =
    "usage: lanyard-agent -c FILE COMMAND\n"
    "\n"
    "  run               be the daemon, in the foreground: get the certificate, renew it, serve\n"
    "  status [--json]   what it is doing, and what comes next; exit status 3 when it is not "
    "running\n"
    "  renew             get a new certificate now\n"
    "  pair              a code for one use: who enters it may see this device in a browser\n"
    "  unpair            nobody whom a code let in sees it any more\n"
    "  doctor [--json]   look for what is wrong, and say what to do; exit status 1 when something "
    "is\n"
    "  probe [--json]    test now whether the resolvers of this network let the names pass; exit "
    "status\n"
    "                    1 when one does not\n"
    "  forget --yes      have the service delete this device, then remove its keys and "
    "certificates\n"
    "                    (with --force: even when the service cannot be reached)\n"
    "\n"
    "  -c, --config FILE the configuration; see lanyard-agent(8)\n"
    "  --check-config    read the configuration, say what is wrong with it, and stop\n"
    "  --help, --version\n";

struct arguments {
    const char *config_path, *command;
    bool check_config, json, yes, force;
};

static int complain(const struct err_info *info, int status)
{
    (void)fprintf(stderr, "lanyard-agent: %s\n", info->text);
    return status;
}

/* ---- run --------------------------------------------------------------------------------------
 */

/* The daemon, with everything bound and opened. `config` and `fds` are taken over. */
static int serve(struct config *config, const char *config_path, const int *fds)
{
    struct err_info info;
    struct loop *loop = NULL;
    struct agent *agent = NULL;
    int lock = -1;
    enum err e = privdrop_to(config->user, &info);
    if (e == ERR_OK) /* what it starts, such as the reload command, would inherit them */
        e = privdrop_capabilities(&info);
    if (e == ERR_OK)
        e = statedir_lock(&lock, config->state_dir, &info);
    if (e == ERR_OK && loop_new(&loop) != ERR_OK)
        e = err_set(&info, ERR_NOMEM, "out of memory");
    if (e != ERR_OK) {
        listeners_close(fds, listeners_count(config));
        config_free(config);
    } else {
        e = agent_new(&agent, loop, config, config_path, fds, NULL, &info);
    }
    if (e == ERR_OK) {
        agent_start(agent);
        loop_run(loop);
    }
    agent_free(agent);
    loop_free(loop);
    if (lock >= 0)
        close(lock);
    return e == ERR_OK ? EXIT_DONE : complain(&info, e == ERR_CONFIG ? EXIT_CONFIG : EXIT_FAILED);
}

static int run(struct config *config, const char *config_path)
{
    struct err_info info;
    int fds[CONFIG_LISTENERS_MAX];
    (void)process_raise_fd_limit();
    enum err e = listeners_bind(config, fds, &info);
    if (e == ERR_OK) {
        e = statedir_make(config->state_dir, config->user, &info);
        if (e != ERR_OK)
            listeners_close(fds, listeners_count(config));
    }
    if (e != ERR_OK) {
        config_free(config);
        return complain(&info, EXIT_CONFIG);
    }
    return serve(config, config_path, fds);
}

/* ---- commands ---------------------------------------------------------------------------------
 */

/* What is on disk, while no daemon is running. */
static enum err offline_status(json_t **out, const struct config *c, struct err_info *info)
{
    struct identity id = { 0 };
    struct journal journal;
    struct certset set = { 0 };
    struct err_info ignored;
    struct stat st;
    if (stat(c->state_dir, &st) == 0 && access(c->state_dir, R_OK | X_OK) != 0)
        return err_set(info, ERR_DENIED, "not allowed to read %s", c->state_dir);
    enum err e = journal_load(&journal, c->state_dir, info);
    if (e != ERR_OK)
        return e;
    struct err_info storage = { "" };
    if (stat(c->state_dir, &st) == 0 && statedir_check(c->state_dir, &storage) == ERR_OK)
        storage.text[0] = 0;
    bool has_id = identity_load(&id, c->state_dir, false, &ignored) == ERR_OK;
    bool has_set = certstore_current(c->state_dir, &c->access, &set, &ignored) == ERR_OK;
    struct status s = {
        .config = c,
        .id = has_id ? &id.id : NULL,
        .journal = &journal,
        .certificate = has_set ? &set : NULL,
        .detail = "",
        .clock_s = clock_now_s(),
        .storage = storage.text,
        .next_at = journal.state == LIFECYCLE_SERVE ? journal.renew_at : journal.retry_at,
    };
    *out = status_to_json(&s, clock_now_s());
    certset_clear(&set);
    identity_clear(&id);
    return *out != NULL ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory");
}

static int show_status(const struct config *c, const char *socket_path, bool json)
{
    struct err_info info;
    json_t *root = NULL;
    int status = EXIT_DONE;
    enum err e = control_ask(&root, socket_path, "status", ASK_MS, &info);
    if (e == ERR_UNAVAILABLE) {
        status = EXIT_NO_DAEMON;
        e = offline_status(&root, c, &info);
    }
    if (e != ERR_OK)
        return complain(&info, EXIT_FAILED);
    if (json) {
        (void)json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        (void)putchar('\n');
    } else {
        status_print(root, stdout);
    }
    json_decref(root);
    return status;
}

/* Has the daemon do `command`, and prints what it says. */
static int order(const char *socket_path, const char *command, int64_t timeout_ms)
{
    struct err_info info;
    json_t *root = NULL;
    enum err e = control_ask(&root, socket_path, command, timeout_ms, &info);
    if (e != ERR_OK)
        return complain(&info, e == ERR_UNAVAILABLE ? EXIT_NO_DAEMON : EXIT_FAILED);
    bool ok = json_is_true(json_object_get(root, "ok"));
    const char *text = json_string_value(json_object_get(root, "text"));
    (void)fprintf(ok ? stdout : stderr, "%s\n", text != NULL ? text : "");
    json_decref(root);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

struct forgetting {
    struct loop *loop;
    enum err e;
    struct err_info info;
};

static void on_forgotten(void *arg, enum err e, const struct err_info *info)
{
    struct forgetting *f = arg;
    f->e = e;
    f->info = *info;
    loop_stop(f->loop);
}

static void on_nothing(void *arg)
{
    (void)arg; /* nothing is issued here, and no time passes */
}

/* The same without a daemon. */
static enum err forget_alone(const struct config *c, bool force, struct err_info *info)
{
    struct identity id = { 0 };
    struct forgetting f = { 0 };
    struct issuance *issuance = NULL;
    struct fetch *pool = NULL;
    struct issuance_options o = {
        .config = c, .identity = &id, .on_certificate = on_nothing, .on_clock = on_nothing
    };
    int lock = -1;
    enum err e = statedir_lock(&lock, c->state_dir, info);
    if (e == ERR_OK)
        e = identity_load(&id, c->state_dir, false, info);
    if (e == ERR_OK)
        e = loop_new(&f.loop);
    if (e == ERR_OK)
        e = api_pool_new(&pool, f.loop, c->server_ca, &id, NULL, info);
    o.pool = pool;
    if (e == ERR_OK)
        e = issuance_new(&issuance, f.loop, &o, info);
    if (e == ERR_OK) {
        issuance_forget(issuance, force, on_forgotten, &f);
        loop_run(f.loop);
        *info = f.info;
        e = f.e;
    }
    issuance_free(issuance);
    fetch_free(pool);
    loop_free(f.loop);
    identity_clear(&id);
    if (lock >= 0)
        close(lock);
    return e;
}

static int forget(const struct config *c, const char *socket_path, const struct arguments *args)
{
    struct err_info info;
    json_t *root = NULL;
    if (!args->yes) {
        (void)err_set(&info, ERR_DENIED,
                      "forget removes this device's identity and certificates for good: "
                      "say forget --yes");
        return complain(&info, EXIT_CONFIG);
    }
    enum err e = control_ask(&root, socket_path, "status", ASK_MS, &info);
    json_decref(root);
    if (e != ERR_UNAVAILABLE)
        return order(socket_path, args->force ? "forget --force" : "forget", FORGET_MS);
    e = forget_alone(c, args->force, &info);
    if (e == ERR_NOTFOUND) {
        (void)printf("There is nothing to forget in %s.\n", c->state_dir);
        return EXIT_DONE;
    }
    if (e != ERR_OK)
        return complain(&info, EXIT_FAILED);
    (void)printf("This device is forgotten.\n");
    return EXIT_DONE;
}

/* Without a daemon: a look of our own. */
static enum err probe_alone(json_t **out, const struct config *c, struct err_info *info)
{
    struct identity id = { 0 };
    struct verdict_report *r = NULL;
    enum err e = identity_load(&id, c->state_dir, false, info);
    if (e == ERR_NOTFOUND)
        e = err_set(info, e, "this device has no identity yet: start `lanyard-agent run`");
    if (e == ERR_OK)
        e = probe_once(&r, c, id.id.text, info);
    if (e == ERR_OK)
        *out = verdict_detail(r, false);
    free(r);
    identity_clear(&id);
    return e == ERR_OK && *out == NULL ? ERR_NOMEM : e;
}

static int look_at_resolvers(const struct config *c, const char *socket_path, bool json)
{
    struct err_info info = { "out of memory" };
    json_t *root = NULL;
    enum err e = control_ask(&root, socket_path, "probe", PROBE_MS, &info);
    if (e == ERR_UNAVAILABLE)
        e = probe_alone(&root, c, &info);
    if (e != ERR_OK)
        return complain(&info, EXIT_FAILED);
    json_t *rebinding = json_object_get(root, "rebinding");
    int status = json_is_false(rebinding) ? EXIT_DONE : EXIT_FAILED;
    if (json) {
        (void)json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        (void)putchar('\n');
    } else {
        verdict_print(root, true, stdout);
    }
    json_decref(root);
    return status;
}

static int examine(const struct config *c, bool json)
{
    struct err_info info;
    bool healthy = false;
    if (doctor_run(c, json, &healthy, &info) != ERR_OK)
        return complain(&info, EXIT_FAILED);
    return healthy ? EXIT_DONE : EXIT_FAILED;
}

/* ---- arguments --------------------------------------------------------------------------------
 */

static int usage_error(const char *what, const char *which)
{
    (void)fprintf(stderr, "lanyard-agent: %s%s\n%s", what, which, USAGE);
    return EXIT_CONFIG;
}

/* -1 to go on, or the exit status. */
static int parse_arguments(struct arguments *args, int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        { "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'k' },
        { "json", no_argument, NULL, 'j' },         { "yes", no_argument, NULL, 'y' },
        { "force", no_argument, NULL, 'f' },        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },      { NULL, 0, NULL, 0 },
    };
    int opt;
    while ((opt = getopt_long(argc, argv, "c:h", OPTIONS, NULL)) != -1) {
        switch (opt) {
        case 'c':
            args->config_path = optarg;
            break;
        case 'k':
            args->check_config = true;
            break;
        case 'j':
            args->json = true;
            break;
        case 'y':
            args->yes = true;
            break;
        case 'f':
            args->force = true;
            break;
        case 'h':
            (void)fputs(USAGE, stdout);
            return EXIT_DONE;
        case 'v':
            (void)puts("lanyard-agent " LANYARD_VERSION);
            return EXIT_DONE;
        default:
            (void)fputs(USAGE, stderr);
            return EXIT_CONFIG;
        }
    }
    if (args->config_path == NULL)
        return usage_error("-c FILE is missing", "");
    if (optind < argc)
        args->command = argv[optind++];
    if (optind < argc)
        return usage_error("one command only, not also ", argv[optind]);
    if (args->command == NULL && !args->check_config)
        return usage_error("the command is missing", "");
    return -1;
}

static int dispatch(const struct arguments *args, struct config *config)
{
    char socket_path[PATH_MAX];
    struct err_info info;
    int status = EXIT_DONE;
    enum err e = statedir_path(socket_path, config->state_dir, "control.sock", &info);
    if (e != ERR_OK)
        status = complain(&info, EXIT_CONFIG);
    else if (args->check_config)
        (void)printf("%s: good\n", args->config_path);
    else if (strcmp(args->command, "run") == 0)
        return run(config, args->config_path);
    else if (strcmp(args->command, "status") == 0)
        status = show_status(config, socket_path, args->json);
    else if (strcmp(args->command, "renew") == 0)
        status = order(socket_path, "renew", ASK_MS);
    else if (strcmp(args->command, "pair") == 0 || strcmp(args->command, "unpair") == 0)
        status = order(socket_path, args->command, PAIR_MS);
    else if (strcmp(args->command, "probe") == 0)
        status = look_at_resolvers(config, socket_path, args->json);
    else if (strcmp(args->command, "doctor") == 0)
        status = examine(config, args->json);
    else if (strcmp(args->command, "forget") == 0)
        status = forget(config, socket_path, args);
    else
        status = usage_error("there is no command ", args->command);
    config_free(config);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments args = { 0 };
    struct config *config;
    struct err_info info;
    process_begin();
    int status = parse_arguments(&args, argc, argv);
    if (status >= 0)
        return status;
    (void)umask(077);
    log_init("agent", LOG_LEVEL_INFO);
    if (config_load(&config, args.config_path, &info) != ERR_OK)
        return complain(&info, EXIT_CONFIG);
    log_init("agent", config->log_level);
    return dispatch(&args, config);
}
