//! What of a forwarder's reply may be used, and for how long.
//!
//! It owns the choice of records and of TTLs, as pure functions. It never sees a packet: the reply was parsed by `wire`
//! and matched to the question by `mesh`.
//!
//! A forwarder is trusted for its zone, not for more, and of its answer one step is taken at a time: either it has the
//! records asked for, or the **first** link (a CNAME, or a DNAME with the CNAME it means) is taken and the rest of the
//! chain is asked for by name, as Unbound does. So a reply cannot plant records under names nobody asked it for.

use wire::{Answer, Class, Name, NameRef, Rcode, RdataSet, Reply, Rrset, Rtype};

use crate::limits::{FAILURE_TTL, Limits, NO_RECORD_TTL};

/// What a usable reply means for the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The end: records, NODATA, NXDOMAIN or YXDOMAIN.
    Answer(Answer),
    /// One link, and the name to go on with.
    Link(Vec<Rrset>, Name),
}

/// Takes what answers `qname qtype` from a reply of the servers of `zone`. TTLs are the final ones.
pub(crate) fn scrub(mut reply: Reply, qname: NameRef<'_>, qtype: Rtype, zone: NameRef<'_>, limits: &Limits) -> Finding {
    for section in [&mut reply.answer, &mut reply.authority, &mut reply.additional] {
        section
            .retain(|set| set.class == Class::IN && !set.rdata.is_empty() && set.owner.as_ref().is_subdomain_of(zone));
        section.iter_mut().for_each(|set| set.ttl = cap(set.ttl, limits));
    }
    let asked = |set: &Rrset| set.owner.as_ref() == qname && (set.rtype == qtype || qtype == Rtype::ANY);
    if !reply.answer.iter().any(asked)
        && let Some(found) = link(&mut reply.answer, qname, qtype, limits)
    {
        return found;
    }
    let answer = take(&mut reply.answer, |set| asked(set) || (covers(set, qtype) && set.owner.as_ref() == qname));
    let positive = !answer.is_empty();
    let mut authority = reply.authority;
    authority.retain(|set| match set.rtype {
        // A delegation of the names asked for, below the zone that was asked; never beside an answer, where all it could
        // do is change whom others ask.
        Rtype::NS => !positive && set.owner.as_ref() != zone && qname.is_subdomain_of(set.owner.as_ref()),
        _ => true,
    });
    authority.iter_mut().filter(|set| set.rtype == Rtype::SOA).for_each(|soa| negative(soa, limits));
    let mut additional = reply.additional;
    additional.retain(|set| answer.iter().chain(&authority).any(|by| refers(by, set.owner.as_ref())));
    Finding::Answer(Answer { answer, authority, additional, ..Answer::new(reply.rcode) })
}

/// The first link that leads on from `qname`, taken out of the answer section.
fn link(section: &mut Vec<Rrset>, qname: NameRef<'_>, qtype: Rtype, limits: &Limits) -> Option<Finding> {
    let above = |set: &Rrset| {
        set.rtype == Rtype::DNAME && set.owner.as_ref() != qname && qname.is_subdomain_of(set.owner.as_ref())
    };
    if let Some(dname) = section.iter().find(|set| above(set)).cloned() {
        let owner = dname.owner.clone();
        let target = NameRef::from_wire(dname.rdata.first()?).ok()?;
        let Some(Ok(target)) = qname.to_buf().rewrite(owner.as_ref(), target) else {
            // RFC 6672 2.2: the name would be too long.
            let answer =
                take(section, |set| set.owner == owner && (set.rtype == Rtype::DNAME || covers(set, Rtype::DNAME)));
            return Some(Finding::Answer(Answer { answer, ..Answer::new(Rcode::YXDOMAIN) }));
        };
        let mut links =
            take(section, |set| set.owner == owner && (set.rtype == Rtype::DNAME || covers(set, Rtype::DNAME)));
        // Made here, whatever CNAME came with it. TTL 0, as Unbound writes it: the DNAME is what is remembered.
        let rdata = RdataSet::one(target.as_ref().as_wire());
        links.push(Rrset::new(qname.to_name(), Rtype::CNAME, Class::IN, cap(0, limits), rdata));
        return Some(Finding::Link(links, target.lower().to_name()));
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
    Some(Finding::Link(links, target))
}

/// How long an answer may be remembered, seconds: as long as the shortest-lived of its records. A CNAME made from a DNAME
/// has TTL 0 by itself and does not count: the DNAME does.
pub(crate) fn message_ttl(answer: &Answer, qtype: Rtype, limits: &Limits) -> u32 {
    if !matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN) {
        return FAILURE_TTL;
    }
    let made = |set: &Rrset| {
        let above =
            |dname: &Rrset| dname.rtype == Rtype::DNAME && set.owner.as_ref().is_subdomain_of(dname.owner.as_ref());
        set.rtype == Rtype::CNAME && answer.answer.iter().any(|dname| above(dname) && dname.owner != set.owner)
    };
    let sets = answer.answer.iter().filter(|set| !made(set)).chain(&answer.authority).chain(&answer.additional);
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

/// The link in a remembered answer to a question for CNAME, if there is one, and where it leads.
pub(crate) fn known_link(answer: Answer) -> Option<(Vec<Rrset>, Name)> {
    let cname = answer.answer.first().filter(|set| set.rtype == Rtype::CNAME)?;
    let target = NameRef::from_wire(cname.rdata.first()?).ok()?.lower().to_name();
    Some((answer.answer, target))
}

/// The TTL of a record as this resolver counts it. (`wire` has made those with the highest bit set 0, RFC 2181 8.)
fn cap(ttl: u32, limits: &Limits) -> u32 {
    ttl.max(limits.cache_min_ttl).min(limits.cache_max_ttl)
}

/// RFC 2308 5: a negative answer lives as long as the lesser of its SOA's TTL and MINIMUM field.
fn negative(soa: &mut Rrset, limits: &Limits) {
    let minimum =
        soa.rdata.first().and_then(|rdata| rdata.last_chunk::<4>()).map_or(0, |last| u32::from_be_bytes(*last));
    let ttl = soa.ttl.min(cap(minimum, limits));
    soa.ttl = ttl.max(limits.cache_min_negative_ttl).min(limits.cache_max_negative_ttl);
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

/// Whether a record of `by` names `owner` as something whose address the client will want next (RFC 1035 3.3).
fn refers(by: &Rrset, owner: NameRef<'_>) -> bool {
    let before_name = match by.rtype {
        Rtype::NS | Rtype::MB | Rtype::MD | Rtype::MF => 0,
        Rtype::MX | Rtype::KX | Rtype::RT | Rtype::AFSDB | Rtype::SVCB | Rtype::HTTPS => 2,
        Rtype::SRV => 6,
        _ => return false,
    };
    by.rdata.iter().any(|rdata| {
        let name = rdata.get(before_name..).and_then(|rest| NameRef::split_from(rest).ok());
        name.is_some_and(|(name, _)| name == owner)
    })
}

/// Moves what `wanted` says out of a section, order kept.
fn take(section: &mut Vec<Rrset>, wanted: impl Fn(&Rrset) -> bool) -> Vec<Rrset> {
    let (out, rest) = std::mem::take(section).into_iter().partition(|set| wanted(set));
    *section = rest;
    out
}
