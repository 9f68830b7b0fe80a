/* lanyard-portmap - asks the home router for a port, or gives one back, and prints one line of
 * JSON. The agent runs it: what routers say is read here, where no key is loaded, and ends at a
 * time limit. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/interfaces.h"
#include "agent/router/router.h"
#include "agent/router/sandbox.h"
#include "common/base/attr.h"
#include "common/base/secret.h"

#define TIMEOUT_S 20
#define MEMORY_MAX (256UL << 20)
#define OPEN_FILES_MAX 64
#define EXIT_USAGE 2

/* In the order in which they are asked. */
static const struct router_protocol *const PROTOCOLS[] = {
#ifdef LANYARD_NATPMP
    &NATPMP,
#endif
#ifdef LANYARD_UPNP
    &UPNP,
#endif
};

static const char USAGE[] =
    "usage: lanyard-portmap [-t SECONDS] map PORT EXTERNAL-PORT LIFETIME-SECONDS\n"
    "       lanyard-portmap [-t SECONDS] unmap PROTOCOL PORT EXTERNAL-PORT\n"
    "Asks the router for a TCP port, by NAT-PMP or else UPnP. Run by lanyard-agent(8).\n";

static bool read_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoul(text, &end, 10);
    return *end == 0 && *out > 0 && *out <= max;
}

/* What a router that means harm can take of this device: this much. */
static void set_limits(unsigned timeout_s)
{
    secret_harden_process();
#ifndef LANYARD_SANITIZED /* shadow memory is terabytes */
    const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
    (void)setrlimit(RLIMIT_AS, &memory);
#endif
    const struct rlimit files = { OPEN_FILES_MAX, OPEN_FILES_MAX };
    (void)setrlimit(RLIMIT_NOFILE, &files);
    (void)alarm(timeout_s);
}

/* Before the first word from outside. */
static void enter_sandbox(void)
{
    json_object_seed(0);                                  /* reads a file */
#if defined LANYARD_SECCOMP && !defined LANYARD_SANITIZED /* the leak checker opens its own */
    enum err e = sandbox_enter();
    (void)e; /* a kernel that has no seccomp leaves the limits above */
#endif
}

static int print(json_t *root)
{
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    bool ok = text != NULL && puts(text) >= 0 && fflush(stdout) == 0;
    free(text);
    json_decref(root);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int complain(const char *text)
{
    (void)print(json_pack("{ss}", "error", text));
    return EXIT_FAILURE;
}

static int map(const struct router_place *at, const struct router_mapping *wanted)
{
    struct err_info info = { "" };
    char why[2 * sizeof info.text] = "";
    for (size_t i = 0; i < ARRAY_LEN(PROTOCOLS); i++) {
        struct router_mapping m = *wanted;
        if (PROTOCOLS[i]->map(at, &m, &info) == ERR_OK) {
            char address[INET_ADDRSTRLEN];
            (void)inet_ntop(AF_INET, &m.address, address, sizeof address);
            return print(json_pack("{ss ss si sI}", "protocol", PROTOCOLS[i]->name, "address",
                                   address, "port", (int)m.external, "lifetime_s",
                                   (json_int_t)m.lifetime_s));
        }
        size_t len = strlen(why);
        (void)snprintf(why + len, sizeof why - len, "%s%.200s", len > 0 ? "; " : "", info.text);
    }
    return complain(why);
}

static int unmap(const struct router_place *at, const char *protocol,
                 const struct router_mapping *m)
{
    struct err_info info = { "no such protocol" };
    for (size_t i = 0; i < ARRAY_LEN(PROTOCOLS); i++) {
        if (strcmp(PROTOCOLS[i]->name, protocol) != 0)
            continue;
        if (PROTOCOLS[i]->unmap(at, m, &info) == ERR_OK)
            return print(json_pack("{}"));
        break;
    }
    return complain(info.text);
}

int main(int argc, char **argv)
{
    unsigned long timeout_s = TIMEOUT_S, port = 0, external = 0, lifetime_s = 0;
    bool ok = true;
    for (int c; (c = getopt(argc, argv, "+t:")) != -1;)
        ok = ok && c == 't' && read_number(optarg, 3600, &timeout_s);
    char **word = argv + optind;
    bool to_map = argc - optind == 4 && strcmp(word[0], "map") == 0;
    bool to_unmap = argc - optind == 4 && strcmp(word[0], "unmap") == 0;
    if (to_map)
        ok = ok && read_number(word[1], UINT16_MAX, &port) &&
             read_number(word[2], UINT16_MAX, &external) &&
             read_number(word[3], 86400, &lifetime_s);
    if (to_unmap)
        ok = ok && read_number(word[2], UINT16_MAX, &port) &&
             read_number(word[3], UINT16_MAX, &external);
    if (!ok || (!to_map && !to_unmap)) {
        (void)fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    set_limits((unsigned)timeout_s);
    struct router_mapping m = { .port = (uint16_t)port,
                                .external = (uint16_t)external,
                                .lifetime_s = (uint32_t)lifetime_s };
    struct router_place at;
    if (!interfaces_gateway(&at.gateway, &at.own))
        return complain("there is no router: no way to the Internet over IPv4");
    enter_sandbox();
    return to_map ? map(&at, &m) : unmap(&at, word[1], &m);
}
