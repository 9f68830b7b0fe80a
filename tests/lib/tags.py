"""Tags and labels of addresses, and what a zone answers for them, by Python alone: the oracle for
the C code. Nothing here comes from it."""

import base64
import ipaddress
import struct

MASK = (1 << 64) - 1


def _rotl(v, n):
    return (v << n | v >> (64 - n)) & MASK


def _sip_round(v0, v1, v2, v3):
    v0 = (v0 + v1) & MASK
    v1 = _rotl(v1, 13) ^ v0
    v0 = _rotl(v0, 32)
    v2 = (v2 + v3) & MASK
    v3 = _rotl(v3, 16) ^ v2
    v0 = (v0 + v3) & MASK
    v3 = _rotl(v3, 21) ^ v0
    v2 = (v2 + v1) & MASK
    v1 = _rotl(v1, 17) ^ v2
    v2 = _rotl(v2, 32)
    return v0, v1, v2, v3


def siphash(key, data):
    """SipHash-2-4, 8 bytes."""
    k0, k1 = struct.unpack("<QQ", key)
    v = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261,
         k1 ^ 0x7465646279746573)
    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v = (v[0], v[1], v[2], v[3] ^ word)
        v = _sip_round(*_sip_round(*v))
        v = (v[0] ^ word, v[1], v[2], v[3])
    v = (v[0], v[1], v[2] ^ 0xFF, v[3])
    for _ in range(4):
        v = _sip_round(*v)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


def label(ip):
    """The spelling that we emit for an ipaddress object."""
    if ip.version == 4:
        return str(ip).replace(".", "-")
    groups = struct.unpack("!8H", ip.packed)
    runs = [(-n, i) for i in range(8) for n in range(2, 9 - i) if not any(groups[i:i + n])]
    text = [f"{g:x}" for g in groups]
    if not runs:
        return "-".join(text)
    n, at = min(runs)
    head, tail = text[:at] or ["0"], text[at - n:] or ["0"]
    return "-".join(head) + "--" + "-".join(tail)


def tag(key, device, ip):
    data = device.encode() + bytes([ip.version]) + ip.packed
    return base64.b32encode(siphash(key, data)[:5]).decode().lower()


def tagged(key, device, ip):
    """The whole label of a public address."""
    return f"p{tag(key, device, ip)}-{label(ip)}"


def _nets(*texts):
    nets = [ipaddress.ip_network(t) for t in texts]
    return [(int(n.network_address), int(n.broadcast_address)) for n in nets]


PRIVATE = {4: _nets("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                    "169.254.0.0/16"),
           6: _nets("fc00::/7")}
LOOPBACK = {4: _nets("127.0.0.0/8"), 6: _nets("::1/128")}
NEVER = {4: _nets("0.0.0.0/32", "224.0.0.0/4", "255.255.255.255/32", "169.254.169.254/32"),
         6: _nets("::/128", "ff00::/8", "fe80::/10", "::ffff:0:0/96", "64:ff9b::/96",
                  "64:ff9b:1::/48", "2002::/16", "2001::/32")}


def kind(ip):
    """"never", "private", "loopback" or "public"."""
    value = int(ip)
    for nets, name in ((NEVER, "never"), (PRIVATE, "private"), (LOOPBACK, "loopback")):
        if any(low <= value <= high for low, high in nets[ip.version]):
            return name
    return "public"
