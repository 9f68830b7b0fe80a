/* reportbody.h - what a device says about itself: read strictly from what it sent to PUT
 * /v1/report, kept in the store as JSON of one spelling, and read again from there. All of it is
 * the device's word: no address in it has a name, or is shown as its own, before
 * reportbody_keep_proven(). Pure.
 */
#ifndef LANYARD_PROVISIOND_CORE_REPORTBODY_H
#define LANYARD_PROVISIOND_CORE_REPORTBODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/dns/iplabel.h"
#include "provisiond/core/relaypick.h"

#define REPORTBODY_MAX (16 * 1024) /* bytes of JSON */
#define REPORTBODY_NAME_MAX 260    /* bytes with the NUL: 64 characters of UTF-8 */
#define REPORTBODY_CONNECTIONS_MAX 16
#define REPORTBODY_DNS_MAX 8
#define REPORTBODY_PINS_MAX 4
#define REPORTBODY_WORD_MAX 32 /* bytes with the NUL */
#define REPORTBODY_PIN_LEN 51  /* "sha256/" and 44 characters of base64 */

enum reportbody_kind {
    REPORTBODY_GUA,    /* a public address of the device itself, either family */
    REPORTBODY_LAN,    /* a private IPv4 address */
    REPORTBODY_ULA,    /* a private IPv6 address */
    REPORTBODY_MAPPED, /* a port of the router's public address */
    REPORTBODY_PAGE,   /* plain HTTP on a private address: linked to, never fetched */
    REPORTBODY_KIND_N
};

enum reportbody_answer {
    REPORTBODY_UNKNOWN, /* null or absent */
    REPORTBODY_NO,
    REPORTBODY_YES,
    REPORTBODY_MIXED, /* not of nat_loopback */
};

struct reportbody_connection {
    enum reportbody_kind kind;
    struct ip ip;
    uint16_t port;
    uint16_t hello_port; /* where /v1/hello is; 0: at `port` */
};

/* What a resolver does to private answers. */
struct reportbody_dns {
    char server[9]; /* hash of its address, hexadecimal */
    char class_v4[REPORTBODY_WORD_MAX], class_ula[REPORTBODY_WORD_MAX],
        class_gua[REPORTBODY_WORD_MAX]; /* "" when not looked at */
    int ede;                            /* extended error; -1: none */
    char product[REPORTBODY_WORD_MAX];  /* "" when not known */
    int64_t checked_at;                 /* Unix seconds, by the device's clock */
};

struct reportbody {
    char name[REPORTBODY_NAME_MAX]; /* "" when it has none */
    bool nearby;                    /* may be shown to browsers in its network */
    bool relay;                     /* comes to clients by its relay, too */
    struct relaypick_failed relay_failed;
    size_t n_connections; /* best first */
    struct reportbody_connection connections[REPORTBODY_CONNECTIONS_MAX];
    size_t n_dns;
    struct reportbody_dns dns[REPORTBODY_DNS_MAX];
    enum reportbody_answer rebinding, nat_loopback;
    size_t n_pins; /* of the device's own certificate */
    char pins[REPORTBODY_PINS_MAX][REPORTBODY_PIN_LEN + 1];
};

/* "gua", "lan", "ula", "mapped", "page". */
const char *reportbody_kind_name(enum reportbody_kind kind);

/* Reads `text`. Unknown members are passed over, and so are connections of an unknown kind or whose
 * address is not of their kind: a newer device may know more. Errors: ERR_LIMIT when it is longer
 * than REPORTBODY_MAX, ERR_INVALID with a sentence that repeats nothing of the text. */
NODISCARD enum err reportbody_parse(struct reportbody *out, struct span text,
                                    struct err_info *info);

/* The JSON, which reportbody_parse() reads as the same; heap, NULL when out of memory. */
char *reportbody_write(const struct reportbody *b);

/* Whether the connection is to be believed: it claims no public address, or one of `proven`, those
 * that connections of the device itself came from of late. */
bool reportbody_is_proven(const struct reportbody_connection *c, const struct ip *proven, size_t n);

/* Takes away the connections that are not. */
void reportbody_keep_proven(struct reportbody *b, const struct ip *proven, size_t n);

#endif
