//! What is to be proven of an answer, in which order, and with which keys: a machine that says what it needs next.
//!
//! ```text
//!   parts of the answer: link, link, …, end          each part walks its own chain of trust
//!
//!     begin ── no anchor above, excused ───────────────────────────────▶ insecure
//!       │
//!       ▼   closest zone that the key cache knows, or the anchor's
//!   ┌─ KEYS of the zone: need DNSKEY ─▶ by anchor, by DS ── none that can be used ──▶ insecure
//!   │     ▲                                              └─ not the ones meant ────▶ bogus
//!   │     │ there is a DS set, verified
//!   └▶ DS of the next name down to the goal: need DS
//!         │ none, proven: a zone without keys ─────────────────────────▶ insecure
//!         │ none, proven: no zone cut ─▶ the next name, same keys
//!         │ the name is not there, or is the goal
//!         ▼
//!     SETS of the part, one by one, with the keys of its zone; then its denials ──▶ secure, insecure, bogus
//! ```
//!
//! It owns this order and nothing else: signatures and denials are `dnssec`'s, what is remembered of zones is in
//! [`KeyCache`], and who fetches what is needed is `mesh::prove`. It has no clock and no sockets. It never asks twice for the
//! same thing in one walk, and never goes up.
//!
//! **Where a walk goes.** To the zone that the signatures name: only a hint, for what is not verified with that zone's keys is
//! bogus. Without signatures it goes to the name asked (DS: to its parent), to find out whether it may be without. The anchor
//! is the one above the name asked, whatever the signatures say.
//!
//! **What is proven.** Of a positive answer every set; of a denial its SOA record and as many NSEC or NSEC3 records as the
//! proof takes. A set out of a wildcard needs the proof that nothing closer exists, a CNAME too. A CNAME beside a DNAME is
//! as true as that. What stands beside an answer and does not verify is left out: it must not be believed, and it must not
//! be able to spoil an answer that is true.
//!
//! **In small steps.** [`Proof::next`] does one set at a time and gives way when it has done its share ([`TURN`]), so that a
//! reply made to be expensive (KeyTrap, CVE-2023-50387) costs others a moment and its own question the [`Budget`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use dnssec::{Anchor, Budget, Denial, Keys, NoDs, Outcome, Reason, Secure, ZoneKeys};
use store::{Millis, Security};
use wire::{Answer, Class, Ede, Name, NameRef, Rcode, RdataSet, Rrset, Rtype};

use crate::keycache::{Ground, KeyCache, Stamp};
use crate::trace::{Step, Voucher};
use crate::trust::{Begin, Trust};
use crate::witness;

/// Signature verifications after which a question gives way to others. One step may do up to 16 more
/// (`dnssec::budget::MAX_SET_VERIFICATIONS`): together below two milliseconds with P-256.
pub(crate) const TURN: u32 = 8;

/// Steps after which it gives way though nothing had to be verified: a reply may have thousands of sets whose signatures need
/// only be read to be refused.
const STEPS: u32 = 256;

/// Why something is bogus: what failed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) cause: Cause,
    /// The set.
    pub(crate) name: Name,
    pub(crate) rtype: Rtype,
    /// The link of the chain of trust that was asked for; `None`: it is of the answer.
    pub(crate) chain: Option<(Name, Rtype)>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was looked at.
    Reason(Reason),
    /// It was looked at, with the NSEC or NSEC3 records there are.
    Denial(Reason),
    /// No server had it.
    Unfetched,
}

impl Why {
    fn of(reason: Reason, set: &Rrset) -> Why {
        Why { cause: Cause::Reason(reason), name: set.owner.clone(), rtype: set.rtype, chain: None }
    }

    fn chain(cause: Cause, name: &Name, rtype: Rtype) -> Why {
        Why { cause, name: name.clone(), rtype, chain: Some((name.clone(), rtype)) }
    }

    /// What was found when it was looked at.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self.cause {
            Cause::Reason(reason) | Cause::Denial(reason) => Some(reason),
            Cause::Unfetched => None,
        }
    }

    /// The extended error for the client.
    pub(crate) fn ede(&self) -> Ede {
        let code = match self.cause {
            Cause::Reason(reason) => reason.ede_code().unwrap_or(Ede::DNSSEC_BOGUS),
            Cause::Denial(_) => Ede::DNSSEC_BOGUS,
            Cause::Unfetched if self.rtype == Rtype::DNSKEY => Ede::DNSKEY_MISSING,
            Cause::Unfetched => Ede::NETWORK_ERROR,
        };
        Ede { code, text: self.to_string().into() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Why { name, rtype, .. } = self;
        match self.cause {
            Cause::Reason(reason) | Cause::Denial(reason) => write!(f, "{reason}, for <{name} {rtype} IN>")?,
            Cause::Unfetched => write!(f, "no server had <{name} {rtype} IN>")?,
        }
        if self.chain.is_some() { f.write_str(" while building the chain of trust") } else { Ok(()) }
    }
}

/// One step of an answer: what was said to a question for one name. A link's sets are a CNAME, or a DNAME with the CNAME
/// made from it, and in its authority section are the proofs that came with it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: Name,
    pub(crate) qtype: Rtype,
    pub(crate) answer: Answer,
    pub(crate) security: Security,
    /// Why it is bogus.
    pub(crate) why: Option<Why>,
    /// Seconds it may be kept at most, by what proves it.
    pub(crate) most: u32,
    /// Who said it just now; `None`: it was remembered.
    pub(crate) from: Option<SocketAddr>,
}

impl Part {
    pub(crate) fn new(name: Name, qtype: Rtype, answer: Answer, security: Security) -> Part {
        Part { name, qtype, answer, security, why: None, most: u32::MAX, from: None }
    }
}

/// The least of what is known of some parts. One that is bogus makes the whole so.
pub(crate) fn least<'a>(parts: impl Iterator<Item = &'a Part>) -> Security {
    let worst = |a: Security, b: Security| match (a, b) {
        (Security::Bogus, _) | (_, Security::Bogus) => Security::Bogus,
        (a, b) => a.min(b),
    };
    parts.map(|part| part.security).reduce(worst).unwrap_or_default()
}

/// What a proof is made with.
pub(crate) struct Env<'a> {
    pub(crate) trust: &'a Trust,
    pub(crate) keys: &'a KeyCache,
    pub(crate) stamp: Stamp,
    /// The caches' time.
    pub(crate) now: Millis,
    /// Unix seconds.
    pub(crate) date: u64,
    pub(crate) budget: &'a mut Budget,
    /// Where steps are written down, if somebody wants the question explained.
    pub(crate) teller: Option<&'a dyn Fn(Step)>,
}

impl Env<'_> {
    fn note(&self, step: impl FnOnce() -> Step) {
        if let Some(tell) = self.teller {
            tell(step());
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The answer to this question, whatever it is: [`Proof::hear`].
    Need(Name, Rtype),
    /// Others first.
    Later,
    /// Every part is proven, or one is bogus.
    Done,
    /// The question's work is used up: nothing is known.
    OverBudget,
}

/// The proof of an answer, as far as it has come.
pub(crate) struct Proof {
    /// The last part; the links before it are the caller's.
    pub(crate) end: Part,
    /// The end's reply was authoritative.
    pub(crate) aa: bool,
    /// The end came from the store, where it has so many seconds.
    pub(crate) left: Option<u32>,
    /// Which part is at work: links first.
    at: usize,
    walk: Option<Walk>,
    check: Check,
}

/// A walk down a chain of trust.
struct Walk {
    goal: Name,
    stage: Stage,
}

enum Stage {
    /// The keys of a zone are needed, and this proves them.
    Keys(Name, Vouch),
    /// These are keys above the goal, and no zone is cut between them and the name.
    At(Arc<ZoneKeys>, Name),
    /// The DS set of the second name is needed, or verified set by set.
    Ds(Arc<ZoneKeys>, Name, Option<Beside>),
    Over(Ground),
}

enum Vouch {
    Anchor(Arc<Anchor>),
    Ds(Secure),
}

/// What came for a DS question, and what of it is verified.
struct Beside {
    todo: std::vec::IntoIter<Rrset>,
    done: Vec<Secure>,
    /// Why a denial among them is not believed.
    spoilt: Option<Why>,
}

/// What of a part is verified.
#[derive(Default)]
struct Check {
    answer: Vec<Rrset>,
    denials: Vec<Secure>,
    authority: Vec<Rrset>,
    additional: Vec<Rrset>,
    /// Owners out of wildcards, and the wildcards' parents.
    wild: Vec<(Name, Name)>,
    dname: Option<Secure>,
    /// Why a denial among them is not believed.
    spoilt: Option<Why>,
    nth: usize,
}

/// What has come of a part.
enum Verdict {
    More,
    Secure,
    Insecure(Reason),
    Bogus(Why),
    OverBudget,
}

impl Proof {
    pub(crate) fn new(end: Part, aa: bool, left: Option<u32>) -> Proof {
        Proof { end, aa, left, at: 0, walk: None, check: Check::default() }
    }

    /// Goes on as far as it can, until so many verifications are paid for. `links` are the parts before the end, first to last.
    pub(crate) fn next(&mut self, links: &mut [Part], env: &mut Env<'_>, until: u32) -> Next {
        let mut steps = 0;
        loop {
            if env.budget.spent().0 >= until || steps >= STEPS {
                return Next::Later;
            }
            steps += 1;
            let ended = self.at >= links.len();
            let (earlier, rest) = links.split_at_mut(self.at.min(links.len()));
            let part = rest.first_mut().unwrap_or(&mut self.end);
            if part.security == Security::Bogus {
                return Next::Done;
            }
            if part.security != Security::Unchecked {
                if ended {
                    return Next::Done;
                }
                (self.at, self.walk, self.check) = (self.at + 1, None, Check::default());
                continue;
            }
            let walk = self.walk.get_or_insert_with(|| Walk::begin(part, env));
            walk.use_denials(earlier, env);
            let verdict = match &walk.stage {
                Stage::Over(Ground::Insecure(reason)) => {
                    part.answer.ede = part.answer.ede.take().or(reason.and_then(Reason::ede));
                    part.security = Security::Insecure;
                    continue;
                }
                Stage::Over(Ground::Bogus(why)) => Verdict::Bogus(why.clone()),
                Stage::Over(Ground::Keys(keys)) => match self.check.step(part, keys, env) {
                    Verdict::Bogus(_) if self.check.is_unsigned_below(part, earlier, keys, env) => {
                        Verdict::Insecure(Reason::OptOut)
                    }
                    verdict => verdict,
                },
                Stage::Keys(zone, _) => return Next::Need(zone.clone(), Rtype::DNSKEY),
                Stage::Ds(_, name, None) => return Next::Need(name.clone(), Rtype::DS),
                Stage::At(..) | Stage::Ds(..) => match walk.step(env) {
                    Ok(()) => Verdict::More,
                    Err(OverBudget) => Verdict::OverBudget,
                },
            };
            match verdict {
                Verdict::More => {}
                Verdict::OverBudget => return Next::OverBudget,
                // The error is ours: nobody has signed it.
                Verdict::Secure if part.answer.rcode == Rcode::YXDOMAIN => part.security = Security::Indeterminate,
                Verdict::Secure => part.security = Security::Secure,
                Verdict::Insecure(reason) => {
                    part.answer.ede = part.answer.ede.take().or(reason.ede());
                    part.security = Security::Insecure;
                }
                Verdict::Bogus(why) => {
                    part.why = Some(why);
                    part.security = Security::Bogus;
                }
            }
        }
    }

    /// What was needed is here, as far as there is any.
    pub(crate) fn hear(
        &mut self,
        name: &Name,
        rtype: Rtype,
        answer: &Answer,
        env: &mut Env<'_>,
    ) -> Result<(), OverBudget> {
        match &mut self.walk {
            Some(walk) => walk.hear(name, rtype, answer, env),
            None => Ok(()),
        }
    }

    /// Begins anew with the part that is bogus, and what was proven on the way to it is in the key cache.
    pub(crate) fn again(&mut self, links: &mut [Part]) {
        let part = links.get_mut(self.at).unwrap_or(&mut self.end);
        (part.security, part.why) = (Security::Unchecked, None);
        (self.walk, self.check) = (None, Check::default());
    }

    /// Whether it waits for this.
    pub(crate) fn needs(&self, name: &Name, rtype: Rtype) -> bool {
        match self.walk.as_ref().map(|walk| &walk.stage) {
            Some(Stage::Keys(zone, _)) => rtype == Rtype::DNSKEY && zone == name,
            Some(Stage::Ds(_, next, None)) => rtype == Rtype::DS && next == name,
            _ => false,
        }
    }
}

/// Why nothing at this name can be proven: the closest zone that is known has a chain of trust that breaks.
pub(crate) fn broken(
    trust: &Trust,
    keys: &KeyCache,
    stamp: Stamp,
    (now, date): (Millis, u64),
    name: NameRef<'_>,
) -> Option<Why> {
    let Begin::At(anchor) = trust.begin(name, date) else { return None };
    let zones = name.ancestors().take_while(|zone| zone.is_subdomain_of(anchor.owner.as_ref()));
    match zones.filter_map(|zone| keys.get(zone, now, stamp)).next() {
        Some(Ground::Bogus(why)) => Some(why),
        _ => None,
    }
}

/// The work is used up.
pub(crate) struct OverBudget;

/// The set of this owner and type in an answer section.
fn find<'a>(answer: &'a Answer, name: &Name, rtype: Rtype) -> Option<&'a Rrset> {
    answer.answer.iter().find(|set| set.rtype == rtype && set.owner == *name && set.class == Class::IN)
}

/// What earlier parts of the answer, as far as they are proven, deny of names in this zone.
fn denials(parts: &[Part], zone: NameRef<'_>) -> Vec<Secure> {
    let proven = parts.iter().filter(|part| part.security == Security::Secure);
    let sets = proven.flat_map(|part| &part.answer.authority).filter(|set| is_denial(set));
    let ours = sets.filter_map(|set| Secure::remembered(set.clone())).filter(|secure| secure.zone() == zone);
    ours.take(dnssec::budget::MAX_DENIALS).collect()
}

pub(crate) fn is_denial(set: &Rrset) -> bool {
    matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3)
}

/// Where the signatures of a part say that its zone is.
fn hint(part: &Part) -> Option<NameRef<'_>> {
    let Answer { answer, authority, .. } = &part.answer;
    if answer.is_empty() { authority.iter().find_map(dnssec::signer) } else { answer.iter().find_map(dnssec::signer) }
}

impl Walk {
    fn over(goal: Name, ground: Ground) -> Walk {
        Walk { goal, stage: Stage::Over(ground) }
    }

    fn begin(part: &Part, env: &mut Env<'_>) -> Walk {
        let own = part.name.as_ref();
        let seat = if part.qtype == Rtype::DS { own.parent().unwrap_or(own) } else { own };
        let begin = env.trust.begin(seat, env.date);
        env.note(|| witness::begins(seat, &begin));
        let anchor = match begin {
            Begin::At(anchor) => anchor,
            Begin::Nowhere | Begin::Excused(false) => return Walk::over(seat.to_name(), Ground::Insecure(None)),
            Begin::Excused(true) => {
                return Walk::over(seat.to_name(), Ground::Insecure(Some(Reason::NegativeAnchor)));
            }
        };
        // Signatures cannot be verified (RFC 4035 2.2: there are none over them).
        if part.qtype == Rtype::RRSIG && !part.answer.answer.is_empty() {
            return Walk::over(seat.to_name(), Ground::Insecure(None));
        }
        let apex = anchor.owner.as_ref();
        // A zone that the set does not lie in has no say: that it is unsigned would excuse any denial.
        let on_the_way = |zone: &NameRef<'_>| seat.is_subdomain_of(*zone) && zone.is_subdomain_of(apex);
        let goal = hint(part).filter(on_the_way).unwrap_or(seat).to_name();
        let above = goal.as_ref().ancestors().take_while(|zone| zone.is_subdomain_of(apex));
        let closest = above.filter_map(|zone| Some((zone, env.keys.get(zone, env.now, env.stamp)?))).next();
        if env.teller.is_some() && closest.is_some() {
            Walk::tell_known(&goal, apex, env);
        }
        let stage = match closest {
            Some((zone, Ground::Keys(keys))) => Stage::At(keys, zone.to_name()),
            Some((_, ground)) => Stage::Over(ground),
            None => Stage::Keys(anchor.owner.clone(), Vouch::Anchor(anchor)),
        };
        Walk { goal, stage }
    }

    /// Says of which zones down to the goal something is remembered: the walk begins at the last of them.
    fn tell_known(goal: &Name, apex: NameRef<'_>, env: &Env<'_>) {
        let above: Vec<NameRef<'_>> = goal.as_ref().ancestors().take_while(|zone| zone.is_subdomain_of(apex)).collect();
        for zone in above.into_iter().rev() {
            if let Some(ground) = env.keys.get(zone, env.now, env.stamp) {
                env.note(|| witness::known(zone, &ground));
            }
        }
    }

    /// A DS set that an earlier part of the answer has proven not to be there need not be asked for: the link's server knew
    /// that it leads out of what is signed.
    fn use_denials(&mut self, earlier: &[Part], env: &mut Env<'_>) {
        let Stage::Ds(keys, next, beside @ None) = &mut self.stage else { return };
        let done = denials(earlier, keys.zone());
        if done.is_empty() {
            return;
        }
        let denial = Denial::new(keys.zone(), keys.bits(), &done, &env.trust.rules);
        if matches!(denial.no_ds(next.as_ref(), env.budget), NoDs::Unsigned(_) | NoDs::NoCut(_)) {
            *beside = Some(Beside { todo: Vec::new().into_iter(), done, spoilt: None });
        }
    }

    /// Goes on without anything from outside.
    fn step(&mut self, env: &mut Env<'_>) -> Result<(), OverBudget> {
        match &mut self.stage {
            Stage::At(keys, at) => {
                let below = self.goal.as_ref().label_count().checked_sub(at.as_ref().label_count() + 1);
                self.stage = match below.and_then(|skip| self.goal.as_ref().ancestors().nth(skip)) {
                    Some(next) => Stage::Ds(Arc::clone(keys), next.to_name(), None),
                    None => Stage::Over(Ground::Keys(Arc::clone(keys))),
                };
                Ok(())
            }
            Stage::Ds(keys, next, Some(beside)) => {
                let Some(set) = beside.todo.next() else { return self.conclude_ds(env) };
                match dnssec::verify(&set, keys, &env.trust.rules, env.date, env.budget) {
                    Outcome::Secure(secure) => beside.done.push(secure),
                    Outcome::OverBudget => return Err(OverBudget),
                    // Of denials those that verify count.
                    Outcome::Bogus(reason) if is_denial(&set) => {
                        beside.spoilt.get_or_insert_with(|| Why {
                            chain: Some((next.clone(), Rtype::DS)),
                            ..Why::of(reason, &set)
                        });
                    }
                    Outcome::Bogus(reason) => {
                        env.note(|| witness::bad_ds(next, &set, reason));
                        let why = Why { chain: Some((next.clone(), Rtype::DS)), ..Why::of(reason, &set) };
                        self.stage = Stage::Over(Ground::Bogus(why));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hear(&mut self, name: &Name, rtype: Rtype, answer: &Answer, env: &mut Env<'_>) -> Result<(), OverBudget> {
        match &mut self.stage {
            Stage::Keys(zone, vouch) if rtype == Rtype::DNSKEY && zone == name => {
                // Whoever else waited for them has proven them meanwhile.
                if let Some(Ground::Keys(keys)) = env.keys.get(zone.as_ref(), env.now, env.stamp) {
                    self.stage = Stage::At(keys, zone.clone());
                    return Ok(());
                }
                let (rules, date) = (&env.trust.rules, env.date);
                let ttl = |set: &Rrset| set.ttl;
                let found = find(answer, zone, Rtype::DNSKEY);
                let keys = match (found, &vouch) {
                    (Some(set), Vouch::Anchor(anchor)) => dnssec::by_anchor(set, anchor, rules, date, env.budget),
                    (Some(set), Vouch::Ds(ds)) => dnssec::by_ds(set, ds, rules, date, env.budget),
                    (None, _) => Keys::Bogus(Reason::NoKeys),
                };
                let fetched = matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
                let ground = match keys {
                    Keys::OverBudget => return Err(OverBudget),
                    Keys::Secure(keys) => {
                        let ttl = ttl(keys.set().set());
                        let ground = Ground::Keys(Arc::new(keys));
                        env.keys.put(zone.as_ref(), ground.clone(), ttl, env.now, env.stamp);
                        ground
                    }
                    Keys::Insecure(reason) => {
                        let ttl = found.map_or(0, ttl);
                        let ground = Ground::Insecure(Some(reason));
                        env.keys.put(zone.as_ref(), ground.clone(), ttl, env.now, env.stamp);
                        ground
                    }
                    Keys::Bogus(_) if matches!(vouch, Vouch::Anchor(_)) && !env.trust.harden_dnssec_stripped => {
                        Ground::Insecure(None)
                    }
                    Keys::Bogus(reason) => {
                        let cause = if fetched { Cause::Reason(reason) } else { Cause::Unfetched };
                        Ground::Bogus(Why::chain(cause, zone, Rtype::DNSKEY))
                    }
                };
                env.note(|| match &vouch {
                    Vouch::Anchor(anchor) => {
                        witness::keys(zone, found, &witness::anchored(anchor), Voucher::Anchor, &ground)
                    }
                    Vouch::Ds(ds) => witness::keys(zone, found, &witness::named_by_ds(ds), Voucher::Ds, &ground),
                });
                self.stage = match ground {
                    Ground::Keys(keys) => Stage::At(keys, zone.clone()),
                    ground => Stage::Over(ground),
                };
            }
            Stage::Ds(_, next, beside @ None) if rtype == Rtype::DS && next == name => {
                if !matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
                    env.note(|| witness::no_ds_told(next));
                    self.stage = Stage::Over(Ground::Bogus(Why::chain(Cause::Unfetched, next, Rtype::DS)));
                    return Ok(());
                }
                let first = find(answer, next, Rtype::DS).or_else(|| find(answer, next, Rtype::CNAME));
                let denials = answer.authority.iter().filter(|set| is_denial(set)).take(dnssec::budget::MAX_DENIALS);
                let todo: Vec<Rrset> = match first {
                    Some(ds) if ds.rtype == Rtype::DS => vec![ds.clone()],
                    cname => cname.into_iter().chain(denials).cloned().collect(),
                };
                *beside = Some(Beside { todo: todo.into_iter(), done: Vec::new(), spoilt: None });
            }
            _ => {}
        }
        Ok(())
    }

    /// All that came for a DS question is verified: what does it say?
    fn conclude_ds(&mut self, env: &mut Env<'_>) -> Result<(), OverBudget> {
        let Stage::Ds(keys, next, Some(beside)) = &mut self.stage else { return Ok(()) };
        let rules = &env.trust.rules;
        let done = std::mem::take(&mut beside.done);
        let insecure = |env: &mut Env<'_>, next: &Name, reason: Option<Reason>, ttl: u32| {
            let ground = Ground::Insecure(reason);
            env.keys.put(next.as_ref(), ground.clone(), ttl, env.now, env.stamp);
            Stage::Over(ground)
        };
        let stage = match done.first().map(|secure| secure.set().rtype) {
            Some(Rtype::DS) => {
                let Some(ds) = done.into_iter().next() else { return Ok(()) };
                // Keys that could not be used are not fetched.
                let none = Rrset::new(next.clone(), Rtype::DNSKEY, Class::IN, 0, RdataSet::new());
                match dnssec::by_ds(&none, &ds, rules, env.date, env.budget) {
                    Keys::Insecure(reason) => {
                        env.note(|| witness::ds(&ds, Some(reason)));
                        insecure(env, next, Some(reason), ds.set().ttl)
                    }
                    _ => {
                        env.note(|| witness::ds(&ds, None));
                        Stage::Keys(next.clone(), Vouch::Ds(ds))
                    }
                }
            }
            // Out of a wildcard: then the name is not there, which is to be proven, or it hides a delegation.
            Some(Rtype::CNAME) if done.first().is_some_and(|cname| cname.wildcard().is_some()) => {
                let (Some((cname, denials)), wild) = (done.split_first(), Stage::Over(Ground::Keys(Arc::clone(keys))))
                else {
                    return Ok(());
                };
                let encloser = cname.wildcard().unwrap_or(next.as_ref());
                let denial = Denial::new(keys.zone(), keys.bits(), denials, rules);
                match denial.wildcard_answer(next.as_ref(), encloser, env.budget) {
                    dnssec::Proof::Proven(_) => wild,
                    dnssec::Proof::Insecure(reason) => insecure(env, next, Some(reason), cname.set().ttl),
                    dnssec::Proof::OverBudget => return Err(OverBudget),
                    dnssec::Proof::Bogus(reason) => {
                        let why = Why::chain(Cause::Reason(reason), next, Rtype::DS);
                        Stage::Over(Ground::Bogus(beside.spoilt.take().unwrap_or(why)))
                    }
                }
            }
            // A name with a CNAME has nothing else.
            Some(Rtype::CNAME) => {
                env.note(|| witness::no_zone(next));
                Stage::At(Arc::clone(keys), next.clone())
            }
            _ => {
                let least = done.iter().map(|secure| secure.set().ttl).min().unwrap_or(0);
                let denial = Denial::new(keys.zone(), keys.bits(), &done, rules);
                let found = denial.no_ds(next.as_ref(), env.budget);
                env.note(|| witness::no_ds(next, &found, &done));
                match found {
                    NoDs::Unsigned(proven) => insecure(env, next, None, proven.ttl),
                    NoDs::Insecure(reason) => insecure(env, next, Some(reason), least),
                    NoDs::NoCut(_) => Stage::At(Arc::clone(keys), next.clone()),
                    NoDs::NoName(_) => Stage::Over(Ground::Keys(Arc::clone(keys))),
                    NoDs::Bogus(reason) => {
                        let cause = if done.is_empty() { Cause::Reason(reason) } else { Cause::Denial(reason) };
                        let why = beside.spoilt.take().unwrap_or_else(|| Why::chain(cause, next, Rtype::DS));
                        Stage::Over(Ground::Bogus(why))
                    }
                    NoDs::OverBudget => return Err(OverBudget),
                }
            }
        };
        self.stage = stage;
        Ok(())
    }
}

impl Check {
    /// Verifies one more set of the part; after the last one, what the part denies.
    fn step(&mut self, part: &mut Part, keys: &ZoneKeys, env: &mut Env<'_>) -> Verdict {
        let Answer { answer, authority, additional, .. } = &part.answer;
        let nth = self.nth;
        self.nth += 1;
        let mut verify = |set: &Rrset| dnssec::verify(set, keys, &env.trust.rules, env.date, env.budget);
        if let Some(set) = answer.get(nth) {
            if let Some(dname) = self.dname.take().filter(|dname| dnssec::synthesised(dname, set)) {
                let ttl = dname.set().ttl;
                self.answer.push(Rrset::from_data(ttl, Arc::clone(set.data())));
                return Verdict::More;
            }
            if set.rtype == Rtype::RRSIG {
                // Of an answer to ANY, without what it covers.
                return Verdict::More;
            }
            return match verify(set) {
                Outcome::Secure(secure) => {
                    env.note(|| witness::checked(&secure));
                    if let Some(encloser) = secure.wildcard() {
                        self.wild.push((set.owner.clone(), encloser.to_name()));
                    }
                    self.answer.push(secure.set().clone());
                    self.dname = Some(secure).filter(|secure| secure.set().rtype == Rtype::DNAME);
                    Verdict::More
                }
                Outcome::Bogus(reason) => {
                    env.note(|| witness::refuted(set, reason));
                    Verdict::Bogus(Why::of(reason, set))
                }
                Outcome::OverBudget => Verdict::OverBudget,
            };
        }
        let nth = nth - answer.len();
        if let Some(set) = authority.get(nth) {
            if is_denial(set) && self.denials.len() >= dnssec::budget::MAX_DENIALS {
                return Verdict::More;
            }
            return match verify(set) {
                Outcome::Secure(secure) if is_denial(set) => {
                    self.denials.push(secure);
                    Verdict::More
                }
                Outcome::Secure(secure) => {
                    env.note(|| witness::checked(&secure));
                    self.authority.push(secure.into_set());
                    Verdict::More
                }
                Outcome::Bogus(reason) if set.rtype == Rtype::SOA && answer.is_empty() => {
                    env.note(|| witness::refuted(set, reason));
                    Verdict::Bogus(Why::of(reason, set))
                }
                Outcome::Bogus(reason) => {
                    if is_denial(set) {
                        self.spoilt.get_or_insert_with(|| Why::of(reason, set));
                    }
                    Verdict::More
                }
                Outcome::OverBudget => Verdict::OverBudget,
            };
        }
        let nth = nth - authority.len();
        if let Some(set) = additional.get(nth) {
            let ours = dnssec::signer(set).is_some_and(|zone| zone == keys.zone());
            let found = if ours { verify(set) } else { Outcome::Bogus(Reason::NoSignature) };
            match found {
                Outcome::Secure(secure) if secure.wildcard().is_none() => self.additional.push(secure.into_set()),
                Outcome::OverBudget => return Verdict::OverBudget,
                _ if !env.trust.clean_additional => self.additional.push(set.clone()),
                _ => {}
            }
            return Verdict::More;
        }
        self.conclude(part, keys, env)
    }

    /// Whether a denial that proves nothing is of a name in or below a zone without keys, as what came with it says, or with the
    /// links before it: a server of both zones may answer with the SOA record of the upper one.
    fn is_unsigned_below(&self, part: &Part, earlier: &[Part], keys: &ZoneKeys, env: &mut Env<'_>) -> bool {
        if !part.answer.answer.is_empty() || self.nth <= part.answer.authority.len() {
            return false;
        }
        let mut sets = denials(earlier, keys.zone());
        sets.extend(self.denials.iter().cloned());
        if sets.is_empty() {
            return false;
        }
        let denial = Denial::new(keys.zone(), keys.bits(), &sets, &env.trust.rules);
        let below = part.name.as_ref().ancestors().take_while(|name| *name != keys.zone());
        let cuts: Vec<NameRef<'_>> = below.filter(|_| part.name.as_ref().is_subdomain_of(keys.zone())).collect();
        cuts.into_iter().any(|name| matches!(denial.no_ds(name, env.budget), NoDs::Unsigned(_)))
    }

    fn conclude(&mut self, part: &mut Part, keys: &ZoneKeys, env: &mut Env<'_>) -> Verdict {
        let denial = Denial::new(keys.zone(), keys.bits(), &self.denials, &env.trust.rules);
        // Signatures without what they cover are no answer: else who strips the records would prove that there are none.
        let proofs = if part.answer.answer.iter().all(|set| set.rtype == Rtype::RRSIG) {
            let (name, qtype) = (part.name.as_ref(), part.qtype);
            let proof = match part.answer.rcode {
                Rcode::NXDOMAIN => match denial.name_error(name, env.budget) {
                    // Some servers say so of names that exist and have no records of their own; what is proven counts.
                    failed @ dnssec::Proof::Bogus(_) => match denial.no_data(name, qtype, env.budget) {
                        proven @ dnssec::Proof::Proven(_) => {
                            part.answer.rcode = Rcode::NOERROR;
                            proven
                        }
                        _ => failed,
                    },
                    proof => proof,
                },
                _ => denial.no_data(name, qtype, env.budget),
            };
            vec![proof]
        } else {
            let wild = self.wild.iter();
            wild.map(|(owner, above)| denial.wildcard_answer(owner.as_ref(), above.as_ref(), env.budget)).collect()
        };
        let mut verdict = Verdict::Secure;
        for proof in proofs {
            let is_answer = !part.answer.answer.is_empty();
            env.note(|| witness::denied(part.answer.rcode, is_answer, &self.denials, &proof));
            match proof {
                dnssec::Proof::Proven(proven) => part.most = part.most.min(proven.ttl),
                dnssec::Proof::Insecure(reason) => verdict = Verdict::Insecure(reason),
                dnssec::Proof::OverBudget => return Verdict::OverBudget,
                dnssec::Proof::Bogus(reason) => {
                    let there = !part.answer.answer.is_empty() || part.answer.authority.iter().any(is_denial);
                    let cause = if there { Cause::Denial(reason) } else { Cause::Reason(reason) };
                    let why = Why { cause, name: part.name.clone(), rtype: part.qtype, chain: None };
                    return Verdict::Bogus(self.spoilt.take().unwrap_or(why));
                }
            }
        }
        let denials = std::mem::take(&mut self.denials).into_iter().map(Secure::into_set);
        self.authority.extend(denials);
        if !part.answer.answer.is_empty() && part.answer.rcode == Rcode::NXDOMAIN {
            // What is proven is that there are records; nobody has signed the code.
            part.answer.rcode = Rcode::NOERROR;
        }
        part.answer.answer = std::mem::take(&mut self.answer);
        part.answer.authority = std::mem::take(&mut self.authority);
        part.answer.additional = std::mem::take(&mut self.additional);
        verdict
    }
}
