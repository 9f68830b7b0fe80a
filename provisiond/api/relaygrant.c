#include "provisiond/api/relaygrant.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "provisiond/core/relayticket.h"

static const struct config_relay *pick(const struct config *c, const struct devid *id,
                                       const struct relaypick_failed *failed)
{
    const char *names[CONFIG_LIST_MAX];
    for (size_t i = 0; i < c->n_relays; i++)
        names[i] = c->relays[i].name;
    return c->n_relays > 0 ? &c->relays[relaypick(names, c->n_relays, id, failed)] : NULL;
}

/* As dnsd answers it: a public address has a tag, a private one (of a closed network) has none. */
static bool make_label(char out[TAG_LABEL_MAX], const struct config_zone *z, const char *id,
                       const struct ip *ip)
{
    if (ip_classify(ip) == IP_PUBLIC) {
        if (z->tag_keys != NULL)
            tagkeys_label(z->tag_keys, out, span_str(id), ip);
        return z->tag_keys != NULL;
    }
    iplabel_encode(ip, out);
    return true;
}

bool relaygrant_find(const struct config_relay **relay, char host[RELAYGRANT_HOST_MAX],
                     const struct config *c, const struct config_zone *z, const char *id,
                     const struct relaypick_failed *failed)
{
    struct devid devid = { "" };
    char label[TAG_LABEL_MAX];
    (void)snprintf(devid.text, sizeof devid.text, "%s", id);
    const struct config_relay *r = pick(c, &devid, failed);
    if (r == NULL || !make_label(label, z, id, &r->address))
        return false;
    int n = snprintf(host, RELAYGRANT_HOST_MAX, "%s.%s.%s", label, id, z->name);
    *relay = r;
    return n > 0 && n < RELAYGRANT_HOST_MAX;
}

json_t *relaygrant_json(const struct config *c, const struct config_zone *z, const char *id,
                        const struct relaypick_failed *failed, int64_t now_s)
{
    const struct config_relay *r;
    struct devid devid = { "" };
    char host[RELAYGRANT_HOST_MAX], ticket[RELAYTICKET_TEXT_MAX], address[INET6_ADDRSTRLEN];
    int64_t expires_at = now_s + RELAYGRANT_LIFE_S;
    if (z == NULL || !relaygrant_find(&r, host, c, z, id, failed))
        return json_null();
    (void)snprintf(devid.text, sizeof devid.text, "%s", id);
    (void)inet_ntop(r->address.family == 4 ? AF_INET : AF_INET6, r->address.bytes, address,
                    sizeof address);
    if (relayticket_make(ticket, &r->keys, r->name, &devid, expires_at) != ERR_OK)
        return NULL;
    return json_pack("{ss ss ss ss ss si ss ss sI}", "name", r->name, "id", r->id.text, "control",
                     r->control, "data", r->data, "address", address, "port", (int)r->port, "host",
                     host, "ticket", ticket, "ticket_expires_at", (json_int_t)expires_at);
}
