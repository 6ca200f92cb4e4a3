//! [`Trust`]: what validation starts from, and [`Live`]: the part of it that changes while the resolver runs.
//!
//! It owns where the chain of trust of a name begins: at which anchor, or at none, because there is none or because the
//! operator excuses the name (`domain-insecure`, negative trust anchors of RFC 7646). It verifies nothing, which is
//! `dnssec`'s, reads no files and has no clock: dates are handed in as unix seconds.
//!
//! A [`Trust`] belongs to a snapshot and never changes. A [`Live`] outlives snapshots and is shared by all workers; whoever
//! remembers what followed from it compares [`Live::version`] and forgets when it moved.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dnssec::{Anchor, Anchors, Rules};
use hashbrown::{HashMap, HashSet};
use wire::{Name, NameBuf, NameRef, Rtype};

use store::Borrowed;

/// Default seconds a bogus answer is remembered (`val-bogus-ttl`).
pub const BOGUS_TTL_S: u32 = 60;
/// Default of how often an answer that is bogus is asked for at other servers (`val-max-restart`).
pub const MAX_RESTART: u8 = 5;
/// Seconds a negative trust anchor lasts if nothing else is said (RFC 7646 2.1 wants it short-lived; BIND's default).
pub const NTA_TIME_S: u64 = 3_600;
/// Most seconds a negative trust anchor may last (RFC 7646 2.1: not more than a week).
pub const NTA_MAX_TIME_S: u64 = 604_800;
/// Tags that fit into the label of a signal (RFC 8145 5.1: 63 octets, each tag takes five).
const MAX_SIGNAL_TAGS: usize = 12;
/// Seconds between looks whether a domain with a negative trust anchor validates again (RFC 7646 4 wants such looks;
/// BIND's default).
pub const NTA_RECHECK_S: u64 = 300;
/// Negative trust anchors at once. They are for single domains whose operators are known to have blundered; more is a
/// resolver that does not validate, for which there is `val-permissive-mode`.
pub const MAX_NTAS: usize = 1_000;

/// All that validation starts from, as configured.
#[derive(Clone, Debug)]
pub struct Trust {
    /// How signatures and denials are checked.
    pub rules: Rules,
    /// Bogus answers are handed out without AD (`val-permissive-mode`, no by default).
    pub permissive: bool,
    /// Seconds; see [`BOGUS_TTL_S`].
    pub bogus_ttl_s: u32,
    /// See [`MAX_RESTART`].
    pub max_restart: u8,
    /// Records beside the answer that cannot be proven are left out (`val-clean-additional`, yes by default).
    pub clean_additional: bool,
    /// The CD bit of clients has no meaning: they get no bogus data (`ignore-cd-flag`, no by default).
    pub ignore_cd: bool,
    /// A zone with an anchor above that comes without DNSSEC data is bogus (`harden-dnssec-stripped`, yes by default). Off,
    /// it counts as insecure.
    pub harden_dnssec_stripped: bool,
    /// NSEC and NSEC3 records that were proven answer later questions (`aggressive-nsec`, yes by default; RFC 8198).
    pub aggressive_nsec: bool,
    /// Names with the labels of RFC 8509 tell which root keys are trusted (`root-key-sentinel`, yes by default).
    pub sentinel: bool,
    /// The tags of the trusted keys are told to the zone when it is primed (`trust-anchor-signaling`, yes by default; RFC
    /// 8145).
    pub signal: bool,
    /// DNSKEY sets are asked for while the DS set is on its way (`prefetch-key`, no by default).
    pub prefetch_key: bool,
    /// Servers that leave signatures out count as lame (yes, unless `disable-dnssec-lame-check`).
    pub lame_check: bool,
    /// What is logged of a failed validation (`val-log-level`): 0 nothing, 1 one line, 2 a line with the reason and the
    /// server.
    pub log_level: u8,
    id: u64,
    anchors: HashMap<Name, Arc<Anchor>>,
    insecure: HashSet<Name>,
    live: Arc<Live>,
}

/// The number of the last [`Trust`] that was made.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Where validation of a name begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// There is no anchor above: insecure.
    Nowhere,
    /// Below `domain-insecure` or, if true, a negative trust anchor (RFC 7646), which is told with an extended error:
    /// insecure.
    Excused(bool),
    /// At this anchor.
    At(Arc<Anchor>),
}

impl Default for Trust {
    /// Unbound's defaults, and no anchor: everything is insecure.
    fn default() -> Trust {
        Trust::new(&Anchors::new(), Arc::default())
    }
}

/// The same configuration; what is alive in it is the same if it is the same object.
impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        let Trust {
            rules,
            permissive,
            bogus_ttl_s,
            max_restart,
            clean_additional,
            ignore_cd,
            harden_dnssec_stripped,
            aggressive_nsec,
            sentinel,
            signal,
            prefetch_key,
            lame_check,
            log_level,
            anchors,
            insecure,
            live,
            id: _,
        } = self;
        *rules == other.rules
            && *permissive == other.permissive
            && *bogus_ttl_s == other.bogus_ttl_s
            && *max_restart == other.max_restart
            && *clean_additional == other.clean_additional
            && *ignore_cd == other.ignore_cd
            && *harden_dnssec_stripped == other.harden_dnssec_stripped
            && *aggressive_nsec == other.aggressive_nsec
            && *sentinel == other.sentinel
            && *signal == other.signal
            && *prefetch_key == other.prefetch_key
            && *lame_check == other.lame_check
            && *log_level == other.log_level
            && *anchors == other.anchors
            && *insecure == other.insecure
            && Arc::ptr_eq(live, &other.live)
    }
}

impl Eq for Trust {}

impl Trust {
    /// These anchors, and those in `live`; all else at Unbound's defaults.
    pub fn new(anchors: &Anchors, live: Arc<Live>) -> Trust {
        Trust {
            rules: Rules::default(),
            permissive: false,
            bogus_ttl_s: BOGUS_TTL_S,
            max_restart: MAX_RESTART,
            clean_additional: true,
            ignore_cd: false,
            harden_dnssec_stripped: true,
            aggressive_nsec: true,
            sentinel: true,
            signal: true,
            prefetch_key: false,
            lame_check: true,
            log_level: 0,
            id: LAST.fetch_add(1, Ordering::Relaxed),
            anchors: anchors.iter().map(|anchor| (anchor.owner.clone(), Arc::new(anchor.clone()))).collect(),
            insecure: HashSet::new(),
            live,
        }
    }

    /// Names at and below this one are insecure unless an anchor is closer (`domain-insecure`).
    pub fn domain_insecure(&mut self, name: Name) -> &mut Trust {
        self.insecure.insert(name);
        self
    }

    /// Where the chain to a set at `name` begins, at this date in unix seconds: what stands closest at or above it decides.
    /// At one name a negative trust anchor comes before an anchor, and that before `domain-insecure`, as in Unbound. A DS
    /// set belongs to the zone above its name, so for one, ask about the parent of its name.
    pub fn begin(&self, name: NameRef<'_>, date: u64) -> Begin {
        let live = self.live.read();
        for at in name.ancestors() {
            if live.excuses(at, date) {
                return Begin::Excused(true);
            }
            let anchor = live.followed.get(&Borrowed(at)).or_else(|| self.anchors.get(&Borrowed(at)));
            if let Some(anchor) = anchor {
                return Begin::At(Arc::clone(anchor));
            }
            if self.insecure.contains(&Borrowed(at)) {
                return Begin::Excused(false);
            }
        }
        Begin::Nowhere
    }

    /// Whether a client with this CD bit gets only what is not known to be wrong (RFC 4035 3.2.2).
    pub fn checks(&self, cd: bool) -> bool {
        !cd || self.ignore_cd
    }

    /// The anchor at exactly this name, if there is one.
    pub fn anchor(&self, name: NameRef<'_>) -> Option<Arc<Anchor>> {
        let live = self.live.read();
        live.followed.get(&Borrowed(name)).or_else(|| self.anchors.get(&Borrowed(name))).cloned()
    }

    /// All anchors in force, those that follow RFC 5011 included, in canonical order of their names.
    pub fn anchors(&self) -> Vec<Arc<Anchor>> {
        let live = self.live.read();
        let fixed = self.anchors.iter().filter(|(name, _)| !live.followed.contains_key(*name));
        let mut all: Vec<Arc<Anchor>> = live.followed.iter().chain(fixed).map(|(_, anchor)| anchor.clone()).collect();
        all.sort_by(|a, b| a.owner.as_ref().cmp(&b.owner.as_ref()));
        all
    }

    /// The names of `domain-insecure`, in canonical order.
    pub fn insecure(&self) -> Vec<&Name> {
        let mut names: Vec<&Name> = self.insecure.iter().collect();
        names.sort_by(|a, b| a.as_ref().cmp(&b.as_ref()));
        names
    }

    /// A number of its own: what was concluded under another one may be wrong.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name by which the zone of this anchor is told which keys are trusted (RFC 8145 5.1), to be asked for with type
    /// NULL: the tags as hexadecimal numbers, ascending. `None` if that is not wanted (`trust-anchor-signaling`).
    pub fn signal(&self, zone: NameRef<'_>) -> Option<Name> {
        let anchor = if self.signal { self.anchor(zone)? } else { return None };
        let label = tags(&anchor)
            .iter()
            .take(MAX_SIGNAL_TAGS)
            .fold(String::from("_ta"), |label, tag| format!("{label}-{tag:04x}"));
        let labels = std::iter::once(label.as_bytes()).chain(zone.labels());
        NameBuf::from_labels(labels).ok().map(|name| name.to_name())
    }

    /// Whether a proven answer to this question is to be withheld (RFC 8509 3.2): the name asks whether a key of the root
    /// is trusted, and the answer is no. Behind a resolver that knows no key of the root the names are as any other.
    pub fn withholds(&self, name: NameRef<'_>, qtype: Rtype) -> bool {
        let asked = if matches!(qtype, Rtype::A | Rtype::AAAA) { sentinel(name) } else { None };
        let Some((is, tag)) = asked.filter(|_| self.sentinel) else { return false };
        self.anchor(wire::name::ROOT).is_some_and(|root| tags(&root).contains(&tag) != is)
    }

    /// Whether both say the same of every answer, so that what was concluded under one holds under the other.
    pub fn judges_as(&self, other: &Trust) -> bool {
        self.rules == other.rules
            && self.harden_dnssec_stripped == other.harden_dnssec_stripped
            && self.anchors == other.anchors
            && self.insecure == other.insecure
    }

    /// The same as of now, with nothing excused but by the configuration, and nothing that changes.
    pub fn unexcused(&self) -> Trust {
        let live = Live::default();
        live.follow(self.live.read().followed.values().map(|anchor| Anchor::clone(anchor)));
        Trust { live: Arc::new(live), ..self.clone() }
    }

    /// What changes while this configuration is in force.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

/// The tags of an anchor's keys, ascending, each once.
pub fn tags(anchor: &Anchor) -> Vec<u16> {
    let ds = anchor.ds.iter().filter_map(dnssec::Ds::parse).map(|ds| ds.tag);
    let mut tags: Vec<u16> = ds.chain(anchor.dnskey.iter().map(dnssec::key_tag)).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// What a name asks with its first label (RFC 8509 2): whether the key with this tag is trusted (true) or not (false).
fn sentinel(name: NameRef<'_>) -> Option<(bool, u16)> {
    let label = name.labels().next()?;
    let (before, tag) = label.split_last_chunk::<5>()?;
    let is = match () {
        () if before.eq_ignore_ascii_case(b"root-key-sentinel-is-ta-") => true,
        () if before.eq_ignore_ascii_case(b"root-key-sentinel-not-ta-") => false,
        () => return None,
    };
    let digits = tag.iter().all(u8::is_ascii_digit);
    let tag = digits.then(|| tag.iter().fold(0, |tag, digit| tag * 10 + u32::from(digit - b'0')))?;
    Some((is, u16::try_from(tag).ok()?))
}

/// A negative trust anchor: names at and below it are not validated for a while, because their operator has blundered and
/// the resolver's has made sure that it is no attack (RFC 7646).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nta {
    /// The domain.
    pub name: Name,
    /// Unix seconds of its making.
    pub since: u64,
    /// Unix seconds from which on it has no effect.
    pub until: u64,
    /// Seconds between looks whether the domain validates again, which ends it; 0: it lasts to its end, whatever happens.
    pub recheck_s: u64,
    /// The operator's words, for who reads the list later.
    pub reason: String,
}

/// Why a negative trust anchor was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtaError {
    /// It would last no time, or longer than [`NTA_MAX_TIME_S`].
    Time,
    /// There are [`MAX_NTAS`] already.
    TooMany,
}

/// What changes while it runs and outlives snapshots: negative trust anchors, and anchors that follow RFC 5011.
#[derive(Default)]
pub struct Live {
    version: AtomicU64,
    inner: RwLock<Inner>,
    /// Unix seconds at which something is to be done, plus one; 0: nothing is.
    due: AtomicU64,
    bell: Mutex<Option<Bell>>,
}

/// Called when something is due. It must return at once.
pub type Bell = Box<dyn Fn() + Send + Sync>;

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("version", &self.version).field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Inner {
    ntas: HashMap<Name, Nta>,
    followed: HashMap<Name, Arc<Anchor>>,
}

impl Inner {
    fn excuses(&self, name: NameRef<'_>, date: u64) -> bool {
        !self.ntas.is_empty() && self.ntas.get(&Borrowed(name)).is_some_and(|nta| date < nta.until)
    }
}

impl Live {
    /// Counts up with each change. What was concluded under another version may be wrong now.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is inside; the version moves before anyone can read it.
    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        let inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::AcqRel);
        inner
    }

    /// Whoever follows the anchors has something to do at this date, unix seconds; `None`: nothing.
    pub fn due_at(&self, date: Option<u64>) {
        self.due.store(date.map_or(0, |date| date.saturating_add(1)), Ordering::Relaxed);
    }

    /// The same for a date that may be earlier than what is due already.
    pub fn due_no_later_than(&self, date: Option<u64>) {
        let Some(date) = date.map(|date| date.saturating_add(1)) else { return };
        let _ =
            self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| (due == 0 || date < due).then_some(date));
    }

    /// Whom to call when that date has come.
    pub fn on_due(&self, bell: Option<Bell>) {
        *self.bell.lock().unwrap_or_else(PoisonError::into_inner) = bell;
    }

    /// It is this date. If something is due, it is called out, once.
    pub fn tick(&self, date: u64) {
        let due = self.due.load(Ordering::Relaxed);
        if due == 0 || date < due - 1 || self.due.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(bell) = &*self.bell.lock().unwrap_or_else(PoisonError::into_inner) {
            bell();
        }
    }

    /// Makes a negative trust anchor, or gives one of that name another end.
    pub fn excuse(&self, nta: Nta) -> Result<(), NtaError> {
        if nta.until <= nta.since || nta.until - nta.since > NTA_MAX_TIME_S {
            return Err(NtaError::Time);
        }
        let mut inner = self.write();
        if inner.ntas.len() >= MAX_NTAS && !inner.ntas.contains_key(&nta.name) {
            return Err(NtaError::TooMany);
        }
        inner.ntas.insert(nta.name.clone(), nta);
        Ok(())
    }

    /// Ends a negative trust anchor; `None` if there is none of that name.
    pub fn revoke(&self, name: NameRef<'_>) -> Option<Nta> {
        if !self.read().ntas.contains_key(&Borrowed(name)) {
            return None;
        }
        self.write().ntas.remove(&Borrowed(name))
    }

    /// Forgets negative trust anchors whose time is over at this date, and says which those were.
    pub fn expire(&self, date: u64) -> Vec<Nta> {
        let over = |nta: &Nta| nta.until <= date;
        if !self.read().ntas.values().any(over) {
            return Vec::new();
        }
        self.write().ntas.extract_if(|_, nta| over(nta)).map(|(_, nta)| nta).collect()
    }

    /// The negative trust anchors in force at this date, in canonical order.
    pub fn ntas(&self, date: u64) -> Vec<Nta> {
        let mut ntas: Vec<Nta> = self.read().ntas.values().filter(|nta| date < nta.until).cloned().collect();
        ntas.sort_by(|a, b| a.name.as_ref().cmp(&b.name.as_ref()));
        ntas
    }

    /// The anchors that follow RFC 5011 are these from now on; they come before configured ones of the same name.
    pub fn follow(&self, anchors: impl IntoIterator<Item = Anchor>) {
        let followed: HashMap<Name, Arc<Anchor>> =
            anchors.into_iter().map(|anchor| (anchor.owner.clone(), Arc::new(anchor))).collect();
        if self.read().followed != followed {
            self.write().followed = followed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a name")
    }

    fn anchors(text: &str) -> Anchors {
        let mut anchors = Anchors::new();
        anchors.add_records(text).expect("records");
        anchors
    }

    fn trust() -> Trust {
        let mut trust = Trust::new(&anchors(". DS 1 8 2 ab\nexample. DS 2 8 2 ab\n"), Arc::default());
        trust.domain_insecure(name("lan.")).domain_insecure(name("bad.example.")).domain_insecure(name("example."));
        trust
    }

    fn nta(at: &str, since: u64, until: u64) -> Nta {
        Nta { name: name(at), since, until, recheck_s: 0, reason: String::new() }
    }

    fn begins(trust: &Trust, at: &str, date: u64) -> String {
        match trust.begin(name(at).as_ref(), date) {
            Begin::Nowhere => "nowhere".to_owned(),
            Begin::Excused(nta) => if nta { "nta" } else { "insecure" }.to_owned(),
            Begin::At(anchor) => anchor.owner.to_string(),
        }
    }

    #[test]
    fn the_closest_anchor_or_excuse_decides() {
        let trust = trust();
        for (at, from) in [
            (".", "."),
            ("test.", "."),
            ("EXAMPLE.", "example."),
            ("www.Example.", "example."),
            ("lan.", "insecure"),
            ("printer.LAN.", "insecure"),
            ("a.bad.example.", "insecure"),
            ("notlan.", "."),
        ] {
            assert_eq!(begins(&trust, at, 0), from, "{at}");
        }
        assert_eq!(begins(&Trust::default(), "example.", 0), "nowhere");
        let below = Trust::new(&anchors("example. DS 2 8 2 ab\n"), Arc::default());
        assert_eq!(begins(&below, "test.", 0), "nowhere");
    }

    #[test]
    fn rfc7646_2_a_negative_trust_anchor_excuses_until_its_end() {
        let trust = trust();
        let live = trust.live();
        live.excuse(nta("Test.", 100, 200)).expect("a short one");
        assert_eq!(begins(&trust, "www.test.", 199), "nta");
        assert_eq!(begins(&trust, "www.test.", 200), ".", "before anybody has cleaned up");
        assert_eq!(live.ntas(199), [nta("test.", 100, 200)]);
        assert!(live.ntas(200).is_empty() && live.expire(199).is_empty());
        assert_eq!(live.expire(200), [nta("test.", 100, 200)]);
        assert!(live.revoke(name("test.").as_ref()).is_none());
    }

    #[test]
    fn rfc7646_2_a_closer_anchor_is_stronger_than_a_negative_one_above() {
        let trust = trust();
        trust.live().excuse(nta(".", 0, 100)).expect("a short one");
        assert_eq!(begins(&trust, "test.", 1), "nta");
        assert_eq!(begins(&trust, "www.example.", 1), "example.");
        trust.live().excuse(nta("example.", 0, 100)).expect("a short one");
        assert_eq!(begins(&trust, "www.example.", 1), "nta", "at one name the negative one counts");
        assert!(trust.live().revoke(name("EXAMPLE.").as_ref()).is_some());
        assert_eq!(begins(&trust, "www.example.", 1), "example.");
    }

    #[test]
    fn rfc7646_2_1_a_negative_trust_anchor_lasts_a_week_at_most() {
        let live = Live::default();
        assert_eq!(live.excuse(nta("a.", 10, 10)), Err(NtaError::Time));
        assert_eq!(live.excuse(nta("a.", 0, NTA_MAX_TIME_S + 1)), Err(NtaError::Time));
        assert_eq!(live.excuse(nta("a.", 0, NTA_MAX_TIME_S)), Ok(()));
        for nth in 1..MAX_NTAS {
            live.excuse(nta(&format!("n{nth}."), 0, 9)).expect("room");
        }
        assert_eq!(live.excuse(nta("b.", 0, 9)), Err(NtaError::TooMany));
        assert_eq!(live.excuse(nta("a.", 5, 9)), Ok(()), "one that is there can be given another end");
    }

    #[test]
    fn every_change_moves_the_version_and_nothing_else_does() {
        let live = Live::default();
        let mut last = live.version();
        let mut moved = |live: &Live| std::mem::replace(&mut last, live.version()) != live.version();
        live.excuse(nta("a.", 0, 9)).expect("room");
        assert!(moved(&live));
        assert!(live.expire(8).is_empty() && live.revoke(name("b.").as_ref()).is_none());
        assert!(!moved(&live));
        assert_eq!(live.expire(9).len(), 1);
        assert!(moved(&live));
        live.follow(anchors(". DS 1 8 2 ab").iter().cloned());
        assert!(moved(&live));
        live.follow(anchors(". DS 1 8 2 ab").iter().cloned());
        assert!(!moved(&live), "the same anchors");
    }

    #[test]
    fn rfc8145_5_1_the_signal_has_the_tags_in_ascending_order() {
        let text = ". DS 20326 8 2 ab\n. DS 38696 8 2 ab\n. DS 12 8 2 ab\n. DS 12 8 4 cd\nexample. DS 1 8 2 ab\n";
        let mut trust = Trust::new(&anchors(text), Arc::default());
        let said = |trust: &Trust, zone| trust.signal(name(zone).as_ref()).map(|name| name.to_string());
        assert_eq!(said(&trust, ".").as_deref(), Some("_ta-000c-4f66-9728."));
        assert_eq!(said(&trust, "Example.").as_deref(), Some("_ta-0001.Example."));
        assert_eq!(said(&trust, "test."), None);
        let many: String = (0..100).map(|tag| format!(". DS {tag} 8 2 ab\n")).collect();
        let label = said(&Trust::new(&anchors(&many), Arc::default()), ".").expect("as much as there is room for");
        assert_eq!(label.len(), 64);
        trust.signal = false;
        assert_eq!(said(&trust, "."), None);
    }

    #[test]
    fn rfc8509_3_a_sentinel_name_is_withheld_where_its_answer_is_no() {
        let mut trust = Trust::new(&anchors(". DS 20326 8 2 ab"), Arc::default());
        for (label, qtype, withheld) in [
            ("root-key-sentinel-is-ta-20326", Rtype::A, false),
            ("root-key-sentinel-not-ta-20326", Rtype::A, true),
            ("Root-Key-Sentinel-NOT-ta-20326", Rtype::AAAA, true),
            ("root-key-sentinel-is-ta-38696", Rtype::AAAA, true),
            ("root-key-sentinel-not-ta-38696", Rtype::A, false),
            ("root-key-sentinel-is-ta-38696", Rtype::TXT, false),
            ("root-key-sentinel-is-ta-3869", Rtype::A, false),
            ("root-key-sentinel-is-ta-99999", Rtype::A, false),
            ("root-key-sentinel-is-ta-3869x", Rtype::A, false),
            ("x.root-key-sentinel-is-ta-38696", Rtype::A, false),
        ] {
            let asked = name(&format!("{label}.example."));
            assert_eq!(trust.withholds(asked.as_ref(), qtype), withheld, "{label} {qtype}");
        }
        trust.sentinel = false;
        assert!(!trust.withholds(name("root-key-sentinel-is-ta-38696.example.").as_ref(), Rtype::A));
        let island = Trust::new(&anchors("example. DS 1 8 2 ab"), Arc::default());
        assert!(!island.withholds(name("root-key-sentinel-is-ta-38696.example.").as_ref(), Rtype::A));
    }

    #[test]
    fn what_is_due_is_called_out_once() {
        let live = Live::default();
        let calls = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&calls);
        live.on_due(Some(Box::new(move || _ = heard.fetch_add(1, Ordering::Relaxed))));
        live.tick(u64::MAX);
        live.due_at(Some(100));
        live.tick(99);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        live.tick(5_000);
        live.tick(5_001);
        assert_eq!(calls.load(Ordering::Relaxed), 1, "the clock may jump");
        live.due_at(Some(0));
        live.tick(0);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        live.due_at(None);
        live.tick(0);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn rfc5011_a_followed_anchor_is_in_force_as_long_as_it_is_followed() {
        let trust = Trust::new(&anchors("example. DS 2 8 2 ab\n"), Arc::default());
        trust.live().follow(anchors(". DS 1 8 2 ab\nexample. DS 3 8 2 ab").iter().cloned());
        assert_eq!(begins(&trust, "test.", 0), ".");
        let tags = |trust: &Trust| -> Vec<u8> {
            trust.anchors().iter().flat_map(|anchor| anchor.ds.iter().map(|ds| ds[1])).collect()
        };
        assert_eq!(tags(&trust), [1, 3]);
        trust.live().follow([]);
        assert_eq!((begins(&trust, "test.", 0), tags(&trust)), ("nowhere".to_owned(), vec![2]));
    }

    #[test]
    fn a_changed_option_makes_another_configuration() {
        let one = trust();
        assert_eq!(one, one.clone());
        assert_ne!(one, trust(), "another life");
        assert_ne!(one, Trust { permissive: true, ..one.clone() });
        let mut other = one.clone();
        other.domain_insecure(name("x."));
        assert_ne!(one, other);
        assert_eq!(other.insecure().len(), 4);
    }
}
