#include "dnsd/xdpfilter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel compares: an address, IPv4 as ::ffff:a.b.c.d, and a port in network order. */
struct end_key {
    uint8_t ip[16];
    uint16_t port;
    uint16_t zero;
};

_Static_assert(sizeof(struct end_key) == 20, "the program writes 20 bytes");

static long call_bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int make_map(enum bpf_map_type type, unsigned key_len, unsigned n)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_type = type;
    attr.key_size = key_len;
    attr.value_size = sizeof(uint32_t);
    attr.max_entries = n;
    return (int)call_bpf(BPF_MAP_CREATE, &attr);
}

static bool put(int map, const void *key, uint32_t value)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.map_fd = (uint32_t)map;
    attr.key = (uint64_t)(uintptr_t)key;
    attr.value = (uint64_t)(uintptr_t)&value;
    return call_bpf(BPF_MAP_UPDATE_ELEM, &attr) == 0;
}

static bool put_end(int map, const struct addr *a)
{
    struct end_key k = { .ip = { [10] = 0xff, [11] = 0xff } };
    struct span ip = addr_ip((const struct sockaddr *)&a->ss);
    memcpy(k.ip + sizeof k.ip - ip.len, ip.p, ip.len);
    k.port = ((const struct sockaddr_in *)&a->ss)->sin_port; /* at the same place in both */
    return put(map, &k, 1);
}

/* The program, in the kernel's own instructions: 6 is the context, 2 where the frame begins, 3
 * where it ends; the key is made on the stack. */
#define KEY_AT (-24)
#define LOAD(size, dst, src, at)                                                                   \
    {                                                                                              \
        .code = BPF_LDX | BPF_MEM | (size), .dst_reg = (dst), .src_reg = (src), .off = (at)        \
    }
#define STORE(size, dst, src, at)                                                                  \
    {                                                                                              \
        .code = BPF_STX | BPF_MEM | (size), .dst_reg = (dst), .src_reg = (src), .off = (at)        \
    }
#define STORE_IMM(size, dst, at, v)                                                                \
    {                                                                                              \
        .code = BPF_ST | BPF_MEM | (size), .dst_reg = (dst), .off = (at), .imm = (v)               \
    }
#define MOVE(dst, src)                                                                             \
    {                                                                                              \
        .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (dst), .src_reg = (src)                    \
    }
#define MOVE_IMM(dst, v)                                                                           \
    {                                                                                              \
        .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (dst), .imm = (v)                          \
    }
#define ADD_IMM(dst, v)                                                                            \
    {                                                                                              \
        .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = (dst), .imm = (v)                          \
    }
#define AND_IMM(dst, v)                                                                            \
    {                                                                                              \
        .code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = (dst), .imm = (v)                          \
    }
#define UNLESS_IMM(dst, v, to)                                                                     \
    {                                                                                              \
        .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = (dst), .imm = (v), .off = (to)             \
    }
#define IF_IMM(dst, v, to)                                                                         \
    {                                                                                              \
        .code = BPF_JMP32 | BPF_JEQ | BPF_K, .dst_reg = (dst), .imm = (v), .off = (to)             \
    }
#define IF_ABOVE(dst, src, to)                                                                     \
    {                                                                                              \
        .code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = (dst), .src_reg = (src), .off = (to)         \
    }
#define GO(to)                                                                                     \
    {                                                                                              \
        .code = BPF_JMP | BPF_JA, .off = (to)                                                      \
    }
#define CALL(fn)                                                                                   \
    {                                                                                              \
        .code = BPF_JMP | BPF_CALL, .imm = (fn)                                                    \
    }
#define EXIT                                                                                       \
    {                                                                                              \
        .code = BPF_JMP | BPF_EXIT                                                                 \
    }
#define LOAD_MAP(dst, fd)                                                                          \
    { .code = BPF_LD | BPF_DW | BPF_IMM,                                                           \
      .dst_reg = (dst),                                                                            \
      .src_reg = BPF_PSEUDO_MAP_FD,                                                                \
      .imm = (fd) },                                                                               \
    {                                                                                              \
        .code = 0                                                                                  \
    }

/* Where jumps go: a step of no distance, until mend() puts distances in. */
enum { PASS = 1, IPV6, LOOK_UP, LABELS };
#define HERE(label)                                                                                \
    {                                                                                              \
        .code = BPF_JMP | BPF_JA, .imm = (label)                                                   \
    }

static void mend(struct bpf_insn *program, size_t n)
{
    size_t labels[LABELS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        if (program[i].code != (BPF_JMP | BPF_JA) || program[i].imm == 0)
            continue;
        labels[program[i].imm] = i;
        program[i].imm = 0;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned class = BPF_CLASS(program[i].code);
        if ((class == BPF_JMP || class == BPF_JMP32) && program[i].off != 0)
            program[i].off = (int16_t)(labels[program[i].off] - i - 1);
    }
}

static int load_program(int ends, int sockets, const uint8_t mac[6])
{
    int32_t mac4;
    uint16_t mac2;
    memcpy(&mac4, mac, sizeof mac4);
    memcpy(&mac2, mac + sizeof mac4, sizeof mac2);
    struct bpf_insn program[] = {
        MOVE(6, 1),
        LOAD(BPF_W, 2, 6, offsetof(struct xdp_md, data)),
        LOAD(BPF_W, 3, 6, offsetof(struct xdp_md, data_end)),
        MOVE(4, 2),
        ADD_IMM(4, 14 + 20 + 8),
        IF_ABOVE(4, 3, PASS),
        LOAD(BPF_W, 5, 2, 0),
        UNLESS_IMM(5, mac4, PASS),
        LOAD(BPF_H, 5, 2, 4),
        UNLESS_IMM(5, mac2, PASS),
        LOAD(BPF_H, 5, 2, 12),
        IF_IMM(5, htons(0x86dd), IPV6),
        UNLESS_IMM(5, htons(0x0800), PASS),
        /* IPv4: no options, no part of a packet, UDP */
        LOAD(BPF_B, 5, 2, 14),
        UNLESS_IMM(5, 0x45, PASS),
        LOAD(BPF_H, 5, 2, 14 + 6),
        AND_IMM(5, htons(0x3fff)),
        UNLESS_IMM(5, 0, PASS),
        LOAD(BPF_B, 5, 2, 14 + 9),
        UNLESS_IMM(5, 17, PASS),
        STORE_IMM(BPF_DW, 10, KEY_AT, 0),
        STORE_IMM(BPF_W, 10, KEY_AT + 8, (int32_t)htonl(0xffff)),
        LOAD(BPF_W, 5, 2, 14 + 16),
        STORE(BPF_W, 10, 5, KEY_AT + 12),
        LOAD(BPF_H, 5, 2, 14 + 20 + 2),
        GO(LOOK_UP),
        /* IPv6: UDP at once */
        HERE(IPV6),
        MOVE(4, 2),
        ADD_IMM(4, 14 + 40 + 8),
        IF_ABOVE(4, 3, PASS),
        LOAD(BPF_B, 5, 2, 14 + 6),
        UNLESS_IMM(5, 17, PASS),
        LOAD(BPF_W, 5, 2, 14 + 24),
        STORE(BPF_W, 10, 5, KEY_AT),
        LOAD(BPF_W, 5, 2, 14 + 28),
        STORE(BPF_W, 10, 5, KEY_AT + 4),
        LOAD(BPF_W, 5, 2, 14 + 32),
        STORE(BPF_W, 10, 5, KEY_AT + 8),
        LOAD(BPF_W, 5, 2, 14 + 36),
        STORE(BPF_W, 10, 5, KEY_AT + 12),
        LOAD(BPF_H, 5, 2, 14 + 40 + 2),
        HERE(LOOK_UP),
        STORE(BPF_W, 10, 5, KEY_AT + 16),
        LOAD_MAP(1, ends),
        MOVE(2, 10),
        ADD_IMM(2, KEY_AT),
        CALL(BPF_FUNC_map_lookup_elem),
        { .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = PASS },
        LOAD(BPF_W, 2, 6, offsetof(struct xdp_md, rx_queue_index)),
        LOAD_MAP(1, sockets),
        MOVE_IMM(3, XDP_PASS), /* without a socket */
        CALL(BPF_FUNC_redirect_map),
        EXIT,
        HERE(PASS),
        MOVE_IMM(0, XDP_PASS),
        EXIT,
    };
    mend(program, ARRAY_LEN(program));
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.expected_attach_type = BPF_XDP;
    attr.insn_cnt = (uint32_t)ARRAY_LEN(program);
    attr.insns = (uint64_t)(uintptr_t)program;
    attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
    memcpy(attr.prog_name, "lanyard_dnsd", sizeof "lanyard_dnsd");
    return (int)call_bpf(BPF_PROG_LOAD, &attr);
}

/* A link ends with its last descriptor, so that no dead process leaves a filter behind. */
static int attach(int program, unsigned index, bool *in_driver)
{
    union bpf_attr attr;
    int link = -1;
    for (int i = 0; i < 2 && link < 0; i++) {
        memset(&attr, 0, sizeof attr);
        attr.link_create.prog_fd = (uint32_t)program;
        attr.link_create.target_ifindex = index;
        attr.link_create.attach_type = BPF_XDP;
        *in_driver = i == 0;
        attr.link_create.flags = *in_driver ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
        link = (int)call_bpf(BPF_LINK_CREATE, &attr);
    }
    return link;
}

static enum err fail(struct err_info *info, const char *what)
{
    const char *help = "";
    if (errno == EPERM || errno == EACCES)
        help = ": it takes CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW at the start";
    else if (errno == EBUSY || errno == EEXIST)
        help = ": another program has put an XDP filter there";
    return err_set(info, ERR_IO, "%s: %s%s", what, strerror(errno), help);
}

enum err xdpfilter_open(struct xdpfilter *out, unsigned index, const uint8_t mac[6],
                        unsigned n_queues, const struct addr *ends, size_t n_ends, bool *in_driver,
                        struct err_info *info)
{
    int program = -1;
    enum err e = ERR_OK;
    struct xdpfilter f = { .link = -1 };
    int map = make_map(BPF_MAP_TYPE_HASH, sizeof(struct end_key), XDPFILTER_ENDS_MAX);
    f.sockets = make_map(BPF_MAP_TYPE_XSKMAP, sizeof(uint32_t), n_queues);
    bool have_maps = map >= 0 && f.sockets >= 0;
    for (size_t i = 0; i < n_ends && have_maps; i++)
        have_maps = put_end(map, &ends[i]);
    if (!have_maps)
        e = fail(info, "cannot make the filter's tables");
    if (e == ERR_OK && (program = load_program(map, f.sockets, mac)) < 0)
        e = fail(info, "cannot load the filter");
    if (e == ERR_OK && (f.link = attach(program, index, in_driver)) < 0)
        e = fail(info, "cannot put the filter to the interface");
    if (program >= 0)
        close(program);
    if (map >= 0)
        close(map);
    if (e == ERR_OK)
        *out = f;
    else if (f.sockets >= 0)
        close(f.sockets);
    return e;
}

enum err xdpfilter_set(const struct xdpfilter *f, unsigned queue, int fd, struct err_info *info)
{
    const uint32_t key = queue;
    if (put(f->sockets, &key, (uint32_t)fd))
        return ERR_OK;
    return fail(info, "cannot hand the socket to the filter");
}

void xdpfilter_close(struct xdpfilter *f)
{
    close(f->link);
    close(f->sockets);
}
