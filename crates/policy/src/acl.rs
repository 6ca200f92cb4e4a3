//! `access-control`: how a client is treated, by its address.
//!
//! It owns the netblocks and finds the most specific one that holds an address. It never sees a packet and does not
//! carry its own actions out; the pipeline does. The netblocks, which nest, are flattened when they are built into
//! ranges that do not, so that a look-up is one binary search and allocates nothing. Views and tags of netblocks will
//! hang on these ranges beside the action.
//!
//! As Unbound does it: 127.0.0.0/8 and ::1 are allowed and all other addresses refused unless the operator says
//! otherwise; of two statements for the same netblock the last one in the file counts; bits below the prefix length
//! may be set and mean nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::problem::{Origin, Problem, nearest};

/// What is done with queries from a netblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclAction {
    /// Dropped without an answer.
    Deny,
    /// Answered REFUSED.
    Refuse,
    /// Served; without RD only local data.
    Allow,
    /// Served as if RD were set (against RFC 1034, for clients that forget it).
    AllowSetrd,
    /// Served, and queries without RD may look into the cache.
    AllowSnoop,
    /// Served over TCP or with a valid server cookie (RFC 7873); over UDP without one BADCOOKIE is answered.
    AllowCookie,
    /// Local data are answered, all else dropped.
    DenyNonLocal,
    /// Local data are answered, all else REFUSED.
    RefuseNonLocal,
}

impl AclAction {
    /// All actions, in the order of the manual.
    pub const ALL: [AclAction; 8] = [
        AclAction::Deny,
        AclAction::Refuse,
        AclAction::Allow,
        AclAction::AllowSetrd,
        AclAction::AllowSnoop,
        AclAction::AllowCookie,
        AclAction::DenyNonLocal,
        AclAction::RefuseNonLocal,
    ];

    /// The word in `unbound.conf`.
    pub fn word(self) -> &'static str {
        match self {
            AclAction::Deny => "deny",
            AclAction::Refuse => "refuse",
            AclAction::Allow => "allow",
            AclAction::AllowSetrd => "allow_setrd",
            AclAction::AllowSnoop => "allow_snoop",
            AclAction::AllowCookie => "allow_cookie",
            AclAction::DenyNonLocal => "deny_non_local",
            AclAction::RefuseNonLocal => "refuse_non_local",
        }
    }

    /// The action of a word, which is lower case.
    pub fn from_word(word: &str) -> Option<AclAction> {
        AclAction::ALL.into_iter().find(|action| action.word() == word)
    }
}

/// The netblocks, ready to be looked up. A clone costs nothing.
#[derive(Clone, Debug)]
pub struct Acl {
    /// Where a range begins and what is done from there to the next one; begins with 0.
    v4: Arc<[(u32, AclAction)]>,
    /// The same for IPv6.
    v6: Arc<[(u128, AclAction)]>,
    /// The netblocks as they were given, for [`Acl::rule`].
    blocks: Arc<[Block]>,
}

impl Default for Acl {
    /// What holds when nothing is configured: this host is allowed, the others are refused.
    fn default() -> Acl {
        AclBuilder::new().build()
    }
}

impl Acl {
    /// A builder with the defaults in it.
    pub fn builder() -> AclBuilder {
        AclBuilder::new()
    }

    /// What is done with queries from `ip`. An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is the IPv4 address.
    pub fn lookup(&self, ip: IpAddr) -> AclAction {
        match ip.to_canonical() {
            IpAddr::V4(v4) => find(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => find(&self.v6, v6.to_bits()),
        }
    }
}

impl Acl {
    /// The netblock that decides for `ip`, with its prefix length: the most specific one that holds it. Looks at all of them:
    /// for those who want to know, not for packets.
    pub fn rule(&self, ip: IpAddr) -> Option<(IpAddr, u8)> {
        let (bits, mapped) = match ip.to_canonical() {
            IpAddr::V4(v4) => (MAPPED | u128::from(v4.to_bits()), true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let of_family = |block: &&Block| (block.prefix >= MAPPED_PREFIX && is_mapped(block.bits)) == mapped;
        let holds = |block: &&Block| bits & mask(block.prefix) == block.bits;
        let block = self.blocks.iter().filter(of_family).filter(holds).max_by_key(|block| block.prefix)?;
        Some(match mapped {
            true => (IpAddr::V4(Ipv4Addr::from_bits(block.bits as u32)), block.prefix - MAPPED_PREFIX),
            false => (IpAddr::V6(Ipv6Addr::from_bits(block.bits)), block.prefix),
        })
    }
}

/// The action of the last range that begins at or before `at`.
fn find<T: Ord + Copy>(ranges: &[(T, AclAction)], at: T) -> AclAction {
    let after = ranges.partition_point(|(start, _)| *start <= at);
    ranges.get(after.wrapping_sub(1)).map_or(AclAction::Refuse, |(_, action)| *action)
}

/// Collects `access-control` statements in file order.
#[derive(Clone, Debug)]
pub struct AclBuilder {
    blocks: Vec<Block>,
}

/// A netblock as 128 bits: IPv4 lies in `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug)]
struct Block {
    bits: u128,
    prefix: u8,
    action: AclAction,
}

/// The bits in front of an IPv4 address in IPv6 clothes.
const MAPPED: u128 = 0xffff << 32;
/// How many bits these are.
const MAPPED_PREFIX: u8 = 96;

impl Default for AclBuilder {
    fn default() -> AclBuilder {
        AclBuilder::new()
    }
}

impl AclBuilder {
    /// A builder with the defaults in it.
    pub fn new() -> AclBuilder {
        let mut builder = AclBuilder { blocks: Vec::new() };
        builder.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0, AclAction::Refuse);
        builder.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, AclAction::Refuse);
        builder.push(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8, AclAction::Allow);
        builder.push(IpAddr::V6(Ipv6Addr::LOCALHOST), 128, AclAction::Allow);
        builder
    }

    /// Adds `access-control: netblock action`. The netblock is `address` or `address/length`.
    ///
    /// # Errors
    /// The netblock or the action cannot be read; nothing is added.
    pub fn add(&mut self, netblock: &str, action: &str, origin: Origin) -> Result<(), Problem> {
        let block = parse_netblock(netblock).map_err(|what| {
            Problem::error(origin, format!("access-control: \"{netblock}\" is not a network ({what})"))
        });
        let known = AclAction::from_word(action).ok_or_else(|| {
            let problem = Problem::error(origin, format!("access-control: \"{action}\" is not an action"));
            let words = AclAction::ALL.map(AclAction::word);
            problem.with_hint(match nearest(action, words) {
                Some(word) => format!("did you mean {word}?"),
                None => format!("one of {}", words.join(", ")),
            })
        });
        let (address, prefix) = block?;
        self.push(address, prefix, known?);
        Ok(())
    }

    /// Adds a netblock that was read elsewhere. `prefix` is cut to 32 or 128.
    pub fn push(&mut self, address: IpAddr, prefix: u8, action: AclAction) {
        let (bits, prefix) = match address {
            IpAddr::V4(v4) => (MAPPED | u128::from(v4.to_bits()), MAPPED_PREFIX + prefix.min(32)),
            IpAddr::V6(v6) => (v6.to_bits(), prefix.min(128)),
        };
        self.blocks.push(Block { bits: bits & mask(prefix), prefix, action });
    }

    /// Flattens the netblocks.
    pub fn build(self) -> Acl {
        let mut blocks = self.blocks;
        // Stable: of equal netblocks the last in the file stays last, and the last one is kept.
        blocks.sort_by_key(|block| (block.bits, block.prefix));
        blocks.reverse();
        blocks.dedup_by_key(|block| (block.bits, block.prefix));
        blocks.reverse();
        let kept = blocks.as_slice().into();
        let (v4, v6): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|b| b.prefix >= MAPPED_PREFIX && is_mapped(b.bits));
        let v4 = flatten(&v4, MAPPED).into_iter().filter(|(start, _)| is_mapped(*start));
        let v4 = v4.filter_map(|(start, action)| Some((u32::try_from(start ^ MAPPED).ok()?, action))).collect();
        Acl { v4, v6: flatten(&v6, 0).into(), blocks: kept }
    }
}

/// Whether the bits are an IPv4 address in IPv6 clothes.
fn is_mapped(bits: u128) -> bool {
    bits >> 32 == MAPPED >> 32
}

/// The mask of a prefix length.
fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

/// Turns blocks that nest, sorted by address and then from wide to narrow, into ranges that do not.
fn flatten(blocks: &[Block], first: u128) -> Vec<(u128, AclAction)> {
    let mut ranges = vec![(first, AclAction::Refuse)];
    let mut open: Vec<(u128, AclAction)> = Vec::new(); // the last address and the action of each block we are inside of
    for block in blocks.iter().map(Some).chain([None]) {
        while let Some(&(end, _)) = open.last() {
            if block.is_some_and(|block| block.bits <= end) {
                break;
            }
            open.pop();
            let outer = open.last().map_or(AclAction::Refuse, |(_, action)| *action);
            if let Some(next) = end.checked_add(1) {
                put(&mut ranges, next, outer);
            }
        }
        if let Some(block) = block {
            put(&mut ranges, block.bits, block.action);
            open.push((block.bits | !mask(block.prefix), block.action));
        }
    }
    ranges
}

/// Begins a range; the one before ends there.
fn put(ranges: &mut Vec<(u128, AclAction)>, start: u128, action: AclAction) {
    match ranges.last_mut() {
        Some(last) if last.0 == start => last.1 = action,
        Some(last) if last.1 == action => {}
        _ => ranges.push((start, action)),
    }
}

/// Reads `address` or `address/length`; says what is wrong otherwise.
fn parse_netblock(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| format!("\"{address}\" is not an IPv4 or IPv6 address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length {
        None => Ok((address, most)),
        Some(length) => match length.parse::<u8>() {
            Ok(prefix) if prefix <= most => Ok((address, prefix)),
            _ => Err(format!("the prefix length is 0 to {most}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acl(statements: &[(&str, &str)]) -> Acl {
        let mut builder = Acl::builder();
        for (netblock, action) in statements {
            builder.add(netblock, action, Origin::default()).unwrap();
        }
        builder.build()
    }

    fn look(acl: &Acl, ip: &str) -> &'static str {
        acl.lookup(ip.parse().unwrap()).word()
    }

    #[test]
    fn this_host_is_allowed_and_the_others_are_refused() {
        let acl = Acl::default();
        for (ip, action) in [
            ("127.0.0.1", "allow"),
            ("127.255.255.255", "allow"),
            ("::1", "allow"),
            ("::ffff:127.0.0.1", "allow"),
            ("128.0.0.0", "refuse"),
            ("126.255.255.255", "refuse"),
            ("0.0.0.0", "refuse"),
            ("255.255.255.255", "refuse"),
            ("::", "refuse"),
            ("::2", "refuse"),
            ("2001:db8::1", "refuse"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "refuse"),
        ] {
            assert_eq!(look(&acl, ip), action, "{ip}");
        }
    }

    #[test]
    fn the_most_specific_netblock_wins_in_any_order() {
        let statements =
            [("10.0.0.0/8", "allow"), ("10.1.0.0/16", "deny"), ("10.1.2.0/24", "allow_snoop"), ("10.1.2.3", "refuse")];
        let mut reversed = statements;
        reversed.reverse();
        for acl in [acl(&statements), acl(&reversed)] {
            for (ip, action) in [
                ("10.0.0.0", "allow"),
                ("10.1.0.0", "deny"),
                ("10.1.2.2", "allow_snoop"),
                ("10.1.2.3", "refuse"),
                ("10.1.2.4", "allow_snoop"),
                ("10.1.3.0", "deny"),
                ("10.2.0.0", "allow"),
                ("11.0.0.0", "refuse"),
                ("::ffff:10.1.2.3", "refuse"),
            ] {
                assert_eq!(look(&acl, ip), action, "{ip}");
            }
        }
    }

    #[test]
    fn of_equal_netblocks_the_last_one_counts() {
        let acl = acl(&[
            ("127.0.0.0/8", "refuse"),
            ("127.0.0.11/32", "allow"),
            ("127.0.0.11", "refuse_non_local"),
            ("127.9.9.9/16", "allow_setrd"),
            ("::ffff:192.0.2.0/120", "deny_non_local"),
            ("0.0.0.0/0", "allow_cookie"),
        ]);
        assert_eq!(look(&acl, "127.0.0.1"), "refuse");
        assert_eq!(look(&acl, "127.0.0.11"), "refuse_non_local");
        assert_eq!(look(&acl, "127.9.0.1"), "allow_setrd");
        assert_eq!(look(&acl, "192.0.2.255"), "deny_non_local");
        assert_eq!(look(&acl, "192.0.3.0"), "allow_cookie");
        assert_eq!(look(&acl, "2001:db8::"), "refuse");
    }

    #[test]
    fn the_rule_that_decides_is_told_as_it_was_given() {
        let acl = acl(&[
            ("10.0.0.0/8", "allow"),
            ("10.1.2.3/16", "deny"),
            ("10.1.0.0/16", "refuse"),
            ("2001:db8::/32", "allow"),
            ("::ffff:192.0.2.0/120", "deny_non_local"),
        ]);
        for (ip, rule, action) in [
            ("10.9.9.9", "10.0.0.0/8", "allow"),
            ("10.1.9.9", "10.1.0.0/16", "refuse"),
            ("::ffff:10.1.9.9", "10.1.0.0/16", "refuse"),
            ("192.0.2.77", "192.0.2.0/24", "deny_non_local"),
            ("198.51.100.1", "0.0.0.0/0", "refuse"),
            ("2001:db8::1", "2001:db8::/32", "allow"),
            ("2001:db9::1", "::/0", "refuse"),
            ("127.0.0.1", "127.0.0.0/8", "allow"),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            let (net, prefix) = acl.rule(ip).unwrap();
            assert_eq!((format!("{net}/{prefix}").as_str(), acl.lookup(ip).word()), (rule, action), "{ip}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut builder = Acl::builder();
        let at = Origin { file: 1, line: 41, column: 17 };
        let mut text = |netblock, action| {
            let problem = builder.add(netblock, action, at).unwrap_err();
            assert_eq!(problem.origin, at);
            (problem.text, problem.hint)
        };
        assert_eq!(
            text("10.0.0.0/33", "allow").0,
            "access-control: \"10.0.0.0/33\" is not a network (the prefix length is 0 to 32)"
        );
        assert_eq!(
            text("foo", "allow").0,
            "access-control: \"foo\" is not a network (\"foo\" is not an IPv4 or IPv6 address)"
        );
        assert_eq!(
            text("::1/-1", "allow").0,
            "access-control: \"::1/-1\" is not a network (the prefix length is 0 to 128)"
        );
        assert_eq!(
            text("::1", "alow"),
            ("access-control: \"alow\" is not an action".to_owned(), Some("did you mean allow?".to_owned()))
        );
        assert!(text("::1", "open").1.unwrap().starts_with("one of deny, refuse, allow,"));
    }

    /// The slow and obvious way: look at every block.
    fn naive(blocks: &[(IpAddr, u8, AclAction)], ip: IpAddr) -> AclAction {
        let wide = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96),
            IpAddr::V6(v6) => (v6.to_bits(), 0),
        };
        let mut best = (0, AclAction::Refuse);
        for (address, prefix, action) in blocks {
            let ((bits, extra), (ip_bits, ip_extra)) = (wide(*address), wide(ip));
            if extra == ip_extra && (bits ^ ip_bits) & mask(extra + prefix) == 0 && extra + prefix >= best.0 {
                best = (extra + prefix, *action);
            }
        }
        best.1
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        // Few different bits, so that blocks nest and addresses fall into them.
        prop_oneof![
            (0..8u32, 0..4u32).prop_map(|(a, b)| IpAddr::V4(Ipv4Addr::from_bits(a << 29 | b))),
            (0..8u128, 0..4u128).prop_map(|(a, b)| IpAddr::V6(Ipv6Addr::from_bits(a << 125 | b))),
        ]
    }

    proptest! {
        #[test]
        fn ranges_say_what_the_blocks_say(
            blocks in prop::collection::vec((address(), 0..129u8, 0..8usize), 0..20),
            ips in prop::collection::vec(address(), 1..40),
        ) {
            let mut builder = Acl::builder();
            let mut all = vec![
                ("127.0.0.0".parse().unwrap(), 8, AclAction::Allow),
                ("::1".parse().unwrap(), 128, AclAction::Allow),
            ];
            for (address, prefix, action) in blocks {
                let prefix = if address.is_ipv4() { prefix % 33 } else { prefix };
                all.push((address, prefix, AclAction::ALL[action]));
                builder.push(address, prefix, AclAction::ALL[action]);
            }
            let acl = builder.build();
            for ip in ips {
                prop_assert_eq!(acl.lookup(ip), naive(&all, ip), "{}", ip);
            }
        }
    }
}
