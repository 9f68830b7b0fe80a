/* lanyard-dnsd - the authoritative DNS server: see dnsd/README.md and lanyard-dnsd(8). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/process.h"
#include "common/net/privdrop.h"
#include "dnsd/config.h"
#include "dnsd/keytool.h"
#include "dnsd/server.h"

enum { EXIT_CONFIG = 2 }; /* usage or configuration: a person has to change something */

static const char USAGE[] =
    "usage: lanyard-dnsd -c FILE [--check-config]\n"
    "       lanyard-dnsd key make|publish|activate|retire|list|ds -c FILE ZONE [TAG]\n"
    "Authoritative DNS for device names: the address in the name, ACME challenges, static "
    "records.\n"
    "\n"
    "  -c, --config FILE   the configuration (see lanyard-dnsd(8))\n"
    "      --check-config  check it, with its zone files, and exit\n"
    "  -h, --help          this text\n"
    "      --version       the version\n"
    "\n"
    "Stays in the foreground and logs to standard error. SIGHUP reloads, SIGTERM stops.\n";

struct options {
    const char *config;
    bool check;
};

/* Fills *o; returns an exit status, or -1 to go on. */
static int parse_options(struct options *o, int argc, char **argv)
{
    static const struct option LONG[] = { { "config", required_argument, NULL, 'c' },
                                          { "check-config", no_argument, NULL, 'k' },
                                          { "help", no_argument, NULL, 'h' },
                                          { "version", no_argument, NULL, 'v' },
                                          { NULL, 0, NULL, 0 } };
    int opt;
    while ((opt = getopt_long(argc, argv, "c:h", LONG, NULL)) != -1) {
        switch (opt) {
        case 'c':
            o->config = optarg;
            break;
        case 'k':
            o->check = true;
            break;
        case 'h':
            (void)fputs(USAGE, stdout);
            return EXIT_SUCCESS;
        case 'v':
            (void)puts("lanyard-dnsd " LANYARD_VERSION);
            return EXIT_SUCCESS;
        default:
            (void)fputs("try lanyard-dnsd --help\n", stderr);
            return EXIT_CONFIG;
        }
    }
    if (o->config == NULL || optind < argc) {
        (void)fputs(USAGE, stderr);
        return EXIT_CONFIG;
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct options o = { .config = NULL };
    struct err_info info = { .text = "" };
    struct config *config = NULL;
    struct server *server = NULL;
    process_begin();
    process_hold_reload();
    if (argc > 1 && strcmp(argv[1], "key") == 0)
        return keytool_main(argc - 1, argv + 1);
    int status = parse_options(&o, argc, argv);
    if (status >= 0)
        return status;
    status = EXIT_CONFIG;
    log_init("dnsd", LOG_LEVEL_INFO);
    if (config_load(&config, o.config, &info) != ERR_OK)
        goto out;
    if (o.check) {
        (void)printf("%s: ok\n", o.config);
        status = EXIT_SUCCESS;
        goto out;
    }
    log_init("dnsd", config->log_level);
    (void)process_raise_fd_limit();
    if (server_new(&server, config, o.config, &info) != ERR_OK ||
        privdrop_to(config->user, &info) != ERR_OK || privdrop_capabilities(&info) != ERR_OK)
        goto out;
    status = server_run(server, &info) == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
out:
    if (status != EXIT_SUCCESS)
        (void)fprintf(stderr, "%s\n", info.text);
    server_free(server);
    config_free(config);
    return status;
}
