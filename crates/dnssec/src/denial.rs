//! [`Denial`]: the verified NSEC or NSEC3 records of one reply put together into a proof that something is not there.
//!
//! It owns the proofs: name error, no data, wildcard answers, delegations without DS, and what may be answered out of such
//! records without asking anyone (RFC 8198). It takes only [`Secure`] sets, so nothing unverified can deny anything.
//!
//! A proof that holds but rests on opt-out, or on more iterations than are done here, is no proof of absence: the answer is
//! [`Proof::Insecure`], neither wrong nor authentic (RFC 5155 9.2, RFC 9276 3.2).

use wire::{NameBuf, NameRef, Rrset, Rtype};

use crate::bitmap::Types;
use crate::budget::{Budget, MAX_DENIALS, OverBudget};
use crate::nsec::Nsec;
use crate::nsec3::{Hash, Hashes, Nsec3};
use crate::reason::Reason;
use crate::rules::Rules;
use crate::verify::Secure;

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It holds.
    Proven(Proven),
    /// It cannot be had from this zone; the answer is insecure.
    Insecure(Reason),
    /// It does not hold; the zone owes one.
    Bogus(Reason),
    /// The question's work is used up; nothing is known.
    OverBudget,
}

/// A proof that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Seconds it holds: the least TTL of the records used.
    pub ttl: u32,
    /// The name does not exist although the reply says no data: compact denial (RFC 9824 3.1).
    pub nxname: bool,
    /// The records used: bit n is the nth set given to [`Denial::new`].
    pub used: u32,
}

/// What there is at a name instead of a DS set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDs {
    /// A delegation without DS, or one that may hide in an opt-out span: all below is insecure.
    Unsigned(Proven),
    /// No zone cut: the name belongs to the zone above.
    NoCut(Proven),
    /// No such name, and so no zone cut at it or below. A wildcard may still have answers for it.
    NoName(Proven),
    /// Too many iterations to know: insecure below.
    Insecure(Reason),
    /// No proof.
    Bogus(Reason),
    /// The question's work is used up; nothing is known.
    OverBudget,
}

/// What verified records say about a question that nobody was asked (RFC 8198).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synthesis<'q> {
    /// NXDOMAIN.
    NameError(Proven),
    /// NOERROR without data.
    NoData(Proven),
    /// What stands at the wildcard right below the encloser, if that is known.
    Wildcard {
        /// The closest encloser.
        encloser: NameRef<'q>,
        /// The proof that nothing closer exists.
        proof: Proven,
    },
}

/// Verified NSEC and NSEC3 records of one zone.
#[derive(Debug)]
pub struct Denial<'a> {
    nsec: Vec<(u32, Nsec<'a>)>,
    nsec3: Vec<(u32, Nsec3<'a>)>,
    hashes: Option<Hashes<'a>>,
    zone: NameRef<'a>,
    too_many_iterations: bool,
}

/// Why a proof stops short.
enum Stop {
    Insecure(Reason),
    Bogus(Reason),
    OverBudget,
}

impl From<OverBudget> for Stop {
    fn from(OverBudget: OverBudget) -> Stop {
        Stop::OverBudget
    }
}

impl From<Result<Proven, Stop>> for Proof {
    fn from(result: Result<Proven, Stop>) -> Proof {
        match result {
            Ok(proven) => Proof::Proven(proven),
            Err(Stop::Insecure(reason)) => Proof::Insecure(reason),
            Err(Stop::Bogus(reason)) => Proof::Bogus(reason),
            Err(Stop::OverBudget) => Proof::OverBudget,
        }
    }
}

/// No record shows it.
const MISSING: Stop = Stop::Bogus(Reason::NoDenial);

/// A record found, whichever kind it is.
#[derive(Clone, Copy)]
struct Hit<'a> {
    proof: Proven,
    types: Types<'a>,
    opt_out: bool,
    /// NSEC only: the name has names below it.
    empty: bool,
}

/// Where a name that does not exist would hang.
struct Gap<'q> {
    encloser: NameRef<'q>,
    /// What shows that the next closer name is not there.
    proof: Proven,
    opt_out: bool,
}

impl<'a> Denial<'a> {
    /// Takes what `zone` has signed among the sets, the first [`MAX_DENIALS`] of them (CVE-2026-42923). `key_bits` is
    /// [`crate::ZoneKeys::bits`]. NSEC3 records count that all hash in one way (RFC 5155 8.2), the cheapest there is, so that
    /// records of an older chain cannot make a zone insecure.
    pub fn new(
        zone: NameRef<'a>,
        key_bits: u32,
        sets: impl IntoIterator<Item = &'a Secure>,
        rules: &Rules,
    ) -> Denial<'a> {
        let mut denial = Denial { nsec: Vec::new(), nsec3: Vec::new(), hashes: None, zone, too_many_iterations: false };
        for (nth, secure) in sets.into_iter().take(MAX_DENIALS).enumerate() {
            let bit = 1u32 << nth;
            if let Some(nsec) = Nsec::new(secure, zone) {
                denial.nsec.push((bit, nsec));
            } else if let Some(nsec3) = Nsec3::new(secure, zone) {
                denial.nsec3.push((bit, nsec3));
            }
        }
        denial.hashes = denial.nsec3.iter().map(|(_, nsec3)| nsec3.hashes()).min_by_key(|hashes| hashes.iterations);
        denial.nsec3.retain(|(_, nsec3)| Some(nsec3.hashes()) == denial.hashes);
        denial.too_many_iterations =
            denial.hashes.is_some_and(|hashes| hashes.iterations > rules.iterations.limit(key_bits));
        denial
    }

    /// Whether there is nothing to prove with.
    pub fn is_empty(&self) -> bool {
        self.nsec.is_empty() && self.nsec3.is_empty()
    }

    /// NXDOMAIN: neither the name nor a wildcard that would make it exists (RFC 4035 5.4, RFC 5155 8.4).
    pub fn name_error(&self, qname: NameRef<'_>, budget: &mut Budget) -> Proof {
        self.prove_name_error(qname, budget).into()
    }

    /// NOERROR without data: the name, or the wildcard that stands for it, has no such type (RFC 4035 5.4, RFC 5155 8.5 to
    /// 8.7).
    pub fn no_data(&self, qname: NameRef<'_>, qtype: Rtype, budget: &mut Budget) -> Proof {
        self.prove_no_data(qname, qtype, budget).into()
    }

    /// An answer out of a wildcard: nothing closer to the name exists than the wildcard's parent, which
    /// [`Secure::wildcard`] gives (RFC 4035 5.3.4, RFC 5155 8.8). Without it the answer is a replay (CVE-2026-52686).
    pub fn wildcard_answer(&self, qname: NameRef<'_>, encloser: NameRef<'_>, budget: &mut Budget) -> Proof {
        self.prove_wildcard_answer(qname, encloser, budget).into()
    }

    /// No DS set at a name on the way down (RFC 4035 5.2, RFC 5155 8.6, 8.9).
    pub fn no_ds(&self, name: NameRef<'_>, budget: &mut Budget) -> NoDs {
        match self.prove_no_ds(name, budget) {
            Ok(found) => found,
            Err(Stop::Insecure(reason)) => NoDs::Insecure(reason),
            Err(Stop::Bogus(reason)) => NoDs::Bogus(reason),
            Err(Stop::OverBudget) => NoDs::OverBudget,
        }
    }

    /// What these records, kept from earlier answers, say about a question (RFC 8198 5). `None` when they do not settle it,
    /// and always when only opt-out records would.
    pub fn synthesise<'q>(&self, qname: NameRef<'q>, qtype: Rtype, budget: &mut Budget) -> Option<Synthesis<'q>> {
        if qtype == Rtype::ANY || qtype == Rtype::RRSIG {
            return None;
        }
        if let Some(hit) = self.at(qname, budget).ok()? {
            return absent(&hit, qname, qtype).ok().map(Synthesis::NoData);
        }
        let gap = match self.gap(qname, budget).ok()? {
            Place::Gap(gap) if !gap.opt_out => gap,
            Place::Gap(_) => return None,
            Place::Empty(proof) => return Some(Synthesis::NoData(proof)),
        };
        let wildcard = wildcard_below(gap.encloser)?;
        let wildcard = wildcard.as_ref();
        if let Some(hit) = self.at(wildcard, budget).ok()? {
            let proof = gap.proof.and(hit.proof);
            if hit.types.is_delegation() {
                return None;
            }
            if hit.types.has(qtype) || hit.types.has(Rtype::CNAME) {
                return Some(Synthesis::Wildcard { encloser: gap.encloser, proof });
            }
            return Some(Synthesis::NoData(proof));
        }
        match self.over(wildcard, budget).ok()?? {
            hit if hit.opt_out => None,
            hit if hit.empty => Some(Synthesis::NoData(gap.proof.and(hit.proof))),
            hit => Some(Synthesis::NameError(gap.proof.and(hit.proof))),
        }
    }

    fn prove_name_error(&self, qname: NameRef<'_>, budget: &mut Budget) -> Result<Proven, Stop> {
        let Place::Gap(gap) = self.gap(qname, budget)? else { return Err(MISSING) };
        let wildcard = wildcard_below(gap.encloser).ok_or(MISSING)?;
        let hit = self.over(wildcard.as_ref(), budget)?.filter(|hit| !hit.empty).ok_or(MISSING)?;
        if gap.opt_out || hit.opt_out {
            return Err(Stop::Insecure(Reason::OptOut));
        }
        Ok(gap.proof.and(hit.proof))
    }

    fn prove_no_data(&self, qname: NameRef<'_>, qtype: Rtype, budget: &mut Budget) -> Result<Proven, Stop> {
        if let Some(hit) = self.at(qname, budget)? {
            return absent(&hit, qname, qtype).map_err(Stop::Bogus);
        }
        let gap = match self.gap(qname, budget)? {
            Place::Gap(gap) => gap,
            Place::Empty(proof) => return Ok(proof),
        };
        let insecure = |gap: &Gap<'_>| if gap.opt_out { Err(Stop::Insecure(Reason::OptOut)) } else { Ok(()) };
        let Some(wildcard) = wildcard_below(gap.encloser) else { return Err(MISSING) };
        let wildcard = wildcard.as_ref();
        if let Some(hit) = self.at(wildcard, budget)? {
            let proof = absent(&hit, wildcard, qtype).map_err(Stop::Bogus)?;
            insecure(&gap)?;
            return Ok(gap.proof.and(proof));
        }
        // Without a wildcard only opt-out explains the reply: a DS that is not there, or an empty non-terminal above unsigned
        // delegations.
        insecure(&gap)?;
        let hit = self.over(wildcard, budget)?.filter(|hit| hit.empty).ok_or(MISSING)?;
        Ok(gap.proof.and(hit.proof))
    }

    fn prove_wildcard_answer(
        &self,
        qname: NameRef<'_>,
        encloser: NameRef<'_>,
        budget: &mut Budget,
    ) -> Result<Proven, Stop> {
        let below = qname.is_subdomain_of(encloser) && qname != encloser && encloser.is_subdomain_of(self.zone);
        let skip = qname.label_count().checked_sub(encloser.label_count() + 1).filter(|_| below).ok_or(MISSING)?;
        let next_closer = qname.ancestors().nth(skip).ok_or(MISSING)?;
        let hit = self.over(next_closer, budget)?.filter(|hit| !hit.empty).ok_or(MISSING)?;
        if hit.opt_out {
            return Err(Stop::Insecure(Reason::OptOut));
        }
        Ok(hit.proof)
    }

    fn prove_no_ds(&self, name: NameRef<'_>, budget: &mut Budget) -> Result<NoDs, Stop> {
        if let Some(hit) = self.at(name, budget)? {
            let proof = absent(&hit, name, Rtype::DS).map_err(Stop::Bogus);
            return match proof {
                Ok(proof) if hit.types.has(Rtype::NS) => Ok(NoDs::Unsigned(proof)),
                Ok(proof) => Ok(NoDs::NoCut(proof)),
                // A name with a CNAME has nothing else, and so is no zone cut.
                Err(_) if hit.types.has(Rtype::CNAME) && !hit.types.has(Rtype::DS) && !hit.types.has(Rtype::NS) => {
                    Ok(NoDs::NoCut(hit.proof))
                }
                Err(stop) => Err(stop),
            };
        }
        Ok(match self.gap(name, budget)? {
            Place::Empty(proof) => NoDs::NoCut(proof),
            Place::Gap(gap) if gap.opt_out => NoDs::Unsigned(gap.proof),
            Place::Gap(gap) => NoDs::NoName(gap.proof),
        })
    }

    /// The record at a name.
    fn at(&self, name: NameRef<'_>, budget: &mut Budget) -> Result<Option<Hit<'a>>, Stop> {
        if let Some((bit, nsec)) = self.nsec.iter().find(|(_, nsec)| nsec.matches(name)) {
            return Ok(Some(Hit::of_nsec(*bit, nsec, name)));
        }
        let Some(hash) = self.hash(name, budget)? else { return Ok(None) };
        Ok(self.at_hash(&hash))
    }

    fn at_hash(&self, hash: &Hash) -> Option<Hit<'a>> {
        self.nsec3.iter().find(|(_, nsec3)| nsec3.matches(hash)).map(|(bit, nsec3)| Hit::of_nsec3(*bit, nsec3))
    }

    /// A record that covers a name.
    fn over(&self, name: NameRef<'_>, budget: &mut Budget) -> Result<Option<Hit<'a>>, Stop> {
        if let Some((bit, nsec)) = self.nsec.iter().find(|(_, nsec)| nsec.covers(name)) {
            return Ok(Some(Hit::of_nsec(*bit, nsec, name)));
        }
        let Some(hash) = self.hash(name, budget)? else { return Ok(None) };
        Ok(self.over_hash(&hash))
    }

    /// A record that covers a hash. A record without opt-out is taken before one with.
    fn over_hash(&self, hash: &Hash) -> Option<Hit<'a>> {
        let covering = self.nsec3.iter().filter(|(_, nsec3)| nsec3.covers(hash));
        covering.min_by_key(|(_, nsec3)| nsec3.is_opt_out()).map(|(bit, nsec3)| Hit::of_nsec3(*bit, nsec3))
    }

    /// The hash of a name in the zone's chain; `None` without one or for names outside the zone.
    fn hash(&self, name: NameRef<'_>, budget: &mut Budget) -> Result<Option<Hash>, Stop> {
        let Some(hashes) = self.hashes.filter(|_| name.is_subdomain_of(self.zone)) else { return Ok(None) };
        if self.too_many_iterations {
            return Err(Stop::Insecure(Reason::TooManyIterations));
        }
        Ok(Some(hashes.hash(name, budget)?))
    }

    /// The place where a name would be that does not exist: by NSEC that covers it, or by the closest encloser proof of NSEC3
    /// (RFC 5155 8.3).
    fn gap<'q>(&self, qname: NameRef<'q>, budget: &mut Budget) -> Result<Place<'q>, Stop> {
        if let Some((bit, nsec)) = self.nsec.iter().find(|(_, nsec)| nsec.covers(qname)) {
            let hit = Hit::of_nsec(*bit, nsec, qname);
            if hit.empty {
                return Ok(Place::Empty(hit.proof));
            }
            let encloser = nsec.closest_encloser(qname);
            return Ok(Place::Gap(Gap { encloser, proof: hit.proof, opt_out: false }));
        }
        let mut next_closer: Option<Hash> = None;
        for name in qname.ancestors() {
            let Some(hash) = self.hash(name, budget)? else { return Err(MISSING) };
            let Some(encloser) = self.at_hash(&hash) else {
                next_closer = Some(hash);
                continue;
            };
            // Below a zone cut or a DNAME the zone has no say (RFC 5155 8.3).
            if encloser.types.is_delegation() || encloser.types.has(Rtype::DNAME) {
                return Err(MISSING);
            }
            let covering = next_closer.and_then(|hash| self.over_hash(&hash)).ok_or(MISSING)?;
            let proof = encloser.proof.and(covering.proof);
            return Ok(Place::Gap(Gap { encloser: name, proof, opt_out: covering.opt_out }));
        }
        Err(MISSING)
    }
}

/// Where a name is that has no record.
enum Place<'q> {
    /// Nowhere: it does not exist.
    Gap(Gap<'q>),
    /// It exists without records (NSEC only; NSEC3 has records for such names).
    Empty(Proven),
}

/// Whether these sets, if they are true, say that there is no DS set at a name: then they are worth verifying before anybody
/// is asked. Nothing is proven by it.
pub fn claims_no_ds<'a>(
    sets: impl IntoIterator<Item = &'a Rrset>,
    name: NameRef<'_>,
    rules: &Rules,
    budget: &mut Budget,
) -> bool {
    let claims: Vec<Secure> = sets.into_iter().take(MAX_DENIALS).cloned().filter_map(Secure::remembered).collect();
    let Some(zone) = claims.first().map(|claim| claim.zone().to_name()) else { return false };
    let denial = Denial::new(zone.as_ref(), 0, &claims, rules);
    matches!(denial.no_ds(name, budget), NoDs::Unsigned(_) | NoDs::NoCut(_) | NoDs::NoName(_))
}

impl Proven {
    fn and(self, other: Proven) -> Proven {
        Proven { ttl: self.ttl.min(other.ttl), nxname: self.nxname || other.nxname, used: self.used | other.used }
    }
}

impl<'a> Hit<'a> {
    fn of_nsec(bit: u32, nsec: &Nsec<'a>, name: NameRef<'_>) -> Hit<'a> {
        let proof = Proven { ttl: nsec.ttl(), nxname: false, used: bit };
        Hit { proof, types: nsec.types(), opt_out: false, empty: nsec.has_below(name) }
    }

    fn of_nsec3(bit: u32, nsec3: &Nsec3<'a>) -> Hit<'a> {
        let proof = Proven { ttl: nsec3.ttl(), nxname: false, used: bit };
        Hit { proof, types: nsec3.types(), opt_out: nsec3.is_opt_out(), empty: false }
    }
}

/// Whether the record at a name shows that a type is not there. A CNAME there would have been the answer. Above a zone cut
/// only DS is the parent's to deny (RFC 6840 4.1), at the apex DS is not the child's (RFC 4035 5.2).
fn absent(hit: &Hit<'_>, name: NameRef<'_>, qtype: Rtype) -> Result<Proven, Reason> {
    let wrong_side =
        if qtype == Rtype::DS { hit.types.has(Rtype::SOA) && !name.is_root() } else { hit.types.is_delegation() };
    if wrong_side {
        return Err(Reason::NoDenial);
    }
    let there = if qtype == Rtype::ANY { hit.types.has_data() } else { hit.types.has(qtype) };
    if there || hit.types.has(Rtype::CNAME) {
        return Err(Reason::TypeExists);
    }
    Ok(Proven { nxname: hit.types.has(Rtype::NXNAME), ..hit.proof })
}

/// `*` right below a name; `None` when that is too long to be a name, and so cannot exist.
fn wildcard_below(encloser: NameRef<'_>) -> Option<NameBuf> {
    let mut name = NameBuf::root();
    name.push_label(b"*").and_then(|()| name.push_name(encloser)).ok().map(|()| name)
}
