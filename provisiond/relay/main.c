/* lanyard-relay - passes TLS connections on to devices that dialled out: see
 * provisiond/relay/README.md and lanyard-relay(8). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/process.h"
#include "common/net/privdrop.h"
#include "provisiond/relay/relay.h"

enum { EXIT_CONFIG = 2 }; /* usage or configuration: a person has to change something */

static const char USAGE[] =
    "usage: lanyard-relay -c FILE [--check-config | --id]\n"
    "Passes TLS connections on to the devices of their names, which dialled out. TLS ends on the\n"
    "device.\n"
    "\n"
    "  -c, --config FILE   the configuration (see lanyard-relay(8))\n"
    "      --check-config  check it, and exit\n"
    "      --id            the id that devices know this relay by (its key is made where missing)\n"
    "  -h, --help          this text\n"
    "      --version       the version\n"
    "\n"
    "Stays in the foreground and logs to standard error. SIGHUP reloads, SIGTERM stops.\n";

struct options {
    const char *config;
    bool check, id;
};

/* Fills *o; returns an exit status, or -1 to go on. */
static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option LONG[] = {
        { "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'k' },
        { "id", no_argument, NULL, 'i' },           { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },      { NULL, 0, NULL, 0 }
    };
    int opt;
    while ((opt = getopt_long(argc, argv, "c:h", LONG, NULL)) != -1) {
        switch (opt) {
        case 'c':
            o->config = optarg;
            break;
        case 'k':
            o->check = true;
            break;
        case 'i':
            o->id = true;
            break;
        case 'h':
            (void)fputs(USAGE, stdout);
            return EXIT_SUCCESS;
        case 'v':
            (void)puts("lanyard-relay " LANYARD_VERSION);
            return EXIT_SUCCESS;
        default:
            (void)fputs("try lanyard-relay --help\n", stderr);
            return EXIT_CONFIG;
        }
    }
    if (o->config == NULL || optind < argc) {
        (void)fputs(USAGE, stderr);
        return EXIT_CONFIG;
    }
    return -1;
}

static enum err print_id(const struct relayconf *config, struct err_info *info)
{
    EVP_PKEY *key = NULL;
    struct devid id;
    enum err e = relayconf_identity(&key, &id, config, info);
    if (e == ERR_OK)
        (void)puts(id.text);
    EVP_PKEY_free(key);
    return e;
}

int main(int argc, char **argv)
{
    struct options o = { .config = NULL };
    struct err_info info = { .text = "" };
    struct relayconf *config = NULL;
    struct relay *relay = NULL;
    process_begin();
    process_hold_reload();
    int status = parse_options(&o, argc, argv);
    if (status >= 0)
        return status;
    status = EXIT_CONFIG;
    log_init("relay", LOG_LEVEL_INFO);
    if (relayconf_load(&config, o.config, &info) != ERR_OK)
        goto out;
    if (o.check || o.id) {
        if (o.check)
            (void)printf("%s: ok\n", o.config);
        if (!o.id || print_id(config, &info) == ERR_OK)
            status = EXIT_SUCCESS;
        goto out;
    }
    log_init("relay", config->log_level);
    if (relay_new(&relay, config, o.config, &info) != ERR_OK)
        goto out;
    if (privdrop_to(config->user, &info) != ERR_OK) {
        (void)err_prefix(&info, ERR_CONFIG, "%s: ", config->user_where);
        config = NULL; /* the relay's */
        goto out;
    }
    config = NULL;
    if (privdrop_capabilities(&info) != ERR_OK)
        goto out;
    relay_run(relay);
    status = EXIT_SUCCESS;
out:
    if (status != EXIT_SUCCESS)
        (void)fprintf(stderr, "%s\n", info.text);
    relay_free(relay);
    relayconf_free(config);
    return status;
}
