#include "common/net/relayframe.h"

#include <string.h>

static const uint8_t DATA_MARK[4] = { 'L', 'Y', 'D', '1' };

static uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

static uint8_t *put_u16(uint8_t *p, uint16_t v)
{
    *p++ = (uint8_t)(v >> 8);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
    return put_u16(put_u16(p, (uint16_t)(v >> 16)), (uint16_t)v);
}

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

enum err relayframe_take(struct relayframe *out, struct span *in)
{
    if (in->len < RELAYFRAME_HEAD_LEN)
        return ERR_AGAIN;
    size_t len = get_u16(in->p + 1);
    if (len > RELAYFRAME_BODY_MAX)
        return ERR_LIMIT;
    if (in->len - RELAYFRAME_HEAD_LEN < len)
        return ERR_AGAIN;
    *out = (struct relayframe){ in->p[0], { in->p + RELAYFRAME_HEAD_LEN, len } };
    in->p += RELAYFRAME_HEAD_LEN + len;
    in->len -= RELAYFRAME_HEAD_LEN + len;
    return ERR_OK;
}

size_t relayframe_write(uint8_t out[RELAYFRAME_MAX], enum relayframe_kind kind, const void *body,
                        size_t body_len)
{
    out[0] = (uint8_t)kind;
    return (size_t)(put(put_u16(out + 1, (uint16_t)body_len), body, body_len) - out);
}

size_t relayframe_write_welcome(uint8_t out[RELAYFRAME_MAX], uint16_t keepalive_s)
{
    uint8_t body[2];
    (void)put_u16(body, keepalive_s);
    return relayframe_write(out, RELAYFRAME_WELCOME, body, sizeof body);
}

size_t relayframe_write_goodbye(uint8_t out[RELAYFRAME_MAX], enum relayframe_reason reason)
{
    uint8_t body = (uint8_t)reason;
    return relayframe_write(out, RELAYFRAME_GOODBYE, &body, sizeof body);
}

size_t relayframe_write_decline(uint8_t out[RELAYFRAME_MAX], uint32_t slot)
{
    uint8_t body[4];
    (void)put_u32(body, slot);
    return relayframe_write(out, RELAYFRAME_DECLINE, body, sizeof body);
}

static uint8_t *put_addr(uint8_t *p, const struct addr *a)
{
    struct span ip = addr_ip((const struct sockaddr *)&a->ss);
    uint16_t port; /* in network order, at one place in both families */
    memcpy(&port, (const uint8_t *)&a->ss + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return put(put(p, ip.p, ip.len), &port, sizeof port);
}

static void get_addr(struct addr *out, uint8_t family, const uint8_t *p)
{
    *out = (struct addr){ .len = 0 };
    if (family == 4) {
        struct sockaddr_in sin = { .sin_family = AF_INET };
        memcpy(&sin.sin_addr, p, 4);
        memcpy(&sin.sin_port, p + 4, 2);
        memcpy(&out->ss, &sin, out->len = sizeof sin);
    } else {
        struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
        memcpy(&sin6.sin6_addr, p, 16);
        memcpy(&sin6.sin6_port, p + 16, 2);
        memcpy(&out->ss, &sin6, out->len = sizeof sin6);
    }
}

size_t relayframe_write_dial(uint8_t out[RELAYFRAME_MAX], const struct relayframe_dial *dial)
{
    uint8_t body[4 + RELAYFRAME_SECRET_LEN + 1 + 2 * 18];
    uint8_t *p = put_u32(body, dial->key.slot);
    p = put(p, dial->key.secret, RELAYFRAME_SECRET_LEN);
    *p++ = dial->client.ss.ss_family == AF_INET ? 4 : 6;
    p = put_addr(put_addr(p, &dial->client), &dial->relay);
    return relayframe_write(out, RELAYFRAME_DIAL, body, (size_t)(p - body));
}

enum err relayframe_read_welcome(uint16_t *keepalive_s, struct span body)
{
    if (body.len < 2)
        return ERR_INVALID;
    *keepalive_s = get_u16(body.p);
    return ERR_OK;
}

enum err relayframe_read_goodbye(uint8_t *reason, struct span body)
{
    if (body.len < 1)
        return ERR_INVALID;
    *reason = body.p[0];
    return ERR_OK;
}

enum err relayframe_read_decline(uint32_t *slot, struct span body)
{
    if (body.len < 4)
        return ERR_INVALID;
    *slot = get_u32(body.p);
    return ERR_OK;
}

enum err relayframe_read_dial(struct relayframe_dial *out, struct span body)
{
    size_t head = 4 + RELAYFRAME_SECRET_LEN + 1;
    if (body.len < head)
        return ERR_INVALID;
    uint8_t family = body.p[head - 1];
    size_t len = family == 4 ? 6 : 18; /* address and port */
    if ((family != 4 && family != 6) || body.len < head + 2 * len)
        return ERR_INVALID;
    out->key.slot = get_u32(body.p);
    memcpy(out->key.secret, body.p + 4, RELAYFRAME_SECRET_LEN);
    get_addr(&out->client, family, body.p + head);
    get_addr(&out->relay, family, body.p + head + len);
    return ERR_OK;
}

void relayframe_write_data(uint8_t out[RELAYFRAME_DATA_LEN], const struct relayframe_key *key)
{
    (void)put(put_u32(put(out, DATA_MARK, sizeof DATA_MARK), key->slot), key->secret,
              RELAYFRAME_SECRET_LEN);
}

enum err relayframe_read_data(struct relayframe_key *out, const uint8_t in[RELAYFRAME_DATA_LEN])
{
    if (memcmp(in, DATA_MARK, sizeof DATA_MARK) != 0)
        return ERR_INVALID;
    out->slot = get_u32(in + 4);
    memcpy(out->secret, in + 8, RELAYFRAME_SECRET_LEN);
    return ERR_OK;
}

const char *relayframe_reason_text(uint8_t reason)
{
    switch (reason) {
    case RELAYFRAME_TICKET_BAD:
        return "the ticket is not for this relay";
    case RELAYFRAME_TICKET_OLD:
        return "the ticket has expired";
    case RELAYFRAME_FULL:
        return "it has no room";
    case RELAYFRAME_STOPPING:
        return "it is stopping";
    case RELAYFRAME_REPLACED:
        return "this device connected again";
    case RELAYFRAME_PROTOCOL:
        return "what we sent made no sense";
    default:
        return "no known reason";
    }
}
