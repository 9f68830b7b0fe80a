#include "dnsd/core/query.h"

#include <string.h>

#include "common/dns/wire.h"
#include "dnsd/core/persist.h"
#include "dnsd/core/rrsig.h"

#define CNAMES_MAX 8        /* followed in one reply */
#define NEGATIVE_TTL_S 3600 /* of a name that exists without the type that is asked for */
#define NXDOMAIN_TTL_S 60
#define CHALLENGE_TTL_S 1
#define AMPLIFY_MAX 10        /* bytes over UDP for each byte of a question that may be forged */
#define POINTER_LIMIT 0x4000u /* offsets below it fit a compression pointer */
#define CHALLENGE_CNAME_TTL_S 300 /* where an edge sends those who ask for challenges */

struct reply {
    struct wire_writer w;               /* its cap leaves room for the OPT record */
    size_t head_len;                    /* header and question: what is left of a truncated reply */
    const struct edns_options *options; /* of the OPT record; NULL: there is none */
    enum edns_ede ede;
    bool dnssec_ok;  /* DO was set */
    bool compact_ok; /* CO was set */
    bool stream;
    bool unsignable;            /* a signature could not be made: SERVFAIL */
    const struct zone *secure;  /* signatures or denials of this zone are wanted; NULL for none */
    const struct peer *suspect; /* whom the limiter still has to judge; NULL for nobody */
    struct query_ctx *ctx;      /* with `secure` */
    struct signer *signer;
    const struct presigned *ahead;
    int64_t now_s;
    unsigned type;  /* asked for */
    unsigned flags; /* AA, TC and RCODE */
    enum dns_rcode rcode;
    enum rrl_kind kind; /* RRL_STATIC unless something else is known */
    uint16_t n_answer, n_authority, n_additional;
};

/* A name within the reply: the question's, or the target of a CNAME before. */
struct place {
    const struct name *name;
    size_t offset; /* where it stands in the reply, uncompressed */
};

/* A pointer to the last `n_labels` labels of the name at `at`. */
static unsigned pointer_to(const struct place *at, unsigned n_labels)
{
    return (unsigned)(DNS_POINTER | (at->offset + at->name->at[at->name->n_labels - n_labels]));
}

/* The head of one record; its data of `len` bytes follows. */
static inline uint8_t *put_record(struct reply *r, unsigned owner, unsigned type, uint32_t ttl_s,
                                  size_t len)
{
    uint8_t *p = wire_room(&r->w, ZONE_RR_HEAD + len);
    if (p == NULL)
        return NULL;
    wire_store16(p, owner);
    wire_store16(p + 2, type);
    wire_store16(p + 4, RR_CLASS_IN);
    wire_store32(p + 6, ttl_s);
    wire_store16(p + 10, (unsigned)len);
    return p + ZONE_RR_HEAD;
}

/* Copies the ready-made records of `set`. */
static void put_rrset(struct reply *r, unsigned owner, const struct rrset *set)
{
    uint8_t *p = wire_room(&r->w, set->len);
    if (p == NULL)
        return;
    memcpy(p, set->rrs, set->len);
    if (owner == (DNS_POINTER | DNS_HEADER_LEN))
        return;
    for (size_t at = 0; at < set->len; at += ZONE_RR_HEAD + wire_load16(p + at + 10))
        wire_store16(p + at, owner);
}

/* Whether the client gets this answer, of whom we do not know that it asked: once a reply. */
static inline void judge(struct query_ctx *ctx, struct reply *r)
{
    const struct rrl_policy *p = &ctx->view->shield.rrl;
    struct span ip = r->suspect->ip;
    r->suspect = NULL;
    if (p->per_second == 0 || ip.len == 0)
        return;
    enum rrl_kind kind = r->kind;
    if (r->rcode != DNS_NOERROR && r->rcode != DNS_NXDOMAIN)
        kind = r->rcode == DNS_REFUSED ? RRL_REFUSED : RRL_ERROR;
    enum rrl_verdict v = rrl_count(ctx->rrl, p, ip, kind, ctx->now_s);
    if (v != RRL_ANSWER)
        ctx->deferred = false;
    /* nobody waits for an error */
    ctx->verdict = v == RRL_SLIP && kind == RRL_ERROR ? RRL_DROP : v;
}

/* What signs records of the last `n_labels` labels of the name at `at`, which is read again into
 * `owner` when it is not all of it. The kind of the answer is known by now: before the first
 * signature it is judged, so that nobody's flood spends the budget of others. */
static APART struct rrsig signature_of(struct reply *r, const struct place *at, unsigned n_labels,
                                       uint32_t ttl_s, struct name *owner)
{
    if (r->suspect != NULL) {
        judge(r->ctx, r);
        if (r->ctx->verdict != RRL_ANSWER)
            r->w.overflow = true; /* nothing more is written, or signed */
    }
    struct rrsig s = { .zone = r->secure,
                       .signer = r->signer,
                       .ahead = r->ahead,
                       .now_s = r->now_s,
                       .w = &r->w,
                       .owner = at->name,
                       .pointer = pointer_to(at, n_labels),
                       .ttl_s = ttl_s };
    if (n_labels < at->name->n_labels &&
        name_read(owner, name_suffix(at->name, n_labels)) == ERR_OK) /* it is: a part of a name */
        s.owner = owner;
    return s;
}

/* What becomes of a reply with a signature too many: over UDP the client asks again by TCP, where
 * signatures have a budget of their own. */
static APART void note_signed(struct reply *r, enum err e)
{
    if (e == ERR_LIMIT && !r->stream)
        r->w.overflow = true;
    else if (e != ERR_OK)
        r->unsignable = true;
}

/* Signs the records of `type` that were written from `from` on, whose owner is the name at `at`. */
static inline void sign_answer(struct reply *r, const struct place *at, unsigned type,
                               uint32_t ttl_s, size_t from)
{
    if (r->secure == NULL || !r->dnssec_ok)
        return;
    struct rrsig s = signature_of(r, at, at->name->n_labels, ttl_s, NULL);
    note_signed(r, rrsig_put(&s, type, from, &r->n_answer));
}

/* The signatures of a static set, whose owner is the last `n_labels` labels. */
static APART void sign_static(struct reply *r, const struct place *at, unsigned n_labels,
                              const struct rrset *set, uint32_t ttl_s, uint16_t *n)
{
    if (r->secure == NULL || !r->dnssec_ok)
        return;
    struct name owner;
    struct rrsig s = signature_of(r, at, n_labels, ttl_s, &owner);
    note_signed(r, rrsig_put_static(&s, set, n));
}

/* The SOA and the denial in the authority section; with `have` NULL there is no such name. The
 * SOA's TTL is what makes the answer's negative TTL: at most what the zone's own SOA says. It may
 * be below the TTL that is signed, never above [RFC 2308 s3, RFC 4035 s5.3.3, RFC 9077 s3]. */
static APART void put_negative(struct reply *r, const struct zone *z, const struct place *at,
                               const struct denial *have, uint32_t ttl_s)
{
    static const struct denial NOTHING = { .missing = true };
    size_t from = r->w.len;
    r->kind = RRL_NEGATIVE;
    if (have == NULL)
        r->rcode = DNS_NXDOMAIN;
    if (ttl_s > z->negative_ttl_s)
        ttl_s = z->negative_ttl_s;
    if (r->secure != NULL) {
        struct rrsig s = signature_of(r, at, at->name->n_labels, ttl_s, NULL);
        have = have == NULL ? &NOTHING : have;
        if (r->type == RR_NSEC) {
            r->rcode = DNS_NOERROR;
            note_signed(r, rrsig_put_nsec(&s, have, r->dnssec_ok, &r->n_answer));
            return;
        }
        if (r->type == RR_RRSIG) {
            r->rcode = DNS_NOERROR;
            note_signed(r, rrsig_put_only(&s, have, &r->n_answer));
            return;
        }
        note_signed(r, rrsig_put_nsec(&s, have, r->dnssec_ok, &r->n_authority));
        if (!r->compact_ok) /* a NOERROR that says NXNAME [RFC 9824 s3.1] */
            r->rcode = DNS_NOERROR;
        from = r->w.len;
    }
    put_rrset(r, pointer_to(at, z->apex.n_labels), z->soa);
    if (!r->w.overflow)
        wire_store32(r->w.p + from + 6, ttl_s);
    r->n_authority++;
    sign_static(r, at, z->apex.n_labels, z->soa, ttl_s, &r->n_authority);
}

/* One record that says that ANY gets no more than this [RFC 8482 s4.2]. */
static APART void put_any(struct reply *r, const struct place *at)
{
    static const uint8_t HINFO[] = { 7, 'R', 'F', 'C', '8', '4', '8', '2', 0 };
    size_t from = r->w.len;
    uint8_t *p =
        put_record(r, pointer_to(at, at->name->n_labels), RR_HINFO, NEGATIVE_TTL_S, sizeof HINFO);
    if (p != NULL)
        memcpy(p, HINFO, sizeof HINFO);
    r->n_answer++;
    sign_answer(r, at, RR_HINFO, NEGATIVE_TTL_S, from);
}

static void answer_address(struct reply *r, const struct zone *z, const struct place *at,
                           const struct synth *s, unsigned type)
{
    static const uint8_t TXT[] = { 7, 'l', 'a', 'n', 'y', 'a', 'r', 'd' };
    unsigned owner = pointer_to(at, at->name->n_labels);
    unsigned address_type = s->ip.family == 4 ? RR_A : RR_AAAA;
    r->kind = RRL_ADDRESS;
    size_t from = r->w.len;
    if (type == address_type) {
        size_t len = s->ip.family == 4 ? 4 : 16;
        uint8_t *p = put_record(r, owner, type, s->ttl_s, len);
        if (p != NULL)
            memcpy(p, s->ip.bytes, len);
        r->n_answer++;
        sign_answer(r, at, type, s->ttl_s, from);
    } else if (type == RR_TXT) {
        uint8_t *p = put_record(r, owner, type, SYNTH_TTL_PRIVATE_S, sizeof TXT);
        if (p != NULL)
            memcpy(p, TXT, sizeof TXT);
        r->n_answer++;
        sign_answer(r, at, type, SYNTH_TTL_PRIVATE_S, from);
    } else if (type == RR_ANY) {
        put_any(r, at);
    } else {
        struct denial have = { .n_types = 2, .types = { (uint16_t)address_type, RR_TXT } };
        put_negative(r, z, at, &have, NEGATIVE_TTL_S);
    }
}

/* Hands the question over to the reader thread. */
static APART void defer(struct query_ctx *ctx, const struct reply *r, const struct zone *z,
                        const struct name *name)
{
    struct query_challenge *c = &ctx->challenge;
    struct span id = name_label(name, name->n_labels - z->apex.n_labels - 1u);
    c->zone = z;
    c->ahead = ctx->view->presigned[z->number];
    c->asked_at_s = ctx->now_s;
    c->limit = r->w.cap;
    c->edns = r->options != NULL;
    c->options.pads = ctx->options.pads;
    c->options.len = ctx->options.len;
    memcpy(c->options.bytes, ctx->options.bytes, ctx->options.len);
    c->dnssec_ok = r->dnssec_ok;
    c->stream = r->stream;
    memcpy(c->id, id.p, SYNTH_ID_LEN);
    c->id[SYNTH_ID_LEN] = 0;
    c->head_len = (uint16_t)r->head_len;
    memcpy(c->head, r->w.p, r->head_len);
    ctx->deferred = true;
}

/* Reads the target of a CNAME whose data, of `len` bytes, was just written, for it to be answered
 * next. */
static APART bool follow(struct query_ctx *ctx, const struct reply *r, size_t end, size_t len,
                         struct place *at)
{
    if (r->w.overflow)
        return false;
    at->offset = end - len;
    at->name = &ctx->target;
    return at->offset + len < POINTER_LIMIT &&
           name_read(&ctx->target, (struct span){ r->w.p + at->offset, len }) == ERR_OK;
}

/* <id>.acme.direct.example instead of _acme-challenge.<id>.direct.example: an edge without a store.
 */
static APART bool answer_challenge_cname(struct query_ctx *ctx, struct reply *r,
                                         const struct zone *z, struct place *at, unsigned type)
{
    const struct name *to = z->challenges_cname;
    size_t len = 1 + SYNTH_ID_LEN + (size_t)to->len;
    size_t from = r->w.len;
    uint8_t *p =
        put_record(r, pointer_to(at, at->name->n_labels), RR_CNAME, CHALLENGE_CNAME_TTL_S, len);
    if (p != NULL) {
        memcpy(p, at->name->wire + at->name->at[1], 1 + SYNTH_ID_LEN);
        memcpy(p + 1 + SYNTH_ID_LEN, to->wire, to->len);
    }
    r->n_answer++;
    size_t end = r->w.len;
    sign_answer(r, at, RR_CNAME, CHALLENGE_CNAME_TTL_S, from);
    return type != RR_CNAME && type != RR_ANY && follow(ctx, r, end, len, at);
}

/* The accounts that may issue for every id. */
static APART void answer_persist(struct reply *r, const struct zone *z, const struct guard *guard,
                                 const struct place *at, unsigned type)
{
    if (type == RR_TXT) {
        const struct rrset *set = &guard->persist->set;
        size_t from = r->w.len;
        put_rrset(r, pointer_to(at, at->name->n_labels), set);
        r->n_answer = (uint16_t)(r->n_answer + set->n);
        sign_answer(r, at, RR_TXT, set->ttl_s, from);
    } else if (type == RR_ANY) {
        put_any(r, at);
    } else {
        struct denial have = { .n_types = 1, .types = { RR_TXT } };
        put_negative(r, z, at, &have, PERSIST_TTL_S);
    }
}

/* True when *at is now the target of a CNAME. */
static APART bool answer_challenge(struct query_ctx *ctx, struct reply *r, const struct zone *z,
                                   struct place *at, bool persist, unsigned type)
{
    r->kind = RRL_CHALLENGE;
    if (persist) {
        answer_persist(r, z, view_guard(ctx->view, z), at, type);
        return false;
    }
    if (z->challenges_cname != NULL)
        return answer_challenge_cname(ctx, r, z, at, type);
    if (type == RR_TXT && z->challenges != NULL) {
        /* behind a CNAME the resolver asks again: a reply is from the store or from here */
        if (at->offset == DNS_HEADER_LEN)
            defer(ctx, r, z, at->name);
    } else if (type == RR_ANY) {
        put_any(r, at);
    } else {
        /* whether there are values now is not known: their absence is not asserted */
        struct denial have = { .n_types = z->challenges != NULL, .types = { RR_TXT } };
        put_negative(r, z, at, &have, CHALLENGE_TTL_S);
    }
    return false;
}

/* The DS records of a delegated name, or that it has none. */
static APART void put_delegation_proof(struct reply *r, const struct zone_node *cut,
                                       const struct place *at, unsigned n_labels)
{
    const struct rrset *ds = node_rrset(cut, RR_DS);
    if (ds != NULL) {
        put_rrset(r, pointer_to(at, n_labels), ds);
        r->n_authority = (uint16_t)(r->n_authority + ds->n);
        sign_static(r, at, n_labels, ds, ds->ttl_s, &r->n_authority);
        return;
    }
    struct name owner;
    struct rrsig s = signature_of(r, at, n_labels, r->secure->negative_ttl_s, &owner);
    struct denial have = { .node = cut };
    note_signed(r, rrsig_put_nsec(&s, &have, true, &r->n_authority));
}

/* The servers of a delegated name, which is the last `n_labels` labels of the name at `at`. */
static APART void answer_referral(struct reply *r, const struct zone_node *cut,
                                  const struct place *at, unsigned n_labels)
{
    const struct rrset *ns = node_rrset(cut, RR_NS);
    if (r->n_answer == 0)
        r->flags &= ~DNS_FLAG_AA;
    r->kind = RRL_REFERRAL;
    put_rrset(r, pointer_to(at, n_labels), ns);
    r->n_authority = (uint16_t)(r->n_authority + ns->n);
    if (r->secure != NULL && r->dnssec_ok)
        put_delegation_proof(r, cut, at, n_labels);
    wire_put(&r->w, cut->glue, cut->glue_len); /* glue that does not fit truncates [RFC 9471] */
    r->n_additional = (uint16_t)(r->n_additional + cut->n_glue);
}

/* Answers from the static names. True when *at is now the target of a CNAME. */
static APART bool answer_static(struct query_ctx *ctx, struct reply *r, const struct zone *z,
                                struct place *at, unsigned type)
{
    const struct zone_node *n = NULL;
    for (unsigned i = z->apex.n_labels; i <= at->name->n_labels; i++) {
        n = zone_find(z, name_suffix(at->name, i));
        if (n == NULL) {
            put_negative(r, z, at, NULL, NXDOMAIN_TTL_S);
            return false;
        }
        /* the parent side of a delegation answers for DS [RFC 4035 s3.1.4.1] */
        if (n->is_cut && !(type == RR_DS && i == at->name->n_labels)) {
            answer_referral(r, n, at, i);
            return false;
        }
    }
    const struct rrset *set = node_rrset(n, type);
    const struct rrset *cname = set == NULL ? node_rrset(n, RR_CNAME) : NULL;
    if (cname != NULL)
        set = cname;
    if (set != NULL) {
        put_rrset(r, pointer_to(at, at->name->n_labels), set);
        r->n_answer = (uint16_t)(r->n_answer + set->n);
        size_t end = r->w.len;
        sign_static(r, at, at->name->n_labels, set, set->ttl_s, &r->n_answer);
        return cname != NULL && type != RR_ANY &&
               follow(ctx, r, end, cname->len - ZONE_RR_HEAD, at);
    }
    struct denial have = { .node = n };
    if (type == RR_ANY && n->n_sets > 0)
        put_any(r, at);
    else
        put_negative(r, z, at, &have, n->n_sets > 0 ? z->negative_ttl_s : NEGATIVE_TTL_S);
    return false;
}

/* Answers one name of zone `z`. True when *at is now the target of a CNAME. */
static bool answer_name(struct query_ctx *ctx, struct reply *r, const struct zone *z,
                        struct place *at, unsigned type)
{
    static const struct denial NOTHING = { .missing = false };
    struct synth s;
    synth_match(&s, &z->policy, view_guard(ctx->view, z), at->name, z->apex.n_labels);
    switch (s.kind) {
    case SYNTH_ADDRESS:
        answer_address(r, z, at, &s, type);
        break;
    case SYNTH_CHALLENGE:
        return answer_challenge(ctx, r, z, at, s.persist, type);
    case SYNTH_DEVICE:
        put_negative(r, z, at, &NOTHING, NEGATIVE_TTL_S);
        break;
    case SYNTH_MISSING:
        if (s.suspended)
            r->ede = EDE_BLOCKED;
        put_negative(r, z, at, NULL, NXDOMAIN_TTL_S);
        break;
    case SYNTH_OTHER:
        return answer_static(ctx, r, z, at, type);
    }
    return false;
}

/* The reply is to be signed, or tells of signatures. */
static APART void secure(struct query_ctx *ctx, struct reply *r, const struct zone *z)
{
    r->secure = z;
    r->ctx = ctx;
    r->signer = ctx->signer;
    r->ahead = ctx->view->presigned[z->number];
    r->now_s = ctx->now_s;
    r->type = ctx->question.type;
}

static void answer(struct query_ctx *ctx, struct reply *r)
{
    const struct question *q = &ctx->question;
    const struct zone *z = view_find(ctx->view, &q->name, NAME_LABELS_MAX);
    if (z != NULL && q->type == RR_DS && q->name.n_labels == z->apex.n_labels && q->name.len > 1) {
        /* DS belongs to the parent's side, if that is ours too */
        const struct zone *parent = view_find(ctx->view, &q->name, q->name.n_labels - 1u);
        z = parent != NULL ? parent : z;
    }
    if (z == NULL) {
        r->rcode = DNS_REFUSED;
        r->ede = EDE_NOT_AUTHORITATIVE;
        return;
    }
    r->flags |= DNS_FLAG_AA;
    if (z->keyring != NULL && (r->dnssec_ok || q->type == RR_NSEC || q->type == RR_RRSIG))
        secure(ctx, r, z);
    struct place at = { &q->name, DNS_HEADER_LEN };
    for (unsigned i = 0; i < CNAMES_MAX && answer_name(ctx, r, z, &at, q->type); i++) {
        if (view_find(ctx->view, at.name, NAME_LABELS_MAX) != z)
            break; /* another zone's name: the resolver asks for it */
    }
}

/* The server's own names, of class CHAOS. */
static APART void answer_chaos(const struct query_ctx *ctx, struct reply *r)
{
    const struct identity *id = &ctx->view->shield.identity;
    const char *text = ctx->question.type == RR_TXT ? identity_find(id, &ctx->question.name) : NULL;
    if (text == NULL) {
        r->rcode = DNS_REFUSED;
        r->ede = EDE_NOT_SUPPORTED;
        return;
    }
    size_t len = strlen(text);
    uint8_t *p = put_record(r, DNS_POINTER | DNS_HEADER_LEN, RR_TXT, 0, len + 1);
    if (p != NULL) {
        wire_store16(p - ZONE_RR_HEAD + 4, RR_CLASS_CH);
        p[0] = (uint8_t)len;
        memcpy(p + 1, text, len);
    }
    r->flags |= DNS_FLAG_AA;
    r->n_answer = 1;
}

/* What can be refused without looking at the zones. */
static enum dns_rcode check(const struct question *q, enum edns_ede *ede)
{
    if (q->class == RR_CLASS_IN && q->n_skip == 0 && q->type - 1u < RR_OPT - 1u)
        return DNS_NOERROR; /* nearly all of them */
    if ((q->class != RR_CLASS_IN && q->class != RR_CLASS_CH) ||
        (q->type >= RR_META_FIRST && q->type <= RR_META_LAST)) {
        *ede = EDE_NOT_SUPPORTED;
        return DNS_REFUSED;
    }
    if (q->type == RR_OPT || q->type == 0 || q->type == RR_NXNAME) {
        *ede = EDE_INVALID_QUERY_TYPE;
        return DNS_FORMERR;
    }
    return q->n_skip > 0 ? DNS_FORMERR : DNS_NOERROR;
}

/* The options of the reply, for those that the request has. */
static APART void greet(struct query_ctx *ctx, const struct peer *peer)
{
    const struct edns *e = &ctx->edns;
    if (e->cookie.p != NULL || e->wants_nsid)
        ctx->known = shield_greet(&ctx->options, &ctx->view->shield, e, peer->ip, ctx->now_s);
    if (e->wants_keepalive && peer->stream) { /* over UDP it means nothing [RFC 7828 s3.2.1] */
        uint8_t *p = edns_option_add(&ctx->options, EDNS_KEEPALIVE, 2);
        if (p != NULL)
            wire_store16(p, peer->keepalive_ds);
    }
    ctx->options.pads = e->wants_padding && peer->encrypted; /* nowhere else [RFC 7830 s6] */
}

/* A request without a question is good if it asks for a cookie [RFC 7873 s5.4]. */
static APART enum dns_rcode read_lone_cookie(struct query_ctx *ctx, struct span request,
                                             const struct peer *peer)
{
    struct edns *e = &ctx->edns;
    enum dns_rcode rcode = edns_read(e, request, DNS_HEADER_LEN, 0, ctx->question.n_additional);
    if (rcode == DNS_FORMERR)
        return rcode;
    if (ctx->edns.asks)
        greet(ctx, peer);
    return e->cookie.p == NULL || ctx->view->shield.cookies.n == 0 ? DNS_FORMERR : rcode;
}

/* Reads the request, and prepares the options of the reply. */
static enum dns_rcode read_request(struct query_ctx *ctx, struct span request,
                                   const struct peer *peer, enum edns_ede *ede)
{
    struct question *q = &ctx->question;
    ctx->edns.present = ctx->known = false;
    ctx->options.len = 0;
    ctx->options.pads = false;
    enum dns_rcode rcode = question_read(q, request);
    if (rcode != DNS_NOERROR)
        return rcode == DNS_FORMERR && q->none ? read_lone_cookie(ctx, request, peer) : rcode;
    rcode = edns_read(&ctx->edns, request, q->end, q->n_skip, q->n_additional);
    if (rcode == DNS_FORMERR)
        return rcode;
    if (ctx->edns.asks)
        greet(ctx, peer);
    return rcode == DNS_NOERROR ? check(q, ede) : rcode;
}

/* A reply with the header and question of `head`, which fits `limit` beside the OPT record. From
 * here on nothing else of the request can be read: the reply may be written over it. */
static void reply_begin(struct reply *r, uint8_t *out, size_t limit, struct span head,
                        const struct edns_options *options)
{
    *r =
        (struct reply){ .w = { .p = out, .cap = limit }, .head_len = head.len, .options = options };
    if (out == head.p)
        r->w.len = head.len;
    else
        wire_put(&r->w, head.p, head.len);
}

/* The OPT record; why the reply is what it is only goes where there is room. */
static void put_opt(struct reply *r)
{
    size_t len = EDNS_REPLY_LEN + r->options->len;
    r->w.cap += len;
    if (r->ede != EDE_NONE && r->w.cap - r->w.len < len + EDNS_EDE_LEN)
        r->ede = EDE_NONE;
    edns_write(&r->w, r->rcode, r->options, r->ede, r->dnssec_ok);
    r->n_additional++;
}

/* Completes the header; what did not fit goes, and TC says so. */
static size_t reply_end(struct reply *r)
{
    if (r->unsignable) {
        r->rcode = DNS_SERVFAIL;
        r->ede = EDE_NOT_READY;
        r->flags = 0;
        r->w.overflow = false;
        r->w.len = r->head_len;
        r->n_answer = r->n_authority = r->n_additional = 0;
    } else if (r->w.overflow) {
        r->w.overflow = false;
        r->w.len = r->head_len;
        r->n_answer = r->n_authority = r->n_additional = 0;
        r->flags |= DNS_FLAG_TC;
    }
    uint8_t *p = r->w.p;
    unsigned asked = wire_load16(p + 2);
    if (r->options != NULL)
        put_opt(r);
    wire_store16(p + 2, DNS_FLAG_QR | (asked & (DNS_FLAG_OPCODE | DNS_FLAG_RD)) | r->flags |
                            ((unsigned)r->rcode & DNS_FLAG_RCODE));
    wire_store16(p + 4, r->head_len > DNS_HEADER_LEN);
    wire_store16(p + 6, r->n_answer);
    wire_store16(p + 8, r->n_authority);
    wire_store16(p + 10, r->n_additional);
    return r->w.len;
}

/* Whom the limiter has to judge: not those who have shown where they are. */
static const struct peer *suspect_of(const struct query_ctx *ctx, const struct peer *peer)
{
    return peer->stream || ctx->known || ctx->rrl == NULL ? NULL : peer;
}

/* In the place of an answer too many: a few bytes that make a client which is really there ask
 * again. One with half a cookie gets its other half and asks by UDP, at 16 bytes more than it sent
 * [RFC 7873 s5.2.3]; any other by TCP, at no more than it sent. */
static APART void slip(struct query_ctx *ctx, struct reply *r)
{
    bool cookie = ctx->edns.cookie.p != NULL && ctx->options.len >= 4 + COOKIE_LEN;
    ctx->options.len = cookie ? 4 + COOKIE_LEN : 0; /* it is the first */
    r->ede = EDE_NONE;
    r->unsignable = false;
    r->flags = cookie ? 0 : DNS_FLAG_TC;
    r->rcode = cookie ? DNS_BADCOOKIE : DNS_NOERROR;
    r->w.len = r->head_len;
    r->w.overflow = false;
    r->n_answer = r->n_authority = r->n_additional = 0;
}

BUILT_IN size_t query_answer(struct query_ctx *ctx, uint8_t *out, size_t cap, struct span request,
                             const struct peer *peer)
{
    const struct question *q = &ctx->question;
    enum edns_ede ede = EDE_NONE;
    ctx->deferred = false;
    ctx->verdict = RRL_ANSWER;
    if (!question_is_request(request) || cap < QUERY_REPLY_MIN)
        return 0;
    enum dns_rcode rcode = read_request(ctx, request, peer, &ede);
    size_t limit = peer->stream ? DNS_TCP_LEN : edns_udp_limit(&ctx->edns);
    if (!peer->stream && !ctx->known && limit > AMPLIFY_MAX * request.len)
        limit = AMPLIFY_MAX * request.len; /* has room for header, question and any OPT of ours */
    if (limit > cap)
        limit = cap;
    if (ctx->edns.present)
        limit -= EDNS_REPLY_LEN + ctx->options.len;
    struct reply r;
    reply_begin(&r, out, limit, (struct span){ request.p, q->end },
                ctx->edns.present ? &ctx->options : NULL);
    r.rcode = rcode;
    r.ede = ede;
    r.dnssec_ok = ctx->edns.present && ctx->edns.dnssec_ok;
    r.compact_ok = ctx->edns.compact_ok;
    r.stream = peer->stream;
    r.suspect = suspect_of(ctx, peer);
    if (rcode == DNS_NOERROR && q->end > DNS_HEADER_LEN) {
        if (q->class == RR_CLASS_IN)
            answer(ctx, &r);
        else
            answer_chaos(ctx, &r);
    }
    if (r.suspect != NULL)
        judge(ctx, &r);
    if (ctx->verdict == RRL_DROP)
        return 0;
    if (ctx->verdict == RRL_SLIP)
        slip(ctx, &r);
    if (ctx->deferred) {
        ctx->challenge.client = rrl_prefix(peer->ip);
        return 0;
    }
    return reply_end(&r);
}

/* Puts the values into the order in which they are signed: shorter ones first, since the length
 * goes before the text. */
static void order_values(struct span *sorted, const struct span *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0; k--) {
            const struct span *a = &values[i], *b = &sorted[k - 1];
            if (b->len < a->len || (b->len == a->len && memcmp(b->p, a->p, a->len) <= 0))
                break;
            sorted[k] = sorted[k - 1];
        }
        sorted[k] = values[i];
    }
}

size_t query_end_challenge(const struct query_challenge *c, const struct span *values, size_t n,
                           struct signer *signer, uint8_t *out, size_t cap)
{
    struct question q;
    struct reply r;
    struct span head = { c->head, c->head_len };
    if (question_read(&q, head) != DNS_NOERROR || cap < QUERY_REPLY_MIN)
        return 0;
    size_t limit = cap - (c->edns ? EDNS_REPLY_LEN + c->options.len : 0);
    reply_begin(&r, out, c->limit < limit ? c->limit : limit, head, c->edns ? &c->options : NULL);
    r.dnssec_ok = c->dnssec_ok;
    r.stream = c->stream;
    if (values == NULL) {
        r.rcode = DNS_SERVFAIL;
        r.ede = EDE_NOT_READY;
        return reply_end(&r);
    }
    static const struct denial NOTHING = { .missing = false };
    struct place at = { &q.name, DNS_HEADER_LEN };
    struct span sorted[QUERY_VALUES_MAX];
    r.flags |= DNS_FLAG_AA;
    r.secure = c->dnssec_ok && c->zone->keyring != NULL ? c->zone : NULL;
    r.signer = signer;
    r.ahead = c->ahead;
    r.now_s = c->asked_at_s;
    r.type = RR_TXT;
    n = n < QUERY_VALUES_MAX ? n : QUERY_VALUES_MAX;
    if (n == 0)
        put_negative(&r, c->zone, &at, &NOTHING, CHALLENGE_TTL_S);
    order_values(sorted, values, n);
    size_t from = r.w.len;
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = put_record(&r, DNS_POINTER | DNS_HEADER_LEN, RR_TXT, CHALLENGE_TTL_S,
                                sorted[i].len + 1);
        if (p != NULL) {
            p[0] = (uint8_t)sorted[i].len;
            memcpy(p + 1, sorted[i].p, sorted[i].len);
        }
        r.n_answer++;
    }
    if (n > 0)
        sign_answer(&r, &at, RR_TXT, CHALLENGE_TTL_S, from);
    return reply_end(&r);
}
