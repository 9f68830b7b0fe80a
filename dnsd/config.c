#include "dnsd/config.h"

#include <net/if.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/conf/conf.h"
#include "common/dns/wire.h"
#include "common/store/challenge.h"
#include "dnsd/core/zonesign.h"
#include "dnsd/keyfile.h"
#include "dnsd/shieldconf.h"
#include "dnsd/reader.h"
#include "dnsd/zonefile.h"

#define LISTEN_MAX 64
#define WORKERS_MAX 64
#define TCP_MAX 100000
#define TCP_IDLE_MAX_S 3600
#define NAMESERVERS_MAX 13
#define NS_TTL_S 86400
#define SIGNATURES_MAX 1000000

/* Libconfuse's tables; it wants them writable. */
static cfg_opt_t zone_options[] = { CFG_STR("file", NULL, CFGF_NONE),
                                    CFG_STR_LIST("nameservers", NULL, CFGF_NONE),
                                    CFG_STR("public_answers", "tagged", CFGF_NONE),
                                    CFG_STR("tag_keys", NULL, CFGF_NONE),
                                    CFG_BOOL("loopback", cfg_false, CFGF_NONE),
                                    CFG_STR("suspended", NULL, CFGF_NONE),
                                    CFG_STR("persist", NULL, CFGF_NONE),
                                    CFG_STR("challenges", "none", CFGF_NONE),
                                    CFG_STR("challenges_of", NULL, CFGF_NONE),
                                    CFG_BOOL("dnssec", cfg_false, CFGF_NONE),
                                    CFG_STR("dnssec_keys", NULL, CFGF_NONE),
                                    CFG_END() };
static cfg_opt_t root_options[] = { CFG_STR_LIST("listen", NULL, CFGF_NONE),
                                    CFG_STR_LIST("listen_tls", NULL, CFGF_NONE),
                                    CFG_STR("tls_cert", NULL, CFGF_NONE),
                                    CFG_STR("tls_key", NULL, CFGF_NONE),
                                    CFG_STR("listen_public", NULL, CFGF_NONE),
                                    CFG_STR("metrics", NULL, CFGF_NONE),
                                    CFG_STR_LIST("xdp", NULL, CFGF_NONE),
                                    CFG_INT("workers", 1, CFGF_NONE),
                                    CFG_STR("user", NULL, CFGF_NONE),
                                    CFG_STR("log_level", "info", CFGF_NONE),
                                    CFG_STR("log_format", "text", CFGF_NONE),
                                    CFG_INT("tcp_max", 1024, CFGF_NONE),
                                    CFG_INT("tcp_client_max", 256, CFGF_NONE),
                                    CFG_INT("tcp_idle", 10, CFGF_NONE),
                                    SHIELDCONF_OPTIONS,
                                    CFG_INT("signatures_per_second", 20000, CFGF_NONE),
                                    CFG_SEC("zone", zone_options,
                                            CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
                                    CFG_END() };

static enum err no_memory(struct err_info *info)
{
    return err_set(info, ERR_NOMEM, "out of memory");
}

static enum err read_number(struct conf *c, const char *key, long min, long max, unsigned *out,
                            struct err_info *info)
{
    cfg_t *root = conf_root(c);
    long v = cfg_getint(root, key);
    if (v < min || v > max)
        return conf_fail(c, root, key, info, "%ld is out of range: choose %ld to %ld", v, min, max);
    *out = (unsigned)v;
    return ERR_OK;
}

/* One address of option `key`. */
static enum err read_address(struct config_listen *out, const struct conf *c, cfg_t *root,
                             const char *key, const char *text, struct err_info *info)
{
    struct err_info why;
    if (addr_parse(&out->addr, text, &why) != ERR_OK)
        return conf_fail(c, root, key, info, "%s", why.text);
    addr_format(&out->addr, out->text);
    /* the port is at the same place in both families */
    if (((const struct sockaddr_in *)&out->addr.ss)->sin_port == 0)
        return conf_fail(c, root, key, info, "%s: port 0 is not a port: give one", out->text);
    return ERR_OK;
}

static bool has_address(const struct config_listens *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->at[i].text, text) == 0)
            return true;
    }
    return false;
}

/* The addresses of option `key`, a list or one, none of which is in `taken`. */
static enum err read_listen(struct config_listens *out, struct conf *c, const char *key,
                            const struct config_listens *taken, struct err_info *info)
{
    cfg_t *root = conf_root(c);
    unsigned n = cfg_size(root, key);
    if (n > LISTEN_MAX)
        return conf_fail(c, root, key, info, "more than %d addresses", LISTEN_MAX);
    out->at = calloc(n + 1, sizeof *out->at);
    out->where = conf_where(c, root, key);
    if (out->at == NULL || out->where == NULL)
        return no_memory(info);
    for (unsigned i = 0; i < n; i++) {
        struct config_listen *l = &out->at[out->n];
        const char *text = cfg_getnstr(root, key, i);
        if (text == NULL)
            continue; /* an option that is not a list, and not set */
        enum err e = read_address(l, c, root, key, text, info);
        if (e != ERR_OK)
            return e;
        if (has_address(out, l->text) || (taken != NULL && has_address(taken, l->text)))
            return conf_fail(c, root, key, info, "%s is there twice", l->text);
        out->n++;
    }
    return ERR_OK;
}

static enum err read_listens(struct config *out, struct conf *c, struct err_info *info)
{
    enum err e = read_listen(&out->listen, c, "listen", NULL, info);
    if (e == ERR_OK && out->listen.n == 0)
        e = conf_fail(c, conf_root(c), "listen", info,
                      "give 1 to %d addresses, such as listen = {\"127.0.0.1:5300\"}", LISTEN_MAX);
    if (e == ERR_OK)
        e = read_listen(&out->listen_tls, c, "listen_tls", &out->listen, info);
    if (e == ERR_OK)
        e = read_listen(&out->metrics, c, "metrics", &out->listen, info);
    if (e == ERR_OK)
        e = read_listen(&out->public_, c, "listen_public", &out->listen, info);
    return e;
}

/* The interfaces of option `xdp`. */
static enum err read_xdp(struct config *out, struct conf *c, struct err_info *info)
{
    cfg_t *root = conf_root(c);
    unsigned n = cfg_size(root, "xdp");
    if (n > CONFIG_XDP_MAX)
        return conf_fail(c, root, "xdp", info, "more than %d interfaces", CONFIG_XDP_MAX);
    out->xdp = calloc(n + 1, sizeof *out->xdp);
    out->xdp_where = conf_where(c, root, "xdp");
    if (out->xdp == NULL || out->xdp_where == NULL)
        return no_memory(info);
    for (unsigned i = 0; i < n; i++) {
        const char *name = cfg_getnstr(root, "xdp", i);
        if (name[0] == 0 || strlen(name) >= IF_NAMESIZE)
            return conf_fail(c, root, "xdp", info,
                             "'%s' is not the name of a network interface: `ip link` lists them",
                             name);
        for (size_t k = 0; k < out->n_xdp; k++) {
            if (strcmp(out->xdp[k], name) == 0)
                return conf_fail(c, root, "xdp", info, "%s is there twice", name);
        }
        if ((out->xdp[out->n_xdp] = strdup(name)) == NULL)
            return no_memory(info);
        out->n_xdp++;
    }
    return ERR_OK;
}

static enum err read_cert(struct config *out, struct conf *c, struct err_info *info)
{
    cfg_t *root = conf_root(c);
    const char *cert = cfg_getstr(root, "tls_cert"), *key = cfg_getstr(root, "tls_key");
    if (out->listen_tls.n == 0)
        return ERR_OK;
    if (cert == NULL || key == NULL)
        return conf_fail(c, root, "listen_tls", info,
                         "DNS over TLS needs a certificate: set tls_cert and tls_key");
    struct err_info why = { .text = "out of memory" };
    char *cert_path = conf_path(c, cert), *key_path = conf_path(c, key);
    enum err e = ERR_NOMEM;
    if (cert_path != NULL && key_path != NULL)
        e = servercert_new(&out->cert, cert_path, key_path);
    if (e == ERR_OK)
        e = servercert_load(out->cert, &out->tls, &why);
    free(cert_path);
    free(key_path);
    return e == ERR_OK ? e : conf_fail(c, root, "tls_cert", info, "%s", why.text);
}

static enum err read_root(struct config *out, struct conf *c, struct err_info *info)
{
    cfg_t *root = conf_root(c);
    enum err e = conf_read_log(c, &out->log_level, info);
    if (e == ERR_OK)
        e = read_listens(out, c, info);
    if (e == ERR_OK)
        e = read_xdp(out, c, info);
    if (e == ERR_OK)
        e = read_cert(out, c, info);
    if (e == ERR_OK)
        e = read_number(c, "workers", 1, WORKERS_MAX, &out->n_workers, info);
    if (e == ERR_OK)
        e = read_number(c, "tcp_max", 1, TCP_MAX, &out->tcp_max, info);
    if (e == ERR_OK)
        e = read_number(c, "tcp_client_max", 1, TCP_MAX, &out->tcp_client_max, info);
    if (e == ERR_OK)
        e = read_number(c, "tcp_idle", 1, TCP_IDLE_MAX_S, &out->tcp_idle_s, info);
    if (e == ERR_OK)
        e = read_number(c, "signatures_per_second", 1, SIGNATURES_MAX, &out->sign_budget, info);
    if (e != ERR_OK)
        return e;
    const char *user = cfg_getstr(root, "user");
    if (user != NULL && user[0] != 0 && geteuid() == 0 && getpwnam(user) == NULL)
        return conf_fail(c, root, "user", info,
                         "there is no user '%s': make it (adduser --system --group %s)", user,
                         user);
    if (user != NULL && (out->user = strdup(user)) == NULL)
        return no_memory(info);
    return ERR_OK;
}

/* "cname:acme.direct.example": <id> below that name has the values. */
static enum err read_challenges_cname(struct zone *z, const struct conf *c, cfg_t *sec,
                                      const char *target, struct err_info *info)
{
    struct name name;
    if (name_parse(&name, target) != ERR_OK || name.n_labels < 2 ||
        name.len + SYNTH_ID_LEN + 1 > NAME_WIRE_MAX)
        return conf_fail(c, sec, "challenges", info,
                         "'%s' is not a domain name: write it whole, as in "
                         "cname:acme.direct.example",
                         target);
    if ((z->challenges_cname = malloc(sizeof name)) == NULL)
        return no_memory(info);
    *z->challenges_cname = name;
    return ERR_OK;
}

/* The zone whose values the store is asked for: another one's at the end of its CNAMEs. */
static enum err read_challenges_of(struct zone *z, const struct conf *c, cfg_t *sec,
                                   struct err_info *info)
{
    struct name name;
    char text[NAME_TEXT_MAX];
    const char *v = cfg_getstr(sec, "challenges_of");
    if (v == NULL || v[0] == 0)
        return ERR_OK;
    if (name_parse(&name, v) != ERR_OK || name.n_labels == 0)
        return conf_fail(c, sec, "challenges_of", info,
                         "'%s' is not a zone: write it as in direct.example", v);
    if (z->challenges == NULL)
        return conf_fail(c, sec, "challenges_of", info,
                         "there is no store to read them from: set challenges as well");
    name_format(&name, text);
    z->policy.challenges_only = true;
    z->challenges_of = strdup(text);
    return z->challenges_of == NULL ? no_memory(info) : ERR_OK;
}

static enum err read_challenges(struct zone *z, const struct conf *c, cfg_t *sec,
                                struct err_info *info)
{
    static const char SQLITE[] = "sqlite:", CNAME[] = "cname:";
    const char *v = cfg_getstr(sec, "challenges");
    struct err_info why;
    bool has_password;
    if (strcmp(v, "none") == 0)
        return ERR_OK;
    if (strncmp(v, CNAME, sizeof CNAME - 1) == 0)
        return read_challenges_cname(z, c, sec, v + sizeof CNAME - 1, info);
    if (strncmp(v, SQLITE, sizeof SQLITE - 1) != 0 && strstr(v, "://") == NULL)
        return conf_fail(c, sec, "challenges", info,
                         "'%.*s' is none: write sqlite:PATH, postgresql://..., cname:NAME or none",
                         (int)strcspn(v, ":"), v); /* what follows may be a password */
    if (challenge_url_check(v, &has_password, &why) != ERR_OK)
        return conf_fail(c, sec, "challenges", info, "%s", why.text);
    if (has_password && conf_is_open(c))
        return conf_fail(c, sec, "challenges", info,
                         "the URL has a password, but the file is open to others: chmod 640, or "
                         "use passfile=PATH instead");
    if (strncmp(v, SQLITE, sizeof SQLITE - 1) != 0) {
        z->challenges = strdup(v);
        return z->challenges == NULL ? no_memory(info) : ERR_OK;
    }
    char *path = conf_path(c, v + sizeof SQLITE - 1);
    if (path == NULL || asprintf(&z->challenges, "%s%s", SQLITE, path) < 0)
        z->challenges = NULL;
    free(path);
    return z->challenges == NULL ? no_memory(info) : ERR_OK;
}

/* Whether resolvers find the way to the CNAME's target: a delegation, where it is in this zone. */
static void check_challenges_cname(const struct zone *z)
{
    const struct name *to = z->challenges_cname;
    bool delegated = to == NULL || !name_is_within(to, &z->apex);
    for (unsigned i = z->apex.n_labels; !delegated && i <= to->n_labels; i++) {
        const struct zone_node *n = zone_find(z, name_suffix(to, i));
        delegated = n != NULL && n->is_cut;
    }
    if (!delegated)
        log_warn(
            "zone %s: challenges are a CNAME into the zone itself, at a name that its file does "
            "not delegate: add its NS records",
            z->text);
}

static enum err read_policy(struct zone *z, const struct conf *c, cfg_t *sec, struct err_info *info)
{
    static const char *const NAMES[] = {
        [SYNTH_PUBLIC_TAGGED] = "tagged", [SYNTH_PUBLIC_ALL] = "all", [SYNTH_PUBLIC_NONE] = "none"
    };
    enum err e = read_challenges(z, c, sec, info);
    if (e == ERR_OK)
        e = read_challenges_of(z, c, sec, info);
    if (e != ERR_OK)
        return e;
    z->policy.loopback = cfg_getbool(sec, "loopback") == cfg_true;
    const char *public = cfg_getstr(sec, "public_answers");
    for (unsigned i = 0; i < ARRAY_LEN(NAMES); i++) {
        if (strcmp(public, NAMES[i]) == 0) {
            z->policy.public_answers = (enum synth_public)i;
            return ERR_OK;
        }
    }
    return conf_fail(c, sec, "public_answers", info, "'%s': write tagged, all or none", public);
}

/* The NS records and, with the first server in it, the SOA that the file did not have. */
static enum err add_apex(struct zone *z, const struct name *servers, unsigned n,
                         struct err_info *info)
{
    static const char MAILBOX[] = "\012hostmaster";
    static const uint32_t TIMES[] = { 1, 7200, 3600, 1209600, ZONE_NEGATIVE_TTL_S };
    uint8_t data[2 * NAME_WIRE_MAX + 20];
    struct wire_writer w = { .p = data, .cap = sizeof data };
    if (z->apex.len + sizeof MAILBOX - 1 > NAME_WIRE_MAX)
        return err_set(info, ERR_CONFIG, "the name is too long for hostmaster to be put in front");
    wire_put(&w, servers[0].wire, servers[0].len);
    wire_put(&w, MAILBOX, sizeof MAILBOX - 1);
    wire_put(&w, z->apex.wire, z->apex.len);
    for (size_t i = 0; i < ARRAY_LEN(TIMES); i++)
        wire_put32(&w, TIMES[i]);
    bool has_soa = z->n_nodes > 0 && node_rrset(&z->nodes[0], RR_SOA) != NULL;
    bool has_ns = z->n_nodes > 0 && node_rrset(&z->nodes[0], RR_NS) != NULL;
    enum err e = ERR_OK;
    if (!has_soa)
        e = zone_add(z, &z->apex, RR_SOA, ZONE_NEGATIVE_TTL_S, (struct span){ data, w.len }, info);
    for (unsigned i = 0; e == ERR_OK && !has_ns && i < n; i++) {
        e = zone_add(z, &z->apex, RR_NS, NS_TTL_S, (struct span){ servers[i].wire, servers[i].len },
                     info);
        struct span wire = { servers[i].wire, servers[i].len };
        if (e == ERR_OK && name_is_within(&servers[i], &z->apex) && zone_find(z, wire) == NULL)
            log_warn("zone %s: its name server is inside of it and has no address: give the zone "
                     "a file with its A and AAAA records",
                     z->text);
    }
    return e;
}

static enum err read_nameservers(struct zone *z, const struct conf *c, cfg_t *sec,
                                 struct err_info *info)
{
    struct name servers[NAMESERVERS_MAX];
    unsigned n = cfg_size(sec, "nameservers");
    if (n > NAMESERVERS_MAX)
        return conf_fail(c, sec, "nameservers", info, "more than %d", NAMESERVERS_MAX);
    for (unsigned i = 0; i < n; i++) {
        const char *text = cfg_getnstr(sec, "nameservers", i);
        if (name_parse(&servers[i], text) != ERR_OK || servers[i].n_labels < 2)
            return conf_fail(c, sec, "nameservers", info,
                             "'%s' is not a host name: write it whole, as in ns1.direct.example",
                             text);
    }
    struct err_info why;
    enum err e = n == 0 ? ERR_OK : add_apex(z, servers, n, &why);
    return e == ERR_OK ? e : conf_fail(c, sec, "nameservers", info, "%s", why.text);
}

static enum err read_zone_file(struct zone *z, const struct conf *c, cfg_t *sec,
                               struct err_info *info)
{
    const char *file = cfg_getstr(sec, "file");
    if (file == NULL || file[0] == 0)
        return ERR_OK;
    char *path = conf_path(c, file);
    if (path == NULL)
        return no_memory(info);
    struct err_info why;
    enum err e = zonefile_read(z, path, &why);
    if (e == ERR_CONFIG) /* has file and line of the zone file */
        e = err_set(info, e, "%s", why.text);
    else if (e != ERR_OK)
        e = conf_fail(c, sec, "file", info, "%s", why.text);
    free(path);
    return e;
}

/* The folder of the keys of a zone; the caller frees it. */
static enum err read_keys_dir(char **out, const struct conf *c, cfg_t *sec, struct err_info *info)
{
    const char *dir = cfg_getstr(sec, "dnssec_keys");
    if (dir == NULL || dir[0] == 0)
        return conf_fail(c, sec, "dnssec_keys", info,
                         "a signed zone needs a folder for its keys, such as dnssec_keys = "
                         "\"keys\"");
    *out = conf_path(c, dir);
    return *out == NULL ? no_memory(info) : ERR_OK;
}

static enum err read_keys(struct zone *z, const struct conf *c, cfg_t *sec, struct err_info *info)
{
    if (cfg_getbool(sec, "dnssec") != cfg_true)
        return ERR_OK;
    char *dir = NULL;
    struct keyring *ring = NULL;
    struct err_info why;
    enum err e = read_keys_dir(&dir, c, sec, info);
    if (e != ERR_OK)
        return e;
    e = keyfile_ring(&ring, dir, z->text, clock_now_s(), &why);
    free(dir);
    if (e == ERR_OK)
        e = zonesign_prepare(z, ring, &why);
    return e == ERR_OK ? e : conf_fail(c, sec, "dnssec_keys", info, "%s", why.text);
}

static enum err read_zone(struct zone **out, const struct conf *c, cfg_t *sec,
                          struct err_info *info)
{
    struct name apex;
    struct zone *z = NULL;
    if (name_parse(&apex, cfg_title(sec)) != ERR_OK || apex.n_labels == 0)
        return conf_fail(c, sec, NULL, info, "not a domain name: write it as in direct.example");
    if (zone_new(&z, &apex) != ERR_OK)
        return no_memory(info);
    struct err_info why;
    enum err e = read_policy(z, c, sec, info);
    if (e == ERR_OK)
        e = read_zone_file(z, c, sec, info);
    if (e == ERR_OK)
        e = read_nameservers(z, c, sec, info);
    if (e == ERR_OK)
        e = read_keys(z, c, sec, info);
    if (e == ERR_OK && zone_finish(z, &why) != ERR_OK)
        e = conf_fail(c, sec, conf_is_set(c, sec, "file") ? "file" : NULL, info,
                      "%s, in a zone file or with nameservers = {...}", why.text);
    if (e == ERR_OK && z->keyring != NULL && zonesign_finish(z, &why) != ERR_OK)
        e = conf_fail(c, sec, "dnssec", info, "%s", why.text);
    if (e != ERR_OK) {
        zone_free(z);
        return e;
    }
    check_challenges_cname(z);
    *out = z;
    return ERR_OK;
}

/* How many different challenge stores the zones name. */
static unsigned count_stores(struct zone *const *zones, unsigned n)
{
    unsigned n_stores = 0;
    for (unsigned i = 0; i < n; i++) {
        bool is_new = zones[i]->challenges != NULL;
        for (unsigned k = 0; is_new && k < i; k++)
            is_new = zones[k]->challenges == NULL ||
                     strcmp(zones[k]->challenges, zones[i]->challenges) != 0;
        n_stores += is_new;
    }
    return n_stores;
}

static enum err read_zones(struct config *out, struct conf *c, struct err_info *info)
{
    cfg_t *root = conf_root(c);
    unsigned n = cfg_size(root, "zone");
    if (n == 0)
        return conf_fail(c, root, "zone", info, "no zone to serve: add zone \"NAME\" { ... }");
    struct zone **zones = calloc(n, sizeof(struct zone *));
    if (zones == NULL)
        return no_memory(info);
    enum err e = ERR_OK;
    unsigned done = 0;
    for (; e == ERR_OK && done < n; done += e == ERR_OK) {
        cfg_t *sec = cfg_getnsec(root, "zone", done);
        e = read_zone(&zones[done], c, sec, info);
        if (e == ERR_OK && zones[done]->keyring != NULL)
            zones[done]->keyring->budget = out->sign_budget;
        for (unsigned i = 0; e == ERR_OK && i < done; i++) {
            if (strcmp(zones[i]->text, zones[done]->text) == 0) {
                zone_free(zones[done]);
                e = conf_fail(c, sec, NULL, info, "the zone is there twice: remove one");
            }
        }
    }
    if (e == ERR_OK && count_stores(zones, n) > READER_STORES_MAX)
        e = conf_fail(c, root, "zone", info,
                      "more than %d different challenge stores: let zones share them",
                      READER_STORES_MAX);
    if (e == ERR_OK && view_new(&out->view, zones, n) != ERR_OK)
        e = no_memory(info);
    if (e != ERR_OK) {
        for (unsigned i = 0; i < done; i++)
            zone_free(zones[i]);
        free(zones);
    }
    return e;
}

/* Reads the file that `key` of the zone's section names, if it does. */
static enum err read_guard(struct config *out, const struct conf *c, cfg_t *sec, const char *key,
                           enum guardfile_kind kind, uint32_t zone, struct err_info *info)
{
    const char *value = cfg_getstr(sec, key);
    if (value == NULL || value[0] == 0)
        return ERR_OK;
    char *path = conf_path(c, value);
    if (path == NULL)
        return no_memory(info);
    struct err_info why;
    enum err e = guardfiles_add(out->guardfiles, out->view, zone, kind, path, &why);
    if (e == ERR_CONFIG) /* has file and line */
        e = err_set(info, e, "%s", why.text);
    else if (e != ERR_OK)
        e = conf_fail(c, sec, key, info, "%s", why.text);
    free(path);
    return e;
}

/* Signs what is static in zone number `zone`. */
static enum err sign_zone(struct config *out, const struct conf *c, cfg_t *sec, uint32_t zone,
                          struct err_info *info)
{
    const struct zone *z = out->view->zones[zone];
    struct signer *signer = NULL;
    if (z->keyring == NULL)
        return ERR_OK;
    if (signer_new(&signer, 0) != ERR_OK)
        return no_memory(info);
    enum err e = presigned_new(&out->view->presigned[zone], z, signer, clock_now_s());
    signer_free(signer);
    if (e == ERR_RANGE)
        return conf_fail(c, sec, "dnssec", info,
                         "the zone cannot be signed: the clock of this machine is not set");
    return e == ERR_OK ? e : conf_fail(c, sec, "dnssec", info, "the zone cannot be signed");
}

static enum err complete_view(struct config *out, struct conf *c, struct err_info *info)
{
    cfg_t *root = conf_root(c);
    enum err e = guardfiles_new(&out->guardfiles, out->user) == ERR_OK ? ERR_OK : no_memory(info);
    for (unsigned i = 0; e == ERR_OK && i < out->view->n_zones; i++) {
        cfg_t *sec = cfg_getnsec(root, "zone", i);
        struct name apex;
        if (name_parse(&apex, cfg_title(sec)) != ERR_OK)
            return conf_fail(c, sec, NULL, info, "not a domain name");
        uint32_t zone = view_find(out->view, &apex, NAME_LABELS_MAX)->number;
        e = read_guard(out, c, sec, "tag_keys", GUARDFILE_TAG_KEYS, zone, info);
        if (e == ERR_OK)
            e = read_guard(out, c, sec, "suspended", GUARDFILE_SUSPENDED, zone, info);
        if (e == ERR_OK)
            e = read_guard(out, c, sec, "persist", GUARDFILE_PERSIST, zone, info);
        if (e == ERR_OK)
            e = sign_zone(out, c, sec, zone, info);
    }
    return e;
}

enum err config_find_keys(char **out, const char *path, const char *zone, struct err_info *info)
{
    struct conf *c = NULL;
    enum err e = conf_load(&c, path, root_options, info);
    if (e != ERR_OK)
        return e;
    cfg_t *root = conf_root(c);
    e = err_set(info, ERR_CONFIG, "%s: there is no zone \"%s\"", path, zone);
    for (unsigned i = 0; i < cfg_size(root, "zone"); i++) {
        cfg_t *sec = cfg_getnsec(root, "zone", i);
        struct name apex;
        char text[NAME_TEXT_MAX];
        if (name_parse(&apex, cfg_title(sec)) != ERR_OK)
            continue;
        name_format(&apex, text);
        if (strcmp(text, zone) == 0)
            e = read_keys_dir(out, c, sec, info);
    }
    conf_free(c);
    return e;
}

enum err config_load(struct config **out, const char *path, struct err_info *info)
{
    struct conf *c = NULL;
    struct config *config = calloc(1, sizeof *config);
    if (config == NULL)
        return no_memory(info);
    enum err e = conf_load(&c, path, root_options, info);
    if (e == ERR_OK)
        e = read_root(config, c, info);
    if (e == ERR_OK)
        e = read_zones(config, c, info);
    if (e == ERR_OK)
        e = complete_view(config, c, info);
    if (e == ERR_OK)
        e = shieldconf_read(&config->view->shield, c, config->user, info);
    if (e != ERR_OK)
        goto out;
    *out = config;
    config = NULL;
out:
    config_free(config);
    conf_free(c);
    return e;
}

static void listens_clear(struct config_listens *l)
{
    free(l->at);
    free(l->where);
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    view_free(c->view);
    guardfiles_free(c->guardfiles);
    listens_clear(&c->listen);
    listens_clear(&c->listen_tls);
    listens_clear(&c->metrics);
    listens_clear(&c->public_);
    for (size_t i = 0; i < c->n_xdp; i++)
        free(c->xdp[i]);
    free(c->xdp);
    free(c->xdp_where);
    servercert_free(c->cert);
    SSL_CTX_free(c->tls);
    free(c->user);
    free(c);
}

static bool listens_differ(const struct config_listens *a, const struct config_listens *b)
{
    bool differ = a->n != b->n;
    for (size_t i = 0; !differ && i < a->n; i++)
        differ = strcmp(a->at[i].text, b->at[i].text) != 0;
    return differ;
}

static bool interfaces_differ(const struct config *a, const struct config *b)
{
    bool differ = a->n_xdp != b->n_xdp;
    for (size_t i = 0; i < a->n_xdp && !differ; i++)
        differ = strcmp(a->xdp[i], b->xdp[i]) != 0;
    return differ;
}

bool config_needs_restart(const struct config *a, const struct config *b)
{
    return listens_differ(&a->listen, &b->listen) ||
           listens_differ(&a->listen_tls, &b->listen_tls) ||
           listens_differ(&a->metrics, &b->metrics) || listens_differ(&a->public_, &b->public_) ||
           interfaces_differ(a, b) || a->n_workers != b->n_workers || a->tcp_max != b->tcp_max ||
           a->tcp_client_max != b->tcp_client_max || a->tcp_idle_s != b->tcp_idle_s ||
           strcmp(a->user != NULL ? a->user : "", b->user != NULL ? b->user : "") != 0;
}
