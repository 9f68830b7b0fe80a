#include "agent/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/reloadsignal.h"
#include "common/base/file.h"
#include "common/conf/conf.h"
#include "common/pki/cert.h"

#define SECRET_MAX 1024               /* bytes of a token or password */
#define FACTORY_CHAIN_MAX (24 * 1024) /* bytes; the service takes 32 KiB */
#define NAME_CHARACTERS_MAX 64
#define ZONE_MAX 200 /* characters: "<ip>.<id>." must fit in front [RFC 1035 s2.3.4] */

static cfg_opt_t PROXY_OPTS[] = {
    CFG_STR("listen", NULL, CFGF_NONE),
    CFG_STR("backend", NULL, CFGF_NONE),
    CFG_INT("connections_max", 1000, CFGF_NONE),
    CFG_INT("idle_timeout_s", 3600, CFGF_NONE),
    CFG_BOOL("proxy_protocol", cfg_false, CFGF_NONE),
    CFG_STR_LIST("alpn", NULL, CFGF_NONE),
    CFG_END(),
};

static cfg_opt_t FILE_OPTS[] = {
    CFG_STR("owner", NULL, CFGF_NONE),
    CFG_STR("group", NULL, CFGF_NONE),
    CFG_STR("mode", NULL, CFGF_NONE),
    CFG_END(),
};

static cfg_opt_t OPTS[] = {
    CFG_STR("server", NULL, CFGF_NONE),
    CFG_STR("server_ca", NULL, CFGF_NONE),
    CFG_STR("zone", NULL, CFGF_NONE),
    CFG_STR("token_file", NULL, CFGF_NONE),
    CFG_STR("factory_cert", NULL, CFGF_NONE),
    CFG_STR("factory_key", NULL, CFGF_NONE),
    CFG_STR("state_dir", "/var/lib/lanyard-agent", CFGF_NONE),
    CFG_STR_LIST("addresses", NULL, CFGF_NONE),
    CFG_BOOL("vpn_addresses", cfg_false, CFGF_NONE),
    CFG_STR_LIST("resolvers", NULL, CFGF_NONE),
    CFG_STR("zone_server", NULL, CFGF_NONE),
    CFG_STR("name", NULL, CFGF_NONE),
    CFG_BOOL("nearby", cfg_false, CFGF_NONE),
    CFG_BOOL("report", cfg_true, CFGF_NONE),
    CFG_SEC("proxy", PROXY_OPTS, CFGF_MULTI),
    CFG_SEC("file", FILE_OPTS, CFGF_MULTI | CFGF_TITLE),
    CFG_STR_LIST("page", NULL, CFGF_NONE),
    CFG_STR_LIST("page_tls", NULL, CFGF_NONE),
    CFG_STR("foreign_sni", "local", CFGF_NONE),
    CFG_BOOL("relay", cfg_false, CFGF_NONE),
    CFG_STR("mdns", "off", CFGF_NONE),
    CFG_BOOL("port_mapping", cfg_false, CFGF_NONE),
    CFG_INT("port_mapping_port", 0, CFGF_NONE),
    CFG_INT("port_mapping_external", 0, CFGF_NONE),
    CFG_STR("reload_command", NULL, CFGF_NONE),
    CFG_INT("reload_timeout_s", 30, CFGF_NONE),
    CFG_STR("reload_pid_file", NULL, CFGF_NONE),
    CFG_STR("reload_signal", "HUP", CFGF_NONE),
    CFG_STR("check_served", NULL, CFGF_NONE),
    CFG_INT("retry_s", 60, CFGF_NONE),
    CFG_STR("key_type", "p256", CFGF_NONE),
    CFG_STR("p12_password_file", NULL, CFGF_NONE),
    CFG_STR("p12_format", "modern", CFGF_NONE),
    CFG_STR("user", NULL, CFGF_NONE),
    CFG_STR("log_level", "info", CFGF_NONE),
    CFG_STR("log_format", "text", CFGF_NONE),
    CFG_END(),
};

/* The file under way: what every check below needs. */
struct reader {
    struct conf *conf;
    cfg_t *root;
    struct err_info *info;
};

static enum err copy_text(char **out, const char *text)
{
    *out = strdup(text);
    return *out != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err read_int(const struct reader *r, cfg_t *sec, const char *key, long min, long max,
                         int64_t *out)
{
    long n = cfg_getint(sec, key);
    if (n < min || n > max)
        return conf_fail(r->conf, sec, key, r->info, "%ld is not between %ld and %ld", n, min, max);
    *out = n;
    return ERR_OK;
}

static enum err read_server(const struct reader *r, struct config *c)
{
    const char *url = cfg_getstr(r->root, "server");
    if (url == NULL)
        return conf_fail(r->conf, r->root, "server", r->info,
                         "missing: add server = \"https://provision.example:8443\"");
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    static const char PREFIX[] = "https://";
    size_t host = sizeof PREFIX - 1;
    if (len <= host || len > 500 || strncmp(url, PREFIX, host) != 0 ||
        strcspn(url + host, "/?#@ ") < len - host)
        return conf_fail(r->conf, r->root, "server", r->info,
                         "\"%.100s\" is not https://HOST or https://HOST:PORT", url);
    c->server = strndup(url, len);
    if (c->server == NULL)
        return ERR_NOMEM;
    const char *ca = cfg_getstr(r->root, "server_ca");
    if (ca == NULL)
        return ERR_OK;
    c->server_ca = conf_path(r->conf, ca);
    if (c->server_ca == NULL)
        return ERR_NOMEM;
    struct buf pem;
    struct err_info why;
    buf_init(&pem, 1024 * 1024);
    enum err e = file_read(c->server_ca, &pem, &why);
    buf_clear(&pem);
    return e == ERR_OK ? ERR_OK : conf_fail(r->conf, r->root, "server_ca", r->info, "%s", why.text);
}

/* Labels of letters, digits and inner hyphens; written as given, compared in lower case. */
static bool is_zone(const char *zone)
{
    size_t label = 0, n_labels = 1;
    if (strlen(zone) > ZONE_MAX)
        return false;
    for (const char *p = zone; *p != 0; p++) {
        if (*p == '.') {
            if (label == 0 || p[-1] == '-')
                return false;
            label = 0;
            n_labels++;
            continue;
        }
        if (!isalnum((unsigned char)*p) && !(*p == '-' && label > 0) && *p != '_')
            return false;
        if (++label > 63)
            return false;
    }
    return label > 0 && n_labels > 1;
}

static enum err read_zone(const struct reader *r, struct config *c)
{
    const char *zone = cfg_getstr(r->root, "zone");
    if (zone == NULL)
        return conf_fail(r->conf, r->root, "zone", r->info,
                         "missing: add zone = \"direct.example\"");
    enum err e = copy_text(&c->zone, zone);
    if (e != ERR_OK)
        return e;
    size_t len = strlen(c->zone);
    if (len > 0 && c->zone[len - 1] == '.')
        c->zone[len - 1] = 0;
    for (char *p = c->zone; *p != 0; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!is_zone(c->zone))
        return conf_fail(r->conf, r->root, "zone", r->info, "\"%.100s\" is not a domain name",
                         zone);
    return ERR_OK;
}

/* The first line of the secret file that `key` names; *out stays as it is when `key` is not set. */
static enum err read_secret(const struct reader *r, const char *key, char **out)
{
    const char *value = cfg_getstr(r->root, key);
    if (value == NULL)
        return ERR_OK;
    struct buf text;
    struct err_info why;
    char *path = conf_path(r->conf, value);
    if (path == NULL)
        return ERR_NOMEM;
    buf_init(&text, SECRET_MAX);
    enum err e = file_read_secret(path, &text, &why);
    if (e != ERR_OK)
        e = conf_fail(r->conf, r->root, key, r->info, "%s", why.text);
    size_t len = strcspn(buf_str(&text), "\r\n");
    if (e == ERR_OK && len == 0)
        e = conf_fail(r->conf, r->root, key, r->info, "%s is empty", path);
    if (e == ERR_OK) {
        free(*out);
        *out = strndup(buf_str(&text), len);
        e = *out != NULL ? ERR_OK : ERR_NOMEM;
    }
    buf_wipe(&text);
    free(path);
    return e;
}

static enum err read_factory_key(const struct reader *r, struct config *c)
{
    const char *value = cfg_getstr(r->root, "factory_key");
    struct err_info why;
    if (value == NULL)
        return ERR_OK;
    if (c->factory_chain == NULL)
        return conf_fail(r->conf, r->root, "factory_key", r->info, "factory_cert is missing");
    char *path = conf_path(r->conf, value);
    if (path == NULL)
        return ERR_NOMEM;
    enum err e = key_load(&c->factory_key, path, &why);
    free(path);
    return e == ERR_OK ? e : conf_fail(r->conf, r->root, "factory_key", r->info, "%s", why.text);
}

static enum err read_factory(const struct reader *r, struct config *c)
{
    const char *value = cfg_getstr(r->root, "factory_cert");
    STACK_OF(X509) *chain = NULL;
    struct buf pem;
    struct err_info why;
    if (value == NULL)
        return read_factory_key(r, c);
    char *path = conf_path(r->conf, value);
    if (path == NULL)
        return ERR_NOMEM;
    buf_init(&pem, FACTORY_CHAIN_MAX);
    enum err e = file_read(path, &pem, &why);
    if (e == ERR_OK)
        e = cert_chain_parse(&chain, buf_span(&pem), &why);
    if (e != ERR_OK)
        e = conf_fail(r->conf, r->root, "factory_cert", r->info, "%s: %s", path, why.text);
    else
        c->factory_chain = buf_take(&pem);
    sk_X509_pop_free(chain, X509_free);
    buf_clear(&pem);
    free(path);
    return e == ERR_OK ? read_factory_key(r, c) : e;
}

static enum err read_addresses(const struct reader *r, struct config *c)
{
    unsigned n = cfg_size(r->root, "addresses");
    c->addresses_auto = !conf_is_set(r->conf, r->root, "addresses");
    c->vpn_addresses = cfg_getbool(r->root, "vpn_addresses") == cfg_true;
    for (unsigned i = 0; i < n; i++) {
        const char *text = cfg_getnstr(r->root, "addresses", i);
        uint8_t ip[16];
        if (strcmp(text, "auto") == 0) {
            c->addresses_auto = true;
            continue;
        }
        if (inet_pton(AF_INET, text, ip) != 1 && inet_pton(AF_INET6, text, ip) != 1)
            return conf_fail(r->conf, r->root, "addresses", r->info,
                             "\"%.100s\" is neither \"auto\" nor an IP address", text);
        if (c->n_addresses == CONFIG_ADDRESSES_MAX)
            return conf_fail(r->conf, r->root, "addresses", r->info, "more than %d addresses",
                             CONFIG_ADDRESSES_MAX);
        enum err e = copy_text(&c->addresses[c->n_addresses], text);
        if (e != ERR_OK)
            return e;
        c->n_addresses++;
    }
    return ERR_OK;
}

/* An address with or without a port; 53 is meant where none is. */
static enum err parse_server(struct addr *out, const char *text, struct err_info *why)
{
    char full[128];
    uint8_t ip[16];
    bool v4 = inet_pton(AF_INET, text, ip) == 1, v6 = inet_pton(AF_INET6, text, ip) == 1;
    (void)snprintf(full, sizeof full, v4 ? "%.100s:53" : v6 ? "[%.100s]:53" : "%.100s", text);
    return addr_parse(out, full, why);
}

static enum err read_resolvers(const struct reader *r, struct config *c)
{
    unsigned n = cfg_size(r->root, "resolvers");
    const char *server = cfg_getstr(r->root, "zone_server");
    struct err_info why;
    c->resolvers_auto = !conf_is_set(r->conf, r->root, "resolvers");
    for (unsigned i = 0; i < n; i++) {
        const char *text = cfg_getnstr(r->root, "resolvers", i);
        c->resolvers_auto |= strcmp(text, "auto") == 0;
        if (strcmp(text, "auto") == 0 || strcmp(text, "none") == 0)
            continue;
        if (c->n_resolvers == CONFIG_RESOLVERS_MAX)
            return conf_fail(r->conf, r->root, "resolvers", r->info, "more than %d resolvers",
                             CONFIG_RESOLVERS_MAX);
        if (parse_server(&c->resolvers[c->n_resolvers++], text, &why) != ERR_OK)
            return conf_fail(r->conf, r->root, "resolvers", r->info, "%s, or \"auto\" or \"none\"",
                             why.text);
    }
    if (server != NULL && parse_server(&c->zone_server, server, &why) != ERR_OK)
        return conf_fail(r->conf, r->root, "zone_server", r->info, "%s", why.text);
    return ERR_OK;
}

/* The service takes 64 characters; what they may be is its to say. */
static enum err read_report(const struct reader *r, struct config *c)
{
    const char *name = cfg_getstr(r->root, "name");
    size_t n = 0;
    c->nearby = cfg_getbool(r->root, "nearby") == cfg_true;
    c->report = cfg_getbool(r->root, "report") == cfg_true;
    if (name == NULL)
        return ERR_OK;
    for (const char *p = name; *p != 0; p++) {
        n += ((unsigned char)*p & 0xc0) != 0x80;
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return conf_fail(r->conf, r->root, "name", r->info, "has a control character in it");
    }
    json_t *utf8 = json_string(name);
    json_decref(utf8);
    if (utf8 == NULL || n == 0 || n > NAME_CHARACTERS_MAX)
        return conf_fail(r->conf, r->root, "name", r->info, "is not 1 to %d characters of UTF-8",
                         NAME_CHARACTERS_MAX);
    return copy_text(&c->name, name);
}

static enum err read_unix_backend(const struct reader *r, cfg_t *sec, struct config_proxy *p,
                                  const char *value)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    char *path = conf_path(r->conf, value);
    if (path == NULL)
        return ERR_NOMEM;
    size_t len = strlen(path);
    if (value[0] == 0 || len >= sizeof sun.sun_path) {
        free(path);
        return conf_fail(r->conf, sec, "backend", r->info,
                         "the path of a Unix socket has 1 to %zu bytes", sizeof sun.sun_path - 1);
    }
    memcpy(sun.sun_path, path, len + 1);
    free(path);
    memcpy(&p->backend, &sun, sizeof sun);
    p->backend_len = (socklen_t)sizeof sun;
    return ERR_OK;
}

static enum err read_backend(const struct reader *r, cfg_t *sec, struct config_proxy *p)
{
    const char *text = cfg_getstr(sec, "backend");
    struct err_info why;
    struct addr a;
    if (text == NULL)
        return conf_fail(r->conf, sec, "backend", r->info,
                         "proxy: missing: add backend = \"127.0.0.1:8096\"");
    enum err e = copy_text(&p->backend_text, text);
    if (e != ERR_OK)
        return e;
    if (strncmp(text, "unix:", 5) == 0)
        return read_unix_backend(r, sec, p, text + 5);
    if (addr_parse(&a, text, &why) != ERR_OK)
        return conf_fail(r->conf, sec, "backend", r->info, "%s, or unix:PATH", why.text);
    p->backend = a.ss;
    p->backend_len = a.len;
    return ERR_OK;
}

static enum err read_alpn(const struct reader *r, cfg_t *sec, struct alpn *out)
{
    unsigned n = cfg_size(sec, "alpn");
    if (n == 0)
        *out = ALPN_HTTP1;
    for (unsigned i = 0; i < n; i++) {
        const char *name = cfg_getnstr(sec, "alpn", i);
        if (n == 1 && strcmp(name, "none") == 0)
            return ERR_OK;
        if (alpn_add(out, name) != ERR_OK)
            return conf_fail(r->conf, sec, "alpn", r->info,
                             "\"%.64s\" is no protocol, or one too many", name);
    }
    return ERR_OK;
}

static enum err read_proxy(const struct reader *r, cfg_t *sec, struct config_proxy *p)
{
    const char *listen = cfg_getstr(sec, "listen");
    struct err_info why;
    int64_t n = 0;
    if (listen == NULL)
        return conf_fail(r->conf, sec, "listen", r->info,
                         "proxy: missing: add listen = \"0.0.0.0:8443\"");
    if (addr_parse(&p->listen, listen, &why) != ERR_OK)
        return conf_fail(r->conf, sec, "listen", r->info, "%s", why.text);
    p->listen_where = conf_where(r->conf, sec, "listen");
    enum err e = p->listen_where == NULL ? ERR_NOMEM : read_backend(r, sec, p);
    if (e == ERR_OK && asprintf(&p->label, "%s -> %s", listen, p->backend_text) < 0) {
        p->label = NULL;
        e = ERR_NOMEM;
    }
    if (e == ERR_OK)
        e = read_int(r, sec, "connections_max", 1, 100000, &n);
    if (e != ERR_OK)
        return e;
    p->connections_max = (size_t)n;
    e = read_int(r, sec, "idle_timeout_s", 1, 86400, &n);
    p->idle_ms = n * 1000;
    p->proxy_protocol = cfg_getbool(sec, "proxy_protocol") == cfg_true;
    if (e == ERR_OK)
        e = read_alpn(r, sec, &p->alpn);
    return e;
}

static enum err read_proxies(const struct reader *r, struct config *c)
{
    unsigned n = cfg_size(r->root, "proxy");
    if (n > CONFIG_PROXIES_MAX)
        return conf_fail(r->conf, r->root, "proxy", r->info, "more than %d proxies",
                         CONFIG_PROXIES_MAX);
    enum err e = ERR_OK;
    for (unsigned i = 0; e == ERR_OK && i < n; i++) {
        c->n_proxies = i + 1;
        e = read_proxy(r, cfg_getnsec(r->root, "proxy", i), &c->proxies[i]);
    }
    return e;
}

static enum err read_pages(const struct reader *r, struct config *c, const char *key, bool secure)
{
    unsigned n = cfg_size(r->root, key);
    for (unsigned i = 0; i < n; i++) {
        struct err_info why;
        if (c->n_pages == CONFIG_PAGES_MAX)
            return conf_fail(r->conf, r->root, key, r->info, "more than %d addresses for pages",
                             CONFIG_PAGES_MAX);
        struct config_page *p = &c->pages[c->n_pages++];
        p->secure = secure;
        if (addr_parse(&p->listen, cfg_getnstr(r->root, key, i), &why) != ERR_OK)
            return conf_fail(r->conf, r->root, key, r->info, "%s", why.text);
        p->listen_where = conf_where(r->conf, r->root, key);
        if (p->listen_where == NULL)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err read_foreign_sni(const struct reader *r, struct config *c)
{
    const char *text = cfg_getstr(r->root, "foreign_sni");
    c->refuse_foreign = strcmp(text, "refuse") == 0;
    if (!c->refuse_foreign && strcmp(text, "local") != 0)
        return conf_fail(r->conf, r->root, "foreign_sni", r->info,
                         "\"%.100s\" is neither \"local\" nor \"refuse\"", text);
    return ERR_OK;
}

/* The port of the first proxy that others can come to over IPv4; 0: there is none. */
static uint16_t open_port(const struct config *c)
{
    for (size_t i = 0; i < c->n_proxies; i++) {
        struct sockaddr_in sin;
        memcpy(&sin, &c->proxies[i].listen.ss, sizeof sin);
        if (sin.sin_family == AF_INET && (ntohl(sin.sin_addr.s_addr) >> 24) != IN_LOOPBACKNET)
            return ntohs(sin.sin_port);
    }
    return 0;
}

static enum err read_port_mapping(const struct reader *r, struct config *c)
{
    int64_t port = 0, external = 0;
    enum err e = read_int(r, r->root, "port_mapping_port", 0, UINT16_MAX, &port);
    if (e == ERR_OK)
        e = read_int(r, r->root, "port_mapping_external", 0, UINT16_MAX, &external);
    if (e != ERR_OK)
        return e;
    c->port_mapping = cfg_getbool(r->root, "port_mapping") == cfg_true;
    c->mapped_port = port != 0 ? (uint16_t)port : open_port(c);
    c->mapped_external = (uint16_t)external;
    if (c->port_mapping && c->mapped_port == 0)
        return conf_fail(r->conf, r->root, "port_mapping", r->info,
                         "no proxy listens on an IPv4 address of the network: say which port the "
                         "application has with port_mapping_port");
    return ERR_OK;
}

static enum err read_relay(const struct reader *r, struct config *c)
{
    c->relay = cfg_getbool(r->root, "relay") == cfg_true;
    if (c->relay && c->n_proxies == 0)
        return conf_fail(r->conf, r->root, "relay", r->info,
                         "there is no proxy section: the first one serves who comes by the relay");
    if (c->relay && !c->report)
        return conf_fail(r->conf, r->root, "relay", r->info,
                         "the service says which relay it is when this device reports: not with "
                         "report = false");
    return ERR_OK;
}

static enum err read_mdns(const struct reader *r, struct config *c)
{
    static const char END[] = ".service";
    const char *text = cfg_getstr(r->root, "mdns");
    size_t len = strlen(text), end = sizeof END - 1;
    c->mdns = strcmp(text, "off") != 0;
    if (!c->mdns || strcmp(text, "avahi") == 0)
        return ERR_OK;
    if (len <= end || strcmp(text + len - end, END) != 0)
        return conf_fail(r->conf, r->root, "mdns", r->info,
                         "\"%.100s\" is neither \"off\", \"avahi\" nor a path that ends in %s",
                         text, END);
    c->mdns_file = conf_path(r->conf, text);
    return c->mdns_file != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err read_key_type(const struct reader *r, struct config *c)
{
    const char *text = cfg_getstr(r->root, "key_type");
    if (strcmp(text, "p256") == 0)
        c->key_type = KEY_P256;
    else if (strcmp(text, "rsa2048") == 0)
        c->key_type = KEY_RSA2048;
    else
        return conf_fail(r->conf, r->root, "key_type", r->info,
                         "\"%.100s\" is neither \"p256\" nor \"rsa2048\"", text);
    return ERR_OK;
}

static enum err read_check_served(const struct reader *r, struct config *c)
{
    const char *text = cfg_getstr(r->root, "check_served");
    struct err_info why;
    c->check_served = text != NULL && text[0] != 0;
    if (c->check_served && addr_parse(&c->served_at, text, &why) != ERR_OK)
        return conf_fail(r->conf, r->root, "check_served", r->info, "%s", why.text);
    return ERR_OK;
}

static enum err read_bundle(const struct reader *r, struct config *c)
{
    const char *text = cfg_getstr(r->root, "p12_format");
    enum err e = copy_text(&c->p12_password, "");
    if (e == ERR_OK)
        e = read_secret(r, "p12_password_file", &c->p12_password);
    c->bundle = (struct forms_bundle){ c->p12_password, strcmp(text, "legacy") == 0 };
    if (e == ERR_OK && !c->bundle.legacy && strcmp(text, "modern") != 0)
        e = conf_fail(r->conf, r->root, "p12_format", r->info,
                      "\"%.100s\" is neither \"modern\" nor \"legacy\"", text);
    return e;
}

static enum err read_file(const struct reader *r, cfg_t *sec, struct config *c)
{
    const char *name = cfg_title(sec);
    struct err_info why;
    enum form_kind form;
    if (access_find(name, &form) != ERR_OK)
        return conf_fail(r->conf, sec, NULL, r->info,
                         "it is none of privkey.pem, cert.pem, chain.pem, fullchain.pem, "
                         "combined.pem and bundle.p12");
    if (access_set_owner(&c->access, form, cfg_getstr(sec, "owner"), &why) != ERR_OK)
        return conf_fail(r->conf, sec, "owner", r->info, "%s", why.text);
    if (access_set_group(&c->access, form, cfg_getstr(sec, "group"), &why) != ERR_OK)
        return conf_fail(r->conf, sec, "group", r->info, "%s", why.text);
    if (access_set_mode(&c->access, form, cfg_getstr(sec, "mode"), &why) != ERR_OK)
        return conf_fail(r->conf, sec, "mode", r->info, "%s", why.text);
    return ERR_OK;
}

static enum err read_files(const struct reader *r, struct config *c)
{
    enum err e = ERR_OK;
    c->access = ACCESS_PRIVATE;
    for (unsigned i = 0; e == ERR_OK && i < cfg_size(r->root, "file"); i++)
        e = read_file(r, cfg_getnsec(r->root, "file", i), c);
    return e;
}

/* Absolute, since the reload command is told of it, and may go anywhere. */
static enum err read_state_dir(const struct reader *r, struct config *c)
{
    char *path = conf_path(r->conf, cfg_getstr(r->root, "state_dir"));
    if (path == NULL || path[0] == '/') {
        c->state_dir = path;
        return path != NULL ? ERR_OK : ERR_NOMEM;
    }
    char *cwd = getcwd(NULL, 0);
    if (cwd != NULL && asprintf(&c->state_dir, "%s/%s", cwd, path) < 0)
        c->state_dir = NULL;
    free(cwd);
    free(path);
    return c->state_dir != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err read_reload(const struct reader *r, struct config *c)
{
    const char *command = cfg_getstr(r->root, "reload_command");
    const char *pid_file = cfg_getstr(r->root, "reload_pid_file");
    const char *signal = cfg_getstr(r->root, "reload_signal");
    enum err e = ERR_OK;
    c->reload_signal = reloadsignal_number(signal);
    if (c->reload_signal == 0)
        return conf_fail(r->conf, r->root, "reload_signal", r->info,
                         "\"%.100s\" is not HUP, USR1, USR2, INT or TERM", signal);
    if (command != NULL && command[0] != 0)
        e = copy_text(&c->reload_command, command);
    if (e != ERR_OK || pid_file == NULL || pid_file[0] == 0)
        return e;
    if (c->reload_command != NULL)
        return conf_fail(r->conf, r->root, "reload_pid_file", r->info,
                         "there is a reload_command: it is the one or the other");
    c->reload_pid_file = conf_path(r->conf, pid_file);
    return c->reload_pid_file != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err read_rest(const struct reader *r, struct config *c)
{
    int64_t timeout_s = 0;
    const char *user = cfg_getstr(r->root, "user");
    enum err e = read_state_dir(r, c);
    if (e == ERR_OK)
        e = read_reload(r, c);
    if (e == ERR_OK)
        e = read_check_served(r, c);
    if (e == ERR_OK && user != NULL && user[0] != 0)
        e = copy_text(&c->user, user);
    if (e == ERR_OK)
        e = read_int(r, r->root, "reload_timeout_s", 1, 3600, &timeout_s);
    c->reload_timeout_ms = timeout_s * 1000;
    if (e == ERR_OK)
        e = read_int(r, r->root, "retry_s", 1, 3600, &c->retry_s);
    return e == ERR_OK ? conf_read_log(r->conf, &c->log_level, r->info) : e;
}

static enum err read_all(const struct reader *r, struct config *c)
{
    enum err e = read_server(r, c);
    if (e == ERR_OK)
        e = read_zone(r, c);
    if (e == ERR_OK)
        e = read_secret(r, "token_file", &c->token);
    if (e == ERR_OK)
        e = read_factory(r, c);
    if (e == ERR_OK)
        e = read_bundle(r, c);
    if (e == ERR_OK)
        e = read_files(r, c);
    if (e == ERR_OK)
        e = read_addresses(r, c);
    if (e == ERR_OK)
        e = read_resolvers(r, c);
    if (e == ERR_OK)
        e = read_report(r, c);
    if (e == ERR_OK)
        e = read_proxies(r, c);
    if (e == ERR_OK)
        e = read_pages(r, c, "page", false);
    if (e == ERR_OK)
        e = read_pages(r, c, "page_tls", true);
    if (e == ERR_OK)
        e = read_foreign_sni(r, c);
    if (e == ERR_OK)
        e = read_port_mapping(r, c);
    if (e == ERR_OK)
        e = read_relay(r, c);
    if (e == ERR_OK)
        e = read_mdns(r, c);
    if (e == ERR_OK)
        e = read_key_type(r, c);
    if (e == ERR_OK)
        e = read_rest(r, c);
    return e;
}

enum err config_load(struct config **out, const char *path, struct err_info *info)
{
    struct conf *conf = NULL;
    struct config *c = calloc(1, sizeof *c);
    enum err e = c == NULL ? ERR_NOMEM : conf_load(&conf, path, OPTS, info);
    if (e == ERR_OK) {
        struct reader r = { conf, conf_root(conf), info };
        e = read_all(&r, c);
    }
    if (e == ERR_NOMEM)
        (void)err_set(info, e, "%s: out of memory", path);
    conf_free(conf);
    if (e == ERR_OK)
        *out = c;
    else
        config_free(c);
    return e;
}

const char *config_reload(const struct config *c)
{
    return c->reload_command != NULL    ? "reload command"
           : c->reload_pid_file != NULL ? "reload signal"
                                        : NULL;
}

static void free_secret(char *s)
{
    if (s != NULL)
        explicit_bzero(s, strlen(s));
    free(s);
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    free(c->server);
    free(c->server_ca);
    free(c->zone);
    free_secret(c->token);
    free(c->factory_chain);
    EVP_PKEY_free(c->factory_key);
    free(c->state_dir);
    for (size_t i = 0; i < c->n_addresses; i++)
        free(c->addresses[i]);
    free(c->name);
    for (size_t i = 0; i < c->n_proxies; i++) {
        free(c->proxies[i].listen_where);
        free(c->proxies[i].backend_text);
        free(c->proxies[i].label);
    }
    for (size_t i = 0; i < c->n_pages; i++)
        free(c->pages[i].listen_where);
    free(c->mdns_file);
    free(c->reload_command);
    free(c->reload_pid_file);
    free_secret(c->p12_password);
    free(c->user);
    free(c);
}
