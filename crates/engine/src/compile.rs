//! From the document and the scan to a snapshot.
//!
//! Owns the translation of values into rooms and the list of everything wrong with them, all of it in one run. It opens
//! nothing and changes nothing, so that `check` and `apply` can both call it. It must never guess: a value that cannot
//! be read is a message with its place, and the snapshot is refused.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use conf::{BulkKind, Message, Scan, Severity};
use net::outbound::{PermittedPorts, PortSet};
use net::snapshot::{ClientString, ConnectionLimit, Serve, Snapshot, SourceAddr, Upstream};
use policy::{Acl, Chaos, Defaults, LocalZones, LocalZonesBuilder, Origin, Policy, Problem, Texts};
use resolve::{Family, ForwardZone, Forwards, Live, Minimise, Recursion, Server, StubZone, Trust, root_hints};
use wire::{CookieSecret, Name};

use crate::document::{At, Document, Outgoing, Placed};
use crate::surroundings::Surroundings;
use crate::trust::{AutoFile, Trusted, texts, trusted};

/// A snapshot and what was said on the way; the snapshot is missing if any message is an error.
pub struct Compiled {
    /// What packets will read. Over its local zones lies what lay over those of `before`, if they are the same, else nothing.
    pub snapshot: Option<Snapshot>,
    /// A digest of the bulk statements and their order.
    pub(crate) bulk: u64,
    /// A digest of all that the local zones are made of, unless there was something to say of them.
    pub(crate) zones: Option<u64>,
    /// Anchors that follow RFC 5011, as their files have them.
    pub(crate) autos: Vec<AutoFile>,
    /// Every warning and error, in the order of the rooms.
    pub messages: Vec<Message>,
}

/// The local zones of a snapshot and the digest of what they were made of. Compiling takes them over where it would make
/// the same again, which for a million statements takes a second.
pub struct Before {
    pub(crate) zones: u64,
    pub(crate) local: LocalZones,
}

/// Compiles everything and keeps only the messages.
///
/// # Errors
/// The document itself cannot be read.
pub fn check(document: &[u8], scan: Option<&Scan>) -> Result<Vec<Message>, crate::Failure> {
    let document = Document::decode(document).map_err(crate::Failure::new)?;
    Ok(compile(&document, scan, CookieSecret([0; 16]), &Surroundings::default(), &Arc::default(), None).messages)
}

/// Builds the snapshot of a document and the bulk statements of a scan. `cookie_secret` is what cookies are made with
/// when the document brings none: random, the same for the life of the process, so that a reload keeps cookies valid.
/// `found` is what the system and the DNS add to the file, `live` what has changed in trust anchors while it runs.
/// `before` has what may be taken over.
pub fn compile(
    document: &Document,
    scan: Option<&Scan>,
    cookie_secret: CookieSecret,
    found: &Surroundings,
    live: &Arc<Live>,
    before: Option<&Before>,
) -> Compiled {
    let mut messages = Messages { scan, list: Vec::new() };
    let nothing = Trusted { trust: None, autos: Vec::new() };
    let Trusted { trust, autos } = document.trust.as_ref().map_or(nothing, |from| trusted(from, live, &mut messages));
    let forwards = forwards(document, found, trust.as_ref(), &mut messages);
    let acl = acl(document, &mut messages);
    let bulk = scan.map_or(0, digest);
    let (local, zones) = local(document, scan, bulk, &forwards, before, &mut messages);
    let policy = Policy { acl, local, chaos: chaos(document, trust.as_ref()), deny_any: document.serve.deny_any };
    let serve = serve(document, cookie_secret, &mut messages);
    let refused = messages.list.iter().any(|m| m.severity == Severity::Error);
    let snapshot = Snapshot {
        revision: document.revision,
        policy: Arc::new(policy),
        forwards: Arc::new(forwards),
        serve: Arc::new(serve),
    };
    Compiled { snapshot: (!refused).then_some(snapshot), bulk, zones, autos, messages: messages.list }
}

/// A digest of the bulk statements and their order. Statements are the operator's, so chance alone could give two lists one
/// digest, and a hash with fixed keys does.
fn digest(scan: &Scan) -> u64 {
    let mut hasher = DefaultHasher::new();
    for bulk in &scan.bulk {
        (bulk.kind.as_str(), scan.bulk_values(bulk)).hash(&mut hasher);
    }
    hasher.finish()
}

/// Collects messages and turns places by name into places by number.
pub(crate) struct Messages<'a> {
    scan: Option<&'a Scan>,
    list: Vec<Message>,
}

impl Messages<'_> {
    fn place(&self, at: &At) -> conf::At {
        let files = self.scan.map_or(&[][..], |scan| &scan.files);
        // What no file says has a number behind them all.
        let file = files.iter().position(|file| file.name.as_os_str() == at.file.as_str()).unwrap_or(files.len());
        conf::At { file: u32::try_from(file).unwrap_or(0), line: at.line, column: at.column }
    }

    fn origin(&self, at: &At) -> Origin {
        let at = self.place(at);
        Origin { file: at.file, line: at.line, column: at.column }
    }

    pub(crate) fn error(&mut self, at: &At, text: String) {
        self.tell(Severity::Error, at, text);
    }

    pub(crate) fn warning(&mut self, at: &At, text: String) {
        self.tell(Severity::Warning, at, text);
    }

    fn tell(&mut self, severity: Severity, at: &At, text: String) {
        let at = self.place(at);
        self.list.push(Message { severity, at, length: 1, text, hint: None });
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

/// The local zones and the digest of what they are made of. With something to say of them there is no digest: it is to be
/// said again, with the lines of then.
fn local(
    document: &Document,
    scan: Option<&Scan>,
    bulk: u64,
    forwards: &Forwards,
    before: Option<&Before>,
    messages: &mut Messages<'_>,
) -> (LocalZones, Option<u64>) {
    let defaults = Defaults {
        unblock_lan_zones: document.local.unblock_lan_zones,
        served_elsewhere: forwards.zones().map(|zone| zone.name.clone()).collect(),
    };
    let mut hasher = DefaultHasher::new();
    (bulk, defaults.unblock_lan_zones, &defaults.served_elsewhere).hash(&mut hasher);
    let zones = hasher.finish();
    if let Some(before) = before.filter(|before| before.zones == zones) {
        return (before.local.clone(), Some(zones));
    }
    let said = messages.list.len();
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
    let (local, problems) = builder.build(defaults);
    for problem in problems {
        messages.problem(problem);
    }
    (local, (messages.list.len() == said).then_some(zones))
}

fn chaos(document: &Document, trust: Option<&Arc<Trust>>) -> Chaos {
    let chaos = &document.chaos;
    Chaos {
        identity: (!chaos.hide_identity).then(|| chaos.identity.clone()),
        version: (!chaos.hide_version).then(|| chaos.version.clone()),
        trust_anchors: (!chaos.hide_trustanchor).then(|| {
            let trust = trust.cloned();
            Texts::new(move || texts(trust.as_ref()))
        }),
    }
}

/// Whom to ask about what. `found` adds what stands in no file of the operator's.
fn forwards(
    document: &Document,
    found: &Surroundings,
    trust: Option<&Arc<Trust>>,
    messages: &mut Messages<'_>,
) -> Forwards {
    let out = &document.outgoing;
    let tcp_only = out.tcp_upstream || !out.udp;
    let mut builder = Forwards::builder();
    for zone in &document.forwards {
        let Some(name) = name("forward-zone", &zone.name, &zone.at, messages) else { continue };
        let mut servers: Vec<Server> = Vec::with_capacity(zone.servers.len());
        let mut add = |addr| {
            if servers.iter().all(|server| server.addr != addr) {
                servers.push(Server { addr, tls_name: None });
            }
        };
        for server in &zone.servers {
            match address(&server.address) {
                Some(mut addr) => {
                    addr.set_port(server.port);
                    add(addr);
                }
                None => messages.error(&server.at, format!("forward-addr: \"{}\" is not an address", server.address)),
            }
        }
        for host in &zone.hosts {
            let Some(name) = self::name("forward-host", &host.address, &host.at, messages) else { continue };
            let known = found.hosts.get(&name).map(Vec::as_slice).unwrap_or_default();
            known.iter().for_each(|ip| add(SocketAddr::new(*ip, host.port)));
        }
        let (no_cache, first) = (zone.no_cache, zone.first);
        builder.zone(ForwardZone { name, servers, tcp_only: zone.tcp || tcp_only, no_cache, first });
    }
    if let Some(recursion) = document.recursion.as_ref().map(|recursion| self::recursion(recursion, out, messages)) {
        builder.recursion(recursion);
    }
    if let Some(trust) = trust {
        builder.trust(Arc::clone(trust));
    }
    if !found.resolvers.is_empty() {
        let servers = found.resolvers.iter().map(|addr| Server { addr: *addr, tls_name: None }).collect();
        // What these servers say may be about a zone whose own servers would say otherwise, so it is not remembered.
        builder.fallback(ForwardZone { name: Name::root(), servers, tcp_only, no_cache: true, first: false });
    }
    for net in &out.do_not_query {
        if let Some(net) = placed_network("do-not-query-address", net, messages) {
            builder.do_not_query(net);
        }
    }
    if out.do_not_query_localhost {
        builder.do_not_query_localhost();
    }
    for exempt in &out.caps_exempt {
        if let Some(name) = name("caps-exempt", &exempt.value, &exempt.at, messages) {
            builder.caps_exempt(name);
        }
    }
    for net in &out.private_addresses {
        if let Some(net) = placed_network("private-address", net, messages) {
            builder.private_address(net);
        }
    }
    for domain in &out.private_domains {
        if let Some(name) = name("private-domain", &domain.value, &domain.at, messages) {
            builder.private_domain(name);
        }
    }
    builder.build()
}

/// Where recursion begins.
fn recursion(from: &crate::document::Recursion, out: &Outgoing, messages: &mut Messages<'_>) -> Recursion {
    let mut recursion = Recursion::default();
    (recursion.ip4, recursion.ip6) = (out.ip4, out.ip6);
    recursion.prefer = match (from.prefer_ip4, from.prefer_ip6) {
        (true, _) => Some(Family::V4),
        (_, true) => Some(Family::V6),
        _ => None,
    };
    if !from.fetch_policy.is_empty() {
        recursion.fetch_policy.clone_from(&from.fetch_policy);
    }
    recursion.minimise = match (from.minimise, from.minimise_strict) {
        (false, _) => Minimise::Off,
        (_, true) => Minimise::Strict,
        _ => Minimise::Relaxed,
    };
    (recursion.harden_glue, recursion.harden_referral_path) = (from.harden_glue, from.harden_referral_path);
    let tcp_only = out.tcp_upstream || !out.udp;
    let mut root: Option<StubZone> = None;
    for file in &from.root_hints {
        let text = std::fs::read_to_string(&file.value).map_err(|error| format!("{}: {error}", file.value));
        match text.and_then(|text| root_hints(&text)) {
            Ok(None) => messages.warning(&file.at, format!("root-hints: {}: no address in it, not used", file.value)),
            Ok(Some(hints)) => match &mut root {
                Some(root) => {
                    root.servers.extend(hints.servers);
                    root.hosts.extend(hints.hosts);
                }
                None => root = Some(hints),
            },
            Err(error) => messages.error(&file.at, format!("root-hints: {error}")),
        }
    }
    root.map(|root| recursion.stub(root));
    recursion.tcp_only = tcp_only;
    for stub in &from.stubs {
        let Some(name) = name("stub-zone", &stub.name, &stub.at, messages) else { continue };
        let mut zone = StubZone::new(name);
        for server in &stub.servers {
            match address(&server.address) {
                Some(mut addr) => {
                    addr.set_port(server.port);
                    zone.servers.push(addr);
                }
                None => messages.error(&server.at, format!("stub-addr: \"{}\" is not an address", server.address)),
            }
        }
        for host in &stub.hosts {
            zone.hosts.extend(self::name("stub-host", &host.address, &host.at, messages));
        }
        (zone.prime, zone.first, zone.no_cache) = (stub.prime, stub.first, stub.no_cache);
        zone.tcp_only = stub.tcp || tcp_only;
        recursion.stub(zone);
    }
    recursion
}

/// The same of a document that was compiled before, so that there is nothing to say; `trust` is what it made then.
pub(crate) fn forwards_of(document: &Document, found: &Surroundings, trust: Option<&Arc<Trust>>) -> Forwards {
    forwards(document, found, trust, &mut Messages { scan: None, list: Vec::new() })
}

/// A name of the file; what is wrong with it is said.
pub(crate) fn name(option: &str, text: &str, at: &At, messages: &mut Messages<'_>) -> Option<Name> {
    match Name::from_text(text) {
        Ok(name) => Some(name),
        Err(error) => {
            messages.error(at, format!("{option}: \"{text}\" is not a name ({error})"));
            None
        }
    }
}

/// A network of the file; what is wrong with it is said.
fn placed_network(option: &str, net: &Placed, messages: &mut Messages<'_>) -> Option<ipnet::IpNet> {
    let found = network(&net.value);
    if found.is_none() {
        messages.error(&net.at, format!("{option}: \"{}\" is not a network", net.value));
    }
    found
}

fn serve(document: &Document, cookie_secret: CookieSecret, messages: &mut Messages<'_>) -> Serve {
    let (d, out) = (&document.serve, &document.outgoing);
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
    for source in &out.interfaces {
        match network(&source.value) {
            Some(net) => interfaces.push(SourceAddr { addr: net.addr(), prefix: net.prefix_len() }),
            None => {
                messages.error(&source.at, format!("outgoing-interface: \"{}\" is not an address", source.value));
            }
        }
    }
    let mut client_strings = Vec::with_capacity(out.client_strings.len());
    for string in &out.client_strings {
        match network(&string.net) {
            Some(net) => client_strings.push(ClientString {
                addr: net.addr(),
                prefix: net.prefix_len(),
                text: string.text.as_bytes().into(),
            }),
            None => messages.error(&string.at, format!("edns-client-string: \"{}\" is not a network", string.net)),
        }
    }
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
        query_log: None, // `QueryLog::tell`: it takes a key that is not the document's
        extended_statistics: d.extended_statistics,
        unwanted_reply_threshold: out.unwanted_reply_threshold,
        upstream: Upstream {
            ip4: out.ip4,
            ip6: out.ip6,
            tcp: document.socket.tcp,
            interfaces,
            ports: Arc::new(ports(&out.port_rules)),
            range: out.range as usize,
            num_tcp: out.num_tcp as usize,
            tcp_reuse_queries: out.tcp_reuse_queries,
            tcp_reuse_timeout_ms: out.tcp_reuse_timeout,
            tcp_mss: out.tcp_mss,
            dscp: document.socket.dscp,
            client_strings: client_strings.into(),
            client_string_opcode: out.client_string_opcode,
        },
        limits: limits_of(document),
    }
}

/// The numbers of resolving. Where the file says more than a field holds, the most it holds means the same.
fn limits_of(document: &Document) -> resolve::Limits {
    let (out, cache) = (&document.outgoing, &document.cache);
    let short = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    resolve::Limits {
        max_queries: out.queries_per_thread as usize,
        edns_buffer_size: document.serve.edns_buffer_size,
        msg_retry: byte(out.msg_retry),
        max_sends: short(out.max_sent_count),
        max_restarts: byte(out.max_query_restarts),
        unknown_server_time: u64::from(out.unknown_server_time_limit),
        min_rtt_ms: u64::from(out.infra_min_rtt),
        max_rtt_ms: u64::from(out.infra_max_rtt),
        infra_host_ttl_s: out.infra_host_ttl_s,
        infra_numhosts: out.infra_numhosts as usize,
        keep_probing: out.infra_keep_probing,
        fast_server_permil: short(out.fast_server_permil),
        fast_server_num: out.fast_server_num as usize,
        upstream_racing: out.upstream_racing,
        caps_for_id: out.caps_for_id,
        harden_below_nxdomain: cache.harden_below_nxdomain,
        scrub_promiscuous: cache.scrub_promiscuous,
        scrub_ns: cache.scrub_ns as usize,
        scrub_rrsig: cache.scrub_rrsig as usize,
        harden_unknown_additional: cache.harden_unknown_additional,
        harden_unverified_glue: cache.harden_unverified_glue,
        max_global_quota: out.max_global_quota,
        edns_do: out.edns_do,
        prefetch: cache.prefetch,
        client_deadline_ms: u64::from(document.serve.discard_timeout),
        jostle_timeout_ms: u64::from(out.jostle_timeout),
        serve_expired: cache.serve_expired,
        serve_expired_ttl_s: cache.serve_expired_ttl,
        serve_expired_ttl_reset: cache.serve_expired_ttl_reset,
        serve_expired_reply_ttl_s: cache.serve_expired_reply_ttl,
        serve_expired_client_timeout_ms: u64::from(cache.serve_expired_client_timeout),
        ede_serve_expired: cache.ede_serve_expired,
        cache_max_ttl: cache.max_ttl,
        cache_min_ttl: cache.min_ttl,
        cache_max_negative_ttl: cache.max_negative_ttl,
        cache_min_negative_ttl: cache.min_negative_ttl,
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

    use wire::Rtype;

    use super::*;
    use crate::document::tests::{document, forward};
    use crate::document::{AclRule, Forward, ForwardServer};

    fn at(line: u32) -> At {
        At { file: "test.conf".to_owned(), line, column: 3 }
    }

    fn placed(value: &str, line: u32) -> Placed {
        Placed { value: value.to_owned(), at: at(line) }
    }

    fn scan(text: &str) -> Scan {
        conf::scan_text(text.as_bytes().to_vec(), "test.conf", Path::new("/"))
    }

    fn compiled(document: &Document, found: &Surroundings) -> Snapshot {
        compile(document, None, CookieSecret([0; 16]), found, &Arc::default(), None).snapshot.expect("no mistakes")
    }

    fn servers(zone: &ForwardZone) -> Vec<String> {
        zone.servers.iter().map(|server| server.addr.to_string()).collect()
    }

    #[test]
    fn every_mistake_is_reported_with_its_place_and_nothing_is_compiled() {
        let mut document = document();
        document.acl.push(AclRule { net: "10.0.0.0/33".to_owned(), action: "allow".to_owned(), at: at(7) });
        document.forwards.push(Forward { at: at(9), ..forward("a..b", &[]) });
        let host = ForwardServer { address: "c..d".to_owned(), port: 53, at: at(11) };
        document.forwards.push(Forward { hosts: vec![host], ..forward("e.", &[]) });
        document.outgoing.private_addresses.push(placed("10.0.0.0/33", 21));
        document.outgoing.private_domains.push(placed("f..g", 22));
        document.outgoing.caps_exempt.push(placed("h..i", 23));
        document.outgoing.do_not_query.push(placed("here", 24));
        document.outgoing.interfaces.push(placed("there", 25));
        let scan = scan("server:\nlocal-zone: x. statik\nlocal-data: \"y. A 1\"\n");
        let compiled =
            compile(&document, Some(&scan), CookieSecret([0; 16]), &Surroundings::default(), &Arc::default(), None);
        let mut lines: Vec<u32> = compiled.messages.iter().map(|m| m.at.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [2, 3, 7, 9, 11, 21, 22, 23, 24, 25]);
        assert!(compiled.messages.iter().any(|m| m.text == "private-address: \"10.0.0.0/33\" is not a network"));
        assert!(compiled.snapshot.is_none());
    }

    #[test]
    fn forwards_keep_ports_and_scopes() {
        let mut document = document();
        document.forwards.push(forward(".", &["192.0.2.1@5353", "2001:db8::1@5353", "fe80::1%7@5353"]));
        let snapshot = compiled(&document, &Surroundings::default());
        let zone = snapshot.forwards.zones().next().expect("one zone");
        assert_eq!(servers(zone), ["192.0.2.1:5353", "[2001:db8::1]:5353", "[fe80::1%7]:5353"]);
        assert!(!zone.first && !zone.no_cache && !zone.tcp_only);
    }

    #[test]
    fn forward_hosts_are_asked_at_the_addresses_that_are_known_each_once() {
        let mut document = document();
        let host = |name: &str, port| ForwardServer { address: name.to_owned(), port, at: at(1) };
        let hosts = vec![host("dns.example", 5353), host("unknown.example", 53)];
        document.forwards.push(Forward { hosts, first: true, ..forward(".", &["192.0.2.1@5353"]) });
        let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address"));
        let name = Name::from_text("DNS.example.").expect("a name");
        let found = Surroundings { hosts: [(name, ips.to_vec())].into(), ..Surroundings::default() };
        let snapshot = compiled(&document, &found);
        let zone = snapshot.forwards.zones().next().expect("one zone");
        assert_eq!(servers(zone), ["192.0.2.1:5353", "[2001:db8::1]:5353"]);
        assert!(zone.first);
    }

    #[test]
    fn recursion_begins_where_the_file_says_and_nowhere_without_it() {
        let mut document = document();
        assert!(compiled(&document, &Surroundings::default()).forwards.recursion().is_none());
        document.recursion = Some(crate::document::Recursion {
            root_hints: Vec::new(),
            stubs: Vec::new(),
            prefer_ip4: false,
            prefer_ip6: true,
            fetch_policy: vec![-1, 0],
            minimise: true,
            minimise_strict: true,
            harden_glue: false,
            harden_referral_path: true,
        });
        let snapshot = compiled(&document, &Surroundings::default());
        let recursion = snapshot.forwards.recursion().expect("recursion");
        assert_eq!((recursion.minimise, recursion.prefer), (Minimise::Strict, Some(Family::V6)));
        assert_eq!((recursion.harden_glue, recursion.harden_referral_path), (false, true));
        assert_eq!((recursion.ip4, recursion.ip6, recursion.fetch_policy.as_slice()), (true, true, &[-1, 0][..]));
        let from = document.recursion.as_mut().expect("recursion");
        from.root_hints.push(Placed { value: "/nowhere/named.root".to_owned(), at: at(3) });
        let compiled = compile(&document, None, CookieSecret([0; 16]), &Surroundings::default(), &Arc::default(), None);
        assert!(compiled.messages.iter().any(|message| message.text.starts_with("root-hints: /nowhere/named.root")));
    }

    #[test]
    fn the_systems_resolvers_are_a_fallback_that_nothing_is_remembered_of() {
        let resolvers = vec!["127.0.0.53:53", "192.0.2.1:53"].into_iter().map(|a| a.parse().expect("an address"));
        let found = Surroundings { resolvers: resolvers.collect(), ..Surroundings::default() };
        let snapshot = compiled(&document(), &found);
        let fallback = snapshot.forwards.fallback().expect("a fallback");
        assert_eq!(servers(fallback), ["192.0.2.1:53"], "do-not-query-localhost holds here too");
        assert!(fallback.no_cache);
        let mut document = document();
        document.outgoing.do_not_query_localhost = false;
        let snapshot = compiled(&document, &found);
        assert_eq!(snapshot.forwards.fallback().expect("a fallback").servers.len(), 2);
        assert!(compiled(&document, &Surroundings::default()).forwards.fallback().is_none());
    }

    #[test]
    fn private_addresses_and_names_exempt_from_0x20_reach_the_table() {
        let mut document = document();
        document.outgoing.private_addresses.push(placed("10.1.2.3/8", 1));
        document.outgoing.private_domains.push(placed("home.arpa", 2));
        document.outgoing.caps_exempt.push(placed("old.example", 3));
        let snapshot = compiled(&document, &Surroundings::default());
        let name = |text| Name::from_text(text).expect("a name");
        let private = snapshot.forwards.private();
        assert!(private.contains("10.200.0.1".parse().expect("an address")));
        assert!(!private.contains("192.168.0.1".parse().expect("an address")));
        assert!(private.permits(name("nas.home.arpa.").as_ref()) && !private.permits(name("arpa.").as_ref()));
        assert!(snapshot.forwards.caps_exempt(name("www.OLD.example.").as_ref()));
        assert!(snapshot.forwards.find(name("x.").as_ref(), Rtype::A).is_none());
    }

    #[test]
    fn every_number_of_resolving_comes_from_its_option_and_defaults_are_the_rooms_own() {
        // Resolving has one default that is not Unbound's: `num-queries-per-thread` of 1.17.1 and of the room differ.
        let mut snapshot = compiled(&document(), &Surroundings::default());
        let limits = Arc::get_mut(&mut snapshot.serve).map(|serve| serve.limits).expect("the only one");
        let same = resolve::Limits { max_queries: 2048, ..resolve::Limits::default() };
        assert_eq!(limits, same);

        let mut document = document();
        let (out, cache) = (&mut document.outgoing, &mut document.cache);
        (out.queries_per_thread, out.jostle_timeout, out.msg_retry, out.unknown_server_time_limit) = (1, 2, 3, 4);
        (out.max_query_restarts, out.max_sent_count, out.infra_host_ttl_s, out.infra_numhosts) = (5, 70_000, 7, 8);
        (out.infra_min_rtt, out.infra_max_rtt, out.fast_server_permil, out.fast_server_num) = (9, 10, 11, 12);
        (out.caps_for_id, out.infra_keep_probing, out.upstream_racing) = (true, true, true);
        (cache.serve_expired, cache.serve_expired_ttl_reset, cache.ede_serve_expired) = (true, true, true);
        (cache.prefetch, cache.harden_below_nxdomain, cache.scrub_promiscuous) = (true, false, false);
        (cache.scrub_ns, cache.scrub_rrsig, out.max_global_quota) = (21, 23, 24);
        (cache.harden_unknown_additional, cache.harden_unverified_glue, out.edns_do) = (true, true, false);
        (cache.serve_expired_ttl, cache.serve_expired_reply_ttl, cache.serve_expired_client_timeout) = (13, 14, 15);
        (cache.max_ttl, cache.min_ttl, cache.max_negative_ttl, cache.min_negative_ttl) = (16, 17, 18, 19);
        (document.serve.discard_timeout, document.serve.edns_buffer_size) = (20, 512);
        let wanted = resolve::Limits {
            max_queries: 1,
            edns_buffer_size: 512,
            msg_retry: 3,
            max_sends: u16::MAX,
            max_restarts: 5,
            unknown_server_time: 4,
            min_rtt_ms: 9,
            max_rtt_ms: 10,
            infra_host_ttl_s: 7,
            infra_numhosts: 8,
            keep_probing: true,
            fast_server_permil: 11,
            fast_server_num: 12,
            upstream_racing: true,
            caps_for_id: true,
            harden_below_nxdomain: false,
            scrub_promiscuous: false,
            scrub_ns: 21,
            scrub_rrsig: 23,
            harden_unknown_additional: true,
            harden_unverified_glue: true,
            max_global_quota: 24,
            edns_do: false,
            prefetch: true,
            client_deadline_ms: 20,
            jostle_timeout_ms: 2,
            serve_expired: true,
            serve_expired_ttl_s: 13,
            serve_expired_ttl_reset: true,
            serve_expired_reply_ttl_s: 14,
            serve_expired_client_timeout_ms: 15,
            ede_serve_expired: true,
            cache_max_ttl: 16,
            cache_min_ttl: 17,
            cache_max_negative_ttl: 18,
            cache_min_negative_ttl: 19,
        };
        assert_eq!(compiled(&document, &Surroundings::default()).serve.limits, wanted);
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
        document.forwards.push(forward(".", &[]));
        assert!(compiled(&document, &Surroundings::default()).forwards.zones().all(|zone| zone.tcp_only));
    }

    #[test]
    fn a_short_cookie_secret_is_refused() {
        let mut document = document();
        document.serve.cookie_secrets.push(serde_bytes::ByteBuf::from(vec![1; 15]));
        let compiled = compile(&document, None, CookieSecret([0; 16]), &Surroundings::default(), &Arc::default(), None);
        assert!(compiled.messages.iter().any(|m| m.text.starts_with("cookie-secret: ")));
    }
}
