//! Recursion: from the closest servers that are known down to those who know the answer.
//!
//! Forwarding asks one set of servers and believes them. Recursion begins at the closest enclosing zone whose servers are
//! known, and each reply is an answer, a link to another name, or the way to a zone below. Both share everything that
//! leaves and comes in: choosing, waiting, hedging, 0x20, EDNS (`ask`, `hear`), links and their store (`serve`).
//!
//! ```text
//!  SEEK ── no forward zone ──▶ NEAREST: stub zone, or the closest delegation in the store, or the root
//!                                │  ▲        ▲                                │ root or stub with prime, unknown
//!                                │  │        │ one zone higher, once a zone   ▼
//!                                │  │        │                         PRIME: its own NS set, from the hints
//!                                ▼  │        │                                │
//!          ┌──────────────▶ ARRIVE ◀┼────────┼────────────────────────────────┘
//!          │                 │ look up some addresses in advance (target-fetch-policy)
//!          │                 ▼      │        │
//!          │                ASK ◀───┼────────┼────────── news: addresses of a name server
//!          │ referral        │      │        │                        ▲
//!          │                 ▼      │        │ nothing left           │
//!          ├──────────────  WAIT ───┼──▶ RUN DRY ── one more name ──▶ wait for a question of its own
//!          │                 │      │        │
//!          │   part of name  │      │        ├─ who only recurses is asked to, glue is doubted, stub-first
//!          └── next label ◀──┤      │        ▼
//!                            ▼      │      FAIL
//!                  ANSWER, or a link: SEEK
//! ```
//!
//! **Whom to ask.** NS records come from the store, where the child's own word outranks the parent's (RFC 2181 5.4.1) and
//! none lives longer for being repeated (`store::sets`: ghost domains, CVE-2012-1033). When all of them fail, the zone is
//! sought once more from its parent: there the delegation may have changed, and there is glue. So parent and child may
//! differ in names or in addresses, and whichever works is found.
//!
//! **Who is believed.** A server speaks for its zone and below. Of a referral one NS set counts: the one on the way to the
//! name. Glue counts for its name servers alone, if they are inside the zone that was asked (`harden-glue`). DS, NSEC and
//! NSEC3 records beside it are kept for validation. A server that sends us up, back, or to recursion is lame for the zone.
//!
//! **Missing addresses** are questions of their own; the state waits ([`super::wait`]). Names inside the zone itself cannot
//! be asked for without a server of the zone: a delegation of such names without glue is passed by on the way up, never
//! taken (`delegation`).
//!
//! **QNAME minimisation** (RFC 9156): while a zone might still be cut, a server is asked for one label more than it has, type
//! A. What it cannot cope with (errors, silence, and when relaxed also NXDOMAIN) makes the question go out as it is.
//!
//! **DS** stands in the parent (RFC 4035 2.4): the search begins above the name, and a referral to the very name is the
//! parent's word on its DS records.
//!
//! It never judges records (`scrub`, `delegation`), never looks at packets (`hear`).

use std::sync::Arc;

use store::{Key, Millis, Put, Security, Trust};
use wire::{Answer, Class, Name, NameRef, Rcode, Reply, Rrset, Rtype};

use super::Mesh;
use super::state::{Flight, State, Target};
use crate::delegation::{Delegation, Need, Source, Word, addresses, word};
use crate::forward::Forwards;
use crate::limits::{HEDGE_BURST, HEDGE_SHARE, MAX_MINIMISE_TIMEOUTS, MAX_REFERRALS};
use crate::minimise::Steps;
use crate::recursion::{Minimise, Recursion, StubZone};
use crate::scrub::{Finding, Scope, message_ttl, referral};
use crate::select::Tries;
use crate::trace::{Step, Turn};
use crate::why::{Failure, Fault};

/// Where recursion stands for the target.
pub(super) struct Hunt {
    pub(super) at: Delegation,
    /// The servers are asked to recurse: nobody else is left.
    pub(super) recursing: bool,
    /// Replies without signatures are taken from a zone that has some: nobody else is left.
    unsigned: bool,
    /// A server has said nothing at all.
    empty: bool,
    referrals: u16,
    steps: Steps,
    /// Delegations in the store at and below this name are not used: they led nowhere.
    below: Option<Name>,
    /// Zones that were sought anew from their parents.
    went_up: Vec<Name>,
    /// The name whose NS records are waited for, to find the zone that has DS records of the target.
    cut: Option<Name>,
    /// The zone whose NS records are waited for.
    priming: Option<Arc<StubZone>>,
}

impl Hunt {
    fn new(referrals: u16) -> Hunt {
        Hunt {
            at: Delegation::new(Name::root(), Source::Stub),
            recursing: false,
            unsigned: false,
            empty: false,
            referrals,
            steps: Steps::default(),
            below: None,
            went_up: Vec::new(),
            cut: None,
            priming: None,
        }
    }
}

/// Where a search begins.
enum Start {
    At(Delegation),
    Prime(Arc<StubZone>),
}

/// The name whose servers know about a question: its own, or for DS the one above.
fn seat(name: NameRef<'_>, qtype: Rtype) -> NameRef<'_> {
    if qtype == Rtype::DS { name.parent().unwrap_or(name) } else { name }
}

/// The closest zone at or above the target whose servers are known, and that has not failed already.
fn nearest(mesh: &Mesh, now: Millis, state: &State, hunt: &Hunt, recursion: &Recursion) -> Start {
    let forwards: &Forwards = &state.forwards;
    let from = seat(state.target.as_ref(), state.key.qtype);
    let stub = recursion.closest(from, &state.passed);
    // A refresh renews what would end before long, and asks the parent whether a zone is still there (iter_prefetch_ns).
    let soon = now + u64::from(state.leeway_s) * 1000;
    // Who asks for the NS records of a zone that is primed, primes it.
    let primes = state.target == stub.name && state.key.qtype == Rtype::NS;
    for zone in from.ancestors() {
        let is_stub = zone == stub.name.as_ref();
        if is_stub && (!stub.prime || primes) {
            return Start::At(Delegation::of_stub(stub, forwards, recursion));
        }
        let failed = hunt.below.as_ref().is_some_and(|below| zone.is_subdomain_of(below.as_ref()));
        let known = || Delegation::of_store(zone, &mesh.memory, soon, forwards, recursion);
        if !failed && let Some(known) = known().filter(|known| !known.is_useless(recursion)) {
            return Start::At(known);
        }
        if is_stub {
            break;
        }
    }
    Start::Prime(Arc::clone(stub))
}

impl Mesh {
    /// NEAREST, for a new target.
    pub(super) fn descend_anew(&mut self, now: Millis, mut state: Box<State>) {
        if state.forwards.recursion().is_none() {
            return self.fail(now, *state, &Failure::NotForwarded);
        }
        let mut hunt = Hunt::new(state.hunt.take().map_or(0, |hunt| hunt.referrals));
        if state.seeks_glue {
            hunt.below = self.zone_of(state.target.as_ref(), now);
        }
        self.descend(now, state, hunt);
    }

    /// The closest zone at or above the name that the store knows of.
    fn zone_of(&self, name: NameRef<'_>, now: Millis) -> Option<Name> {
        let zone = name.ancestors().find(|zone| self.memory.set(*zone, Rtype::NS, now).is_some());
        zone.filter(|zone| !zone.is_root()).map(NameRef::to_name)
    }

    /// NEAREST, under what is known of this search by now.
    fn descend(&mut self, now: Millis, mut state: Box<State>, mut hunt: Hunt) {
        self.ground(now, &mut state);
        self.release(&mut state);
        (state.zone, state.servers) = (None, Vec::new());
        let Some(recursion) = state.forwards.recursion().cloned() else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        match nearest(self, now, &state, &hunt, &recursion) {
            Start::At(at) => {
                state.hunt = Some(Box::new(hunt));
                self.arrive(now, state, at);
            }
            Start::Prime(stub) => {
                hunt.at = Delegation::new(stub.name.clone(), Source::Stub);
                hunt.priming = Some(Arc::clone(&stub));
                state.hunt = Some(Box::new(hunt));
                if !self.want(&mut state, &stub.name, Rtype::NS) {
                    return self.run_dry(now, state);
                }
                self.park(state);
            }
        }
    }

    /// PRIME: the zone's own NS set is there (RFC 9609), or it is not.
    fn primed(&mut self, now: Millis, mut state: Box<State>, stub: &StubZone, answer: &Answer) {
        let (Some(recursion), Some(hunt)) = (state.forwards.recursion().cloned(), state.hunt.take()) else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        let ns = answer.answer.iter().find(|set| set.rtype == Rtype::NS && set.owner == stub.name);
        let Some(ns) = ns else {
            if stub.first {
                return self.pass_by(now, state, *hunt, stub.name.clone());
            }
            state.hunt = Some(hunt);
            let failure = match state.last_fault {
                Some((server, fault)) => Failure::Authorities(stub.name.clone(), server, fault),
                None => Failure::Unprimed(stub.name.clone()),
            };
            return self.fail(now, *state, &failure);
        };
        let mut at = Delegation::of_reply(ns, &answer.additional, Source::Store, &state.forwards, &recursion);
        at.fill(&self.memory, now, &state.forwards, &recursion);
        if at.is_useless(&recursion) {
            // Names without addresses: whoever was asked for them may be asked for more.
            at = Delegation::of_stub(stub, &state.forwards, &recursion);
        }
        state.hunt = Some(hunt);
        self.arrive(now, state, at);
    }

    /// A stub zone has failed, and the question goes on as if it were not there (`stub-first`): to the forward zone it stands
    /// in, or to where recursion goes on.
    fn pass_by(&mut self, now: Millis, mut state: Box<State>, hunt: Hunt, stub: Name) {
        self.say(4, || format!("stub-first: {stub} failed, going on without it"));
        state.note(now, || Step::Turns { zone: stub.clone(), turn: Turn::StubFirst });
        state.passed.push(stub);
        match state.forwards.route_past(state.target.as_ref(), state.key.qtype, &state.passed).cloned() {
            Some(zone) => {
                self.release(&mut state);
                state.sends = 0;
                self.enter(now, state, zone);
            }
            None => self.descend(now, state, hunt),
        }
    }

    /// Whether the question is asked for another that primes this zone.
    pub(super) fn primes(&self, state: &State) -> bool {
        let primes = |parent: &u64| {
            let hunt = self.states.get(parent).and_then(|parent| parent.hunt.as_ref());
            hunt.and_then(|hunt| hunt.priming.as_ref()).is_some_and(|stub| stub.name == state.target)
        };
        state.key.qtype == Rtype::NS && state.parents.iter().any(primes)
    }

    /// ARRIVE: these servers are asked from now on.
    fn arrive(&mut self, now: Millis, mut state: Box<State>, at: Delegation) {
        self.ground(now, &mut state);
        self.release(&mut state);
        let Some(recursion) = state.forwards.recursion().cloned() else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        self.say(3, || {
            format!("the servers of {} are asked: {} names, {} addresses", at.zone, at.hosts.len(), at.addrs.len())
        });
        if at.no_cache {
            state.keep_from = state.chain.len() + 1;
        }
        (state.sends, state.servers) = (0, Vec::new());
        let zone = at.zone.clone();
        if let Some(hunt) = &mut state.hunt {
            (hunt.at, hunt.recursing, hunt.unsigned, hunt.priming) = (at, false, false, None);
            (hunt.steps.whole, hunt.steps.silences) = (recursion.minimise == Minimise::Off, 0);
        }
        self.add_targets(&mut state);
        self.leave_out_lame(now, &mut state);
        self.hedges = (self.hedges + HEDGE_SHARE).min(HEDGE_BURST * super::HEDGE_COST);
        self.show(now, &mut state, zone.as_ref());
        state.note(now, || super::steps::delegation(&state));
        let most = recursion.fetches(state.depth);
        self.fetch(now, &mut state, &recursion, most);
        if recursion.harden_referral_path && state.depth == 0 {
            self.want_check(&mut state, &zone, Rtype::NS);
            let glue = state.hunt.as_ref().map(|hunt| hunt.at.unproven(&recursion)).unwrap_or_default();
            glue.iter().for_each(|(name, rtype)| self.want_check(&mut state, name, *rtype));
        }
        self.ask(now, state);
    }

    /// Makes servers of the addresses that are no servers yet.
    fn add_targets(&self, state: &mut State) {
        let always = state.forwards.recursion().is_some_and(|recursion| recursion.tcp_only);
        let State { hunt: Some(hunt), servers, .. } = state else { return };
        let (tcp_only, no_cache) = (hunt.at.tcp_only || always, hunt.at.no_cache);
        for addr in hunt.at.addrs.iter().skip(servers.len()) {
            let tries = Tries::default();
            let (reserve, shuns_edns, borrows, unsigned) = (false, false, false, false);
            servers.push(Target { addr: *addr, tries, reserve, shuns_edns, borrows, unsigned, tcp_only, no_cache });
        }
    }

    /// Servers known to be lame for the zone are not asked, unless all are.
    fn leave_out_lame(&self, now: Millis, state: &mut State) {
        let State { hunt: Some(hunt), servers, .. } = state else { return };
        let lame = |target: &Target| self.lame.is(target.addr, &hunt.at.zone, now);
        if !servers.iter().all(lame) {
            for target in servers.iter_mut().filter(|target| lame(target)) {
                target.tries.failures = u8::MAX;
            }
        }
        for target in servers.iter_mut() {
            target.unsigned = self.unsigned.is(target.addr, &hunt.at.zone, now);
        }
    }

    /// Asks for the addresses of up to `most` name servers (`None`: all). True if at least one is asked for now.
    fn fetch(&mut self, now: Millis, state: &mut State, recursion: &Recursion, most: Option<usize>) -> bool {
        let Some(hunt) = &state.hunt else { return false };
        if usize::from(state.depth) + 1 >= recursion.depth() || state.work.too_many_missing() {
            return false;
        }
        let missing: Vec<(Name, Rtype)> =
            hunt.at.missing(recursion).map(|(name, rtype)| (name.clone(), rtype)).collect();
        let mut names: Vec<Name> = Vec::new();
        for (name, rtype) in missing {
            if self.is_known_not_to_be(now, &name, rtype) {
                state.hunt.iter_mut().for_each(|hunt| hunt.at.note(name.as_ref(), rtype, Need::Failed));
                continue;
            }
            if !names.contains(&name) {
                if most.is_some_and(|most| names.len() >= most) {
                    break;
                }
                names.push(name.clone());
            }
            if !self.want(state, &name, rtype) {
                break;
            }
            state.hunt.as_mut().map(|hunt| hunt.at.note(name.as_ref(), rtype, Need::Asked)).unwrap_or_default();
        }
        !state.waits.is_empty()
    }

    /// Whether the store knows that a name has no records of this type; most name servers have no IPv6 addresses.
    fn is_known_not_to_be(&self, now: Millis, name: &Name, rtype: Rtype) -> bool {
        let key = Key { name: name.clone(), qtype: rtype, qclass: Class::IN, cd: false };
        let known = self.memory.known(name.as_ref(), &key, now);
        known.is_some_and(|found| found.answer.answer.is_empty())
    }

    /// Something this state waited for is known, or known not to be.
    pub(super) fn hear_news(
        &mut self,
        now: Millis,
        mut state: Box<State>,
        (name, qtype): (&Name, Rtype),
        answer: &Answer,
        known: bool,
    ) {
        let (Some(recursion), Some(hunt)) = (state.forwards.recursion().cloned(), &mut state.hunt) else {
            return self.park(state);
        };
        if qtype == Rtype::NS {
            return match hunt.priming.take() {
                Some(stub) if stub.name == *name => self.primed(now, state, &stub, answer),
                priming => {
                    hunt.priming = priming;
                    if hunt.cut.as_ref() == Some(name) {
                        return self.hear_cut(now, state, name, answer);
                    }
                    self.ask(now, state)
                }
            };
        }
        // Behind a link too: a name server may not have an alias (RFC 2181 10.3), and some have.
        let sets = answer.answer.iter().filter(|set| set.rtype == qtype);
        let before = hunt.at.addrs.len();
        hunt.at.learn(name.as_ref(), qtype, sets.flat_map(addresses), false, &state.forwards, &recursion);
        if hunt.at.addrs.len() == before {
            // The name's own zone may be silent and its parent have told the address as glue meanwhile.
            hunt.at.fill(&self.memory, now, &state.forwards, &recursion);
        }
        // What is known to have no address costs nobody a packet, so it is no attack.
        if !known && hunt.at.addrs.len() == before && hunt.at.is_without_address(name.as_ref(), &recursion) {
            state.work.one_missing();
        }
        self.add_targets(&mut state);
        self.ask(now, state);
    }

    /// RUN DRY: nobody is left to ask who is known.
    pub(super) fn run_dry(&mut self, now: Millis, mut state: Box<State>) {
        let Some(recursion) = state.forwards.recursion().cloned() else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        let time_left = now < state.ends;
        let may_go_on = time_left && self.may_send(&state);
        if may_go_on && (!state.waits.is_empty() || self.fetch(now, &mut state, &recursion, Some(1))) {
            return self.park(state);
        }
        if may_go_on && state.servers.iter().any(|target| target.unsigned) {
            // Those that leave signatures out may be all there is, and the zone below may have none.
            state.hunt.iter_mut().for_each(|hunt| hunt.unsigned = true);
            for target in state.servers.iter_mut().filter(|target| target.unsigned) {
                (target.unsigned, target.tries) = (false, Tries::default());
            }
            return self.ask(now, state);
        }
        let Some(mut hunt) = state.hunt.take() else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        if may_go_on && hunt.at.use_spare(&state.forwards, &recursion) {
            state.hunt = Some(hunt);
            self.add_targets(&mut state);
            return self.ask(now, state);
        }
        if may_go_on && !hunt.recursing && state.servers.iter().any(|target| target.borrows) {
            hunt.recursing = true;
            for target in state.servers.iter_mut().filter(|target| target.borrows) {
                target.tries = Tries::default();
            }
            hunt.steps.whole = true;
            state.asks = (state.target.clone(), state.key.qtype);
            state.note(now, || Step::Turns { zone: hunt.at.zone.clone(), turn: Turn::Recursing });
            state.hunt = Some(hunt);
            return self.ask(now, state);
        }
        // Of servers that said what is bogus others than these are sought once: by their names.
        let may_go_on = may_go_on && state.doubt.shun.is_empty();
        let doubted = may_go_on && hunt.at.doubt_glue();
        let zone = hunt.at.zone.clone();
        let first = hunt.at.source == Source::Stub && recursion.is_first(&zone);
        if doubted {
            state.note(now, || Step::Turns { zone: zone.clone(), turn: Turn::DoubtsGlue });
            state.hunt = Some(hunt);
            if self.fetch(now, &mut state, &recursion, None) {
                return self.park(state);
            }
            let Some(back) = state.hunt.take() else { return };
            hunt = back;
        }
        let above =
            if may_go_on && usize::from(state.depth) + 1 < recursion.depth() { hunt.at.seek_above() } else { vec![] };
        state.hunt = Some(hunt);
        for (name, rtype) in above.iter().flat_map(|name| recursion.families().map(move |rtype| (name, rtype))) {
            self.want_glue(&mut state, name, rtype);
        }
        if may_go_on && !state.waits.is_empty() {
            return self.park(state);
        }
        let Some(mut hunt) = state.hunt.take() else { return };
        if may_go_on && first {
            return self.pass_by(now, state, *hunt, zone);
        }
        if may_go_on && hunt.at.source == Source::Store && !zone.as_ref().is_root() && !hunt.went_up.contains(&zone) {
            self.say(4, || format!("the servers of {zone} are sought anew from its parent"));
            state.note(now, || Step::Turns { zone: zone.clone(), turn: Turn::Parent });
            hunt.went_up.push(zone.clone());
            hunt.below = Some(zone);
            return self.descend(now, state, *hunt);
        }
        // What the root said of itself leads nowhere. Among the hints there may be others.
        if may_go_on && hunt.at.source == Source::Store && zone.as_ref().is_root() && !hunt.went_up.contains(&zone) {
            let mut hints = Delegation::of_stub(recursion.closest(zone.as_ref(), &[]), &state.forwards, &recursion);
            hints.addrs.retain(|addr| !hunt.at.addrs.contains(addr));
            if !hints.addrs.is_empty() {
                self.say(4, || "the root servers of the hints are asked".to_owned());
                state.note(now, || Step::Turns { zone: zone.clone(), turn: Turn::Hints });
                hunt.went_up.push(zone);
                state.hunt = Some(hunt);
                return self.arrive(now, state, hints);
            }
        }
        state.hunt = Some(hunt);
        let failure = self.dry(&state, zone, time_left);
        self.fail(now, *state, &failure);
    }

    /// Why nobody is left.
    fn dry(&self, state: &State, zone: Name, time_left: bool) -> Failure {
        let target = || state.target.clone();
        if !state.work.may_send(&self.limits) {
            return Failure::TooMuch("exceeded the maximum global quota on number of upstream queries", target());
        }
        match state.last_fault {
            Some((server, fault)) => Failure::Authorities(zone, server, fault),
            None if state.work.too_many_missing() => {
                Failure::TooMuch("exceeded the maximum nameserver nxdomains", target())
            }
            None if state.work.too_many_targets() => {
                Failure::TooMuch("exceeded the maximum number of nameserver lookups", target())
            }
            None if !time_left => Failure::OutOfTime(zone),
            None => Failure::NoAddresses(zone),
        }
    }

    /// A reply of an authoritative server.
    pub(super) fn hear_authority(&mut self, now: Millis, mut state: Box<State>, flight: &Flight, reply: Reply) {
        let Some(hunt) = &state.hunt else { return self.ask(now, state) };
        let (name, qtype) = (state.asks.0.as_ref(), state.asks.1);
        let sections = (reply.answer.as_slice(), reply.authority.as_slice());
        let flags = (reply.aa(), reply.ra());
        if !hunt.unsigned && self.lacks_signatures(now, &state, &hunt.at.zone, &reply) {
            self.unsigned.mark(flight.server, &hunt.at.zone, now, self.limits.infra_host_ttl_s);
            if let Some(target) = state.servers.get_mut(flight.index) {
                target.unsigned = true;
            }
            return self.useless(now, state, flight, Fault::Unsigned);
        }
        let said = word(reply.rcode, flags, sections, name, qtype, hunt.at.zone.as_ref(), hunt.recursing);
        match said {
            Word::Lame | Word::RecursionLame => {
                let zone = hunt.at.zone.clone();
                self.lame.mark(flight.server, &zone, now, self.limits.infra_host_ttl_s);
                if let Some(target) = state.servers.get_mut(flight.index) {
                    target.borrows = said == Word::RecursionLame;
                }
                self.useless(now, state, flight, Fault::Lame);
            }
            Word::Nothing => self.useless(now, state, flight, Fault::NoAnswer),
            Word::Referral(nth) => {
                self.took(now, &mut state, flight);
                self.say(2, || "query response was REFERRAL".to_owned());
                self.refer(now, state, reply, nth);
            }
            Word::ReferralInAnswer(nth) => {
                self.took(now, &mut state, flight);
                self.say(2, || "query response was REFERRAL".to_owned());
                let mut reply = reply;
                let ns = reply.answer.swap_remove(nth);
                reply.authority.insert(0, ns);
                self.refer(now, state, reply, 0);
            }
            Word::Answer if says_nothing(&reply) && !hunt.empty => {
                // Who has nothing says so with a SOA record (RFC 2308 2.2). Once is a fault; twice it is the answer.
                state.hunt.iter_mut().for_each(|hunt| hunt.empty = true);
                self.useless(now, state, flight, Fault::NoAnswer);
            }
            Word::Answer => {
                let rcode = reply.rcode;
                let Some(mut useful) = self.find(&state, reply) else {
                    return self.useless(now, state, flight, Fault::WrongQuestion);
                };
                self.took(now, &mut state, flight);
                if let (Finding::Answer(answer), Some(hunt)) = (&mut useful.finding, &state.hunt) {
                    // Zones below that are told of beside an answer live no longer than the way here either.
                    let below = answer.authority.iter_mut().filter(|set| set.rtype == Rtype::NS);
                    below.for_each(|set| set.ttl = set.ttl.min(hunt.at.left(now)));
                }
                if state.asks_all() {
                    if self.may_be_lower(&state) && is_too_low(&useful.finding, state.target.as_ref()) {
                        state.last_fault = Some((flight.server, Fault::NoAnswer));
                        return self.seek_parent(now, state);
                    }
                    return self.use_reply(now, state, useful);
                }
                self.hear_part(now, state, useful, rcode);
            }
        }
    }

    /// Whether there may be a zone between the one that is asked for the DS records of a name and the name.
    fn may_be_lower(&self, state: &State) -> bool {
        let labels = |hunt: &Hunt| hunt.at.zone.as_ref().label_count() + 1;
        state.key.qtype == Rtype::DS
            && state.hunt.as_ref().is_some_and(|hunt| state.target.as_ref().label_count() > labels(hunt))
    }

    /// A referral: on to the zone below.
    fn refer(&mut self, now: Millis, mut state: Box<State>, reply: Reply, nth: usize) {
        let (Some(recursion), Some(hunt)) = (state.forwards.recursion().cloned(), &mut state.hunt) else {
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        hunt.referrals += 1;
        if hunt.referrals > MAX_REFERRALS {
            let stop = state.target.clone();
            return self.fail(now, *state, &Failure::TooMuch("exceeded the maximum of referrals", stop));
        }
        let scope = Scope { zone: hunt.at.zone.as_ref(), private: state.forwards.private(), limits: &self.limits };
        let no_cache = hunt.at.no_cache;
        let aa = reply.aa();
        let Some(mut found) = referral(reply, nth, recursion.harden_glue, &scope) else {
            // `word` has found it to be usable.
            return self.fail(now, *state, &Failure::NotForwarded);
        };
        let mut spare = Vec::new();
        if self.limits.harden_unverified_glue {
            let inside = |set: &Rrset| set.owner.as_ref().is_subdomain_of(found.ns.owner.as_ref());
            (found.glue, spare) = std::mem::take(&mut found.glue).into_iter().partition(inside);
        }
        let left = hunt.at.left(now);
        std::iter::once(&mut found.ns).chain(&mut found.glue).for_each(|set| set.ttl = set.ttl.min(left));
        if !no_cache {
            let (beside, above) = if aa {
                (Trust::AdditionalAa, Trust::AuthorityAa)
            } else {
                (Trust::AdditionalNoAa, Trust::AuthorityNoAa)
            };
            let put = state.put(now, 0, aa);
            // Whatever the flag says: the parent's NS records are not its own (RFC 2181 5.4.1).
            self.memory.learn(&found.ns, Trust::AuthorityNoAa, put);
            found.proofs.iter().for_each(|set| self.memory.learn(set, above, put));
            self.keep_ds(now, &state, &found.ns.owner, &found.proofs, aa);
            found.glue.iter().for_each(|set| self.memory.learn(set, beside, put));
        }
        if state.key.qtype == Rtype::DS && found.ns.owner.as_ref() == state.target.as_ref() {
            let (answer, authority) = found.proofs.into_iter().partition(|set| set.rtype == Rtype::DS);
            let end = Answer { answer, authority, ..Answer::new(Rcode::NOERROR) };
            let useful = super::serve::Useful { aa, finding: Finding::Answer(end) };
            return self.use_reply(now, state, useful);
        }
        let (target, qtype) = (state.target.clone(), state.key.qtype);
        let is_sought = |set: &&Rrset| set.owner == target && set.rtype == qtype;
        if let Some(glue) = found.glue.iter().find(is_sought).filter(|_| state.seeks_glue) {
            // Glue is no answer for anybody else.
            state.keep_from = usize::MAX;
            let end = Answer { answer: vec![glue.clone()], ..Answer::new(Rcode::NOERROR) };
            return self.conclude(now, state, end, false, None, Security::Unchecked);
        }
        let mut at = Delegation::of_reply(&found.ns, &found.glue, Source::Parent, &state.forwards, &recursion);
        at.no_cache = no_cache;
        at.keep_spare(spare);
        at.expires = Some(now + u64::from(found.ns.ttl) * 1000);
        at.fill(&self.memory, now, &state.forwards, &recursion);
        self.arrive(now, state, at);
    }

    /// What a server said to part of the name: whether there is anything there, and nothing else.
    fn hear_part(&mut self, now: Millis, mut state: Box<State>, useful: super::serve::Useful, rcode: Rcode) {
        let strict = state.forwards.recursion().is_some_and(|recursion| recursion.minimise == Minimise::Strict);
        let whole_name = state.asks.0 == state.target;
        match &useful.finding {
            // There is nothing below either (RFC 8020), says a server that may not know of empty names in between.
            Finding::Answer(answer) if rcode == Rcode::NXDOMAIN && answer.answer.is_empty() && strict => {
                return self.use_reply(now, state, useful);
            }
            Finding::Link(sets, ..) if whole_name && rcode == Rcode::NOERROR => {
                let cname = sets.iter().all(|set| set.rtype == Rtype::CNAME);
                if cname && !matches!(state.key.qtype, Rtype::CNAME | Rtype::ANY) {
                    return self.use_reply(now, state, useful);
                }
            }
            _ => {}
        }
        if let Finding::Answer(answer) = &useful.finding
            && whole_name
            && rcode == Rcode::NOERROR
            && state.keep_from <= state.chain.len()
        {
            // It is the answer to a question that is likely to follow.
            let key = Key { qtype: Rtype::A, name: state.target.clone(), ..state.key.clone() };
            let ttl = message_ttl(answer, Rtype::A, &self.limits);
            self.memory.keep(key, answer, Put { leeway_s: 0, ..state.put(now, ttl, useful.aa) });
        }
        self.ground(now, &mut state);
        let dname =
            matches!(&useful.finding, Finding::Link(sets, ..) if sets.iter().any(|set| set.rtype == Rtype::DNAME));
        if let Some(hunt) = &mut state.hunt {
            hunt.steps.whole |= rcode != Rcode::NOERROR || dname;
            hunt.steps.silences = 0;
        }
        let shown = state.asks.0.clone();
        self.show(now, &mut state, shown.as_ref());
        self.ask(now, state);
    }

    /// Chooses what of the target the servers get to see next; `shown` they have seen. What is known to be there already, and
    /// so no zone of its own, need not be asked for again.
    fn show(&self, now: Millis, state: &mut State, shown: NameRef<'_>) {
        let State { hunt: Some(hunt), target, key, asks, .. } = state else { return };
        let mut shown = shown.label_count();
        while let Some(part) = hunt.steps.next(target.as_ref(), key.qtype, shown) {
            let a = Key { name: part, qtype: Rtype::A, qclass: Class::IN, cd: key.cd };
            let known = self.memory.known(a.name.as_ref(), &a, now).filter(|found| found.security != Security::Bogus);
            match known.map(|found| found.answer.rcode) {
                Some(Rcode::NOERROR) => shown = a.name.as_ref().label_count(),
                Some(Rcode::NXDOMAIN) => hunt.steps.whole = true,
                _ => {
                    *asks = (a.name, Rtype::A);
                    return;
                }
            }
        }
        *asks = (target.clone(), key.qtype);
    }

    /// A server that serves parent and child has told of DS records what the child knows: nothing. The parent is found by
    /// questions for name servers, label by label upwards.
    fn seek_parent(&mut self, now: Millis, mut state: Box<State>) {
        self.ground(now, &mut state);
        let cut = state.hunt.as_mut().and_then(|hunt| {
            let last = hunt.cut.take().unwrap_or_else(|| state.target.clone());
            let next = last.as_ref().parent()?.to_name();
            (next != hunt.at.zone).then_some(next)
        });
        let Some(cut) = cut else { return self.run_dry(now, state) };
        self.say(4, || format!("{}: name servers of {cut} are asked for, to find the parent", state.target));
        state.note(now, || Step::Turns { zone: cut.clone(), turn: Turn::BothSides });
        if !self.want(&mut state, &cut, Rtype::NS) {
            return self.run_dry(now, state);
        }
        state.hunt.iter_mut().for_each(|hunt| hunt.cut = Some(cut.clone()));
        self.park(state);
    }

    /// Whether there is a zone between the name and the one whose servers are asked.
    fn hear_cut(&mut self, now: Millis, state: Box<State>, cut: &Name, answer: &Answer) {
        let Some(recursion) = state.forwards.recursion().cloned() else { return self.ask(now, state) };
        let ns = answer.answer.iter().find(|set| set.rtype == Rtype::NS && set.owner == *cut);
        let at = ns.map(|ns| {
            let mut at = Delegation::of_reply(ns, &answer.additional, Source::Store, &state.forwards, &recursion);
            at.fill(&self.memory, now, &state.forwards, &recursion);
            at
        });
        match at.filter(|at| !at.is_useless(&recursion)) {
            Some(at) => self.arrive(now, state, at),
            None => self.seek_parent(now, state),
        }
    }

    /// The whole question is asked from now on, because a server cannot cope with a part of it. False if that is not to be
    /// (`qname-minimisation-strict`).
    pub(super) fn ask_all(&mut self, now: Millis, state: &mut State, index: usize) -> bool {
        let strict = state.forwards.recursion().is_none_or(|recursion| recursion.minimise == Minimise::Strict);
        if strict {
            return false;
        }
        self.ground(now, state);
        state.note(now, || Step::Turns {
            zone: state.apex().cloned().unwrap_or_else(Name::root),
            turn: Turn::WholeName,
        });
        state.hunt.iter_mut().for_each(|hunt| hunt.steps.whole = true);
        state.asks = (state.target.clone(), state.key.qtype);
        if let Some(target) =
            state.servers.get_mut(index).filter(|_| state.last_fault.is_some_and(|(_, f)| f != Fault::Lame))
        {
            target.tries = Tries::default();
        }
        true
    }

    /// Some servers say nothing to questions for part of a name.
    pub(super) fn ask_all_after_silence(&mut self, now: Millis, state: &mut State) {
        if state.hunt.is_none() || state.asks_all() || state.pending() {
            return;
        }
        let steps = state.hunt.as_mut().map(|hunt| &mut hunt.steps);
        let silences = steps.map_or(0, |steps| {
            steps.silences = steps.silences.saturating_add(1);
            steps.silences
        });
        if silences >= MAX_MINIMISE_TIMEOUTS {
            self.ask_all(now, state, usize::MAX);
        }
    }
}

/// Whether a reply has no error and no records.
fn says_nothing(reply: &Reply) -> bool {
    let sections = [&reply.answer, &reply.authority, &reply.additional];
    reply.rcode == Rcode::NOERROR && sections.into_iter().all(Vec::is_empty)
}

/// Whether a negative answer to a question for DS records is that of the zone below, whose servers serve its parent too and
/// do not know that DS records are the parent's (RFC 4035 3.1.4.1).
fn is_too_low(finding: &Finding, target: NameRef<'_>) -> bool {
    let Finding::Answer(answer) = finding else { return false };
    let below = |set: &Rrset| set.rtype == Rtype::SOA && set.owner.as_ref().is_subdomain_of(target);
    answer.answer.is_empty() && answer.authority.iter().any(below)
}
