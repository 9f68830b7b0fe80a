#include "provisiond/relay/relayconf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/conf/conf.h"
#include "common/dns/name.h"
#include "common/pki/key.h"

static cfg_opt_t OPTS[] = {
    CFG_STR("name", NULL, CFGF_NONE),
    CFG_STR_LIST("listen_clients", NULL, CFGF_NONE),
    CFG_STR_LIST("listen_control", NULL, CFGF_NONE),
    CFG_STR_LIST("listen_data", NULL, CFGF_NONE),
    CFG_STR_LIST("metrics", NULL, CFGF_NONE),
    CFG_STR("identity", "relay.pem", CFGF_NONE),
    CFG_STR("key_file", NULL, CFGF_NONE),
    CFG_STR_LIST("zones", NULL, CFGF_NONE),
    CFG_STR("user", NULL, CFGF_NONE),
    CFG_STR("log_level", "info", CFGF_NONE),
    CFG_STR("log_format", "text", CFGF_NONE),
    CFG_INT("clients_max", 20000, CFGF_NONE),
    CFG_INT("clients_per_prefix", 256, CFGF_NONE),
    CFG_INT("client_rate", 50, CFGF_NONE),
    CFG_INT("devices_max", 20000, CFGF_NONE),
    CFG_INT("devices_per_prefix", 1024, CFGF_NONE),
    CFG_INT("device_clients", 128, CFGF_NONE),
    CFG_INT("device_rate", 20, CFGF_NONE),
    CFG_INT("hello_timeout_s", 10, CFGF_NONE),
    CFG_INT("dial_timeout_s", 10, CFGF_NONE),
    CFG_INT("idle_timeout_s", 900, CFGF_NONE),
    CFG_INT("lifetime_s", 86400, CFGF_NONE),
    CFG_INT("drain_timeout_s", 30, CFGF_NONE),
    CFG_INT("keepalive_s", 240, CFGF_NONE),
    CFG_INT("bandwidth_mbit", 0, CFGF_NONE),
    CFG_INT("device_bandwidth_mbit", 0, CFGF_NONE),
    CFG_END(),
};

#define HALF_MS_MAX 60000 /* silence, once one direction has ended */
#define BYTES_OF_MBIT 125000

struct reader {
    struct conf *conf;
    cfg_t *root;
    struct relayconf *out;
    struct err_info *info;
};

#define FAIL(r, key, ...) conf_fail((r)->conf, (r)->root, (key), (r)->info, __VA_ARGS__)

static enum err no_memory(struct reader *r)
{
    return err_set(r->info, ERR_NOMEM, "out of memory");
}

static enum err read_listen(struct reader *r, const char *key, size_t max,
                            struct relayconf_listen *out)
{
    unsigned n = cfg_size(r->root, key);
    struct err_info why;
    if (n > max)
        return FAIL(r, key, "more than %zu", max);
    for (unsigned i = 0; i < n; i++) {
        if (addr_parse(&out->addr[out->n++], cfg_getnstr(r->root, key, i), &why) != ERR_OK)
            return FAIL(r, key, "%s", why.text);
    }
    out->where = conf_where(r->conf, r->root, key);
    return out->where != NULL ? ERR_OK : no_memory(r);
}

static enum err read_listeners(struct reader *r)
{
    struct relayconf *c = r->out;
    enum err e = read_listen(r, "listen_clients", RELAYCONF_LISTEN_MAX, &c->clients);
    if (e == ERR_OK)
        e = read_listen(r, "listen_control", RELAYCONF_LISTEN_MAX, &c->control);
    if (e == ERR_OK)
        e = read_listen(r, "listen_data", RELAYCONF_LISTEN_MAX, &c->data);
    if (e == ERR_OK)
        e = read_listen(r, "metrics", 1, &c->metrics);
    if (e == ERR_OK && c->clients.n == 0)
        e = FAIL(r, "listen_clients", "missing: add listen_clients = {\"0.0.0.0:443\"}");
    if (e == ERR_OK && c->control.n == 0)
        e = FAIL(r, "listen_control", "missing: add listen_control = {\"0.0.0.0:8445\"}");
    if (e == ERR_OK && c->data.n == 0)
        e = FAIL(r, "listen_data", "missing: add listen_data = {\"0.0.0.0:8446\"}");
    return e;
}

static enum err read_zones(struct reader *r)
{
    struct relayconf *c = r->out;
    unsigned n = cfg_size(r->root, "zones");
    if (n < 1 || n > RELAYCONF_ZONES_MAX)
        return FAIL(r, "zones", "1 to %d are needed: zones = {\"direct.example\"}",
                    RELAYCONF_ZONES_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct name name;
        const char *text = cfg_getnstr(r->root, "zones", i);
        char *copy = strdup(text);
        if (copy == NULL)
            return no_memory(r);
        c->zones[c->n_zones++] = copy;
        if (name_parse(&name, text) != ERR_OK || name.n_labels == 0)
            return FAIL(r, "zones", "\"%.100s\" is not a domain name", text);
        size_t len = strlen(copy);
        if (copy[len - 1] == '.')
            copy[len - 1] = 0;
        for (char *p = copy; *p != 0; p++)
            *p = (char)tolower((unsigned char)*p);
    }
    return ERR_OK;
}

static enum err read_keys(struct reader *r)
{
    const char *value = cfg_getstr(r->root, "key_file");
    struct buf text;
    struct err_info why;
    if (value == NULL)
        return FAIL(r, "key_file",
                    "missing: the file that provisiond.conf names in relay \"%s\" { } (openssl "
                    "rand -hex 32 > FILE; chmod 600 FILE)",
                    r->out->name);
    char *path = conf_path(r->conf, value);
    if (path == NULL)
        return no_memory(r);
    enum err e = ERR_OK;
    buf_init(&text, 4096);
    if (file_read_secret(path, &text, &why) != ERR_OK)
        e = FAIL(r, "key_file", "%s", why.text);
    else if (relayticket_keys_parse(&r->out->keys, buf_span(&text), &why) != ERR_OK)
        e = FAIL(r, "key_file", "%s: %s", path, why.text);
    buf_wipe(&text);
    free(path);
    return e;
}

static enum err read_numbers(struct reader *r)
{
    struct relayconf *c = r->out;
    const struct {
        const char *key;
        int64_t *out;
        long min, max;
        int64_t unit;
    } ALL[] = {
        { "clients_max", &c->clients_max, 1, 1000000, 1 },
        { "clients_per_prefix", &c->clients_per_prefix, 1, 1000000, 1 },
        { "client_rate", &c->client_rate, 1, 1000, 1 },
        { "devices_max", &c->devices_max, 1, 1000000, 1 },
        { "devices_per_prefix", &c->devices_per_prefix, 1, 1000000, 1 },
        { "device_clients", &c->device_clients, 1, 1000000, 1 },
        { "device_rate", &c->device_rate, 1, 1000, 1 },
        { "hello_timeout_s", &c->hello_ms, 1, 300, 1000 },
        { "dial_timeout_s", &c->dial_ms, 1, 300, 1000 },
        { "idle_timeout_s", &c->idle_ms, 1, 86400, 1000 },
        { "lifetime_s", &c->lifetime_ms, 1, 31536000, 1000 },
        { "drain_timeout_s", &c->drain_ms, 0, 3600, 1000 },
        { "keepalive_s", &c->keepalive_s, 10, 7200, 1 },
        { "bandwidth_mbit", &c->bytes_per_s, 0, 1000000, BYTES_OF_MBIT },
        { "device_bandwidth_mbit", &c->device_bytes_per_s, 0, 1000000, BYTES_OF_MBIT },
    };
    for (size_t i = 0; i < ARRAY_LEN(ALL); i++) {
        long v = cfg_getint(r->root, ALL[i].key);
        if (v < ALL[i].min || v > ALL[i].max)
            return FAIL(r, ALL[i].key, "%ld is not between %ld and %ld", v, ALL[i].min, ALL[i].max);
        *ALL[i].out = v * ALL[i].unit;
    }
    c->half_ms = c->idle_ms < HALF_MS_MAX ? c->idle_ms : HALF_MS_MAX;
    return ERR_OK;
}

static enum err read_rest(struct reader *r)
{
    struct relayconf *c = r->out;
    const char *user = cfg_getstr(r->root, "user");
    c->identity = conf_path(r->conf, cfg_getstr(r->root, "identity"));
    c->user_where = conf_where(r->conf, r->root, "user");
    if (c->identity == NULL || c->user_where == NULL)
        return no_memory(r);
    if (user != NULL && user[0] != 0 && (c->user = strdup(user)) == NULL)
        return no_memory(r);
    return conf_read_log(r->conf, &c->log_level, r->info);
}

static enum err read_all(struct reader *r)
{
    const char *name = cfg_getstr(r->root, "name");
    if (name == NULL || !relayticket_is_name(name))
        return FAIL(r, "name",
                    "is needed, as in provisiond.conf: name = \"eu1\", of a-z, 0-9 and -");
    if ((r->out->name = strdup(name)) == NULL)
        return no_memory(r);
    enum err e = read_listeners(r);
    if (e == ERR_OK)
        e = read_zones(r);
    if (e == ERR_OK)
        e = read_keys(r);
    if (e == ERR_OK)
        e = read_numbers(r);
    return e == ERR_OK ? read_rest(r) : e;
}

enum err relayconf_load(struct relayconf **out, const char *path, struct err_info *info)
{
    struct conf *conf = NULL;
    struct relayconf *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    enum err e = conf_load(&conf, path, OPTS, info);
    if (e == ERR_OK) {
        struct reader r = { conf, conf_root(conf), c, info };
        e = read_all(&r);
    }
    conf_free(conf);
    if (e != ERR_OK) {
        relayconf_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void relayconf_free(struct relayconf *c)
{
    if (c == NULL)
        return;
    char *const all[] = { c->name,     c->clients.where, c->control.where, c->data.where,
                          c->identity, c->metrics.where, c->user,          c->user_where };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
    for (size_t i = 0; i < c->n_zones; i++)
        free(c->zones[i]);
    explicit_bzero(&c->keys, sizeof c->keys);
    free(c);
}

enum err relayconf_identity(EVP_PKEY **key, struct devid *id, const struct relayconf *c,
                            struct err_info *info)
{
    enum err e = key_load_or_make(key, c->identity, KEY_P256, info);
    if (e == ERR_OK && devid_from_key(id, *key) != ERR_OK) {
        EVP_PKEY_free(*key);
        *key = NULL;
        e = err_set(info, ERR_CRYPTO, "%s holds a key that cannot be an identity", c->identity);
    }
    return e;
}
