//! From the document and the scan to a snapshot.
//!
//! Owns the translation of values into rooms and the list of everything wrong with them, all of it in one run. It opens
//! nothing and changes nothing, so that `check` and `apply` can both call it. It must never guess: a value that cannot
//! be read is a message with its place, and the snapshot is refused.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use conf::{BulkKind, Message, Scan, Severity};
use net::outbound::{PermittedPorts, PortSet};
use net::snapshot::{ConnectionLimit, Serve, Snapshot, SourceAddr, Upstream};
use policy::{Acl, Chaos, Defaults, LocalZones, LocalZonesBuilder, Origin, Policy, Problem};
use resolve::{ForwardZone, Forwards, Server};
use wire::{CookieSecret, Name};

use crate::document::{At, Document};

/// A snapshot and what was said on the way; the snapshot is missing if any message is an error.
pub struct Compiled {
    /// What packets will read.
    pub snapshot: Option<Snapshot>,
    /// Every warning and error, in the order of the rooms.
    pub messages: Vec<Message>,
}

/// Compiles everything and keeps only the messages.
///
/// # Errors
/// The document itself cannot be read.
pub fn check(document: &[u8], scan: Option<&Scan>) -> Result<Vec<Message>, crate::Failure> {
    let document = Document::decode(document).map_err(crate::Failure::new)?;
    Ok(compile(&document, scan, CookieSecret([0; 16])).messages)
}

/// Builds the snapshot of a document and the bulk statements of a scan. `cookie_secret` is what cookies are made with
/// when the document brings none: random, the same for the life of the process, so that a reload keeps cookies valid.
pub fn compile(document: &Document, scan: Option<&Scan>, cookie_secret: CookieSecret) -> Compiled {
    let mut messages = Messages { scan, list: Vec::new() };
    let forwards = forwards(document, &mut messages);
    let policy = Policy {
        acl: acl(document, &mut messages),
        local: local(document, scan, &forwards, &mut messages),
        chaos: chaos(document),
        deny_any: document.serve.deny_any,
    };
    let serve = serve(document, cookie_secret, &mut messages);
    let refused = messages.list.iter().any(|m| m.severity == Severity::Error);
    let snapshot = Snapshot {
        revision: document.revision,
        policy: Arc::new(policy),
        forwards: Arc::new(forwards),
        serve: Arc::new(serve),
    };
    Compiled { snapshot: (!refused).then_some(snapshot), messages: messages.list }
}

/// Collects messages and turns places by name into places by number.
struct Messages<'a> {
    scan: Option<&'a Scan>,
    list: Vec<Message>,
}

impl Messages<'_> {
    fn place(&self, at: &At) -> conf::At {
        let files = self.scan.map_or(&[][..], |scan| &scan.files);
        let file = files.iter().position(|file| file.name.as_os_str() == at.file.as_str()).unwrap_or(0);
        conf::At { file: u32::try_from(file).unwrap_or(0), line: at.line, column: at.column }
    }

    fn origin(&self, at: &At) -> Origin {
        let at = self.place(at);
        Origin { file: at.file, line: at.line, column: at.column }
    }

    fn error(&mut self, at: &At, text: String) {
        let at = self.place(at);
        self.list.push(Message { severity: Severity::Error, at, length: 1, text, hint: None });
    }

    fn problem(&mut self, problem: Problem) {
        let Origin { file, line, column } = problem.origin;
        let severity = match problem.severity {
            policy::Severity::Warning => Severity::Warning,
            policy::Severity::Error => Severity::Error,
        };
        let at = conf::At { file, line, column };
        self.list.push(Message { severity, at, length: 1, text: problem.text, hint: problem.hint });
    }
}

fn acl(document: &Document, messages: &mut Messages<'_>) -> Acl {
    let mut builder = Acl::builder();
    for rule in &document.acl {
        if let Err(problem) = builder.add(&rule.net, &rule.action, messages.origin(&rule.at)) {
            messages.problem(problem);
        }
    }
    builder.build()
}

fn local(document: &Document, scan: Option<&Scan>, forwards: &Forwards, messages: &mut Messages<'_>) -> LocalZones {
    let mut builder = LocalZonesBuilder::new();
    for bulk in scan.map_or(&[][..], |scan| &scan.bulk) {
        let Some(scan) = scan else { break };
        let [first, second] = scan.bulk_values(bulk).map(String::from_utf8_lossy);
        let origin = Origin { file: bulk.at.file, line: bulk.at.line, column: bulk.at.column };
        let added = match bulk.kind {
            BulkKind::LocalZone => builder.zone(&first, &second, origin),
            BulkKind::LocalData => builder.data(&first, origin),
            BulkKind::LocalDataPtr => builder.data_ptr(&first, origin),
        };
        if let Err(problem) = added {
            messages.problem(problem);
        }
    }
    let defaults = Defaults {
        unblock_lan_zones: document.local.unblock_lan_zones,
        served_elsewhere: forwards.zones().map(|zone| zone.name.clone()).collect(),
    };
    let (zones, problems) = builder.build(defaults);
    for problem in problems {
        messages.problem(problem);
    }
    zones
}

fn chaos(document: &Document) -> Chaos {
    let chaos = &document.chaos;
    Chaos {
        identity: (!chaos.hide_identity).then(|| chaos.identity.clone()),
        version: (!chaos.hide_version).then(|| chaos.version.clone()),
        trust_anchors: (!chaos.hide_trustanchor).then(Vec::new),
    }
}

fn forwards(document: &Document, messages: &mut Messages<'_>) -> Forwards {
    let mut builder = Forwards::builder();
    for zone in &document.forwards {
        let name = match Name::from_text(&zone.name) {
            Ok(name) => name,
            Err(error) => {
                messages.error(&zone.at, format!("forward-zone: \"{}\" is not a name ({error})", zone.name));
                continue;
            }
        };
        let mut servers = Vec::with_capacity(zone.servers.len());
        for server in &zone.servers {
            match address(&server.address) {
                Some(SocketAddr::V4(v4)) => servers.push(SocketAddr::new(IpAddr::V4(*v4.ip()), server.port)),
                Some(SocketAddr::V6(mut v6)) => {
                    v6.set_port(server.port);
                    servers.push(SocketAddr::V6(v6));
                }
                None => messages.error(&server.at, format!("forward-addr: \"{}\" is not an address", server.address)),
            }
        }
        builder.zone(ForwardZone {
            name,
            servers: servers.into_iter().map(|addr| Server { addr, tls_name: None }).collect(),
            tcp_only: zone.tcp || document.outgoing.tcp_upstream || !document.outgoing.udp,
            no_cache: zone.no_cache,
            first: false,
        });
    }
    for net in &document.outgoing.do_not_query {
        match network(net) {
            Some(net) => drop(builder.do_not_query(net)),
            None => messages.error(&At::default(), format!("do-not-query-address: \"{net}\" is not a network")),
        }
    }
    if document.outgoing.do_not_query_localhost {
        builder.do_not_query_localhost();
    }
    builder.build()
}

fn serve(document: &Document, cookie_secret: CookieSecret, messages: &mut Messages<'_>) -> Serve {
    let (d, out, cache) = (&document.serve, &document.outgoing, &document.cache);
    let mut limits = Vec::with_capacity(d.tcp_connection_limits.len());
    for limit in &d.tcp_connection_limits {
        match network(&limit.net) {
            Some(net) => {
                limits.push(ConnectionLimit { addr: net.addr(), prefix: net.prefix_len(), limit: limit.limit });
            }
            None => messages.error(&limit.at, format!("tcp-connection-limit: \"{}\" is not a network", limit.net)),
        }
    }
    let mut secrets = Vec::with_capacity(d.cookie_secrets.len());
    for secret in &d.cookie_secrets {
        match <[u8; 16]>::try_from(secret.as_slice()) {
            Ok(secret) => secrets.push(CookieSecret(secret)),
            Err(_) => messages.error(&At::default(), "cookie-secret: it takes 32 hex digits (128 bits)".to_owned()),
        }
    }
    if d.cookie_secrets.is_empty() {
        secrets.push(cookie_secret);
    }
    let mut interfaces = Vec::with_capacity(out.interfaces.len());
    for text in &out.interfaces {
        match network(text) {
            Some(net) => interfaces.push(SourceAddr { addr: net.addr(), prefix: net.prefix_len() }),
            None => messages.error(&At::default(), format!("outgoing-interface: \"{text}\" is not an address")),
        }
    }
    let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    Serve {
        edns_buffer_size: d.edns_buffer_size,
        max_udp_size: d.max_udp_size,
        minimal_responses: d.minimal_responses,
        rrset_roundrobin: d.rrset_roundrobin,
        answer_cookie: d.answer_cookie,
        cookie_secrets: secrets,
        nsid: d.nsid.as_ref().map(|nsid| nsid.as_slice().into()),
        ede: d.ede,
        harden_short_bufsize: d.harden_short_bufsize,
        harden_large_queries: d.harden_large_queries,
        sock_queue_timeout_ms: d.sock_queue_timeout,
        discard_timeout_ms: d.discard_timeout,
        wait_limit: d.wait_limit,
        wait_limit_cookie: d.wait_limit_cookie,
        tcp_idle_timeout_ms: d.tcp_idle_timeout,
        edns_tcp_keepalive: d.edns_tcp_keepalive,
        edns_tcp_keepalive_timeout_ms: d.edns_tcp_keepalive_timeout,
        tcp_clients_per_worker: d.incoming_num_tcp as usize,
        tcp_connection_limits: limits,
        stream_wait_size: usize::try_from(d.stream_wait_size).unwrap_or(usize::MAX),
        log_queries: d.log_queries,
        log_replies: d.log_replies,
        log_local_actions: d.log_local_actions,
        log_servfail: d.log_servfail,
        log_tag_queryreply: d.log_tag_queryreply,
        log_destaddr: d.log_destaddr,
        extended_statistics: d.extended_statistics,
        upstream: Upstream {
            ip4: out.ip4,
            ip6: out.ip6,
            tcp: document.socket.tcp,
            interfaces,
            ports: Arc::new(ports(&out.port_rules)),
            range: out.range as usize,
            num_tcp: out.num_tcp as usize,
            tcp_mss: out.tcp_mss,
            dscp: document.socket.dscp,
        },
        limits: resolve::Limits {
            max_queries: out.queries_per_thread as usize,
            edns_buffer_size: d.edns_buffer_size,
            msg_retry: byte(out.msg_retry),
            max_restarts: byte(out.max_query_restarts),
            unknown_server_time: u64::from(out.unknown_server_time_limit),
            cache_max_ttl: cache.max_ttl,
            cache_min_ttl: cache.min_ttl,
            cache_max_negative_ttl: cache.max_negative_ttl,
            cache_min_negative_ttl: cache.min_negative_ttl,
            ..resolve::Limits::default()
        },
    }
}

/// The source ports that the rules leave of the default set.
fn ports(rules: &[(bool, u16, u16)]) -> PortSet {
    let mut ports = PermittedPorts::new();
    for &(permit, first, last) in rules {
        if permit {
            ports.permit(first, last);
        } else {
            ports.avoid(first, last);
        }
    }
    ports.build()
}

/// `ip` or `ip/length`.
fn network(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(Into::into))
}

/// An address, IPv6 with `%scope` (a number or an interface's name); the port is 0.
pub(crate) fn address(text: &str) -> Option<SocketAddr> {
    let Some((ip, scope)) = text.split_once('%') else {
        return text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
    };
    let ip = ip.parse::<Ipv6Addr>().ok()?;
    let scope = match scope.parse() {
        Ok(number) => number,
        Err(_) => sys::interfaces::index_of(scope)?,
    };
    Some(SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, scope)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::tests::document;
    use crate::document::{AclRule, Forward, ForwardServer};

    fn at(line: u32) -> At {
        At { file: "test.conf".to_owned(), line, column: 3 }
    }

    fn scan(text: &str) -> Scan {
        conf::scan_text(text.as_bytes().to_vec(), "test.conf", Path::new("/"))
    }

    #[test]
    fn every_mistake_is_reported_with_its_place_and_nothing_is_compiled() {
        let mut document = document();
        document.acl.push(AclRule { net: "10.0.0.0/33".to_owned(), action: "allow".to_owned(), at: at(7) });
        document.forwards.push(Forward {
            name: "a..b".to_owned(),
            servers: Vec::new(),
            tcp: false,
            no_cache: false,
            at: at(9),
        });
        let scan = scan("server:\nlocal-zone: x. statik\nlocal-data: \"y. A 1\"\n");
        let compiled = compile(&document, Some(&scan), CookieSecret([0; 16]));
        let lines: Vec<u32> = compiled.messages.iter().map(|m| m.at.line).collect();
        assert_eq!(lines, [9, 7, 2, 3]);
        assert!(compiled.snapshot.is_none());
    }

    #[test]
    fn forwards_keep_ports_and_scopes() {
        let mut document = document();
        let server = |address: &str| ForwardServer { address: address.to_owned(), port: 5353, at: at(1) };
        document.forwards.push(Forward {
            name: ".".to_owned(),
            servers: vec![server("192.0.2.1"), server("2001:db8::1"), server("fe80::1%7")],
            tcp: false,
            no_cache: false,
            at: at(1),
        });
        let snapshot = compile(&document, None, CookieSecret([0; 16])).snapshot.expect("no mistakes");
        let zone = snapshot.forwards.zones().next().expect("one zone");
        let servers: Vec<String> = zone.servers.iter().map(|s| s.addr.to_string()).collect();
        assert_eq!(servers, ["192.0.2.1:5353", "[2001:db8::1]:5353", "[fe80::1%7]:5353"]);
    }

    #[test]
    fn port_rules_start_from_the_default_set_and_the_last_word_counts() {
        assert_eq!(ports(&[]), PortSet::default());
        let only = ports(&[(false, 0, 65535), (true, 4000, 4001), (false, 4001, 4001)]);
        assert_eq!((only.len(), only.get(0)), (1, 4000));
        assert_eq!(ports(&[(true, 1000, 1000)]).len(), PortSet::default().len() + 1);
    }

    #[test]
    fn without_udp_towards_upstreams_every_zone_is_asked_over_tcp() {
        let mut document = document();
        document.outgoing.udp = false;
        let forward = Forward { name: ".".to_owned(), servers: Vec::new(), tcp: false, no_cache: false, at: at(1) };
        document.forwards.push(forward);
        let snapshot = compile(&document, None, CookieSecret([0; 16])).snapshot.expect("no mistakes");
        assert!(snapshot.forwards.zones().all(|zone| zone.tcp_only));
    }

    #[test]
    fn a_short_cookie_secret_is_refused() {
        let mut document = document();
        document.serve.cookie_secrets.push(serde_bytes::ByteBuf::from(vec![1; 15]));
        let compiled = compile(&document, None, CookieSecret([0; 16]));
        assert!(compiled.messages.iter().any(|m| m.text.starts_with("cookie-secret: ")));
    }
}
