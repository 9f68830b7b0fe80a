"""The files of questions: many names, a mix, one name, and a zone for servers that synthesise nothing."""

import ipaddress
import random

ZONE = "direct.example"
N = 200_000
SEED = 20  # the same questions in each run

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


class Names:
    def __init__(self, rng):
        self.rng = rng

    def device(self):
        return "".join(self.rng.choices(ALPHABET, k=32))

    def ip4(self):
        """Mostly private, as asked in life; the rest public."""
        r = self.rng
        base, bits = r.choices([("192.168.0.0", 16), ("10.0.0.0", 24), ("172.16.0.0", 20), ("45.0.0.0", 24),
                                ("93.0.0.0", 24)], [40, 10, 5, 25, 20])[0]
        return ipaddress.IPv4Address(int(ipaddress.IPv4Address(base)) + r.randrange(1, 2**bits - 1))

    def ip6(self):
        base = self.rng.choice(["fd00::", "2a00::"])
        return ipaddress.IPv6Address(int(ipaddress.IPv6Address(base)) + self.rng.getrandbits(64))

    def label4(self):
        return str(self.ip4()).replace(".", "-")

    def label6(self):
        text = str(self.ip6()).replace(":", "-")
        return text + "0" if text.endswith("-") else text


def mixed(names):
    device = f"{names.device()}.{ZONE}"
    kinds = {
        70: f"{names.label4()}.{device} A",
        7.5: f"{names.label4()}.{device} AAAA",
        7.6: f"{names.label6()}.{device} AAAA",
        5: f"_acme-challenge.{device} TXT",
        2.5: f"{ZONE} SOA",
        2.6: f"{ZONE} NS",
        4.8: f"x{names.rng.getrandbits(48):x}.{names.rng.getrandbits(24):x}.{ZONE} A",
    }
    return names.rng.choices(list(kinds.values()), list(kinds))[0]


def write(folder):
    """name -> path: a, mix, hot; static with static.zone, which has an address for each of its names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = Names(random.Random(SEED))
    files = {
        "a": [f"{names.label4()}.{names.device()}.{ZONE} A" for _ in range(N)],
        "mix": [mixed(names) for _ in range(N)],
        "hot": [f"192-168-1-10.{names.device()}.{ZONE} A"],
    }
    static = [(names.ip4(), names.device()) for _ in range(N // 2)]
    files["static"] = [f"{str(ip).replace('.', '-')}.{device}.{ZONE} A" for ip, device in static]
    zone = [f"$ORIGIN {ZONE}.", "$TTL 3600", "@ SOA ns1 hostmaster 1 7200 3600 1209600 60", "@ NS ns1",
            "ns1 A 127.0.0.1"]
    paths = {}
    for name, lines in files.items():
        paths[name] = folder / f"{name}.q"
        paths[name].write_text("\n".join(lines) + "\n")
    (folder / "small.zone").write_text("\n".join(zone) + "\n")
    (folder / "wild.zone").write_text("\n".join([*zone, "* A 192.0.2.1"]) + "\n")
    zone += [f"{str(ip).replace('.', '-')}.{device} A {ip}" for ip, device in static]
    (folder / "static.zone").write_text("\n".join(zone) + "\n")
    return paths
