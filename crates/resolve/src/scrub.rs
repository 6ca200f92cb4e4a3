//! What of a forwarder's reply may be used, and for how long.
//!
//! It owns the choice of records and of TTLs, as pure functions. It never sees a packet: the reply was parsed by `wire`
//! and matched to the question by `mesh`.
//!
//! A forwarder is trusted for its zone, not for more, and of its answer one step is taken at a time: either it has the
//! records asked for, or the **first** link (a CNAME, or a DNAME with the CNAME it means) is taken and the rest of the
//! chain is asked for by name, as Unbound does. So a reply cannot plant records under names nobody asked it for.

use std::net::IpAddr;

use hashbrown::HashSet;
use wire::{Answer, Class, Name, NameError, NameRef, Rcode, RdataSet, Reply, Rrset, Rtype};

use crate::forward::PrivateAddresses;
use crate::limits::{FAILURE_TTL, Limits, NO_RECORD_TTL};

/// What a usable reply means for the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The end: records, NODATA, NXDOMAIN or YXDOMAIN.
    Answer(Answer),
    /// One link, the proofs beside it (of one out of a wildcard), and the name to go on with.
    Link(Vec<Rrset>, Vec<Rrset>, Name),
}

/// What a reply is held against.
pub(crate) struct Scope<'a> {
    /// The zone whose servers said it: they are believed for names at and below it.
    pub(crate) zone: NameRef<'a>,
    /// Addresses that must not come from outside.
    pub(crate) private: &'a PrivateAddresses,
    /// TTLs.
    pub(crate) limits: &'a Limits,
}

/// Takes what answers `qname qtype` from a reply. TTLs are the final ones. `None` if the reply says NOERROR and has records
/// as its answer, but all of them about other names: it answers another question.
pub(crate) fn scrub(mut reply: Reply, qname: NameRef<'_>, qtype: Rtype, scope: &Scope<'_>) -> Option<Finding> {
    let Scope { zone, limits, .. } = *scope;
    let beside = reply.rcode == Rcode::NOERROR
        && !reply.answer.is_empty()
        && !reply.answer.iter().any(|set| answers(set, qname));
    if beside {
        return None;
    }
    for section in [&mut reply.answer, &mut reply.authority, &mut reply.additional] {
        section.iter_mut().for_each(|set| take_private(set, scope.private));
        section
            .retain(|set| set.class == Class::IN && !set.rdata.is_empty() && set.owner.as_ref().is_subdomain_of(zone));
        section.retain(|set| !overreaches(set, zone));
        section.iter_mut().for_each(|set| bound(set, limits));
    }
    let asked = |set: &Rrset| set.owner.as_ref() == qname && (set.rtype == qtype || qtype == Rtype::ANY);
    // The CNAME that a DNAME means answers a question for CNAME, and is worth nothing without the DNAME (RFC 6672 3.1).
    if qtype == Rtype::CNAME && reply.answer.iter().any(|set| is_above(set, qname)) {
        return Some(match link(&mut reply.answer, &mut reply.authority, qname, qtype)? {
            Finding::Link(answer, authority, _) => {
                Finding::Answer(Answer { answer, authority, ..Answer::new(Rcode::NOERROR) })
            }
            end => end,
        });
    }
    // Where both stand at one name, which must not be (RFC 1034 3.6.2), the one that comes first counts.
    let at = |wanted: &dyn Fn(&Rrset) -> bool| reply.answer.iter().position(wanted);
    let leads = |set: &Rrset| set.owner.as_ref() == qname && set.rtype == Rtype::CNAME && qtype != Rtype::ANY;
    let links = match (at(&asked), at(&leads)) {
        (Some(asked), Some(leads)) => leads < asked,
        (asked, _) => asked.is_none(),
    };
    if links && let Some(found) = link(&mut reply.answer, &mut reply.authority, qname, qtype) {
        return Some(found);
    }
    let mut answer = take(&mut reply.answer, |set| asked(set) || (covers(set, qtype) && set.owner.as_ref() == qname));
    if qtype == Rtype::RRSIG {
        unite(&mut answer);
    }
    let positive = !answer.is_empty();
    let mut authority = reply.authority;
    let ended = authority.iter().any(|set| set.rtype == Rtype::SOA);
    authority.retain(|set| match set.rtype {
        // NODATA or NXDOMAIN: its SOA record says it all. Unbound drops name servers beside one, too.
        Rtype::NS if ended => false,
        // A delegation of the names asked for, below the zone that was asked; never beside an answer, where all it could
        // do is change whom others ask.
        Rtype::NS if !qname.is_subdomain_of(set.owner.as_ref()) => false,
        Rtype::NS => !limits.scrub_promiscuous || (!positive && set.owner.as_ref() != zone),
        // Addresses, links and all else but proofs would stand there only to be remembered under names nobody asked
        // for: with AA for more than the answer of a server without it (RFC 2181 5.4.1).
        Rtype::SOA | Rtype::DS | Rtype::NSEC | Rtype::NSEC3 | Rtype::RRSIG => true,
        _ => false,
    });
    authority.iter_mut().filter(|set| set.rtype == Rtype::SOA).for_each(|soa| negative(soa, limits));
    let mut additional = reply.additional;
    if !additional.is_empty() {
        let next: HashSet<NameRef<'_>> = answer.iter().chain(&authority).flat_map(leads_to).collect();
        let bindings = !limits.harden_unknown_additional;
        let useful = |rtype| match rtype {
            Rtype::A | Rtype::AAAA => true,
            Rtype::SVCB | Rtype::HTTPS => bindings,
            _ => false,
        };
        // What stands in the answer is not said twice (RFC 2181 5).
        let said: HashSet<(NameRef<'_>, Rtype)> = answer.iter().map(|set| (set.owner.as_ref(), set.rtype)).collect();
        additional.retain(|set| {
            let owner = set.owner.as_ref();
            useful(set.rtype) && next.contains(&owner) && !said.contains(&(owner, set.rtype))
        });
    }
    Some(Finding::Answer(Answer { answer, authority, additional, ..Answer::new(reply.rcode) }))
}

/// A delegation as it may be used. TTLs are the final ones.
pub(crate) struct Referral {
    pub(crate) ns: Rrset,
    /// Addresses of its name servers.
    pub(crate) glue: Vec<Rrset>,
    /// DS records of the zone below, and proofs that it has none.
    pub(crate) proofs: Vec<Rrset>,
}

/// Takes a delegation from a reply: the NS set at `nth` of the authority section, which was found to lead on, and what
/// belongs to it. Glue is taken for its name servers alone; `harden_glue` also asks that they lie inside the zone that
/// speaks, so that no zone can tell addresses of another's servers.
pub(crate) fn referral(reply: Reply, nth: usize, harden_glue: bool, scope: &Scope<'_>) -> Option<Referral> {
    let Scope { zone, private, limits } = *scope;
    let Reply { mut authority, additional, .. } = reply;
    let usable = |set: &mut Rrset| {
        take_private(set, private);
        bound(set, limits);
        set.class == Class::IN && !set.rdata.is_empty()
    };
    let ns = authority.get_mut(nth).and_then(|set| usable(set).then(|| set.clone()))?;
    let mut proofs = authority;
    proofs.retain_mut(|set| {
        let belongs = match set.rtype {
            Rtype::DS => set.owner == ns.owner,
            Rtype::NSEC | Rtype::NSEC3 => set.owner.as_ref().is_subdomain_of(zone),
            _ => false,
        };
        belongs && usable(set)
    });
    let names: HashSet<NameRef<'_>> = leads_to(&ns).collect();
    let mut glue = additional;
    glue.retain_mut(|set| {
        matches!(set.rtype, Rtype::A | Rtype::AAAA)
            && names.contains(&set.owner.as_ref())
            && (!harden_glue || set.owner.as_ref().is_subdomain_of(zone))
            && usable(set)
    });
    drop(names);
    Some(Referral { ns, glue, proofs })
}

/// Whether a set denies names outside the zone that speaks: the next name of an NSEC record lies in its zone.
fn overreaches(set: &Rrset, zone: NameRef<'_>) -> bool {
    let next = |rdata| NameRef::split_from(rdata).is_ok_and(|(next, _)| !next.is_subdomain_of(zone));
    set.rtype == Rtype::NSEC && set.rdata.iter().any(next)
}

/// Whether a record set in an answer section says something about `qname`: it is its own, or a DNAME above it.
fn answers(set: &Rrset, qname: NameRef<'_>) -> bool {
    set.owner.as_ref() == qname || (set.rtype == Rtype::DNAME && qname.is_subdomain_of(set.owner.as_ref()))
}

/// Whether a set is a DNAME that holds for `qname`.
fn is_above(set: &Rrset, qname: NameRef<'_>) -> bool {
    set.rtype == Rtype::DNAME && set.owner.as_ref() != qname && qname.is_subdomain_of(set.owner.as_ref())
}

/// The first link that leads on from `qname`, taken out of the answer section.
fn link(section: &mut Vec<Rrset>, authority: &mut Vec<Rrset>, qname: NameRef<'_>, qtype: Rtype) -> Option<Finding> {
    if let Some(dname) = section.iter().find(|set| is_above(set, qname)).cloned() {
        let Some(cname) = made_cname(&dname, qname)?.ok() else {
            // RFC 6672 2.2: the name would be too long.
            return Some(Finding::Answer(Answer { answer: vec![dname], ..Answer::new(Rcode::YXDOMAIN) }));
        };
        let target = alias(&cname)?;
        return Some(Finding::Link(vec![dname, cname], Vec::new(), target));
    }
    if qtype == Rtype::CNAME {
        return None;
    }
    let of_cname =
        |set: &Rrset| set.owner.as_ref() == qname && (set.rtype == Rtype::CNAME || covers(set, Rtype::CNAME));
    let cname = section.iter().find(|set| set.owner.as_ref() == qname && set.rtype == Rtype::CNAME)?;
    let first = RdataSet::one(cname.rdata.first()?);
    let target = NameRef::from_wire(first.first()?).ok()?.lower().to_name();
    let mut links = take(section, of_cname);
    // RFC 2181 10.1: there is one canonical name; of several the first is believed.
    links.iter_mut().filter(|set| set.rtype == Rtype::CNAME).for_each(|set| set.make_mut().rdata = first.clone());
    let proofs = take(authority, |set| matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3));
    Some(Finding::Link(links, proofs, target))
}

/// Takes private addresses out of a set, which may leave it empty (`private-address`, `private-domain`). A service binding
/// with a private hint goes as a whole: without it the binding says something else.
fn take_private(set: &mut Rrset, private: &PrivateAddresses) {
    if private.is_empty() || !matches!(set.rtype, Rtype::A | Rtype::AAAA | Rtype::SVCB | Rtype::HTTPS) {
        return;
    }
    let rtype = set.rtype;
    let bad = |rdata: &&[u8]| match rtype {
        Rtype::A | Rtype::AAAA => addresses(rdata, rdata.len()).any(|addr| private.contains(addr)),
        _ => hints(rdata).any(|addr| private.contains(addr)),
    };
    if set.rdata.iter().any(|rdata| bad(&rdata)) && !private.permits(set.owner.as_ref()) {
        set.make_mut().rdata = set.rdata.iter().filter(|rdata| !bad(rdata)).collect();
    }
}

/// Octets as addresses of `size` octets each.
fn addresses(octets: &[u8], size: usize) -> impl Iterator<Item = IpAddr> {
    octets.chunks_exact(size.max(1)).filter_map(|octets| {
        match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
            (Ok(v4), _) => Some(IpAddr::from(v4)),
            (_, Ok(v6)) => Some(IpAddr::from(v6)),
            _ => None,
        }
    })
}

/// The addresses a service binding hints at (RFC 9460 7.3).
fn hints(rdata: &[u8]) -> impl Iterator<Item = IpAddr> {
    const IPV4HINT: u16 = 4;
    const IPV6HINT: u16 = 6;
    let params = rdata.get(2..).and_then(|rest| NameRef::split_from(rest).ok()).map(|(_, params)| params);
    let mut rest = params.unwrap_or_default();
    std::iter::from_fn(move || {
        let (&[k0, k1, l0, l1], after) = rest.split_first_chunk::<4>()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        rest = after;
        Some((u16::from_be_bytes([k0, k1]), value))
    })
    .flat_map(|(key, value)| match key {
        IPV4HINT => addresses(value, 4),
        IPV6HINT => addresses(value, 16),
        _ => addresses(&[], 4),
    })
}

/// The CNAME that a DNAME above `qname` means (RFC 6672 3.1), made here whatever CNAME came with it; an error if the name
/// would be too long. Its TTL is the DNAME's.
pub(crate) fn made_cname(dname: &Rrset, qname: NameRef<'_>) -> Option<Result<Rrset, NameError>> {
    let target = NameRef::from_wire(dname.rdata.first()?).ok()?;
    let target = qname.to_buf().rewrite(dname.owner.as_ref(), target)?;
    Some(target.map(|target| {
        let rdata = RdataSet::one(target.as_ref().as_wire());
        Rrset::new(qname.to_name(), Rtype::CNAME, Class::IN, dname.ttl, rdata)
    }))
}

/// Where a CNAME leads, in lower case.
pub(crate) fn alias(cname: &Rrset) -> Option<Name> {
    Some(NameRef::from_wire(cname.rdata.first()?).ok()?.lower().to_name())
}

/// How long an answer may be remembered, seconds: as long as the shortest-lived of its records.
pub(crate) fn message_ttl(answer: &Answer, qtype: Rtype, limits: &Limits) -> u32 {
    if !matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN) {
        return FAILURE_TTL;
    }
    let sets = answer.answer.iter().chain(&answer.authority).chain(&answer.additional);
    let least = sets.map(|set| set.ttl).min();
    let asked = |set: &Rrset| set.rtype == qtype || (qtype == Rtype::ANY);
    let ends = answer.rcode == Rcode::NOERROR && answer.answer.iter().any(asked);
    let soa = answer.authority.iter().any(|set| set.rtype == Rtype::SOA);
    match least {
        Some(least) if ends || soa => least,
        Some(least) => least.min(NO_RECORD_TTL).max(limits.cache_min_negative_ttl),
        None => NO_RECORD_TTL.max(limits.cache_min_negative_ttl),
    }
}

/// The TTL of a record as this resolver counts it. (`wire` has made those with the highest bit set 0, RFC 2181 8.)
fn cap(ttl: u32, limits: &Limits) -> u32 {
    ttl.max(limits.cache_min_ttl).min(limits.cache_max_ttl)
}

/// Cuts a set's TTL to what counts, and its records to what is looked at. A signed set of name servers stays whole: part of
/// it would be bogus.
fn bound(set: &mut Rrset, limits: &Limits) {
    set.ttl = cap(set.ttl, limits);
    if set.sigs.len() > limits.scrub_rrsig {
        set.make_mut().sigs = set.sigs.iter().take(limits.scrub_rrsig).collect();
    }
    let most = limits.scrub_ns.max(1);
    if set.rtype == Rtype::NS && set.rdata.len() > most && set.sigs.is_empty() {
        set.make_mut().rdata = set.rdata.iter().take(most).collect();
    }
}

/// RFC 2308 5: a negative answer lives as long as the lesser of its SOA's TTL and MINIMUM field.
fn negative(soa: &mut Rrset, limits: &Limits) {
    let minimum =
        soa.rdata.first().and_then(|rdata| rdata.last_chunk::<4>()).map_or(0, |last| u32::from_be_bytes(*last));
    let ttl = soa.ttl.min(cap(minimum, limits));
    soa.ttl = ttl.max(limits.cache_min_negative_ttl).min(limits.cache_max_negative_ttl);
}

/// Some servers write signatures into another section than what they cover. They belong to it all the same, as Unbound has
/// it, unless signatures were asked for.
pub(crate) fn reunite(reply: &mut Reply, qtype: Rtype) {
    let sections = [&reply.answer, &reply.authority, &reply.additional];
    if qtype == Rtype::RRSIG || !sections.into_iter().flatten().any(|set| set.rtype == Rtype::RRSIG) {
        return;
    }
    let mut strays = Vec::new();
    for (nth, section) in [&mut reply.answer, &mut reply.authority, &mut reply.additional].into_iter().enumerate() {
        strays.extend(take(section, |set| set.rtype == Rtype::RRSIG).into_iter().map(|set| (nth, set)));
    }
    for (nth, stray) in strays {
        let mut all = reply.answer.iter_mut().chain(&mut reply.authority).chain(&mut reply.additional);
        match all.find(|set| set.owner == stray.owner && covers(&stray, set.rtype)) {
            Some(set) => {
                for sig in &stray.rdata {
                    set.make_mut().sigs.push(sig);
                }
            }
            None if nth == 0 => reply.answer.push(stray),
            None => {}
        }
    }
}

/// Signatures that were asked for came as a set for each type covered. Here they are one, as of any type (RFC 2181 5):
/// what is remembered is found by owner and type.
fn unite(answer: &mut Vec<Rrset>) {
    if let Some((first, others)) = answer.split_first_mut() {
        for other in others.iter() {
            first.ttl = first.ttl.min(other.ttl);
            other.rdata.iter().for_each(|rdata| {
                first.make_mut().rdata.push(rdata);
            });
        }
        answer.truncate(1);
    }
}

/// Whether a set holds the signatures over sets of this type.
fn covers(set: &Rrset, rtype: Rtype) -> bool {
    set.rtype == Rtype::RRSIG
        && set
            .rdata
            .first()
            .and_then(|rdata| rdata.first_chunk::<2>())
            .is_some_and(|covered| u16::from_be_bytes(*covered) == rtype.0)
}

/// The names in the records of `set` whose addresses the client will want next (RFC 1035 3.3).
fn leads_to(set: &Rrset) -> impl Iterator<Item = NameRef<'_>> {
    let before_name = match set.rtype {
        Rtype::NS | Rtype::MB | Rtype::MD | Rtype::MF => Some(0),
        Rtype::MX | Rtype::KX | Rtype::RT | Rtype::AFSDB | Rtype::SVCB | Rtype::HTTPS => Some(2),
        Rtype::SRV => Some(6),
        _ => None,
    };
    set.rdata.iter().filter_map(move |rdata| {
        let (name, _) = NameRef::split_from(rdata.get(before_name?..)?).ok()?;
        Some(name)
    })
}

/// Moves what `wanted` says out of a section, order kept.
fn take(section: &mut Vec<Rrset>, wanted: impl Fn(&Rrset) -> bool) -> Vec<Rrset> {
    let (out, rest) = std::mem::take(section).into_iter().partition(|set| wanted(set));
    *section = rest;
    out
}
