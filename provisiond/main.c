/* main.c - lanyard-provisiond: the service, and with a subcommand the admin tool of the same
 * configuration. */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "provisiond/admin/admin.h"
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
    "Commands, beside a running service or without one:\n"
    "  token create [--zone NAME] [--uses N] [--expires 30d] [--label TEXT]\n"
    "                           make an enrolment token: 1 device and 7 days unless told\n"
    "  token list               what each token has admitted, never the tokens themselves\n"
    "  token revoke NUMBER|--all\n"
    "                           it admits nobody any more; devices it admitted stay\n"
    "  device list [--limit N]  the newest devices\n"
    "  device show ID           state, order, last trouble, certificates\n"
    "  device suspend ID        no certificates until it is resumed\n"
    "  device resume ID\n"
    "  device forget ID         revoke its certificates; its id stays in quarantine till they end\n"
    "  device release ID        end the quarantine: it may enrol again\n"
    "  device revoke ID [--reason keyCompromise] [--serial HEX]\n"
    "  order list [--all] [--device ID] [--limit N] [--json]\n"
    "                           the orders that are open, newest first\n"
    "  order show NUMBER [--json]\n"
    "  order retry NUMBER       try a waiting one now\n"
    "  order cancel NUMBER      end it; the device may send another request\n"
    "  audit [--device ID] [--limit N] [--json]\n"
    "                           who did what, newest last\n"
    "  audit --verify           whether a row was changed or taken out\n"
    "  issuer list              the issuers and the accounts there that are known here\n"
    "  issuer show NAME         what the CA offers and knows of our accounts; changes nothing\n"
    "  issuer register|rollover|deactivate NAME [--account N]\n"
    "                           make or update the account; change its key; close it for good\n"
    "  issuer revoke NAME --cert FILE [--key FILE] [--reason 0|1|4|5] [--account N]\n"
    "                           by the account, or by the certificate's own key\n"
    "  issuer caa ZONE          CAA records for the zone: only our CAs, only our accounts\n"
    "  migrate                  bring the tables up to date; PostgreSQL: as their owner\n"
    "  migrate --from sqlite:FILE [--challenges sqlite:FILE]\n"
    "                           and copy an SQLite store into the empty PostgreSQL of the\n"
    "                           configuration: everything, or nothing\n"
    "  doctor [--resolver ADDRESS:PORT] [--json]\n"
    "                           check database, CAs, delegation, CAA, challenges, certificates;\n"
    "                           exit status 1 with warnings, 2 with failures\n"
    "\n"
    "Exit status: 0 done, 1 there is no such thing, 2 wrong call or configuration.\n";

static const struct {
    const char *name;
    int (*fn)(const struct admin *a, int argc, char **argv);
} COMMANDS[] = {
    { "token", admin_token },   { "device", admin_device },   { "audit", admin_audit },
    { "issuer", admin_issuer }, { "migrate", admin_migrate }, { "doctor", admin_doctor },
    { "order", admin_order },
};

static int admin(const struct config *config, int argc, char **argv)
{
    struct admin a = { .config = config };
    struct err_info info = { "" };
    size_t k = 0;
    while (k < ARRAY_LEN(COMMANDS) && strcmp(COMMANDS[k].name, argv[0]) != 0)
        k++;
    if (k == ARRAY_LEN(COMMANDS))
        return admin_usage("there is no command '%s'", argv[0]);
    if (COMMANDS[k].fn == admin_doctor) /* a database that cannot be opened is a finding */
        return admin_doctor(&a, argc - 1, argv + 1);
    enum err e = sql_open(&a.db, config->store, &info);
    if (e != ERR_OK)
        return admin_end(e, &info);
    int status = COMMANDS[k].fn(&a, argc - 1, argv + 1);
    sql_close(a.db);
    return status;
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
    secret_harden_process();
    for (; i < argc && argv[i][0] == '-'; i++) {
        if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "--check-config") == 0) {
            check = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(HELP, stdout);
            return 0;
        } else if (strcmp(argv[i], "--version") == 0) {
            (void)puts("lanyard-provisiond " LANYARD_VERSION);
            return 0;
        } else {
            return admin_usage("unknown option '%s'", argv[i]);
        }
    }
    if (path == NULL)
        return admin_usage("say which configuration: -c FILE");

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
        status = admin(config, argc - i, argv + i);
    else
        status = serve(config);
    config_free(config);
    return status;
}
