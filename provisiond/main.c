/* main.c - lanyard-provisiond: the service, and with a subcommand the admin tool of the same
 * configuration. */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/process.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/help.h"
#include "provisiond/config.h"
#include "provisiond/server.h"

static const char HELP[] =
    "Usage: lanyard-provisiond -c FILE [--check-config]\n"
    "       lanyard-provisiond -c FILE COMMAND ...\n"
    "\n"
    "Admits devices and gets each a wildcard certificate through an upstream CA.\n"
    "Without a command it serves in the foreground, logs to standard error, and stops\n"
    "on SIGTERM.\n"
    "\n"
    "  -c FILE, --config FILE   the configuration\n"
    "  --check-config           read and check it, say what is wrong, serve nothing\n"
    "  --help, --version\n"
    "\n"
    "Commands, beside a running service or without one; COMMAND --help shows its part:\n";

static const char END[] =
    "\n"
    "Exit status: 0 done, 1 there is no such thing, 2 wrong call or configuration.\n";

static const struct {
    const char *name;
    int (*fn)(const struct admin *a, int argc, char **argv);
} COMMANDS[] = {
    { "token", admin_token },   { "device", admin_device },   { "audit", admin_audit },
    { "issuer", admin_issuer }, { "migrate", admin_migrate }, { "doctor", admin_doctor },
    { "order", admin_order },   { "limits", admin_limits },
};

/* The place of that name in COMMANDS, or their number. */
static size_t command_find(const char *name)
{
    size_t k = 0;
    while (k < ARRAY_LEN(COMMANDS) && strcmp(COMMANDS[k].name, name) != 0)
        k++;
    return k;
}

static void write_usage(FILE *out, const char *command)
{
    (void)fprintf(out, "Usage: lanyard-provisiond -c FILE %s ...\n", command);
    help_write(out, command);
}

/* Needs neither configuration nor database. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static int admin(const struct config *config, size_t k, int argc, char **argv)
{
    struct admin a = { .config = config };
    struct err_info info = { "" };
    enum err e = ERR_OK;
    if (COMMANDS[k].fn != admin_doctor) /* to it a database that cannot be opened is a finding */
        e = sql_open(&a.db, config->store, &info);
    if (e != ERR_OK)
        return admin_end(e, &info);
    int status = COMMANDS[k].fn(&a, argc - 1, argv + 1);
    sql_close(a.db);
    if (status != ADMIN_WRONG_CALL)
        return status;
    write_usage(stderr, COMMANDS[k].name);
    return 2;
}

/* A first try at a CA that browsers trust costs limits that last for a week. */
static int check_config(const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->n_issuers; i++)
        if (config_is_untried_production(&config->issuers[i]))
            (void)fprintf(stderr,
                          "%s: issuer \"%s\": warning: this is a production CA and no account has "
                          "been used there yet: try with its staging directory first\n",
                          config->issuers[i].where, config->issuers[i].name);
    (void)printf("%s: ok\n", path);
    return 0;
}

static int refuse_call(const char *what, const char *name)
{
    (void)fprintf(stderr, "lanyard-provisiond: %s%s (see --help)\n", what, name);
    return 2;
}

static int serve(const struct config *config)
{
    struct err_info info = { "" };
    log_init("provisiond", config->log_level);
    if (server_run(config, &info) == ERR_OK)
        return 0;
    (void)fprintf(stderr, "lanyard-provisiond: %s\n",
                  info.text[0] != 0 ? info.text : "out of memory");
    return 2;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    bool check = false;
    int i = 1;
    process_begin();
    for (; i < argc && argv[i][0] == '-'; i++) {
        if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "--check-config") == 0) {
            check = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(HELP, stdout);
            help_write(stdout, NULL);
            (void)fputs(END, stdout);
            return 0;
        } else if (strcmp(argv[i], "--version") == 0) {
            (void)puts("lanyard-provisiond " LANYARD_VERSION);
            return 0;
        } else {
            return refuse_call("unknown option ", argv[i]);
        }
    }
    size_t k = i < argc ? command_find(argv[i]) : 0;
    if (k == ARRAY_LEN(COMMANDS))
        return refuse_call("there is no command ", argv[i]);
    if (i < argc && asks_for_help(argc - i, argv + i)) {
        write_usage(stdout, COMMANDS[k].name);
        return 0;
    }
    if (path == NULL)
        return refuse_call("say which configuration: -c FILE", "");

    struct config *config = NULL;
    struct err_info info = { "" };
    if (config_load(&config, path, &info) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", info.text);
        return 2;
    }
    int status = 0;
    if (check)
        status = check_config(config, path);
    else if (i < argc)
        status = admin(config, k, argc - i, argv + i);
    else
        status = serve(config);
    config_free(config);
    return status;
}
