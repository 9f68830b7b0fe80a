#include "provisiond/core/reportbody.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "provisiond/core/network.h"

#define NAME_CHARACTERS_MAX 64
#define PIN_PREFIX "sha256/"
#define TIME_MAX_S INT64_C(253402300799) /* the year 9999 */

static const char *const KINDS[] = {
    [REPORTBODY_GUA] = "gua",       [REPORTBODY_LAN] = "lan",   [REPORTBODY_ULA] = "ula",
    [REPORTBODY_MAPPED] = "mapped", [REPORTBODY_PAGE] = "page",
};

const char *reportbody_kind_name(enum reportbody_kind kind)
{
    return (unsigned)kind < ARRAY_LEN(KINDS) ? KINDS[kind] : "unknown";
}

/* --- text --- */

/* Invisible characters that change how what is beside them looks: controls, line and paragraph
 * separators, marks of direction. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* The next character of valid UTF-8, which jansson has made sure of. */
static uint32_t next_character(const char **text)
{
    const uint8_t *p = (const uint8_t *)*text;
    unsigned n = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
    uint32_t c = n == 0 ? *p : *p & (0x3fu >> n);
    for (unsigned i = 1; i <= n; i++)
        c = c << 6 | (p[i] & 0x3fu);
    *text += n + 1;
    return c;
}

static enum err read_name(char out[REPORTBODY_NAME_MAX], const json_t *v, struct err_info *info)
{
    if (v == NULL || json_is_null(v))
        return ERR_OK;
    if (!json_is_string(v))
        return err_set(info, ERR_INVALID, "name must be a string");
    const char *at = json_string_value(v);
    for (size_t n = 0; *at != 0; n++) {
        if (n == NAME_CHARACTERS_MAX)
            return err_set(info, ERR_INVALID, "name has more than %d characters",
                           NAME_CHARACTERS_MAX);
        if (is_control(next_character(&at)))
            return err_set(info, ERR_INVALID, "name has a control character in it");
    }
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return ERR_OK;
}

/* A string of 1 to cap - 1 of the characters `allowed`; absent and null leave "". */
static enum err read_word(char *out, size_t cap, const json_t *object, const char *key,
                          const char *allowed, struct err_info *info)
{
    const json_t *v = json_object_get(object, key);
    if (v == NULL || json_is_null(v))
        return ERR_OK;
    const char *text = json_string_value(v);
    size_t len = json_string_length(v);
    if (text == NULL || len == 0 || len >= cap || strspn(text, allowed) != len)
        return err_set(info, ERR_INVALID, "%s is not of the right form", key);
    memcpy(out, text, len + 1);
    return ERR_OK;
}

/* --- parts --- */

static enum err read_bool(bool *out, const json_t *object, const char *key, struct err_info *info)
{
    const json_t *v = json_object_get(object, key);
    if (v != NULL && !json_is_null(v) && !json_is_boolean(v))
        return err_set(info, ERR_INVALID, "%s must be true or false", key);
    *out = json_is_true(v);
    return ERR_OK;
}

static enum err read_answer(enum reportbody_answer *out, const json_t *object, const char *key,
                            bool can_be_mixed, struct err_info *info)
{
    const json_t *v = json_object_get(object, key);
    const char *text = json_string_value(v);
    if (v == NULL || json_is_null(v))
        *out = REPORTBODY_UNKNOWN;
    else if (json_is_boolean(v))
        *out = json_is_true(v) ? REPORTBODY_YES : REPORTBODY_NO;
    else if (can_be_mixed && text != NULL && strcmp(text, "mixed") == 0)
        *out = REPORTBODY_MIXED;
    else
        return err_set(info, ERR_INVALID, "%s must be true, false%s or null", key,
                       can_be_mixed ? ", \"mixed\"" : "");
    return ERR_OK;
}

/* An absent or null one leaves *out. */
static enum err read_int(int64_t *out, const json_t *object, const char *key, int64_t low,
                         int64_t high, struct err_info *info)
{
    const json_t *v = json_object_get(object, key);
    if (v == NULL || json_is_null(v))
        return ERR_OK;
    if (!json_is_integer(v) || json_integer_value(v) < low || json_integer_value(v) > high)
        return err_set(info, ERR_INVALID, "%s must be an integer of %lld to %lld", key,
                       (long long)low, (long long)high);
    *out = json_integer_value(v);
    return ERR_OK;
}

/* The list of that name, NULL when there is none. */
static enum err find_list(const json_t **out, const json_t *root, const char *key, size_t max,
                          struct err_info *info)
{
    const json_t *v = json_object_get(root, key);
    *out = NULL;
    if (v == NULL || json_is_null(v))
        return ERR_OK;
    if (!json_is_array(v) || json_array_size(v) > max)
        return err_set(info, ERR_INVALID, "%s must be a list of at most %zu", key, max);
    *out = v;
    return ERR_OK;
}

static bool fits_kind(enum reportbody_kind kind, const struct ip *ip)
{
    enum ip_class class = ip_classify(ip);
    switch (kind) {
    case REPORTBODY_GUA:
    case REPORTBODY_MAPPED:
        return class == IP_PUBLIC;
    case REPORTBODY_LAN:
        return class == IP_PRIVATE && ip->family == 4;
    case REPORTBODY_ULA:
        return class == IP_PRIVATE && ip->family == 6;
    case REPORTBODY_PAGE:
        return class == IP_PRIVATE;
    case REPORTBODY_KIND_N:
        break;
    }
    return false;
}

static enum err read_connection(struct reportbody *b, const json_t *v, struct err_info *info)
{
    struct reportbody_connection c = { .kind = REPORTBODY_GUA };
    int64_t port = 0, hello_port = 0;
    const char *kind = json_string_value(json_object_get(v, "kind"));
    const char *address = json_string_value(json_object_get(v, "address"));
    if (kind == NULL || address == NULL || !network_parse(&c.ip, address))
        return err_set(info, ERR_INVALID, "a connection needs a kind and an IP address");
    enum err e = read_int(&port, v, "port", 1, 65535, info);
    if (e == ERR_OK && port == 0)
        e = err_set(info, ERR_INVALID, "a connection needs a port");
    if (e == ERR_OK)
        e = read_int(&hello_port, v, "hello_port", 1, 65535, info);
    if (e != ERR_OK)
        return e;
    while (c.kind < REPORTBODY_KIND_N && strcmp(KINDS[c.kind], kind) != 0)
        c.kind++;
    c.port = (uint16_t)port;
    c.hello_port = (uint16_t)hello_port;
    if (fits_kind(c.kind, &c.ip))
        b->connections[b->n_connections++] = c;
    return ERR_OK;
}

static enum err read_dns(struct reportbody *b, const json_t *v, struct err_info *info)
{
    static const char HEX[] = "0123456789abcdef", CLASS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789",
                      PRODUCT[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
    struct reportbody_dns *d = &b->dns[b->n_dns];
    int64_t ede = -1;
    enum err e = read_word(d->server, sizeof d->server, v, "server", HEX, info);
    if (e == ERR_OK && strlen(d->server) != 8)
        e = err_set(info, ERR_INVALID, "server is a hash of 8 hexadecimal digits");
    if (e == ERR_OK)
        e = read_word(d->class_v4, sizeof d->class_v4, v, "class_v4", CLASS, info);
    if (e == ERR_OK)
        e = read_word(d->class_ula, sizeof d->class_ula, v, "class_ula", CLASS, info);
    if (e == ERR_OK)
        e = read_word(d->class_gua, sizeof d->class_gua, v, "class_gua", CLASS, info);
    if (e == ERR_OK)
        e = read_word(d->product, sizeof d->product, v, "product", PRODUCT, info);
    if (e == ERR_OK)
        e = read_int(&ede, v, "ede", 0, 65535, info);
    if (e == ERR_OK)
        e = read_int(&d->checked_at, v, "checked_at", 0, TIME_MAX_S, info);
    d->ede = (int)ede;
    b->n_dns += e == ERR_OK;
    return e;
}

static enum err read_pin(struct reportbody *b, const json_t *v, struct err_info *info)
{
    static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *text = json_string_value(v);
    size_t prefix = strlen(PIN_PREFIX);
    /* 32 bytes are 43 digits and one '=' */
    if (text == NULL || json_string_length(v) != REPORTBODY_PIN_LEN ||
        strncmp(text, PIN_PREFIX, prefix) != 0 || strspn(text + prefix, BASE64) != 43 ||
        text[REPORTBODY_PIN_LEN - 1] != '=')
        return err_set(info, ERR_INVALID, "a pin is sha256/ and a SHA-256 in base64");
    memcpy(b->pins[b->n_pins++], text, REPORTBODY_PIN_LEN + 1);
    return ERR_OK;
}

static enum err read_failed(struct reportbody *b, const json_t *v, struct err_info *info)
{
    const char *name = json_string_value(v);
    if (name == NULL || !relayticket_is_name(name))
        return err_set(info, ERR_INVALID, "relay_failed has the names of relays");
    memcpy(b->relay_failed.names[b->relay_failed.n++], name, strlen(name) + 1);
    return ERR_OK;
}

static const struct {
    const char *key;
    size_t max;
    enum err (*read)(struct reportbody *b, const json_t *v, struct err_info *info);
} LISTS[] = {
    { "connections", REPORTBODY_CONNECTIONS_MAX, read_connection },
    { "dns", REPORTBODY_DNS_MAX, read_dns },
    { "pins", REPORTBODY_PINS_MAX, read_pin },
    { "relay_failed", RELAYPICK_FAILED_MAX, read_failed },
};

/* --- the whole --- */

static enum err read_all(struct reportbody *b, const json_t *root, struct err_info *info)
{
    enum err e = read_name(b->name, json_object_get(root, "name"), info);
    if (e == ERR_OK)
        e = read_bool(&b->nearby, root, "nearby", info);
    if (e == ERR_OK)
        e = read_bool(&b->relay, root, "relay", info);
    if (e == ERR_OK)
        e = read_answer(&b->rebinding, root, "rebinding", true, info);
    if (e == ERR_OK)
        e = read_answer(&b->nat_loopback, root, "nat_loopback", false, info);
    for (size_t i = 0; i < ARRAY_LEN(LISTS) && e == ERR_OK; i++) {
        const json_t *list;
        e = find_list(&list, root, LISTS[i].key, LISTS[i].max, info);
        for (size_t k = 0; k < json_array_size(list) && e == ERR_OK; k++)
            e = LISTS[i].read(b, json_array_get(list, k), info);
    }
    return e;
}

enum err reportbody_parse(struct reportbody *out, struct span text, struct err_info *info)
{
    json_error_t je;
    if (text.len > REPORTBODY_MAX)
        return err_set(info, ERR_LIMIT, "more than %d bytes", REPORTBODY_MAX);
    json_t *root = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, &je);
    struct reportbody b = { .nearby = false };
    enum err e = ERR_OK;
    if (root == NULL) /* not je.text, which repeats what was sent */
        e = err_set(info, ERR_INVALID, "not JSON: line %d, column %d", je.line, je.column);
    else if (!json_is_object(root))
        e = err_set(info, ERR_INVALID, "the body is not an object");
    if (e == ERR_OK)
        e = read_all(&b, root, info);
    json_decref(root);
    if (e == ERR_OK)
        *out = b;
    return e;
}

static json_t *answer_json(enum reportbody_answer a)
{
    if (a == REPORTBODY_UNKNOWN)
        return json_null();
    return a == REPORTBODY_MIXED ? json_string("mixed") : json_boolean(a == REPORTBODY_YES);
}

static json_t *connection_json(const struct reportbody_connection *c)
{
    char address[NETWORK_TEXT_MAX];
    network_address_text(&c->ip, address);
    json_t *o = json_pack("{s:s, s:s, s:i}", "kind", reportbody_kind_name(c->kind), "address",
                          address, "port", (int)c->port);
    if (c->hello_port != 0)
        (void)json_object_set_new(o, "hello_port", json_integer(c->hello_port));
    return o;
}

static json_t *word_json(const char *word)
{
    return word[0] != 0 ? json_string(word) : json_null();
}

static json_t *dns_json(const struct reportbody_dns *d)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I}", "server", d->server, "class_v4",
                     word_json(d->class_v4), "class_ula", word_json(d->class_ula), "class_gua",
                     word_json(d->class_gua), "ede",
                     d->ede < 0 ? json_null() : json_integer(d->ede), "product",
                     word_json(d->product), "checked_at", (json_int_t)d->checked_at);
}

char *reportbody_write(const struct reportbody *b)
{
    json_t *connections = json_array(), *dns = json_array(), *pins = json_array(),
           *failed = json_array();
    bool whole = true;
    for (size_t i = 0; i < b->n_connections; i++)
        whole &= json_array_append_new(connections, connection_json(&b->connections[i])) == 0;
    for (size_t i = 0; i < b->n_dns; i++)
        whole &= json_array_append_new(dns, dns_json(&b->dns[i])) == 0;
    for (size_t i = 0; i < b->n_pins; i++)
        whole &= json_array_append_new(pins, json_string(b->pins[i])) == 0;
    for (size_t i = 0; i < b->relay_failed.n; i++)
        whole &= json_array_append_new(failed, json_string(b->relay_failed.names[i])) == 0;
    json_t *root =
        json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "name", b->name, "nearby", b->nearby,
                  "connections", connections, "dns", dns, "rebinding", answer_json(b->rebinding),
                  "nat_loopback", answer_json(b->nat_loopback), "pins", pins);
    if (b->relay)
        whole &= json_object_set_new(root, "relay", json_true()) == 0;
    if (b->relay_failed.n > 0)
        whole &= json_object_set(root, "relay_failed", failed) == 0;
    json_decref(failed);
    char *text = whole && root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

bool reportbody_is_proven(const struct reportbody_connection *c, const struct ip *proven, size_t n)
{
    bool found = ip_classify(&c->ip) != IP_PUBLIC;
    for (size_t i = 0; i < n && !found; i++)
        found = network_equal(&proven[i], &c->ip);
    return found;
}

void reportbody_keep_proven(struct reportbody *b, const struct ip *proven, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n_connections; i++) {
        const struct reportbody_connection c = b->connections[i];
        if (reportbody_is_proven(&c, proven, n))
            b->connections[kept++] = c;
    }
    b->n_connections = kept;
}
