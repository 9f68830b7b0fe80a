/* lanyard-dnsd - the authoritative DNS server: see dnsd/README.md and lanyard-dnsd(8). */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/secret.h"
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
    "      --help          this text\n"
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
    while ((opt = getopt_long(argc, argv, "c:", LONG, NULL)) != -1) {
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

/* A socket must never become descriptor 0, 1 or 2, where somebody may write. */
static void fill_standard_fds(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* A log that nobody reads any more is no reason to die, and a reload asked for this early waits. */
static void hold_signals(void)
{
    sigset_t hup;
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &hup, NULL);
}

/* As many descriptors as the system lets us have: TCP connections need them. */
static void raise_fd_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

int main(int argc, char **argv)
{
    struct options o = { .config = NULL };
    struct err_info info = { .text = "" };
    struct config *config = NULL;
    struct server *server = NULL;
    fill_standard_fds();
    hold_signals();
    secret_harden_process();
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
    raise_fd_limit();
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
