//! What a packet is answered by: one immutable value, shared by all workers.
//!
//! Owns the shape of the per-packet options and their defaults (Unbound's). A snapshot never changes once it is made:
//! a reload makes the next one, which shares the parts that did not change, and hands it to the workers
//! (`Pool::apply`). Nothing here reads a file or knows what an option is called in Python.

use crate::outbound::PortSet;
use crate::tape::Clients;
use std::net::IpAddr;
use std::sync::Arc;
use wire::CookieSecret;

/// Default of `edns-client-string-opcode`: the first number for local use (RFC 6891 9).
const CLIENT_STRING_OPCODE: u16 = 65_001;

/// Everything the answer to a packet depends on, except what is remembered (`store`).
pub struct Snapshot {
    /// Counts up with each change; answers remembered under another revision are not used.
    pub revision: u64,
    /// What we may say: access control, local data.
    pub policy: Arc<policy::Policy>,
    /// Where to ask.
    pub forwards: Arc<resolve::Forwards>,
    /// How to serve and how to ask.
    pub serve: Arc<Serve>,
}

/// A netblock and how many connections clients from it may have open (`tcp-connection-limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionLimit {
    /// Its address.
    pub addr: IpAddr,
    /// Its prefix length, 0 to 32 or 128.
    pub prefix: u8,
    /// Connections at once, over all workers; 0 refuses all.
    pub limit: u32,
}

impl ConnectionLimit {
    /// Whether the netblock contains the address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        within(self.addr, self.prefix, ip)
    }
}

/// A source of upstream queries (`outgoing-interface`): an address, or an IPv6 netblock of which a random address is
/// taken for each query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddr {
    /// The address or the netblock's.
    pub addr: IpAddr,
    /// 32 or 128 for one address; less, only with IPv6, for a netblock.
    pub prefix: u8,
}

/// Per-packet options. Each field names the Unbound option it holds.
#[derive(Clone, Debug)]
pub struct Serve {
    /// `edns-buffer-size`: octets of UDP payload we take, told to clients. (What upstreams are told is `resolve`'s.)
    pub edns_buffer_size: u16,
    /// `max-udp-size`: octets of the largest UDP answer, whatever the client offers.
    pub max_udp_size: u16,
    /// `minimal-responses`.
    pub minimal_responses: bool,
    /// `rrset-roundrobin`.
    pub rrset_roundrobin: bool,
    /// `answer-cookie`: answer DNS cookies (RFC 7873, RFC 9018).
    pub answer_cookie: bool,
    /// `cookie-secret`, `cookie-secret-file`: the active secret first, then those still accepted.
    pub cookie_secrets: Vec<CookieSecret>,
    /// `nsid`: octets of the server identifier (RFC 5001).
    pub nsid: Option<Box<[u8]>>,
    /// `ede`: attach extended errors (RFC 8914).
    pub ede: bool,
    /// `harden-short-bufsize`: treat EDNS sizes under 512 as 512.
    pub harden_short_bufsize: bool,
    /// `harden-large-queries`: drop UDP queries over 512 octets.
    pub harden_large_queries: bool,
    /// `sock-queue-timeout`, in milliseconds: drop UDP queries that waited longer in the socket; 0 is off. Works on
    /// listeners opened with `timestamps`.
    pub sock_queue_timeout_ms: u32,
    /// `discard-timeout`, in milliseconds: UDP clients that waited longer are counted, for the mesh should have told them
    /// something by then (`client_deadline_ms`); 0 is off.
    pub discard_timeout_ms: u32,
    /// `wait-limit`: answers one client address may wait for on one worker; 0 sets no limit, not even
    /// `wait-limit-cookie`. Loopback is exempt, as in Unbound.
    pub wait_limit: u32,
    /// `wait-limit-cookie`: the same for a client with a valid cookie.
    pub wait_limit_cookie: u32,
    /// `tcp-idle-timeout`, in milliseconds.
    pub tcp_idle_timeout_ms: u32,
    /// `edns-tcp-keepalive` (RFC 7828).
    pub edns_tcp_keepalive: bool,
    /// `edns-tcp-keepalive-timeout`, in milliseconds.
    pub edns_tcp_keepalive_timeout_ms: u32,
    /// `incoming-num-tcp`: client connections one worker keeps; more wait in the kernel. 0 takes none.
    pub tcp_clients_per_worker: usize,
    /// `tcp-connection-limit`: the most specific netblock decides.
    pub tcp_connection_limits: Vec<ConnectionLimit>,
    /// `stream-wait-size`: octets of answers one worker keeps for slow readers.
    pub stream_wait_size: usize,
    /// `unwanted-reply-threshold`: unwanted replies to one worker at which the cache is emptied; 0 is off.
    pub unwanted_reply_threshold: u32,
    /// `log-queries`.
    pub log_queries: bool,
    /// `log-replies`.
    pub log_replies: bool,
    /// `log-local-actions`.
    pub log_local_actions: bool,
    /// `log-servfail`.
    pub log_servfail: bool,
    /// `log-tag-queryreply`.
    pub log_tag_queryreply: bool,
    /// `log-destaddr`.
    pub log_destaddr: bool,
    /// `log-retention`, `log-client-ip`, `query-log-file`: what the query log holds of clients; `None` keeps no log.
    pub query_log: Option<Clients>,
    /// `extended-statistics`: report the counters by type, class, rcode and flags too.
    pub extended_statistics: bool,
    /// How upstream servers are asked.
    pub upstream: Upstream,
    /// What `resolve` may do for a query.
    pub limits: resolve::Limits,
}

/// A text for servers in a netblock (`edns-client-string`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientString {
    /// The netblock's address.
    pub addr: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// The octets that the option carries.
    pub text: Box<[u8]>,
}

/// How upstream servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// `do-ip4`.
    pub ip4: bool,
    /// `do-ip6`.
    pub ip6: bool,
    /// `do-tcp`: else what needs TCP fails.
    pub tcp: bool,
    /// `outgoing-interface`; empty lets the kernel choose.
    pub interfaces: Vec<SourceAddr>,
    /// `outgoing-port-permit`, `outgoing-port-avoid`.
    pub ports: Arc<PortSet>,
    /// `outgoing-range`: UDP queries under way on one worker; more wait.
    pub range: usize,
    /// `outgoing-num-tcp`: TCP connections open on one worker; more wait. 0 asks nobody over TCP.
    pub num_tcp: usize,
    /// `max-reuse-tcp-queries`: queries sent over one TCP connection.
    pub tcp_reuse_queries: u32,
    /// `tcp-reuse-timeout`, in milliseconds: how long a TCP connection is kept that has nothing to do.
    pub tcp_reuse_timeout_ms: u32,
    /// `outgoing-tcp-mss`, in octets; 0 is the system's.
    pub tcp_mss: u32,
    /// `ip-dscp`: 0 to 63.
    pub dscp: u8,
    /// `edns-client-string`; the most specific netblock decides.
    pub client_strings: Arc<[ClientString]>,
    /// `edns-client-string-opcode`: the number of the EDNS option.
    pub client_string_opcode: u16,
}

impl Upstream {
    /// The text that goes with queries to this server, if one does.
    pub(crate) fn client_string(&self, server: IpAddr) -> Option<&[u8]> {
        let of_it = |string: &&ClientString| within(string.addr, string.prefix, server);
        let string = self.client_strings.iter().filter(of_it).max_by_key(|string| string.prefix)?;
        Some(&string.text)
    }
}

/// Whether a netblock contains an address.
fn within(net: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let shift = 32_u32.saturating_sub(u32::from(prefix));
            (u32::from(net) ^ u32::from(ip)).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let shift = 128_u32.saturating_sub(u32::from(prefix));
            (u128::from(net) ^ u128::from(ip)).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Upstream {
            ip4: true,
            ip6: true,
            tcp: true,
            interfaces: Vec::new(),
            ports: Arc::new(PortSet::default()),
            range: 4096,
            num_tcp: 10,
            tcp_reuse_queries: 200,
            tcp_reuse_timeout_ms: 60_000,
            tcp_mss: 0,
            dscp: 0,
            client_strings: Arc::default(),
            client_string_opcode: CLIENT_STRING_OPCODE,
        }
    }
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            edns_buffer_size: 1232,
            max_udp_size: 1232,
            minimal_responses: true,
            rrset_roundrobin: true,
            answer_cookie: false,
            cookie_secrets: Vec::new(),
            nsid: None,
            ede: false,
            harden_short_bufsize: true,
            harden_large_queries: false,
            sock_queue_timeout_ms: 0,
            discard_timeout_ms: 1_900,
            wait_limit: 1_000,
            wait_limit_cookie: 10_000,
            tcp_idle_timeout_ms: 30_000,
            edns_tcp_keepalive: false,
            edns_tcp_keepalive_timeout_ms: 120_000,
            tcp_clients_per_worker: 10,
            tcp_connection_limits: Vec::new(),
            stream_wait_size: 4 << 20,
            unwanted_reply_threshold: 0,
            log_queries: false,
            log_replies: false,
            log_local_actions: false,
            log_servfail: false,
            log_tag_queryreply: false,
            log_destaddr: false,
            query_log: None,
            extended_statistics: false,
            upstream: Upstream::default(),
            limits: resolve::Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netblocks_contain_what_they_should() {
        let block = |addr: &str, prefix| ConnectionLimit { addr: addr.parse().unwrap(), prefix, limit: 1 };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(block("10.0.0.0", 8).contains(ip("10.255.0.1")));
        assert!(!block("10.0.0.0", 8).contains(ip("11.0.0.1")));
        assert!(block("0.0.0.0", 0).contains(ip("192.0.2.1")));
        assert!(!block("0.0.0.0", 0).contains(ip("::1")));
        assert!(block("2001:db8::", 32).contains(ip("2001:db8:1::1")));
        assert!(block("::", 0).contains(ip("2001:db8::1")));
        assert!(!block("192.0.2.1", 32).contains(ip("192.0.2.2")));
        let text = |addr: &str, prefix, text: &[u8]| ClientString { addr: ip(addr), prefix, text: text.into() };
        let strings = [text("10.0.0.0", 24, b"a"), text("10.0.0.9", 32, b"b"), text("2001:db8::", 32, b"c")];
        let upstream = Upstream { client_strings: strings.into(), ..Upstream::default() };
        for (server, expect) in
            [("10.0.0.1", Some("a")), ("10.0.0.9", Some("b")), ("10.0.1.9", None), ("2001:db8::1", Some("c"))]
        {
            assert_eq!(upstream.client_string(ip(server)), expect.map(str::as_bytes), "{server}");
        }
    }
}
