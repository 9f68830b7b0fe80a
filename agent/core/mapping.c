#include "agent/core/mapping.h"

#include <arpa/inet.h>
#include <string.h>

#include <jansson.h>

#include "common/base/attr.h"

#define RENEW_MIN_S 30
#define RENEW_MAX_S 900
#define LIFETIME_MAX_S 604800 /* a router that says more is not believed */
#define DYNAMIC_FIRST 49152   /* [RFC 6335 s6] */
#define DYNAMIC_N 16384
#define ERROR_MAX 400

static const char *const PROTOCOLS[MAPPING_PROTOCOL_N] = { "natpmp", "upnp" };

const char *mapping_protocol_name(enum mapping_protocol p)
{
    return PROTOCOLS[p];
}

static enum err read_mapping(struct mapping *out, const json_t *root, struct err_info *info)
{
    const char *protocol = json_string_value(json_object_get(root, "protocol"));
    const char *address = json_string_value(json_object_get(root, "address"));
    json_int_t port = json_integer_value(json_object_get(root, "port"));
    const json_t *lifetime = json_object_get(root, "lifetime_s");
    json_int_t lifetime_s = json_integer_value(lifetime);
    struct mapping m = { .protocol = MAPPING_PROTOCOL_N, .address.family = 4 };
    for (size_t i = 0; protocol != NULL && i < ARRAY_LEN(PROTOCOLS); i++) {
        if (strcmp(protocol, PROTOCOLS[i]) == 0)
            m.protocol = (enum mapping_protocol)i;
    }
    if (m.protocol == MAPPING_PROTOCOL_N || address == NULL ||
        inet_pton(AF_INET, address, m.address.bytes) != 1 || port < 1 || port > UINT16_MAX ||
        !json_is_integer(lifetime) || lifetime_s < 0)
        return err_set(info, ERR_INVALID, "what was printed is no mapping");
    m.port = (uint16_t)port;
    m.lifetime_s = lifetime_s < LIFETIME_MAX_S ? lifetime_s : LIFETIME_MAX_S;
    *out = m;
    return ERR_OK;
}

/* The sentence may have words of the router's: it goes to a terminal. */
static void clean(char *text)
{
    for (char *p = text; *p != 0; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
}

enum err mapping_parse(struct mapping *out, struct span text, struct err_info *info)
{
    json_t *root = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, NULL);
    const char *error = json_string_value(json_object_get(root, "error"));
    enum err e;
    if (error != NULL) {
        e = err_set(info, ERR_REMOTE, "%.*s", ERROR_MAX, error);
        if (info != NULL)
            clean(info->text);
    } else {
        e = read_mapping(out, root, info);
    }
    json_decref(root);
    return e;
}

static bool is_zero(const struct ip *ip)
{
    static const uint8_t ZERO[4] = { 0 };
    return memcmp(ip->bytes, ZERO, sizeof ZERO) == 0;
}

enum mapping_use mapping_judge(const struct mapping *m, const struct ip *observed)
{
    if (is_zero(&m->address))
        return MAPPING_NO_ADDRESS;
    if (ip_classify(&m->address) != IP_PUBLIC)
        return MAPPING_INNER;
    /* a service in the same network sees a private address of ours, which says nothing */
    if (observed != NULL && observed->family == 4 && ip_classify(observed) == IP_PUBLIC &&
        memcmp(observed->bytes, m->address.bytes, 4) != 0)
        return MAPPING_ELSEWHERE;
    return MAPPING_OPEN;
}

int64_t mapping_renew_in_s(const struct mapping *m)
{
    int64_t half_s = m->lifetime_s / 2;
    if (m->lifetime_s == 0 || half_s > RENEW_MAX_S)
        return RENEW_MAX_S;
    return half_s > RENEW_MIN_S ? half_s : RENEW_MIN_S;
}

bool mapping_is_news(struct span datagram)
{
    const uint8_t *p = datagram.p;
    if (datagram.len == 12)
        return p[0] == 0 && p[1] == 128 && p[2] == 0 && p[3] == 0;
    return datagram.len >= 24 && p[0] == 2 && p[1] == 128 && p[3] == 0;
}

uint16_t mapping_port_of(const char *id)
{
    uint32_t hash = 2166136261; /* FNV-1a: spreads, and hides nothing */
    for (const char *p = id; *p != 0; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619;
    return (uint16_t)(DYNAMIC_FIRST + (hash >> 16) % DYNAMIC_N);
}
