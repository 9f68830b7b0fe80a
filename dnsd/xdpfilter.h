/* xdpfilter.h - the program in the kernel that takes questions out of an interface's traffic and
 * hands them to sockets of the address family AF_XDP. Everything else goes its usual way: what is
 * not for the interface's own MAC address, not UDP to an address and port of `ends`, a fragment,
 * has IP options, extension headers or a VLAN tag. It goes with the process that made it, however
 * that ends. The main thread, at the start, with CAP_BPF and CAP_NET_ADMIN. */
#ifndef LANYARD_DNSD_XDPFILTER_H
#define LANYARD_DNSD_XDPFILTER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/addr.h"

#define XDPFILTER_ENDS_MAX 256

struct xdpfilter {
    int link, sockets; /* descriptors */
};

/* Loads the filter for interface number `index` with the MAC address `mac`, and lets it work in the
 * driver, or, where that cannot be (*in_driver false), behind it. Sockets come later. Errors:
 * ERR_IO. */
NODISCARD enum err xdpfilter_open(struct xdpfilter *out, unsigned index, const uint8_t mac[6],
                                  unsigned n_queues, const struct addr *ends, size_t n_ends,
                                  bool *in_driver, struct err_info *info);

/* Hands what comes in by `queue` to the AF_XDP socket `fd` from now on. Errors: ERR_IO. */
NODISCARD enum err xdpfilter_set(const struct xdpfilter *f, unsigned queue, int fd,
                                 struct err_info *info);

void xdpfilter_close(struct xdpfilter *f);

#endif
