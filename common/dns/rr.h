/* rr.h - the numbers of DNS: types, classes, opcodes, response codes, header flags. */
#ifndef LANYARD_DNS_RR_H
#define LANYARD_DNS_RR_H

#define DNS_HEADER_LEN 12
#define DNS_UDP_LEN 512     /* what every client takes without EDNS [RFC 1035 s2.3.4] */
#define DNS_EDNS_LEN 1232   /* what we send and announce: never fragmented */
#define DNS_TCP_LEN 65535   /* what a length of two bytes can say */
#define DNS_POINTER 0xc000u /* a compression pointer, or'ed with the offset */

enum rr_type {
    RR_A = 1,
    RR_NS = 2,
    RR_CNAME = 5,
    RR_SOA = 6,
    RR_PTR = 12,
    RR_HINFO = 13,
    RR_TXT = 16,
    RR_AAAA = 28,
    RR_DNAME = 39,
    RR_OPT = 41,
    RR_DS = 43,
    RR_RRSIG = 46,
    RR_NSEC = 47,
    RR_DNSKEY = 48,
    RR_NSEC3 = 50,
    RR_NSEC3PARAM = 51,
    RR_CDS = 59,
    RR_CDNSKEY = 60,
    RR_NXNAME = 128,     /* in the bitmap of a denial only: never a question [RFC 9824 s3.4] */
    RR_META_FIRST = 249, /* TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: questions, never data */
    RR_META_LAST = 254,
    RR_ANY = 255
};

enum rr_class { RR_CLASS_IN = 1, RR_CLASS_CH = 3 };

enum dns_opcode { DNS_OPCODE_QUERY = 0 };

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16, /* upper bits travel in the OPT record [RFC 6891 s6.1.3] */
    DNS_BADCOOKIE = 23
};

/* The second 16 bits of the header. */
#define DNS_FLAG_QR 0x8000u
#define DNS_FLAG_OPCODE 0x7800u
#define DNS_FLAG_AA 0x0400u
#define DNS_FLAG_TC 0x0200u
#define DNS_FLAG_RD 0x0100u
#define DNS_FLAG_RCODE 0x000fu

#endif
