#include "dnsd/tally.h"

#include "common/dns/wire.h"

#define TYPE_CAA 257

const char *const TALLY_TRANSPORT_NAMES[] = { "udp", "tcp", "tls" };
const char *const TALLY_TYPE_NAMES[] = { "other", "none", "A",  "AAAA",   "TXT",   "NS",
                                         "SOA",   "CAA",  "DS", "DNSKEY", "HTTPS", "ANY" };
const char *const TALLY_OUTCOME_NAMES[] = { "other",     "answer",   "nodata",  "referral",
                                            "truncated", "nxdomain", "formerr", "servfail",
                                            "notimp",    "refused" };

const uint8_t TALLY_TYPE_OF[258] = {
    [RR_A] = TALLY_TYPE_A,      [RR_NS] = TALLY_TYPE_NS,         [RR_SOA] = TALLY_TYPE_SOA,
    [RR_TXT] = TALLY_TYPE_TXT,  [RR_AAAA] = TALLY_TYPE_AAAA,     [RR_DS] = TALLY_TYPE_DS,
    [65] = TALLY_TYPE_HTTPS,    [RR_DNSKEY] = TALLY_TYPE_DNSKEY, [RR_ANY] = TALLY_TYPE_ANY,
    [TYPE_CAA] = TALLY_TYPE_CAA
};
static const uint8_t RCODES[16] = { [DNS_FORMERR] = TALLY_FORMERR,
                                    [DNS_SERVFAIL] = TALLY_SERVFAIL,
                                    [DNS_NXDOMAIN] = TALLY_NXDOMAIN,
                                    [DNS_NOTIMP] = TALLY_NOTIMP,
                                    [DNS_REFUSED] = TALLY_REFUSED };

enum tally_outcome tally_other_outcome(const uint8_t *reply)
{
    unsigned flags = wire_load16(reply + 2);
    if ((flags & DNS_FLAG_TC) != 0)
        return TALLY_TRUNCATED;
    if ((flags & DNS_FLAG_RCODE) != DNS_NOERROR)
        return (enum tally_outcome)RCODES[flags & DNS_FLAG_RCODE];
    if (wire_load16(reply + 6) > 0)
        return TALLY_ANSWER;
    if ((flags & DNS_FLAG_AA) != 0)
        return TALLY_NODATA;
    return wire_load16(reply + 8) > 0 ? TALLY_REFERRAL : TALLY_OTHER; /* BADVERS */
}

void tally_challenge_reply(struct tally *t, const uint8_t *reply)
{
    metric_add(&t->replies[TALLY_TYPE_TXT][tally_other_outcome(reply)], 1);
}
