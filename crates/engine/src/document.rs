//! The document: what Python hands over, one msgpack value.
//!
//! Owns the shape of everything that crosses the door at start and reload, field for field the mirror of
//! `python/runbound/engine/document.py`, where each field is explained. It only reads; what the values mean is decided
//! in [`crate::compile`].

use serde::Deserialize;

/// Version of the shape. Any other is refused: the two halves of a wheel always come together.
pub const VERSION: u32 = 5;

/// Where a value stands in the operator's files; line 0 means "not in a file".
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct At {
    /// Path as the scanner names it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in octets, from 1.
    pub column: u32,
}

/// Where log lines go and how they look.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Log {
    pub file: String,
    pub syslog: bool,
    pub verbosity: u8,
    pub time: String,
    pub identity: String,
    pub json: bool,
}

/// What is kept of queries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct QueryLog {
    pub retention: u64,
    pub clients: String,
    pub file: String,
}

/// One `interface:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Listen {
    pub interface: String,
    pub port: u16,
    pub at: At,
}

/// Options of every listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Socket {
    pub udp: bool,
    pub tcp: bool,
    pub rcvbuf: u32,
    pub sndbuf: u32,
    pub tcp_mss: u32,
    pub dscp: u8,
    pub freebind: bool,
    pub transparent: bool,
    pub automatic: bool,
    pub ip4: bool,
    pub ip6: bool,
}

/// One `access-control:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct AclRule {
    pub net: String,
    pub action: String,
    pub at: At,
}

/// Which built-in zones are wanted.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Local {
    pub unblock_lan_zones: bool,
}

/// Answers of class CH.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Chaos {
    pub identity: String,
    pub version: String,
    pub hide_identity: bool,
    pub hide_version: bool,
    pub hide_trustanchor: bool,
}

/// One `tcp-connection-limit:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct ConnectionLimit {
    pub net: String,
    pub limit: u32,
    pub at: At,
}

/// What a worker reads for each packet.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Serve {
    pub edns_buffer_size: u16,
    pub max_udp_size: u16,
    pub minimal_responses: bool,
    pub rrset_roundrobin: bool,
    pub answer_cookie: bool,
    pub cookie_secrets: Vec<serde_bytes::ByteBuf>,
    pub nsid: Option<serde_bytes::ByteBuf>,
    pub ede: bool,
    pub deny_any: bool,
    pub harden_short_bufsize: bool,
    pub harden_large_queries: bool,
    pub sock_queue_timeout: u32,
    pub discard_timeout: u32,
    pub wait_limit: u32,
    pub wait_limit_cookie: u32,
    pub stream_wait_size: u64,
    pub extended_statistics: bool,
    pub tcp_idle_timeout: u32,
    pub edns_tcp_keepalive: bool,
    pub edns_tcp_keepalive_timeout: u32,
    pub incoming_num_tcp: u32,
    pub tcp_connection_limits: Vec<ConnectionLimit>,
    pub log_queries: bool,
    pub log_replies: bool,
    pub log_local_actions: bool,
    pub log_servfail: bool,
    pub log_tag_queryreply: bool,
    pub log_destaddr: bool,
}

/// One `edns-client-string:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct ClientString {
    pub net: String,
    pub text: String,
    pub at: At,
}

/// A value of an option that adds up, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Placed {
    pub value: String,
    pub at: At,
}

/// One `forward-addr:` or `forward-host:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct ForwardServer {
    pub address: String,
    pub port: u16,
    pub at: At,
}

/// One `forward-zone:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Forward {
    pub name: String,
    pub servers: Vec<ForwardServer>,
    pub hosts: Vec<ForwardServer>,
    pub tcp: bool,
    pub first: bool,
    pub no_cache: bool,
    pub at: At,
}

/// One `stub-zone:`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Stub {
    pub name: String,
    pub servers: Vec<ForwardServer>,
    pub hosts: Vec<ForwardServer>,
    pub tcp: bool,
    pub prime: bool,
    pub first: bool,
    pub no_cache: bool,
    pub at: At,
}

/// How names outside all forward zones are found.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Recursion {
    pub root_hints: Vec<Placed>,
    pub stubs: Vec<Stub>,
    pub prefer_ip4: bool,
    pub prefer_ip6: bool,
    pub fetch_policy: Vec<i32>,
    pub minimise: bool,
    pub minimise_strict: bool,
    pub harden_glue: bool,
    pub harden_referral_path: bool,
}

/// What is believed, and how strictly. Missing where nothing is validated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Trust {
    pub anchors: Vec<Placed>,
    pub anchor_files: Vec<Placed>,
    pub bind_files: Vec<Placed>,
    pub auto_files: Vec<Placed>,
    pub insecure: Vec<Placed>,
    pub built_in: bool,
    pub date: Option<i64>,
    pub skew_min_s: u32,
    pub skew_max_s: u32,
    pub bogus_ttl_s: u32,
    pub max_restart: u32,
    pub iterations: Vec<(u32, u32)>,
    pub sha1: bool,
    pub fake_sha1: bool,
    pub fake_dsa: bool,
    pub permissive: bool,
    pub clean_additional: bool,
    pub ignore_cd: bool,
    pub harden_dnssec_stripped: bool,
    pub harden_algo_downgrade: bool,
    pub lame_check: bool,
    pub aggressive_nsec: bool,
    pub prefetch_key: bool,
    pub sentinel: bool,
    pub signal: bool,
    pub log_level: u32,
    pub add_holddown_s: u64,
    pub del_holddown_s: u64,
    pub keep_missing_s: u64,
    pub small_holddown: bool,
}

/// How upstreams are asked.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Outgoing {
    pub ip4: bool,
    pub ip6: bool,
    pub udp: bool,
    pub tcp_upstream: bool,
    pub tcp_mss: u32,
    pub interfaces: Vec<Placed>,
    pub port_rules: Vec<(bool, u16, u16)>,
    pub range: u32,
    pub num_tcp: u32,
    pub tcp_reuse_queries: u32,
    pub tcp_reuse_timeout: u32,
    pub do_not_query: Vec<Placed>,
    pub do_not_query_localhost: bool,
    pub queries_per_thread: u32,
    pub jostle_timeout: u32,
    pub msg_retry: u32,
    pub unknown_server_time_limit: u32,
    pub max_query_restarts: u32,
    pub max_sent_count: u32,
    pub caps_for_id: bool,
    pub caps_exempt: Vec<Placed>,
    pub private_addresses: Vec<Placed>,
    pub private_domains: Vec<Placed>,
    pub infra_host_ttl_s: u32,
    pub infra_numhosts: u32,
    pub infra_min_rtt: u32,
    pub infra_max_rtt: u32,
    pub infra_keep_probing: bool,
    pub fast_server_permil: u32,
    pub fast_server_num: u32,
    pub unwanted_reply_threshold: u32,
    pub upstream_racing: bool,
    pub resolv_conf: String,
    pub max_global_quota: u32,
    pub edns_do: bool,
    pub client_strings: Vec<ClientString>,
    pub client_string_opcode: u16,
}

/// Memory and TTL policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Cache {
    pub messages: u64,
    pub rrsets: u64,
    pub min_ttl: u32,
    pub max_ttl: u32,
    pub min_negative_ttl: u32,
    pub max_negative_ttl: u32,
    pub serve_expired: bool,
    pub serve_expired_ttl: u32,
    pub serve_expired_ttl_reset: bool,
    pub serve_expired_reply_ttl: u32,
    pub serve_expired_client_timeout: u32,
    pub ede_serve_expired: bool,
    pub prefetch: bool,
    pub harden_below_nxdomain: bool,
    pub scrub_promiscuous: bool,
    pub scrub_ns: u32,
    pub scrub_rrsig: u32,
    pub harden_unknown_additional: bool,
    pub harden_unverified_glue: bool,
    pub keys: u64,
    pub negatives: u64,
}

/// The whole.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "explained in document.py")]
pub struct Document {
    pub version: u32,
    pub revision: u64,
    pub threads: usize,
    pub log: Log,
    pub querylog: QueryLog,
    pub listen: Vec<Listen>,
    pub socket: Socket,
    pub acl: Vec<AclRule>,
    pub local: Local,
    pub chaos: Chaos,
    pub serve: Serve,
    pub forwards: Vec<Forward>,
    pub recursion: Option<Recursion>,
    pub trust: Option<Trust>,
    pub outgoing: Outgoing,
    pub cache: Cache,
}

impl Document {
    /// Reads the msgpack form.
    ///
    /// # Errors
    /// What is wrong with the bytes. Python made them, so this is a defect of ours and never the operator's mistake.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let document: Self = rmp_serde::from_slice(bytes).map_err(|e| format!("the document cannot be read: {e}"))?;
        if document.version != VERSION {
            return Err(format!("the document has version {}, this engine reads {VERSION}", document.version));
        }
        Ok(document)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A document that listens nowhere and forwards nothing, with Unbound's defaults.
    pub(crate) fn document() -> Document {
        Document {
            version: VERSION,
            revision: 1,
            threads: 1,
            log: Log {
                file: String::new(),
                syslog: false,
                verbosity: 0,
                time: "unix".to_owned(),
                identity: "runbound".to_owned(),
                json: false,
            },
            querylog: QueryLog::default(),
            listen: Vec::new(),
            socket: Socket {
                udp: true,
                tcp: true,
                rcvbuf: 0,
                sndbuf: 0,
                tcp_mss: 0,
                dscp: 0,
                freebind: false,
                transparent: false,
                automatic: false,
                ip4: true,
                ip6: true,
            },
            acl: Vec::new(),
            local: Local { unblock_lan_zones: false },
            chaos: Chaos {
                identity: "test".to_owned(),
                version: "test 1".to_owned(),
                hide_identity: false,
                hide_version: false,
                hide_trustanchor: false,
            },
            serve: Serve {
                edns_buffer_size: 1232,
                max_udp_size: 1232,
                minimal_responses: true,
                rrset_roundrobin: false,
                answer_cookie: false,
                cookie_secrets: Vec::new(),
                nsid: None,
                ede: true,
                deny_any: false,
                harden_short_bufsize: true,
                harden_large_queries: false,
                sock_queue_timeout: 0,
                discard_timeout: 1900,
                wait_limit: 1000,
                wait_limit_cookie: 10000,
                stream_wait_size: 4 << 20,
                extended_statistics: false,
                tcp_idle_timeout: 30000,
                edns_tcp_keepalive: false,
                edns_tcp_keepalive_timeout: 120_000,
                incoming_num_tcp: 10,
                tcp_connection_limits: Vec::new(),
                log_queries: false,
                log_replies: false,
                log_local_actions: false,
                log_servfail: false,
                log_tag_queryreply: false,
                log_destaddr: false,
            },
            forwards: Vec::new(),
            recursion: None,
            trust: None,
            outgoing: Outgoing {
                ip4: true,
                ip6: true,
                udp: true,
                tcp_upstream: false,
                tcp_mss: 0,
                interfaces: Vec::new(),
                port_rules: Vec::new(),
                range: 4096,
                num_tcp: 10,
                tcp_reuse_queries: 200,
                tcp_reuse_timeout: 60_000,
                do_not_query: Vec::new(),
                do_not_query_localhost: true,
                queries_per_thread: 2048,
                jostle_timeout: 200,
                msg_retry: 5,
                unknown_server_time_limit: 376,
                max_query_restarts: 11,
                max_sent_count: 32,
                caps_for_id: false,
                caps_exempt: Vec::new(),
                private_addresses: Vec::new(),
                private_domains: Vec::new(),
                infra_host_ttl_s: 900,
                infra_numhosts: 10_000,
                infra_min_rtt: 50,
                infra_max_rtt: 120_000,
                infra_keep_probing: false,
                fast_server_permil: 0,
                fast_server_num: 3,
                unwanted_reply_threshold: 0,
                upstream_racing: false,
                resolv_conf: String::new(),
                max_global_quota: 200,
                edns_do: true,
                client_strings: Vec::new(),
                client_string_opcode: 65001,
            },
            cache: Cache {
                messages: 4 << 20,
                rrsets: 4 << 20,
                min_ttl: 0,
                max_ttl: 86400,
                min_negative_ttl: 0,
                max_negative_ttl: 3600,
                serve_expired: false,
                serve_expired_ttl: 86400,
                serve_expired_ttl_reset: false,
                serve_expired_reply_ttl: 30,
                serve_expired_client_timeout: 1800,
                ede_serve_expired: false,
                prefetch: false,
                harden_below_nxdomain: true,
                scrub_promiscuous: true,
                scrub_ns: 20,
                scrub_rrsig: 8,
                harden_unknown_additional: false,
                harden_unverified_glue: false,
                keys: 4 << 20,
                negatives: 1 << 20,
            },
        }
    }

    /// Validation with nothing to begin at, at Unbound's defaults.
    pub(crate) fn trust() -> Trust {
        Trust {
            anchors: Vec::new(),
            anchor_files: Vec::new(),
            bind_files: Vec::new(),
            auto_files: Vec::new(),
            insecure: Vec::new(),
            built_in: false,
            date: None,
            skew_min_s: 3600,
            skew_max_s: 86_400,
            bogus_ttl_s: 60,
            max_restart: 5,
            iterations: vec![(1024, 150), (2048, 150), (4096, 150)],
            sha1: true,
            fake_sha1: false,
            fake_dsa: false,
            permissive: false,
            clean_additional: true,
            ignore_cd: false,
            harden_dnssec_stripped: true,
            harden_algo_downgrade: false,
            lame_check: true,
            aggressive_nsec: true,
            prefetch_key: false,
            sentinel: true,
            signal: true,
            log_level: 0,
            add_holddown_s: 30 * 86_400,
            del_holddown_s: 30 * 86_400,
            keep_missing_s: 366 * 86_400,
            small_holddown: false,
        }
    }

    /// A plain forward zone with these addresses, `ip` or `ip@port`.
    pub(crate) fn forward(name: &str, addresses: &[&str]) -> Forward {
        let at = || At { file: "test.conf".to_owned(), line: 1, column: 1 };
        let server = |text: &&str| {
            let (address, port) = text.split_once('@').unwrap_or((text, "53"));
            ForwardServer { address: address.to_owned(), port: port.parse().expect("a port"), at: at() }
        };
        Forward {
            name: name.to_owned(),
            servers: addresses.iter().map(server).collect(),
            hosts: Vec::new(),
            tcp: false,
            first: false,
            no_cache: false,
            at: at(),
        }
    }

    #[test]
    fn bytes_that_are_no_document_are_refused() {
        assert!(Document::decode(b"").is_err());
        assert!(Document::decode(&[0xc0]).is_err());
    }
}
