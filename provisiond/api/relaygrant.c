#include "provisiond/api/relaygrant.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "provisiond/core/relayticket.h"

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

bool relaygrant_find(struct relays_entry *relay, char host[RELAYGRANT_HOST_MAX],
                     const struct config *c, const struct config_zone *z, const char *id,
                     const struct relaypick_failed *failed)
{
    struct devid devid = { "" };
    char label[TAG_LABEL_MAX];
    (void)snprintf(devid.text, sizeof devid.text, "%s", id);
    if (!relays_pick(c->relays, &devid, failed, relay) ||
        !make_label(label, z, id, &relay->address))
        return false;
    int n = snprintf(host, RELAYGRANT_HOST_MAX, "%s.%s.%s", label, id, z->name);
    return n > 0 && n < RELAYGRANT_HOST_MAX;
}

json_t *relaygrant_json(const struct config *c, const struct config_zone *z, const char *id,
                        const struct relaypick_failed *failed, int64_t now_s)
{
    struct relays_entry r;
    struct devid devid = { "" };
    char host[RELAYGRANT_HOST_MAX], ticket[RELAYTICKET_TEXT_MAX], address[INET6_ADDRSTRLEN];
    int64_t expires_at = now_s + RELAYGRANT_LIFE_S;
    if (z == NULL)
        return json_null();
    if (!relaygrant_find(&r, host, c, z, id, failed)) {
        explicit_bzero(&r.keys, sizeof r.keys); /* it may have come as far as these */
        return json_null();
    }
    (void)snprintf(devid.text, sizeof devid.text, "%s", id);
    (void)inet_ntop(r.address.family == 4 ? AF_INET : AF_INET6, r.address.bytes, address,
                    sizeof address);
    enum err e = relayticket_make(ticket, &r.keys, r.name, &devid, expires_at);
    explicit_bzero(&r.keys, sizeof r.keys);
    if (e != ERR_OK)
        return NULL;
    return json_pack("{ss ss ss ss ss si ss ss sI}", "name", r.name, "id", r.id.text, "control",
                     r.control, "data", r.data, "address", address, "port", (int)r.port, "host",
                     host, "ticket", ticket, "ticket_expires_at", (json_int_t)expires_at);
}
