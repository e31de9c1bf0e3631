"""Which addresses of the internet Taskmill sends requests to that a client asked for."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

IpAddress = IPv4Address | IPv6Address

#: What no stranger may make us talk to. Sources: the IANA registries of special-purpose addresses (IPv4 and IPv6).
#: They stand here rather than be asked of `ipaddress`, whose answers have changed between versions of Python.
_REFUSED: Final = {
    ip_network(network): what
    for what, networks in {
        "loopback": ("127.0.0.0/8", "::1/128"),
        "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"),
        "link-local": ("169.254.0.0/16", "fe80::/10"),  # the metadata services of clouds among them
        "multicast": ("224.0.0.0/4", "ff00::/8"),
        "unspecified": ("0.0.0.0/8", "::/128"),
        "reserved": (
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
            "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
            "3fff::/20", "5f00::/16",
        ),
    }.items()
    for network in networks
}  # fmt: skip

#: IPv6 addresses that stand for the IPv4 address in their last four bytes: mapped ones, and NAT64.
_EMBEDDING: Final = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


def why_refused(address: str) -> str | None:
    """The kind of a literal address that is not for strangers to reach through us; None for a public one.

    Raises:
        ValueError: It is no address.
    """
    ip = _effective(ip_address(address.partition("%")[0]))
    return next((what for network, what in _REFUSED.items() if ip in network), None)


def _effective(ip: IpAddress) -> IpAddress:
    if isinstance(ip, IPv6Address) and any(ip in network for network in _EMBEDDING):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
