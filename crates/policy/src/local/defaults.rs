//! The local zones that are there without being asked for: names that mean nothing, or something else, in the public DNS.
//!
//! It owns the list and the contents. It never decides whether a zone is taken in: a zone of the operator with the same
//! name and `nodefault` come first, and the builder sees to that.
//!
//! The first two groups are Unbound 1.17.1's, record for record. The third has names that were reserved later, or that
//! Unbound leaves to the public DNS; since someone may use them behind a forwarder, they give way to any forward, stub
//! or authority zone at or below them.

/// Who a default zone is for, and so what takes it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Always there.
    Always,
    /// Reverse names of private networks: not there with `unblock-lan-zones: yes`.
    Lan,
    /// Not in Unbound 1.17.1: gives way to zones that are served from elsewhere.
    Added,
}

/// A record of a default zone.
pub(super) struct DefaultRecord {
    /// Labels in front of the zone's name, each with its dot; empty for the apex.
    pub(super) below: &'static str,
    /// Seconds.
    pub(super) ttl: u32,
    /// Its type and data, or `None` for a name that merely exists.
    pub(super) data: Option<(wire::Rtype, &'static [u8])>,
}

/// A default zone.
pub(super) struct DefaultZone {
    pub(super) name: String,
    pub(super) kind: super::ZoneKind,
    pub(super) group: Group,
    /// What it has beside [`SOA`] and [`NS`].
    pub(super) extra: &'static [DefaultRecord],
}

/// The TTL of the records of default zones, in seconds.
pub(super) const TTL: u32 = 10800;

/// `localhost.`
pub(super) const NS: &[u8] = b"\x09localhost\0";

/// `localhost. nobody.invalid. 1 3600 1200 604800 10800`
pub(super) const SOA: &[u8] = b"\x09localhost\0\x06nobody\x07invalid\0\
    \0\0\0\x01\0\0\x0e\x10\0\0\x04\xb0\0\x09\x3a\x80\0\0\x2a\x30";

const V6_ONE: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";
const V6_UNSPECIFIED: &str = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

const fn at(below: &'static str, ttl: u32, rtype: wire::Rtype, data: &'static [u8]) -> DefaultRecord {
    DefaultRecord { below, ttl, data: Some((rtype, data)) }
}

/// RFC 6761 6.3: every name under `localhost.` is this host.
const LOCALHOST: &[DefaultRecord] = &[
    at("", TTL, wire::Rtype::A, &[127, 0, 0, 1]),
    at("", TTL, wire::Rtype::AAAA, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
];
const REVERSE_V4: &[DefaultRecord] = &[at("1.0.0.", TTL, wire::Rtype::PTR, NS)];
const REVERSE_V6: &[DefaultRecord] = &[at("", TTL, wire::Rtype::PTR, NS)];

/// The TTL the public zone has for these addresses, in seconds.
const IPV4ONLY_TTL: u32 = 86400;
/// RFC 8880 7.1: the well-known addresses by which a client finds out about NAT64.
const IPV4ONLY: &[DefaultRecord] =
    &[at("", IPV4ONLY_TTL, wire::Rtype::A, &[192, 0, 0, 170]), at("", IPV4ONLY_TTL, wire::Rtype::A, &[192, 0, 0, 171])];
/// RFC 8880 7.2: and their names.
const IPV4ONLY_REVERSE: &[DefaultRecord] = &[at("", IPV4ONLY_TTL, wire::Rtype::PTR, b"\x08ipv4only\x04arpa\0")];
/// RFC 9462 6.4: NODATA for the name under which a resolver designates its encrypted selves, if it has none.
const RESOLVER: &[DefaultRecord] = &[DefaultRecord { below: "_dns.", ttl: TTL, data: None }];

/// All default zones.
pub(super) fn zones() -> Vec<DefaultZone> {
    use Group::{Added, Always, Lan};

    let mut all = Vec::new();
    let mut zone = |group, name: String, kind, extra| all.push(DefaultZone { name, kind, group, extra });
    let mut fixed = |group, name: &str, extra| zone(group, name.to_owned(), super::ZoneKind::Static, extra);

    fixed(Always, "127.in-addr.arpa.", REVERSE_V4);
    fixed(Always, V6_ONE, REVERSE_V6);
    fixed(Always, "home.arpa.", &[]); // RFC 8375
    fixed(Always, "onion.", &[]); // RFC 7686
    fixed(Always, "test.", &[]); // RFC 6761 6.2
    fixed(Always, "invalid.", &[]); // RFC 6761 6.4

    // RFC 6303 4: reverse names of addresses that mean something else everywhere.
    for name in [
        "10.in-addr.arpa.",
        "168.192.in-addr.arpa.",
        "0.in-addr.arpa.",
        "254.169.in-addr.arpa.",
        "2.0.192.in-addr.arpa.",
        "100.51.198.in-addr.arpa.",
        "113.0.203.in-addr.arpa.",
        "255.255.255.255.in-addr.arpa.",
        V6_UNSPECIFIED,
        "d.f.ip6.arpa.",
        "8.e.f.ip6.arpa.",
        "9.e.f.ip6.arpa.",
        "a.e.f.ip6.arpa.",
        "b.e.f.ip6.arpa.",
        "8.b.d.0.1.0.0.2.ip6.arpa.",
    ] {
        fixed(Lan, name, &[]);
    }
    for second in 16..32 {
        fixed(Lan, &format!("{second}.172.in-addr.arpa."), &[]);
    }
    // RFC 7793: the shared address space 100.64.0.0/10.
    for second in 64..128 {
        fixed(Lan, &format!("{second}.100.in-addr.arpa."), &[]);
    }

    fixed(Added, "alt.", &[]); // RFC 9476
    fixed(Added, "internal.", &[]); // reserved by ICANN in 2024 for private use
    fixed(Added, "service.arpa.", &[]); // RFC 9665
    fixed(Added, "resolver.arpa.", RESOLVER);
    fixed(Added, "ipv4only.arpa.", IPV4ONLY);
    fixed(Added, "170.0.0.192.in-addr.arpa.", IPV4ONLY_REVERSE);
    fixed(Added, "171.0.0.192.in-addr.arpa.", IPV4ONLY_REVERSE);

    zone(Always, "localhost.".to_owned(), super::ZoneKind::Redirect, LOCALHOST);
    all
}
