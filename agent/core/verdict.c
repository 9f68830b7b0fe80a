#include "agent/core/verdict.h"

#include <stdio.h>
#include <string.h>

static const char CONTROL_TEXT[] = "lanyard"; /* TXT of every address name */
static const char CONTROL_NAME[] = "hub";     /* of the zone file, with a public address */

#define JUDGED_S (INT64_C(6) * 3600)
#define UNJUDGED_S 300

static const struct {
    const char *name, *text;
    bool filter;
} CLASSES[VERDICT_CLASS_N] = {
    [VERDICT_NONE] = { NULL, "was not asked", false },
    [VERDICT_OK] = { "OK", "lets private addresses pass", false },
    [VERDICT_EMPTY_EDE15] = { "FILTER_EMPTY_EDE15",
                              "keeps private addresses back (an empty answer, \"blocked\")", true },
    [VERDICT_EMPTY] = { "FILTER_EMPTY", "keeps private addresses back (an empty answer)", true },
    [VERDICT_NODATA] = { "NODATA_FROM_ZONE", "was told by the zone that there is no such address",
                         false },
    [VERDICT_NXDOMAIN] = { "FILTER_NXDOMAIN",
                           "keeps private addresses back (it denies that the name exists)", true },
    [VERDICT_MISSING] = { "NXFILTER_OR_MISSING",
                          "says that the name does not exist, which may be its filter or the zone",
                          false },
    [VERDICT_REFUSED] = { "FILTER_REFUSED", "keeps private addresses back (it refuses)", true },
    [VERDICT_BOGUS] = { "FILTER_BOGUS",
                        "keeps private addresses back, and finds its own answer forged", true },
    [VERDICT_SERVFAIL] = { "FILTER_SERVFAIL", "keeps private addresses back (an error)", true },
    [VERDICT_ZERO] = { "FILTER_ZERO", "keeps private addresses back (it answers with zeros)",
                       true },
    [VERDICT_REWRITE] = { "FILTER_REWRITE", "answers with an address that is not ours", true },
    [VERDICT_DROP] = { "FILTER_DROP", "keeps private addresses back (no answer to them)", true },
    [VERDICT_BLOCKED] = { "ZONE_BLOCKED", "blocks the whole zone", false },
    [VERDICT_OFFLINE] = { "OFFLINE", "cannot reach the zone: is the Internet away?", false },
    [VERDICT_DOWN] = { "RESOLVER_DOWN", "does not answer", false },
};

const char *verdict_class_name(enum verdict_class c)
{
    return CLASSES[c].name;
}

const char *verdict_class_text(enum verdict_class c)
{
    return CLASSES[c].text;
}

bool verdict_is_filter(enum verdict_class c)
{
    return CLASSES[c].filter;
}

/* ---- the questions --------------------------------------------------------------------------- */

static const struct ip SAMPLE_10 = { 4, { 10, 0, 0, 1 } };
static const struct ip SAMPLE_172 = { 4, { 172, 16, 0, 1 } };
static const struct ip SAMPLE_192 = { 4, { 192, 168, 1, 1 } };
static const struct ip SAMPLE_CGNAT = { 4, { 100, 64, 0, 1 } };
static const struct ip LOOPBACK = { 4, { 127, 0, 0, 1 } };

/* The address that the question is about; family 0 for none. */
static struct ip wanted(enum verdict_ask ask, const struct verdict_subject *s)
{
    switch (ask) {
    case ASK_OWN:
    case ASK_OWN_TXT:
    case ASK_OWN_RAW:
        return s->own;
    case ASK_ULA:
        return s->ula;
    case ASK_GUA:
        return s->gua;
    case ASK_10:
        return SAMPLE_10;
    case ASK_172:
        return SAMPLE_172;
    case ASK_192:
        return SAMPLE_192;
    case ASK_CGNAT:
        return SAMPLE_CGNAT;
    case ASK_LOOPBACK:
        return LOOPBACK;
    default:
        return (struct ip){ 0 };
    }
}

/* The range of a private IPv4 address, as an index of `ranges`; VERDICT_RANGES_N for another. */
static size_t range_of(const struct ip *ip)
{
    if (ip->bytes[0] == 10)
        return 0;
    if (ip->bytes[0] == 172)
        return 1;
    return ip->bytes[0] == 192 ? 2 : VERDICT_RANGES_N;
}

static bool is_range(enum verdict_ask ask)
{
    return ask == ASK_10 || ask == ASK_172 || ask == ASK_192;
}

/* "5.1.168.192.in-addr.arpa" [RFC 1035 s3.5, RFC 3596 s2.5]; of private addresses only: nobody else
 * is told who asks. */
static enum err reverse_name(struct name *out, const struct ip *ip)
{
    char text[128];
    size_t n = 0;
    enum ip_class class = ip->family == 0 ? IP_FORBIDDEN : ip_classify(ip);
    if (class == IP_PUBLIC || class == IP_FORBIDDEN)
        return ERR_NOTFOUND;
    const uint8_t *b = ip->bytes;
    if (ip->family == 4) {
        (void)snprintf(text, sizeof text, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
        return name_parse(out, text);
    }
    for (unsigned i = 16; i-- > 0;)
        n += (size_t)snprintf(text + n, sizeof text - n, "%x.%x.", b[i] & 15u, b[i] >> 4);
    (void)snprintf(text + n, sizeof text - n, "ip6.arpa");
    return name_parse(out, text);
}

static enum err in_zone(struct name *out, const char *labels, const struct verdict_subject *s)
{
    char zone[NAME_TEXT_MAX], text[NAME_TEXT_MAX + 128];
    name_format(&s->zone, zone);
    (void)snprintf(text, sizeof text, "%s%s", labels, zone);
    return name_parse(out, text);
}

static enum err address_name(struct name *out, enum verdict_ask ask,
                             const struct verdict_subject *s)
{
    char label[64], labels[128];
    struct ip ip = wanted(ask, s);
    if (ip.family == 0)
        return ERR_NOTFOUND;
    if (ask == ASK_GUA)
        (void)snprintf(label, sizeof label, "%s", s->gua_label);
    else
        iplabel_encode(&ip, label);
    (void)snprintf(labels, sizeof labels, "%s.%s.", label, s->id);
    return in_zone(out, labels, s);
}

enum err verdict_question(struct lookup *out, enum verdict_ask ask, const struct verdict_subject *s,
                          const struct verdict_answers *a)
{
    static const uint16_t TYPES[VERDICT_ASK_N] = {
        [ASK_ZONE] = RR_NS,  [ASK_OWN_TXT] = RR_TXT, [ASK_ULA] = RR_AAAA,
        [ASK_GUA] = RR_AAAA, [ASK_VERSION] = RR_TXT, [ASK_REVERSE] = RR_PTR
    };
    const struct verdict_seen *own = &a->seen[ASK_OWN];
    struct ip ip = wanted(ask, s);
    if (a->source == SOURCE_REFERENCE && ask > ASK_OWN)
        return ERR_NOTFOUND; /* it is no resolver */
    *out = (struct lookup){ .type = TYPES[ask] != 0 ? TYPES[ask] : RR_A, .class = RR_CLASS_IN };
    switch (ask) {
    case ASK_ZONE:
        out->name = s->zone;
        return ERR_OK;
    case ASK_CONTROL: {
        char labels[sizeof CONTROL_NAME + 1];
        (void)snprintf(labels, sizeof labels, "%s.", CONTROL_NAME);
        return in_zone(&out->name, labels, s);
    }
    case ASK_VERSION:
        out->class = RR_CLASS_CH;
        return name_parse(&out->name, "version.bind");
    case ASK_REVERSE:
        return reverse_name(&out->name, &a->ip);
    case ASK_OWN_RAW:
        out->unchecked = true;
        if (!own->answered || own->reply.rcode != DNS_SERVFAIL)
            return ERR_NOTFOUND;
        break;
    case ASK_GUA:
        if (s->gua_label[0] == 0)
            return ERR_NOTFOUND;
        break;
    default:
        if (is_range(ask) && range_of(&ip) == range_of(&s->own))
            return ERR_NOTFOUND; /* ASK_OWN is about this range */
        break;
    }
    return address_name(&out->name, ask, s);
}

/* ---- one answer ------------------------------------------------------------------------------ */

enum fact {
    FACT_ANSWERED = 1 << 0,
    FACT_WANTED = 1 << 1, /* our address is among those that came */
    FACT_ZERO = 1 << 2,
    FACT_ADDRESS = 1 << 3,
    FACT_NOERROR = 1 << 4,
    FACT_NXDOMAIN = 1 << 5,
    FACT_REFUSED = 1 << 6,
    FACT_SERVFAIL = 1 << 7,
    FACT_SOA = 1 << 8,
    FACT_EDE15 = 1 << 9,
    FACT_EXISTS = 1 << 10, /* the name does: by its TXT record, or by the reference */
    FACT_RAW_EMPTY = 1 << 11,
};

/* The first row whose facts all hold. */
static const struct {
    unsigned facts;
    enum verdict_class class;
} RULES[] = {
    { FACT_WANTED, VERDICT_OK },
    { FACT_ZERO, VERDICT_ZERO },
    { FACT_ADDRESS, VERDICT_REWRITE },
    { FACT_NOERROR | FACT_SOA, VERDICT_NODATA },
    { FACT_NOERROR | FACT_EDE15, VERDICT_EMPTY_EDE15 },
    { FACT_NOERROR, VERDICT_EMPTY },
    { FACT_NXDOMAIN | FACT_EXISTS, VERDICT_NXDOMAIN },
    { FACT_NXDOMAIN, VERDICT_MISSING },
    { FACT_REFUSED, VERDICT_REFUSED },
    { FACT_SERVFAIL | FACT_RAW_EMPTY, VERDICT_BOGUS },
    { FACT_ANSWERED, VERDICT_SERVFAIL },
    { 0, VERDICT_DROP },
};

#define EDE_BLOCKED 15

static bool same_ip(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

static bool is_zero(const struct ip *ip)
{
    static const uint8_t ZERO[16] = { 0 };
    return memcmp(ip->bytes, ZERO, ip->family == 4 ? 4 : 16) == 0;
}

static bool has_ip(const struct lookup_reply *r, const struct ip *ip)
{
    for (size_t i = 0; i < r->n_ips; i++) {
        if (same_ip(&r->ips[i], ip))
            return true;
    }
    return false;
}

static unsigned facts_of(const struct verdict_seen *seen, const struct ip *want)
{
    const struct lookup_reply *r = &seen->reply;
    if (!seen->answered)
        return 0;
    unsigned facts = FACT_ANSWERED;
    facts |= has_ip(r, want) ? FACT_WANTED : 0;
    facts |= r->n_ips > 0 ? FACT_ADDRESS : 0;
    facts |= r->n_ips > 0 && is_zero(&r->ips[0]) ? FACT_ZERO : 0;
    facts |= r->rcode == DNS_NOERROR ? FACT_NOERROR : 0;
    facts |= r->rcode == DNS_NXDOMAIN ? FACT_NXDOMAIN : 0;
    facts |= r->rcode == DNS_REFUSED ? FACT_REFUSED : 0;
    facts |= r->rcode == DNS_SERVFAIL ? FACT_SERVFAIL : 0;
    facts |= r->zone_soa ? FACT_SOA : 0;
    facts |= r->ede == EDE_BLOCKED ? FACT_EDE15 : 0;
    return facts;
}

static enum verdict_class classify(unsigned facts)
{
    size_t i = 0;
    while ((facts & RULES[i].facts) != RULES[i].facts)
        i++;
    return RULES[i].class;
}

/* ---- one resolver ---------------------------------------------------------------------------- */

/* What a resolver knows of the zone, apart from private addresses. */
enum control { CONTROL_GOOD, CONTROL_DENIED, CONTROL_FAILED };

static bool control_is_known(const struct verdict_answers *ref)
{
    return ref != NULL && ref->seen[ASK_CONTROL].answered && ref->seen[ASK_CONTROL].reply.n_ips > 0;
}

/* A control address of the zone's own is compared with the truth where that is known; otherwise any
 * public one is taken for it. */
static enum control control_of(const struct verdict_answers *a, const struct verdict_answers *ref)
{
    const struct verdict_seen *control = &a->seen[ASK_CONTROL], *zone = &a->seen[ASK_ZONE];
    const struct lookup_reply *r = &control->reply;
    if (control->answered && r->n_ips > 0) {
        if (is_zero(&r->ips[0]))
            return CONTROL_DENIED;
        if (control_is_known(ref))
            return has_ip(&ref->seen[ASK_CONTROL].reply, &r->ips[0]) ? CONTROL_GOOD
                                                                     : CONTROL_DENIED;
        if (ip_classify(&r->ips[0]) == IP_PUBLIC)
            return CONTROL_GOOD;
    } else if (control->answered && control_is_known(ref) &&
               ip_classify(&ref->seen[ASK_CONTROL].reply.ips[0]) == IP_PUBLIC &&
               (r->rcode == DNS_NOERROR || r->rcode == DNS_NXDOMAIN)) {
        return CONTROL_DENIED;
    }
    if (!zone->answered)
        return CONTROL_FAILED;
    if (zone->reply.rcode == DNS_NOERROR && zone->reply.text[0] != 0)
        return CONTROL_GOOD;
    return zone->reply.rcode == DNS_NOERROR || zone->reply.rcode == DNS_NXDOMAIN ? CONTROL_DENIED
                                                                                 : CONTROL_FAILED;
}

static bool answers_at_all(const struct verdict_answers *a)
{
    for (size_t i = 0; i < VERDICT_ASK_N; i++) {
        if (a->seen[i].answered)
            return true;
    }
    return false;
}

static bool txt_is_there(const struct verdict_answers *a)
{
    const struct verdict_seen *txt = &a->seen[ASK_OWN_TXT];
    return txt->answered && strcmp(txt->reply.text, CONTROL_TEXT) == 0;
}

/* `beyond` is the class of what is not answered when the control is not good either. */
static enum verdict_class class_of(const struct verdict_answers *a,
                                   const struct verdict_answers *ref, enum verdict_ask ask,
                                   const struct ip *want, enum verdict_class beyond)
{
    const struct verdict_seen *seen = &a->seen[ask], *raw = &a->seen[ASK_OWN_RAW];
    if (!seen->asked) /* of who is not there only the first few things are asked */
        return beyond == VERDICT_DOWN && ask != ASK_GUA ? beyond : VERDICT_NONE;
    unsigned facts = facts_of(seen, want);
    if ((facts & FACT_WANTED) == 0 && beyond != VERDICT_NONE)
        return beyond;
    if (txt_is_there(a) || (ref != NULL && has_ip(&ref->seen[ASK_OWN].reply, want)))
        facts |= FACT_EXISTS;
    /* every name of this device exists if one does */
    if (ref != NULL && ref->seen[ASK_OWN].answered && ref->seen[ASK_OWN].reply.n_ips > 0)
        facts |= FACT_EXISTS;
    if (raw->answered && raw->reply.rcode == DNS_NOERROR && raw->reply.n_ips == 0)
        facts |= FACT_RAW_EMPTY;
    return classify(facts);
}

static enum cure_known loopback_of(const struct verdict_answers *a)
{
    const struct verdict_seen *seen = &a->seen[ASK_LOOPBACK];
    unsigned facts = facts_of(seen, &LOOPBACK);
    if ((facts & FACT_WANTED) != 0)
        return CURE_YES;
    /* most zones do not answer loopback themselves */
    return !seen->answered || (facts & (FACT_NXDOMAIN | FACT_SOA)) != 0 ? CURE_UNKNOWN : CURE_NO;
}

static void find_cures(struct verdict_resolver *out, const struct verdict_answers *a)
{
    const struct verdict_seen *cgnat = &a->seen[ASK_CGNAT], *txt = &a->seen[ASK_OWN_TXT];
    enum verdict_class class = out->v4 == VERDICT_OK ? out->ula : out->v4;
    struct cure_evidence seen = { .hints = out->hints };
    if (class == VERDICT_NONE)
        return;
    seen.class_name = verdict_class_name(class);
    seen.loopback = loopback_of(a);
    if (cgnat->answered)
        seen.cgnat = has_ip(&cgnat->reply, &SAMPLE_CGNAT) ? CURE_NO : CURE_YES;
    if (txt->answered)
        seen.whole_name = txt->reply.rcode == DNS_NXDOMAIN ? CURE_YES : CURE_NO;
    out->n_cures = cure_guess(out->cures, &seen);
}

static void judge_one(struct verdict_resolver *out, const struct verdict_subject *s,
                      const struct verdict_answers *a, const struct verdict_answers *ref,
                      enum verdict_class beyond)
{
    static const enum verdict_ask RANGES[VERDICT_RANGES_N] = { ASK_10, ASK_172, ASK_192 };
    size_t own_range = range_of(&s->own);
    memcpy(out->address, a->address, sizeof out->address);
    out->source = a->source;
    out->v4 = class_of(a, ref, ASK_OWN, &s->own, beyond);
    out->ula = class_of(a, ref, ASK_ULA, &s->ula, beyond);
    out->gua = class_of(a, ref, ASK_GUA, &s->gua, beyond);
    for (size_t i = 0; i < VERDICT_RANGES_N; i++) {
        struct ip want = wanted(RANGES[i], s);
        out->ranges[i] = i == own_range ? out->v4 : class_of(a, ref, RANGES[i], &want, beyond);
    }
    out->ede = a->seen[ASK_OWN].answered ? a->seen[ASK_OWN].reply.ede : -1;
    const char *version = a->seen[ASK_VERSION].answered ? a->seen[ASK_VERSION].reply.text : "";
    const char *reverse = a->seen[ASK_REVERSE].answered ? a->seen[ASK_REVERSE].reply.text : "";
    (void)snprintf(out->hints, sizeof out->hints, "%.90s%s%.90s", version,
                   version[0] != 0 && reverse[0] != 0 ? ", " : "", reverse);
    find_cures(out, a);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void sum_up(struct verdict_report *out)
{
    bool yes = false, no = false;
    for (size_t i = 0; i < out->n; i++) {
        yes |= verdict_is_filter(out->list[i].v4);
        no |= out->list[i].v4 == VERDICT_OK;
    }
    out->rebinding = yes && no ? REBINDING_MIXED
                     : yes     ? REBINDING_YES
                     : no      ? REBINDING_NO
                               : REBINDING_UNKNOWN;
}

int64_t verdict_lasts_s(const struct verdict_report *r)
{
    bool judged = r != NULL && (r->n == 0 || r->rebinding != REBINDING_UNKNOWN);
    return judged ? JUDGED_S : UNJUDGED_S;
}

void verdict_judge(struct verdict_report *out, const struct verdict_subject *s,
                   const struct verdict_answers *list, size_t n)
{
    static const struct verdict_answers NOBODY;
    struct lookup own;
    char text[NAME_TEXT_MAX];
    const struct verdict_answers *ref = NULL;
    bool zone_is_there = false;
    *out = (struct verdict_report){ 0 };
    for (size_t i = 0; i < n; i++) {
        if (list[i].source == SOURCE_REFERENCE && answers_at_all(&list[i]))
            ref = &list[i];
    }
    for (size_t i = 0; i < n; i++)
        zone_is_there |= control_of(&list[i], ref) == CONTROL_GOOD;
    for (size_t i = 0; i < n && out->n < VERDICT_RESOLVERS_MAX; i++) {
        enum control control = control_of(&list[i], ref);
        bool down = !answers_at_all(&list[i]);
        bool ours = list[i].source != SOURCE_GATEWAY && list[i].source != SOURCE_NETWORK;
        if (list[i].source == SOURCE_REFERENCE || (down && !ours))
            continue;
        judge_one(&out->list[out->n++], s, &list[i], ref,
                  down                                          ? VERDICT_DOWN
                  : control == CONTROL_GOOD                     ? VERDICT_NONE
                  : control == CONTROL_FAILED && !zone_is_there ? VERDICT_OFFLINE
                                                                : VERDICT_BLOCKED);
    }
    sum_up(out);
    name_format(&s->zone, text);
    (void)snprintf(out->zone, sizeof out->zone, "%.255s", text);
    if (verdict_question(&own, ASK_OWN, s, &NOBODY) == ERR_OK) {
        name_format(&own.name, text);
        (void)snprintf(out->name, sizeof out->name, "%.255s", text);
    }
}
