"""Public resolvers that one may forward to, so that nobody has to look their addresses up.

Owns the list, as the operators publish it. It recommends none, and must never ask any.
"""

from typing import Final

import msgspec


class Preset(msgspec.Struct, frozen=True):
    """One service."""

    name: str
    operator: str
    addresses: tuple[str, ...]
    tls_name: str
    """The name of its certificate, for DNS over TLS and HTTPS."""
    filters: bool
    """Whether it leaves out names that it holds to be harmful."""
    validates: bool = True
    """Whether it checks signatures itself."""


PRESETS: Final = (
    Preset(
        "quad9",
        "Quad9, Switzerland",
        ("9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"),
        "dns.quad9.net",
        filters=True,
    ),
    Preset(
        "quad9-unfiltered",
        "Quad9, Switzerland",
        ("9.9.9.10", "149.112.112.10", "2620:fe::10", "2620:fe::fe:10"),
        "dns10.quad9.net",
        filters=False,
        validates=False,
    ),
    Preset(
        "cloudflare",
        "Cloudflare, United States",
        ("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
        "one.one.one.one",
        filters=False,
    ),
    Preset(
        "cloudflare-security",
        "Cloudflare, United States",
        ("1.1.1.2", "1.0.0.2", "2606:4700:4700::1112", "2606:4700:4700::1002"),
        "security.cloudflare-dns.com",
        filters=True,
    ),
    Preset(
        "google",
        "Google, United States",
        ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
        "dns.google",
        filters=False,
    ),
    Preset(
        "opendns",
        "Cisco, United States",
        ("208.67.222.222", "208.67.220.220", "2620:119:35::35", "2620:119:53::53"),
        "dns.opendns.com",
        filters=True,
    ),
    Preset(
        "adguard",
        "AdGuard, Cyprus",
        ("94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"),
        "dns.adguard-dns.com",
        filters=True,
    ),
)
