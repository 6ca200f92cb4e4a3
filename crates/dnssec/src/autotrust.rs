//! [`Autotrust`]: trust anchors of a zone that follow its key rolls (RFC 5011), and the file they live in.
//!
//! ```text
//!            seen in a set           30 days later,
//!            that verifies           seen twice or more          not in the set
//!   (none) ----------------> AddPend ------------------> Valid -----------------> Missing
//!      ^                        |                        |  ^                       |  |
//!      '------------------------'                        |  '-----------------------'  | a year
//!             not in the set                             |        seen again           v
//!                                  signs its revocation  v                         (none)
//!                                                     Revoked --------> (none)
//!                                                              30 days
//! ```
//!
//! It owns states, timers and the text of Unbound's `auto-trust-anchor-file`, so that either program goes on where the
//! other stopped. It asks no server and opens no file: a probe hands it the DNSKEY set that came and the time.

use std::fmt::Write as _;

use wire::{Name, NameRef, RdataSet, Rrset, Rtype, parse_record, rdata_to_text};

use crate::anchor::{Anchor, AnchorError};
use crate::budget::{Budget, MAX_KEYS};
use crate::ds::Ds;
use crate::key::Dnskey;
use crate::keys::{self, Keys};
use crate::reason::Reason;
use crate::rules::{Date, Rules};
use crate::sig::Rrsig;
use crate::verify::{Outcome, Signers};

/// Seconds a new key must have been there; `add-holddown` (RFC 5011 2.4.1: 30 days).
pub const ADD_HOLDDOWN_S: u64 = 30 * DAY;
/// Seconds a revoked key is remembered; `del-holddown` (RFC 5011 2.4.2: 30 days).
pub const DEL_HOLDDOWN_S: u64 = 30 * DAY;
/// Seconds a missing key is kept; `keep-missing`. 0 keeps it for ever, as RFC 5011 has it.
pub const KEEP_MISSING_S: u64 = 366 * DAY;
/// Probes that must have seen a new key besides the time, so that a machine that slept does not trust a key it saw once.
pub const MIN_SEEN: u32 = 2;
/// Keys tracked at most. A zone has two or three; its owner could make us keep any number in the file for 30 days.
pub const MAX_TRACKED: usize = 32;
/// Bounds of the time between probes (RFC 5011 2.3), seconds.
const QUERY_MAX_S: u64 = 15 * DAY;
const RETRY_MAX_S: u64 = DAY;
const PROBE_MIN_S: u64 = 3600;
const DAY: u64 = 86_400;

/// The state of a key (RFC 5011 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Seen, not trusted yet.
    AddPend,
    /// Trusted.
    Valid,
    /// Trusted, and not in the set at the moment.
    Missing,
    /// Revoked by its owner: never trusted again.
    Revoked,
}

impl State {
    /// The number and the word in the file.
    fn text(self) -> (u8, &'static str) {
        match self {
            State::AddPend => (1, " ADDPEND "),
            State::Valid => (2, "  VALID  "),
            State::Missing => (3, " MISSING "),
            State::Revoked => (4, " REVOKED "),
        }
    }
}

/// The timers an operator can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// `add-holddown`, seconds.
    pub add_holddown_s: u64,
    /// `del-holddown`, seconds.
    pub del_holddown_s: u64,
    /// `keep-missing`, seconds; 0 keeps for ever.
    pub keep_missing_s: u64,
    /// `permit-small-holddown`: probes may follow each other faster than once an hour; for tests.
    pub small: bool,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            add_holddown_s: ADD_HOLDDOWN_S,
            del_holddown_s: DEL_HOLDDOWN_S,
            keep_missing_s: KEEP_MISSING_S,
            small: false,
        }
    }
}

/// A key that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The DNSKEY record's data.
    pub rdata: Vec<u8>,
    /// Its TTL in the file.
    pub ttl: u32,
    /// Its state.
    pub state: State,
    /// Probes that have seen it while it was pending.
    pub count: u32,
    /// Unix seconds of the last change of state.
    pub changed: u64,
}

impl Tracked {
    /// Whether rolls of it are announced.
    fn is_sep(&self) -> bool {
        Dnskey::parse(&self.rdata).is_some_and(|key| key.is_sep())
    }

    /// Whether it has been there long and often enough to be trusted.
    fn is_due(&self, timers: &Timers, now: u64) -> bool {
        let age = now.saturating_sub(self.changed);
        self.state == State::AddPend && age >= timers.add_holddown_s && self.count >= MIN_SEEN
    }
}

/// What a probe did to a key. `None` is a key that was not, or is no longer, followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key tag.
    pub tag: u16,
    /// The state before.
    pub from: Option<State>,
    /// The state now.
    pub to: Option<State>,
}

/// What a probe brought.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Keys that changed state.
    pub changes: Vec<Change>,
    /// The zone's keys as proven by the anchors, or what was wrong.
    pub keys: Keys,
}

/// The anchors of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autotrust {
    /// The zone.
    pub owner: Name,
    /// Where to begin when no key is known yet.
    pub ds: RdataSet,
    /// The keys followed, the last one first: that is the order of Unbound's files.
    pub keys: Vec<Tracked>,
    /// Unix seconds of the last probe, 0 before the first.
    pub last_queried: u64,
    /// Unix seconds of the last probe that verified.
    pub last_success: u64,
    /// Unix seconds when to probe again.
    pub next_probe: u64,
    /// Probes failed in a row.
    pub failed: u32,
    /// Seconds between probes.
    pub query_interval: u64,
    /// Seconds to the next probe after one that failed.
    pub retry_time: u64,
    /// All keys were revoked: the zone counts as having no anchor (RFC 5011 5) until the operator gives a new one.
    pub revoked: bool,
}

impl Autotrust {
    /// Begins with what the operator trusts.
    pub fn new(anchor: &Anchor) -> Autotrust {
        let valid = |rdata: &[u8]| Tracked { rdata: rdata.to_vec(), ttl: 0, state: State::Valid, count: 0, changed: 0 };
        Autotrust {
            owner: anchor.owner.clone(),
            ds: anchor.ds.clone(),
            keys: anchor.dnskey.iter().map(valid).collect(),
            last_queried: 0,
            last_success: 0,
            next_probe: 0,
            failed: 0,
            query_interval: PROBE_MIN_S,
            retry_time: PROBE_MIN_S,
            revoked: false,
        }
    }

    /// What is trusted now; `None` when all was revoked.
    pub fn anchor(&self) -> Option<Anchor> {
        let trusted = |key: &&Tracked| matches!(key.state, State::Valid | State::Missing);
        let dnskey: RdataSet = self.keys.iter().filter(trusted).map(|key| &key.rdata[..]).collect();
        let none = self.revoked || (dnskey.is_empty() && self.ds.is_empty());
        (!none).then(|| Anchor { owner: self.owner.clone(), ds: self.ds.clone(), dnskey })
    }

    /// What a set of keys may be signed by: what is trusted, and keys that will be as soon as they are seen again. A zone
    /// that rolled on while this machine slept signs with nothing else any more; RFC 5011 4.1 would leave it without an
    /// anchor for ever, and Unbound takes them too.
    fn believed(&self, timers: &Timers, now: u64) -> Option<Anchor> {
        let mut anchor = self.anchor()?;
        self.keys.iter().filter(|key| key.is_due(timers, now)).for_each(|key| _ = anchor.dnskey.push(&key.rdata));
        Some(anchor)
    }

    /// Takes what a probe for the zone's DNSKEY set brought, `None` for no reply, at `now` in unix seconds. The caller saves
    /// the file afterwards, and probes again at [`Autotrust::next_probe`], less some chance of its own.
    pub fn probe(
        &mut self,
        set: Option<&Rrset>,
        timers: &Timers,
        rules: &Rules,
        now: u64,
        budget: &mut Budget,
    ) -> Probe {
        let mut changes = Vec::new();
        self.last_queried = now;
        // What the operator wrote has no dates.
        self.keys.iter_mut().filter(|key| key.changed == 0).for_each(|key| key.changed = now);
        let keys = match set {
            Some(set) if set.rtype == Rtype::DNSKEY && set.owner == self.owner => {
                self.take_revocations(set, rules, now, budget, &mut changes);
                match self.believed(timers, now) {
                    Some(anchor) => keys::by_anchor(set, &anchor, rules, now, budget),
                    None => Keys::Insecure(Reason::KeyRevoked),
                }
            }
            _ => Keys::Bogus(Reason::NoKeys),
        };
        if let Keys::Secure(zone) = &keys {
            self.last_success = now;
            self.failed = 0;
            self.take_set(zone.set().set(), timers, rules, now, budget, &mut changes);
            self.set_timers(zone.set().set(), timers, rules, now);
            self.next_probe = now.saturating_add(self.query_interval);
        } else if self.revoked {
            // There is nothing to come back to.
            (self.last_success, self.failed, self.next_probe) = (now, 0, 0);
        } else {
            self.failed = self.failed.saturating_add(1);
            self.next_probe = now.saturating_add(self.retry_time);
        }
        Probe { changes, keys }
    }

    /// A trusted key that is in the set with the REVOKE bit and has signed the set so is revoked, whoever else signed
    /// (RFC 5011 2.1).
    fn take_revocations(
        &mut self,
        set: &Rrset,
        rules: &Rules,
        now: u64,
        budget: &mut Budget,
        changes: &mut Vec<Change>,
    ) {
        let revoked = set.rdata.iter().filter_map(Dnskey::parse).take(MAX_KEYS).filter(Dnskey::is_revoked);
        for key in revoked {
            let known = self.keys.iter_mut().find(|known| {
                matches!(known.state, State::Valid | State::Missing)
                    && Dnskey::parse(&known.rdata).is_some_and(|known| known.same_but_revoked(&key))
            });
            let Some(known) = known else { continue };
            let signers = Signers::revoked(self.owner.as_ref(), key);
            if let Outcome::Secure(_) = signers.verify(set, rules, now, budget) {
                changes.push(Change { tag: key.tag(), from: Some(known.state), to: Some(State::Revoked) });
                *known = Tracked {
                    rdata: key.rdata.to_vec(),
                    state: State::Revoked,
                    count: 0,
                    changed: now,
                    ttl: known.ttl,
                };
            }
        }
        let trusted = self.keys.iter().any(|key| matches!(key.state, State::Valid | State::Missing));
        self.revoked |= !changes.is_empty() && !trusted && self.ds.is_empty();
    }

    /// Moves every key one step by what a verified set has and has not.
    fn take_set(
        &mut self,
        set: &Rrset,
        timers: &Timers,
        rules: &Rules,
        now: u64,
        budget: &mut Budget,
        changes: &mut Vec<Change>,
    ) {
        let seps: Vec<Dnskey<'_>> = set
            .rdata
            .iter()
            .filter_map(Dnskey::parse)
            .take(MAX_KEYS)
            .filter(|key| key.is_sep() && key.is_zone_key() && key.algorithm.is_supported(rules))
            .collect();
        for key in seps.iter().filter(|key| !key.is_revoked()) {
            let known = self
                .keys
                .iter()
                .any(|known| Dnskey::parse(&known.rdata).is_some_and(|known| known.same_but_revoked(key)));
            if known || self.keys.len() >= MAX_TRACKED {
                continue;
            }
            let mut meant = false;
            for ds in self.ds.iter().filter_map(Ds::parse).filter(|ds| ds.tag == key.tag()) {
                meant |= ds.is_digest_of(self.owner.as_ref(), key, budget).unwrap_or(false);
            }
            let state = if meant { State::Valid } else { State::AddPend };
            let rdata = key.rdata.to_vec();
            self.keys.insert(0, Tracked { rdata, ttl: set.ttl, state, count: 0, changed: now });
            changes.push(Change { tag: key.tag(), from: None, to: Some(state) });
        }
        // The last keys that are trusted are not forgotten for being missing, as long as one of them may sign again.
        let any_here = self.keys.iter().any(|known| {
            matches!(known.state, State::Valid | State::Missing) && seps.iter().any(|key| key.rdata == known.rdata)
        });
        let no_end = Timers { keep_missing_s: 0, ..*timers };
        self.keys.retain_mut(|known| {
            let tag = Dnskey::parse(&known.rdata).map_or(0, |key| key.tag());
            let here = seps.iter().any(|key| key.rdata == known.rdata);
            if here {
                known.ttl = set.ttl;
            }
            let next = step(known, here, if any_here { timers } else { &no_end }, now);
            if next != Some(known.state) {
                changes.push(Change { tag, from: Some(known.state), to: next });
                known.changed = now;
            }
            if let Some(next) = next {
                known.state = next;
            }
            next.is_some()
        });
        if self.keys.iter().any(|key| key.state == State::Valid) {
            self.ds = RdataSet::new();
        }
    }

    /// When to ask again (RFC 5011 2.3): half the TTL or half of what is left of the signature, a tenth after failures.
    fn set_timers(&mut self, set: &Rrset, timers: &Timers, rules: &Rules, now: u64) {
        let sig = set.sigs.first().and_then(Rrsig::parse);
        let ttl = u64::from(sig.map_or(set.ttl, |sig| sig.original_ttl.min(set.ttl)));
        let left = sig.filter(|_| rules.date != Date::Ignored).and_then(|sig| sig.left(rules, now).ok());
        let left = left.map_or(u64::MAX, u64::from);
        let least = if timers.small { 1 } else { PROBE_MIN_S };
        self.query_interval = QUERY_MAX_S.min(ttl / 2).min(left / 2).max(least);
        self.retry_time = RETRY_MAX_S.min(ttl / 10).min(left / 10).max(least);
    }

    /// Reads the file: Unbound's, or one with records only, as an operator begins with.
    pub fn parse(text: &str) -> Result<Autotrust, AnchorError> {
        let mut auto: Option<Autotrust> = None;
        let mut head = Head::default();
        for (number, line) in (1..).zip(text.lines()) {
            let error = |what: &str| AnchorError { line: number, what: what.into() };
            if let Some(note) = line.trim_start().strip_prefix(";;") {
                head.take(note).ok_or_else(|| error("not a number"))?;
                continue;
            }
            let (record, notes) = line.split_once(';').unwrap_or((line, ""));
            if record.trim().is_empty() {
                continue;
            }
            let record = parse_record(record, 0).map_err(|why| error(&why.to_string()))?;
            if record.rtype != Rtype::DS && record.rtype != Rtype::DNSKEY {
                continue; // signatures that came with the keys, say: Unbound passes them over too
            }
            let auto = auto.get_or_insert_with(|| {
                let (ds, dnskey) = (RdataSet::new(), RdataSet::new());
                Autotrust::new(&Anchor { owner: record.owner.clone(), ds, dnskey })
            });
            if auto.owner != record.owner {
                return Err(error("the file has more than one name"));
            }
            match record.rtype {
                Rtype::DS => {
                    auto.ds.push(&record.rdata);
                }
                Rtype::DNSKEY => {
                    let (state, count, changed) = key_notes(notes).ok_or_else(|| error("not a state of a key"))?;
                    if let Some(state) = state {
                        let ttl = record.ttl.unwrap_or(0);
                        auto.keys.insert(0, Tracked { rdata: record.rdata, ttl, state, count, changed });
                    }
                }
                _ => {}
            }
        }
        let mut auto = match (auto, head.owner) {
            (Some(auto), _) => auto,
            (None, Some(owner)) if head.revoked => {
                Autotrust::new(&Anchor { owner, ds: RdataSet::new(), dnskey: RdataSet::new() })
            }
            _ => return Err(AnchorError { line: 1, what: "the file has no trust anchor".into() }),
        };
        // A file made of all keys of a zone has those too that sign its data, and no roll of them is announced.
        if !auto.ds.is_empty() || auto.keys.iter().any(Tracked::is_sep) {
            auto.keys.retain(Tracked::is_sep);
        }
        auto.last_queried = head.last_queried;
        auto.last_success = head.last_success;
        auto.next_probe = head.next_probe;
        auto.failed = u32::try_from(head.failed).unwrap_or(u32::MAX);
        auto.query_interval = head.query_interval.unwrap_or(PROBE_MIN_S);
        auto.retry_time = head.retry_time.unwrap_or(PROBE_MIN_S);
        auto.revoked = head.revoked;
        Ok(auto)
    }

    /// Writes the file as Unbound does. Dates in comments are UTC.
    pub fn to_text(&self) -> String {
        let mut text = String::from("; autotrust trust anchor file\n");
        if self.revoked {
            text.push_str(
                // To the letter what Unbound writes, for who compares the files.
                ";;REVOKED\n; The zone has all keys revoked, and is\n; considered as if it has no trust anchors.\n\
                 ; the remainder of the file is the last probe.\n; to restart the trust anchor, overwrite this file.\n\
                 ; with one containing valid DNSKEYs or DSes.\n",
            );
        }
        let time = |seconds: u64| format!("{seconds} ;;{}", date_text(seconds));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            ";;id: {} 1\n;;last_queried: {}\n;;last_success: {}\n;;next_probe_time: {}\n;;query_failed: {}\n\
             ;;query_interval: {}\n;;retry_time: {}\n",
            self.owner,
            time(self.last_queried),
            time(self.last_success),
            time(self.next_probe),
            self.failed,
            self.query_interval,
            self.retry_time
        );
        for ds in &self.ds {
            let _ = writeln!(text, "{}\tIN\tDS\t{}", self.owner, rdata_to_text(Rtype::DS, ds));
        }
        for key in &self.keys {
            let (number, word) = key.state.text();
            let rdata = rdata_to_text(Rtype::DNSKEY, &key.rdata);
            let (tag, bits, kind) = Dnskey::parse(&key.rdata).map_or((0, 0, "zsk"), |key| {
                (key.tag(), key.bits().unwrap_or(0), if key.is_sep() { "ksk" } else { "zsk" })
            });
            let _ = writeln!(
                text,
                "{}\t{}\tIN\tDNSKEY\t{rdata} ;{{id = {tag} ({kind}), size = {bits}b}} ;;state={number} [{word}] ;;count={} \
                 ;;lastchange={}",
                self.owner,
                key.ttl,
                key.count,
                time(key.changed)
            );
        }
        text
    }

    /// The zone.
    pub fn zone(&self) -> NameRef<'_> {
        self.owner.as_ref()
    }
}

/// The next state of a key; `None` when it is no longer followed (RFC 5011 4.1).
fn step(key: &mut Tracked, here: bool, timers: &Timers, now: u64) -> Option<State> {
    let age = now.saturating_sub(key.changed);
    match key.state {
        State::AddPend if !here => None,
        State::AddPend => {
            key.count = key.count.saturating_add(1);
            if age >= timers.add_holddown_s && key.count >= MIN_SEEN {
                key.count = 0;
                Some(State::Valid)
            } else {
                Some(State::AddPend)
            }
        }
        State::Valid | State::Missing if here => Some(State::Valid),
        State::Valid => Some(State::Missing),
        State::Missing => {
            let gone = timers.keep_missing_s > 0 && age >= timers.keep_missing_s;
            (!gone).then_some(State::Missing)
        }
        State::Revoked => (age < timers.del_holddown_s).then_some(State::Revoked),
    }
}

/// The lines of the file that are about the zone.
#[derive(Default)]
struct Head {
    owner: Option<Name>,
    last_queried: u64,
    last_success: u64,
    next_probe: u64,
    failed: u64,
    query_interval: Option<u64>,
    retry_time: Option<u64>,
    revoked: bool,
}

impl Head {
    /// Takes a line without its `;;`; what is not known is passed over. `None` when a number is none.
    fn take(&mut self, note: &str) -> Option<()> {
        if note.trim_end() == "REVOKED" {
            self.revoked = true;
            return Some(());
        }
        let Some((name, value)) = note.split_once(':') else { return Some(()) };
        let value = value.split_ascii_whitespace().next().unwrap_or_default();
        match name {
            "id" => self.owner = Some(Name::from_text(value).ok()?),
            "last_queried" => self.last_queried = value.parse().ok()?,
            "last_success" => self.last_success = value.parse().ok()?,
            "next_probe_time" => self.next_probe = value.parse().ok()?,
            "query_failed" => self.failed = value.parse().ok()?,
            "query_interval" => self.query_interval = Some(value.parse().ok()?),
            "retry_time" => self.retry_time = Some(value.parse().ok()?),
            _ => {}
        }
        Some(())
    }
}

/// State, count and time of change in the comment of a key. A key without a state is trusted: the operator wrote it.
/// The state is `None` for keys in states that are not kept (START and REMOVED).
fn key_notes(notes: &str) -> Option<(Option<State>, u32, u64)> {
    let field = |name: &str| {
        let (_, rest) = notes.split_once(&format!(";;{name}="))?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(digits.parse::<u64>().ok())
    };
    let state = match field("state") {
        None => Some(State::Valid),
        Some(Some(1)) => Some(State::AddPend),
        Some(Some(2)) => Some(State::Valid),
        Some(Some(3)) => Some(State::Missing),
        Some(Some(4)) => Some(State::Revoked),
        Some(Some(0 | 5)) => None,
        Some(_) => return None,
    };
    let count = field("count").unwrap_or(Some(0))?;
    let changed = field("lastchange").unwrap_or(Some(0))?;
    Some((state, u32::try_from(count).unwrap_or(u32::MAX), changed))
}

/// A time as C's `ctime` writes it, in UTC: `Mon Nov 23 14:20:03 2026`.
fn date_text(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, time) = (seconds / DAY, seconds % DAY);
    // Years that begin in March put the leap day last: day 0 is 1 March of year 0, 719,468 days before 1970.
    let since = days.saturating_add(719_468);
    let (era, of_era) = (since / 146_097, since % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let pick =
        |from: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| from.get(at)).copied().unwrap_or("");
    format!(
        "{} {} {day:2} {:02}:{:02}:{:02} {year}",
        pick(&DAYS, days % 7),
        pick(&MONTHS, month),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_ctime() {
        for (seconds, text) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_795_443_603, "Mon Nov 23 14:20:03 2026"),
            (1_795_486_357, "Tue Nov 24 02:12:37 2026"),
            (4_107_542_399, "Sun Feb 28 23:59:59 2100"),
        ] {
            assert_eq!(date_text(seconds), text);
        }
    }
}
