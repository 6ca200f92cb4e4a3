//! Record sets as they are kept, and which of two is believed.
//!
//! It owns the packed form (one piece of heap for owner, data and signatures), the ranking of sources (RFC 2181 5.4.1) and
//! the rule by which a set that arrives takes the place of one that is known. It never looks one up.

use wire::{Class, NameRef, RdataSet, Rrset, RrsetData, Rtype};

use crate::shard::{Entry, allocated};

/// How much is known of the truth of data (RFC 4035 4.3), in the numbers of Unbound's dumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Security {
    /// Nobody looked.
    #[default]
    Unchecked = 0,
    /// Proven wrong.
    Bogus = 1,
    /// There is no way to tell.
    Indeterminate = 2,
    /// Proven to be unsigned.
    Insecure = 3,
    /// Proven right.
    Secure = 5,
}

impl Security {
    /// From a dump's number. 4 stands for the answer of a key sentinel test (RFC 8509), which says nothing of the data.
    pub(crate) fn from_number(number: u8) -> Option<Security> {
        Some(match number {
            0 | 4 => Security::Unchecked,
            1 => Security::Bogus,
            2 => Security::Indeterminate,
            3 => Security::Insecure,
            5 => Security::Secure,
            _ => return None,
        })
    }
}

/// How good the source of a set was (RFC 2181 5.4.1), lowest first, in the order and the numbers of Unbound's dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Trust {
    /// Unknown.
    None = 0,
    /// Additional section of a reply without AA.
    AdditionalNoAa,
    /// Authority section of a reply without AA.
    AuthorityNoAa,
    /// Additional section of an authoritative reply.
    AdditionalAa,
    /// What in the answer section of an authoritative reply is not the server's own.
    NonAuthAnswer,
    /// Answer section of a reply without AA.
    AnswerNoAa,
    /// Addresses beside a delegation, of the zone that delegates.
    Glue,
    /// Authority section of an authoritative reply.
    AuthorityAa,
    /// Answer section of an authoritative reply.
    AnswerAa,
    /// A zone transfer, glue apart.
    SecNoGlue,
    /// A zone of our own, glue apart.
    PrimNoGlue,
    /// Signatures prove it.
    Validated,
    /// The operator's word.
    Ultimate,
}

impl Trust {
    const ALL: [Trust; 13] = [
        Trust::None,
        Trust::AdditionalNoAa,
        Trust::AuthorityNoAa,
        Trust::AdditionalAa,
        Trust::NonAuthAnswer,
        Trust::AnswerNoAa,
        Trust::Glue,
        Trust::AuthorityAa,
        Trust::AnswerAa,
        Trust::SecNoGlue,
        Trust::PrimNoGlue,
        Trust::Validated,
        Trust::Ultimate,
    ];

    /// From a dump's number.
    pub(crate) fn from_number(number: u8) -> Option<Trust> {
        Trust::ALL.get(usize::from(number)).copied()
    }

    /// Of a section (0 answer, 1 authority, 2 additional) of a reply with or without AA.
    pub(crate) fn of(section: usize, authoritative: bool) -> Trust {
        match (section, authoritative) {
            (0, true) => Trust::AnswerAa,
            (0, false) => Trust::AnswerNoAa,
            (1, true) => Trust::AuthorityAa,
            (1, false) => Trust::AuthorityNoAa,
            (_, true) => Trust::AdditionalAa,
            (_, false) => Trust::AdditionalNoAa,
        }
    }

    /// Whether a set may be an answer by itself, as Unbound composes answers to ANY: what only stood beside an answer may
    /// be incomplete.
    pub fn answers(self) -> bool {
        !matches!(
            self,
            Trust::None | Trust::AdditionalNoAa | Trust::AuthorityNoAa | Trust::AdditionalAa | Trust::AuthorityAa
        )
    }
}

/// What tells sets of one owner, type and class apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind(u8);

impl Kind {
    /// Came with checking disabled.
    const CD: u8 = 1;
    /// A SOA record that bounds a negative answer: its TTL is not the SOA's own (RFC 2308 5).
    const NEGATIVE: u8 = 2;
    /// An NSEC record of a zone's apex: the parent has another one of the same name.
    const APEX: u8 = 4;

    pub(crate) fn new(cd: bool) -> Kind {
        Kind(if cd { Kind::CD } else { 0 })
    }

    pub(crate) fn negative(self) -> Kind {
        Kind(self.0 | Kind::NEGATIVE)
    }

    pub(crate) fn apex(self) -> Kind {
        Kind(self.0 | Kind::APEX)
    }

    pub(crate) fn cd(self) -> bool {
        self.0 & Kind::CD != 0
    }

    pub(crate) fn is_apex(self) -> bool {
        self.0 & Kind::APEX != 0
    }

    pub(crate) fn is_negative(self) -> bool {
        self.0 & Kind::NEGATIVE != 0
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The kind of a set that came in this section.
    pub(crate) fn of(set: &RrsetData, section: usize, cd: bool) -> Kind {
        match set.rtype {
            Rtype::SOA if section == 1 => Kind::new(cd).negative(),
            Rtype::NSEC if set.rdata.iter().any(nsec_has_soa) => Kind::new(cd).apex(),
            _ => Kind::new(cd),
        }
    }
}

/// Whether the bitmap of NSEC data names SOA (type 6: the first window, first octet, bit 6).
fn nsec_has_soa(rdata: &[u8]) -> bool {
    let bitmap = NameRef::split_from(rdata).map_or(&[][..], |(_, bitmap)| bitmap);
    matches!(bitmap, [0, len, bits, ..] if *len > 0 && bits & 0x02 != 0)
}

/// A set in its slot.
pub(crate) struct Set {
    /// Type, class, owner, data, signatures: see [`Packed`].
    packed: Box<[u8]>,
    /// The second its time ends.
    pub(crate) expires: u32,
    hash: u32,
    /// Changes when who referred to the set must not see what took its place. Fewer than 32 bits: see `Handle`.
    pub(crate) generation: u32,
    pub(crate) trust: Trust,
    pub(crate) security: Security,
    pub(crate) kind: Kind,
}

/// What becomes of a set that arrives when one of the same key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The known one stays, with its TTL.
    Keep,
    /// The new one takes its place, for messages that refer to the old one too.
    Replace,
    /// The new one takes its place, and messages that refer to the old one are no longer valid.
    Succeed,
}

impl Set {
    /// A set packed, without time, trust and generation yet.
    pub(crate) fn new(set: &RrsetData, hash: u32, kind: Kind) -> Set {
        Set {
            packed: pack(set),
            expires: 0,
            hash,
            generation: 0,
            trust: Trust::None,
            security: Security::Unchecked,
            kind,
        }
    }

    pub(crate) fn view(&self) -> Option<Packed<'_>> {
        Packed::read(&self.packed)
    }

    pub(crate) fn is(&self, owner: NameRef<'_>, rtype: Rtype, class: Class, kind: Kind) -> bool {
        self.kind == kind
            && self.view().is_some_and(|have| have.rtype == rtype && have.class == class && have.owner == owner)
    }

    /// The set with this TTL.
    pub(crate) fn rrset(&self, ttl: u32) -> Option<Rrset> {
        let view = self.view()?;
        let (rdata, sigs) = view.data()?;
        let set = Rrset::new(view.owner.to_name(), view.rtype, view.class, ttl, rdata);
        Some(if sigs.is_empty() { set } else { set.with_sigs(sigs) })
    }

    /// Whether `new` takes the place of this set, by the rule Unbound documents and shows: better trust and fresher truth
    /// win, equal data keep their TTL until it ends. Name servers end when those end that they take the place of, and so do
    /// addresses that stood beside a delegation, so that nobody can keep a delegation alive by what he says of himself (ghost
    /// domains, CVE-2012-1033, CVE-2026-40622); a TTL that is shortened by that is set in `new`.
    pub(crate) fn verdict(&self, new: &mut Set, now_s: u32) -> Verdict {
        let equal = self.same_data(new);
        let live = now_s < self.expires;
        let rtype = self.view().map_or(Rtype(0), |view| view.rtype);
        let was_bogus = self.security == Security::Bogus;
        let proven = new.security == Security::Secure && self.security != Security::Secure;
        let mended = was_bogus && new.security != Security::Bogus && !equal;
        // What was found to be wrong is not looked at again before its time.
        let barred = was_bogus && equal && live;
        let better = new.trust > self.trust || !live || new.trust == self.trust && !equal;
        if !(proven || mended || better && !barred) {
            return Verdict::Keep;
        }
        let glue = matches!(rtype, Rtype::A | Rtype::AAAA) && self.trust == Trust::AdditionalNoAa;
        if live && (rtype == Rtype::NS || glue) {
            new.expires = new.expires.min(self.expires);
        }
        // What only stood beside an answer does not speak where the answer itself did, not even when that is stale.
        let beside = self.trust.answers() && !new.trust.answers();
        // Nor what nobody proved where signatures did: a stale answer would say it (a wildcard's records under a name that
        // has its own, CVE-2026-46582).
        let unproven = self.security == Security::Secure && new.security != Security::Secure;
        if !equal && (beside || unproven || contradicts(rtype)) { Verdict::Succeed } else { Verdict::Replace }
    }

    /// Takes over what `new` has. The generation stays.
    pub(crate) fn become_like(&mut self, new: Set) -> Box<[u8]> {
        (self.expires, self.trust, self.security) = (new.expires, new.trust, new.security);
        std::mem::replace(&mut self.packed, new.packed)
    }

    /// Whether data and signatures are the same, in any order (RFC 2181 5: a set has none).
    pub(crate) fn same_data(&self, other: &Set) -> bool {
        let (Some(mine), Some(others)) = (self.view(), other.view()) else {
            return false;
        };
        if mine.rest == others.rest {
            return true;
        }
        if mine.rest.len() != others.rest.len() {
            return false;
        }
        let (Some((data, sigs)), Some((other_data, other_sigs))) = (mine.data(), others.data()) else {
            return false;
        };
        same_records(&data, &other_data) && same_records(&sigs, &other_sigs)
    }
}

/// Whether other data of this type contradict what else their messages hold: a link that leads elsewhere, a proof of
/// something else.
pub(crate) fn contradicts(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::CNAME | Rtype::DNAME | Rtype::NSEC | Rtype::NSEC3)
}

fn same_records(one: &RdataSet, other: &RdataSet) -> bool {
    let sorted = |set: &RdataSet| {
        let mut all: Vec<Vec<u8>> = set.iter().map(<[u8]>::to_vec).collect();
        all.sort_unstable();
        all
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}

impl Entry for Set {
    fn hash(&self) -> u32 {
        self.hash
    }

    fn heap(&self) -> usize {
        allocated(self.packed.len())
    }
}

/// A packed set read: type and class in two octets each, the owner in wire form, then the records as their count in two
/// octets and each as its length in two and its octets; the signatures follow in the same form if there are any.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) rtype: Rtype,
    pub(crate) class: Class,
    pub(crate) owner: NameRef<'a>,
    rest: &'a [u8],
}

impl<'a> Packed<'a> {
    fn read(octets: &'a [u8]) -> Option<Packed<'a>> {
        let ([t1, t2, c1, c2], rest) = octets.split_first_chunk::<4>()?;
        let (owner, rest) = NameRef::split_from(rest).ok()?;
        let (rtype, class) = (u16::from_be_bytes([*t1, *t2]), u16::from_be_bytes([*c1, *c2]));
        Some(Packed { rtype: Rtype(rtype), class: Class(class), owner, rest })
    }

    /// Data and signatures.
    pub(crate) fn data(self) -> Option<(RdataSet, RdataSet)> {
        let (count, rest) = self.rest.split_first_chunk::<2>()?;
        let (data, rest) = RdataSet::split_packed(u16::from_be_bytes(*count), rest)?;
        let sigs = match rest.split_first_chunk::<2>() {
            Some((count, rest)) => RdataSet::split_packed(u16::from_be_bytes(*count), rest)?.0,
            None => RdataSet::new(),
        };
        Some((data, sigs))
    }
}

fn pack(set: &RrsetData) -> Box<[u8]> {
    let owner = set.owner.as_ref().as_wire();
    let (count, data) = set.rdata.as_packed();
    let (sigs, signatures) = set.sigs.as_packed();
    let signed = if sigs > 0 { 2 + signatures.len() } else { 0 };
    let mut packed = Vec::with_capacity(4 + owner.len() + 2 + data.len() + signed);
    packed.extend_from_slice(&set.rtype.0.to_be_bytes());
    packed.extend_from_slice(&set.class.0.to_be_bytes());
    packed.extend_from_slice(owner);
    packed.extend_from_slice(&count.to_be_bytes());
    packed.extend_from_slice(data);
    if sigs > 0 {
        packed.extend_from_slice(&sigs.to_be_bytes());
        packed.extend_from_slice(signatures);
    }
    packed.into_boxed_slice()
}

/// A set as somebody else sees it who has no message: for the parts of an answer that is still being found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSet {
    /// The set; its TTL is what is left.
    pub set: Rrset,
    /// How good its source was.
    pub trust: Trust,
    /// What is known of its truth.
    pub security: Security,
}
