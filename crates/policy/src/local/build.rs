//! Text in, local zones and problems out.
//!
//! It owns the reading of `local-zone`, `local-data` and `local-data-ptr` and the order in which they take effect. It
//! never answers, and it reports every problem it finds rather than the first.
//!
//! The order is Unbound's, which keeps its lists newest first: zones and records are entered from the last in the file
//! to the first, and what is there already stays. So the last of two zones of one name counts, and so does the last of
//! two records that differ in nothing but the TTL; each new RRset, and each new record of an RRset, goes in front, which
//! gives the order of the file back. Then, between zones and records: the default zones, and the implicit ones.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use wire::{Class, Name, NameBuf, NameRef, Rtype, parse_record};

use super::defaults::{self, DefaultRecord, DefaultZone, Group};
use super::zones::{Enclosing, LocalZones, Made, NONE, Node, Record, Set, Store, Zone, ZoneKind, index};
use crate::problem::{Origin, Problem, nearest};
use crate::walk::Walk;

/// Seconds a record of `local-data` may be kept when it does not say so.
const DEFAULT_TTL: u32 = 3600;
/// Most octets of names, and of data, that can be held: the store points into them with 32 bits. The rest is left for
/// the longest record, so that what passes this check always fits.
const MAX_OCTETS: usize = (u32::MAX as usize) - (1 << 17);

/// What the configuration says of the default zones.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// `unblock-lan-zones`: the reverse names of private networks are not taken over.
    pub unblock_lan_zones: bool,
    /// The names of all forward, stub and authority zones. Default zones that Unbound does not have give way to them.
    pub served_elsewhere: Vec<Name>,
}

/// Collects the statements of a configuration in file order.
#[derive(Debug, Default)]
pub struct LocalZonesBuilder {
    store: Store,
    zones: Vec<ZoneStatement>,
    data: Vec<DataStatement>,
    /// Names whose default zone is not wanted, and where that is said.
    nodefault: HashMap<Name, Origin>,
    /// Where the last name was put: zones and records of one name mostly stand together and share its octets.
    last_name: Option<u32>,
}

#[derive(Debug)]
struct ZoneStatement {
    name: u32,
    kind: ZoneKind,
    origin: Origin,
}

#[derive(Debug)]
struct DataStatement {
    name: u32,
    ttl: u32,
    data: u32,
    len: u16,
    rtype: Rtype,
    class: Class,
    origin: Origin,
}

impl LocalZonesBuilder {
    /// A builder without any statement.
    pub fn new() -> LocalZonesBuilder {
        LocalZonesBuilder::default()
    }

    /// Adds `local-zone: name kind`.
    ///
    /// # Errors
    /// Name or type cannot be read; nothing is added.
    pub fn zone(&mut self, name: &str, kind: &str, origin: Origin) -> Result<(), Problem> {
        let parsed = NameBuf::from_text(name)
            .map_err(|what| Problem::error(origin, format!("local-zone: \"{name}\" is not a name: {what}")));
        let kind = match kind {
            "nodefault" => None,
            "ipset" => {
                let text = "local-zone: type ipset needs the ipset module, which is not offered".to_owned();
                return Err(Problem::error(origin, text).with_hint("take the zone out, or give it another type"));
            }
            word => Some(ZoneKind::from_word(word).ok_or_else(|| unknown_kind(word, origin))?),
        };
        let parsed = parsed?;
        match kind {
            None => {
                self.nodefault.insert(parsed.to_name(), origin);
            }
            Some(kind) => {
                let name = self.keep_name(parsed.as_ref(), origin)?;
                self.zones.push(ZoneStatement { name, kind, origin });
            }
        }
        Ok(())
    }

    /// Adds `local-data: "owner [ttl] [class] type data"`.
    ///
    /// # Errors
    /// The record cannot be read; nothing is added.
    pub fn data(&mut self, record: &str, origin: Origin) -> Result<(), Problem> {
        match parse_record(record, DEFAULT_TTL) {
            Ok(record) => self.record(&record, origin),
            Err(e) => {
                let text = format!("local-data: \"{record}\" at octet {}: {}", e.at + 1, e.what);
                Err(Problem { hint: e.hint, ..Problem::error(origin, text) })
            }
        }
    }

    /// Adds a record that was read elsewhere.
    ///
    /// # Errors
    /// There is no room for it; nothing is added.
    pub fn record(&mut self, record: &wire::Record, origin: Origin) -> Result<(), Problem> {
        let name = self.keep_name(record.owner.as_ref(), origin)?;
        let (data, len) = keep_data(&mut self.store, &record.rdata, origin)?;
        let ttl = record.ttl.unwrap_or(DEFAULT_TTL);
        self.data.push(DataStatement { name, ttl, data, len, rtype: record.rtype, class: record.class, origin });
        Ok(())
    }

    /// Adds `local-data-ptr: "address [ttl] name"`.
    ///
    /// # Errors
    /// It cannot be read; nothing is added.
    pub fn data_ptr(&mut self, text: &str, origin: Origin) -> Result<(), Problem> {
        let what = |what: String| {
            Problem::error(origin, format!("local-data-ptr: \"{text}\" {what}"))
                .with_hint("it is written: local-data-ptr: \"192.0.2.1 [ttl] www.example.com\"")
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (address, ttl, name) = match words.as_slice() {
            [] | [_] => return Err(what("needs an address and a name".to_owned())),
            [address, ttl @ .., name] => (address, ttl.join(" "), name),
        };
        let ip: IpAddr = address.parse().map_err(|_| what(format!("does not begin with an address: {address}")))?;
        let record = parse_record(&format!("{} {ttl} PTR {name}", NameBuf::reverse(ip)), DEFAULT_TTL)
            .map_err(|e| what(format!("is not an address, a TTL and a name: {}", e.what)))?;
        self.record(&record, origin)
    }

    /// Makes the zones. The problems are sorted by origin; with an error among them the zones should not be used.
    pub fn build(self, defaults: Defaults) -> (LocalZones, Vec<Problem>) {
        let mut b = Building { store: self.store, problems: Vec::new() };
        b.store.zones.reserve_exact(self.zones.len());
        for statement in self.zones.iter().rev() {
            b.enter_zone(statement);
        }
        b.enter_defaults(&defaults, &self.nodefault);
        b.enter_implicit(&self.data);
        for statement in self.data.iter().rev() {
            b.enter_data(statement);
        }
        b.store.shrink();
        b.problems.sort_by_key(|problem| problem.origin);
        (LocalZones { store: Arc::new(b.store), ..LocalZones::default() }, b.problems)
    }

    fn keep_name(&mut self, name: NameRef<'_>, origin: Origin) -> Result<u32, Problem> {
        match self.last_name {
            Some(last) if self.store.name_at(last).same_case(name) => Ok(last),
            _ => {
                let at = keep_name(&mut self.store, name, origin)?;
                self.last_name = Some(at);
                Ok(at)
            }
        }
    }
}

fn unknown_kind(word: &str, origin: Origin) -> Problem {
    let words = || ZoneKind::ALL.into_iter().map(ZoneKind::word).chain(["nodefault"]);
    Problem::error(origin, format!("local-zone: \"{word}\" is not a zone type")).with_hint(
        match nearest(word, words()) {
            Some(word) => format!("did you mean {word}?"),
            None => format!("one of {}", words().collect::<Vec<_>>().join(", ")),
        },
    )
}

fn keep_name(store: &mut Store, name: NameRef<'_>, origin: Origin) -> Result<u32, Problem> {
    if store.names.len() > MAX_OCTETS {
        return Err(Problem::error(
            origin,
            "local-zone, local-data: the names fill 4 GB; no more can be held".to_owned(),
        ));
    }
    let at = index(store.names.len());
    store.names.extend_from_slice(name.as_wire());
    Ok(at)
}

fn keep_data(store: &mut Store, data: &[u8], origin: Origin) -> Result<(u32, u16), Problem> {
    if store.rdata.len() > MAX_OCTETS {
        return Err(Problem::error(origin, "local-data: the records fill 4 GB; no more can be held".to_owned()));
    }
    let len = u16::try_from(data.len())
        .map_err(|_| Problem::error(origin, "local-data: the record has more than 65535 octets of data".to_owned()))?;
    let at = index(store.rdata.len());
    store.rdata.extend_from_slice(data);
    Ok((at, len))
}

/// The store while statements are entered.
struct Building {
    store: Store,
    problems: Vec<Problem>,
}

impl Building {
    fn enter_zone(&mut self, statement: &ZoneStatement) {
        let lower = self.store.name_at(statement.name).lower();
        if self.add_zone(&lower, statement.name, statement.kind, Class::IN, Made::Written).is_none() {
            let text = format!("local-zone: duplicate local-zone {}", self.store.name_at(statement.name));
            let problem = Problem::warning(statement.origin, text);
            self.problems.push(problem.with_hint("the last one in the configuration counts, this one is ignored"));
        }
    }

    /// Returns the zone, or `None` if there was one of this name and class already.
    fn add_zone(&mut self, lower: &NameBuf, name: u32, kind: ZoneKind, class: Class, made: Made) -> Option<Enclosing> {
        let walk = Walk::new(lower.as_ref());
        let labels = walk.labels();
        if self.store.find_zone(walk.hash(labels), lower.as_ref().as_wire(), class).is_some() {
            return None;
        }
        Some(Enclosing { zone: self.store.add_zone(&walk, Zone { name, soa: NONE, class, kind, made }), labels })
    }

    fn enter_defaults(&mut self, defaults: &Defaults, nodefault: &HashMap<Name, Origin>) {
        let mut known: HashSet<Name> = HashSet::new();
        for default in defaults::zones() {
            let Ok(name) = NameBuf::from_text(&default.name) else { continue };
            let elsewhere = |zone: &Name| zone.as_ref().is_subdomain_of(name.as_ref());
            let unwanted = match default.group {
                Group::Always => false,
                Group::Lan => defaults.unblock_lan_zones,
                Group::Added => defaults.served_elsewhere.iter().any(elsewhere),
            };
            known.insert(name.to_name());
            if !unwanted && !nodefault.contains_key(&name.to_name()) {
                // Fails when there is no room for more names or data; that has been said by then.
                let _ = self.enter_default(&default, &name);
            }
        }
        for (name, origin) in nodefault.iter().filter(|(name, _)| !known.contains(*name)) {
            let text = format!("local-zone: {name} is not a default zone, nodefault has no effect");
            let problem = Problem::warning(*origin, text);
            self.problems
                .push(problem.with_hint("to let a part of a default zone through, give that part type transparent"));
        }
    }

    /// Makes a default zone, unless there is one of its name. Its records go into the zone itself, even if there is a
    /// closer one for their names.
    fn enter_default(&mut self, default: &DefaultZone, name: &NameBuf) -> Result<(), Problem> {
        let origin = Origin::default();
        let at = keep_name(&mut self.store, name.as_ref(), origin)?;
        let Some(zone) = self.add_zone(name, at, default.kind, Class::IN, Made::Default) else { return Ok(()) };
        let apex = [
            DefaultRecord { below: "", ttl: defaults::TTL, data: Some((Rtype::SOA, defaults::SOA)) },
            DefaultRecord { below: "", ttl: defaults::TTL, data: Some((Rtype::NS, defaults::NS)) },
        ];
        for record in apex.iter().chain(default.extra).rev() {
            let Ok(owner) = NameBuf::from_text(&format!("{}{}", record.below, default.name)) else { continue };
            let name = if record.below.is_empty() { at } else { keep_name(&mut self.store, owner.as_ref(), origin)? };
            let walk = Walk::new(owner.as_ref());
            let node = self.node(zone, &walk, name);
            if let Some((rtype, data)) = record.data {
                let (data, len) = keep_data(&mut self.store, data, origin)?;
                let statement = DataStatement { name, ttl: record.ttl, data, len, rtype, class: Class::IN, origin };
                self.add_record(zone.zone, zone.labels == walk.labels(), node, &statement, true);
            }
        }
        Ok(())
    }

    /// Makes the zones for data that are in none. A zone of class IN that would hold the name is made again for the
    /// class of the data, type included; for what is left there is one transparent zone a class, at the closest common
    /// ancestor. The class that stands last in the file comes first, and its zone may then be one to make again.
    fn enter_implicit(&mut self, data: &[DataStatement]) {
        let mut done: Vec<Class> = Vec::new();
        loop {
            let mut common: Option<(Class, NameBuf)> = None;
            for statement in data.iter().rev() {
                let class = statement.class;
                let name = self.store.name_at(statement.name).to_buf();
                let lower = name.lower();
                let walk = Walk::new(lower.as_ref());
                let parent = statement.rtype == Rtype::DS;
                if done.contains(&class) || self.store.enclosing(&walk, class, parent).is_some() {
                    continue;
                }
                if let Some(twin) =
                    self.store.enclosing(&walk, Class::IN, parent).and_then(|e| self.store.zone(e.zone).copied())
                {
                    let lower = self.store.name_at(twin.name).lower();
                    self.add_zone(&lower, twin.name, twin.kind, class, Made::Implicit);
                    continue;
                }
                match &mut common {
                    None => common = Some((class, name)),
                    Some((first, _)) if *first != class => {} // its turn comes
                    Some((_, ancestor)) => {
                        while !lower.as_ref().is_subdomain_of(ancestor.as_ref()) {
                            *ancestor = ancestor.as_ref().parent().map_or_else(NameBuf::root, NameRef::to_buf);
                        }
                    }
                }
            }
            let Some((class, name)) = common else { return };
            if let Ok(at) = keep_name(&mut self.store, name.as_ref(), Origin::default()) {
                self.add_zone(&name.lower(), at, ZoneKind::Transparent, class, Made::Implicit);
            }
            done.push(class);
        }
    }

    fn enter_data(&mut self, statement: &DataStatement) {
        let lower = self.store.name_at(statement.name).lower();
        let walk = Walk::new(lower.as_ref());
        let Some(enclosing) = self.store.enclosing(&walk, statement.class, statement.rtype == Rtype::DS) else {
            // Only DS records can be homeless: the implicit zone may begin at their own name.
            let text = format!("local-data: no local-zone encloses the parent of {lower}, where its DS record belongs");
            self.problems.push(Problem::error(statement.origin, text).with_hint(match lower.as_ref().parent() {
                Some(parent) => format!("add: local-zone: \"{parent}\" transparent"),
                None => "the root has no DS record".to_owned(),
            }));
            return;
        };
        let redirects = self.store.zone(enclosing.zone).is_some_and(|zone| zone.kind.redirects());
        if redirects && enclosing.labels != walk.labels() {
            let text =
                format!("local-data: in a redirect zone data must reside at the top of the zone, not at {lower}");
            let hint = format!("add: local-zone: \"{lower}\" transparent, or give the data to the zone's own name");
            self.problems.push(Problem::error(statement.origin, text).with_hint(hint));
            return;
        }
        let node = self.node(enclosing, &walk, statement.name);
        let is_cname = |rtype| rtype == Rtype::CNAME;
        let clashes = |set: &Set| is_cname(statement.rtype) || is_cname(set.rtype);
        if redirects && self.store.node(node).is_some_and(|node| self.store.sets_of(node).any(clashes)) {
            let text = format!("local-data: a CNAME in a redirect zone must be the only record of {lower}");
            let problem = Problem::error(statement.origin, text);
            self.problems.push(problem.with_hint("keep the CNAME alone, or the other records"));
            return;
        }
        self.add_record(enclosing.zone, enclosing.labels == walk.labels(), node, statement, false);
    }

    /// Puts a record in front of its RRset, which is made if need be.
    fn add_record(&mut self, zone: u32, apex: bool, node: u32, statement: &DataStatement, default: bool) {
        let store = &mut self.store;
        let new = Record { next: NONE, ttl: statement.ttl, data: statement.data, len: statement.len, default };
        let record = index(store.records.len());
        let mut at = store.node(node).map_or(NONE, |node| node.sets);
        while let Some(set) = store.set(at) {
            if set.rtype == statement.rtype {
                let twin = |record: &Record| store.data(record) == store.data(&new);
                if store.records_of(set).any(twin) {
                    return;
                }
                break;
            }
            at = set.next;
        }
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(set) = store.sets.get_mut(place(at)) {
            store.records.push(Record { next: set.records, ..new });
            set.records = record;
            return;
        }
        let Some(node) = store.nodes.get_mut(place(node)) else {
            return;
        };
        store.records.push(new);
        let set = index(store.sets.len());
        store.sets.push(Set { next: node.sets, records: record, rtype: statement.rtype });
        node.sets = set;
        if apex && statement.rtype == Rtype::SOA {
            // Negative answers go by the first SOA that is entered.
            if let Some(zone) = store.zones.get_mut(place(zone)) {
                zone.soa = record;
            }
        }
    }

    /// The node of a name in a zone, made if need be with those between it and the apex.
    fn node(&mut self, within: Enclosing, walk: &Walk<'_>, name: u32) -> u32 {
        let zone = within.zone;
        let mut node = None;
        for labels in (within.labels..=walk.labels()).rev() {
            if let Some(found) = self.store.find_node(zone, walk, labels) {
                return node.unwrap_or(found);
            }
            // An ancestor's name is a suffix of the name's octets.
            let cut = walk.suffix(walk.labels()).len() - walk.suffix(labels).len();
            let added = Node { name: name.saturating_add(index(cut)), zone, sets: NONE };
            let at = self.store.add_node(walk, labels, added);
            node.get_or_insert(at);
        }
        node.unwrap_or(NONE)
    }
}
