//! Signs the zones of [`crate::internet`], in memory and in no time: keys out of seeds, chains of NSEC and NSEC3, and every
//! mistake and lie that a test asks for by its word.
//!
//! It builds signed data, key tags and hashes by itself, so that validation is not measured against its own code (record data
//! in canonical form alone is `dnssec`'s, which RFC examples hold). It must never be part of a program.

use std::cmp::Ordering;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use aws_lc_rs::{agreement, agreement::PrivateKey};
use wire::{Class, Name, NameBuf, NameRef, RdataSet, Rrset, Rtype};

use crate::net::name;

/// Unix seconds when the clock of a fake network begins: noon of 15 November 2026.
pub(crate) const BEGIN_S: u64 = 1_794_744_000;
/// A day in seconds.
const DAY: i64 = 86_400;
/// The type that says "no such name" in a compact denial (RFC 9824 2).
const NXNAME: Rtype = Rtype(128);

/// How a zone is signed, read from words:
///
/// | word | means |
/// |---|---|
/// | `nsec`, `nsec3`, `compact`, `nodenial` | how absence is proven (compact: RFC 9824); NSEC if nothing is said |
/// | `salt=ab12` `iterations=5` `optout` | of NSEC3 |
/// | `alg=13` | P-256; 15, Ed25519, if nothing is said; another number makes keys and signatures that nobody can read |
/// | `csk` | one key for everything, instead of one that signs keys and one that signs the rest |
/// | `seed=2` | other keys |
/// | `from=-10` `to=20` | days around the beginning in which signatures hold, which are these if nothing is said |
/// | `expired` `future` | the whole zone is (`to=-5`, `from=5`) |
/// | `unsigned` | keys and DS, but no signature |
/// | `ds=none`, `ds=wrong`, `ds=both` | the parent has none, one of no key, a wrong one beside the right one |
/// | `digest=4` | of the DS: 1, 2, 4; another number makes one that nobody can read |
/// | `anchor` | its key is a trust anchor (the root's always is) |
/// | `revoked`, `nozonekey` | flags of the key that the DS means |
/// | `colliding=9` | so many keys more with the tag of the signing key, before it |
/// | `badsigs=9` | so many wrong signatures before each right one |
/// | `badds=9` | so many DS records more with the tag of the key, before the right one |
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    denial: Denial,
    salt: Vec<u8>,
    iterations: u16,
    optout: bool,
    algorithm: u8,
    csk: bool,
    seed: u8,
    from: i64,
    to: i64,
    unsigned: bool,
    ds: String,
    digest: u8,
    pub(crate) anchor: bool,
    flags: u16,
    colliding: usize,
    badsigs: usize,
    badds: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    Nsec,
    Nsec3,
    Compact,
    None,
}

/// The word, what stands after its `=`, and that as a number.
fn halves(word: &str) -> (&str, &str, i64) {
    let (word, value) = word.split_once('=').unwrap_or((word, ""));
    (word, value, value.parse().unwrap_or(0))
}

impl Signing {
    pub(crate) fn parse(words: &str) -> Signing {
        let mut s = Signing {
            denial: Denial::Nsec,
            salt: vec![],
            iterations: 0,
            optout: false,
            algorithm: 15,
            csk: false,
            seed: 1,
            from: -10,
            to: 20,
            unsigned: false,
            ds: String::new(),
            digest: 2,
            anchor: false,
            flags: 257,
            colliding: 0,
            badsigs: 0,
            badds: 0,
        };
        for word in words.split_whitespace() {
            let (what, value, number) = halves(word);
            match what {
                "nsec" => s.denial = Denial::Nsec,
                "nsec3" => s.denial = Denial::Nsec3,
                "compact" => s.denial = Denial::Compact,
                "nodenial" => s.denial = Denial::None,
                "salt" => s.salt = hex(value),
                "iterations" => s.iterations = number as u16,
                "optout" => s.optout = true,
                "alg" => s.algorithm = number as u8,
                "csk" => s.csk = true,
                "seed" => s.seed = number as u8,
                "from" => s.from = number,
                "to" => s.to = number,
                "expired" => s.to = -5,
                "future" => s.from = 5,
                "unsigned" => s.unsigned = true,
                "ds" => s.ds = value.to_owned(),
                "digest" => s.digest = number as u8,
                "anchor" => s.anchor = true,
                "revoked" => s.flags = 0x0181,
                "nozonekey" => s.flags = 1,
                "colliding" => s.colliding = number as usize,
                "badsigs" => s.badsigs = number as usize,
                "badds" => s.badds = number as usize,
                _ => panic!("signed: no such word: {word}"),
            }
        }
        s
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// What is wrong with the signatures of one set, read from words:
///
/// | word | means |
/// |---|---|
/// | `expired`, `future`, `inverted` | its dates; inverted: it ends before it begins |
/// | `from=-3` `to=3` | its dates in days around the beginning |
/// | `unsigned`, `garbage` | there is none, it verifies nowhere |
/// | `labels=3`, `labels+1`, `labels-1` | how many labels it says the name has |
/// | `owner=*.example.` | the name that is signed is this one |
/// | `signer=com.`, `tag=7`, `alg=8`, `ttl=60`, `covers=TXT` | other fields |
/// | `by=ksk`, `by=stranger` | the key: the other key of the zone, or one that nobody has seen |
/// | `first=garbage` | a wrong one stands before the right one |
#[derive(Clone, Debug, Default)]
pub(crate) struct Flaw(Vec<String>);

impl Flaw {
    pub(crate) fn parse(words: &str) -> Flaw {
        Flaw(words.split_whitespace().map(str::to_owned).collect())
    }
}

/// The fields of a signature before it is made.
struct Fields {
    covered: Rtype,
    algorithm: u8,
    labels: u8,
    original_ttl: u32,
    expiration: u32,
    inception: u32,
    tag: u16,
    signer: Name,
    owner: NameBuf,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(Box<EcdsaKeyPair>),
    /// Of an algorithm that nobody knows, or made up.
    Nothing,
}

/// A key of a zone.
struct Key {
    pair: Pair,
    rdata: Vec<u8>,
}

impl Key {
    fn new(zone: &Name, role: &str, signing: &Signing, flags: u16) -> Key {
        let mut seed = zone.lower().as_ref().as_wire().to_vec();
        seed.push(signing.seed);
        seed.extend(role.as_bytes());
        let seed = digest(&SHA256, &seed);
        let seed = seed.as_ref();
        let (pair, public) = match signing.algorithm {
            15 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed");
                let public = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), public)
            }
            13 => {
                let private = PrivateKey::from_private_key(&agreement::ECDH_P256, seed).expect("a private key");
                let public = private.compute_public_key().expect("a public key").as_ref().to_vec();
                let pair =
                    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, seed, &public)
                        .expect("a pair");
                (Pair::P256(Box::new(pair)), public[1..].to_vec())
            }
            _ => (Pair::Nothing, seed.to_vec()),
        };
        let mut rdata = flags.to_be_bytes().to_vec();
        rdata.extend([3, signing.algorithm]);
        rdata.extend(public);
        Key { pair, rdata }
    }

    /// RFC 4034 B.
    fn tag(&self) -> u16 {
        tag(&self.rdata)
    }

    /// A key that verifies nothing and has this one's tag.
    fn collision(&self, nth: usize) -> Vec<u8> {
        let mut rdata = self.rdata.clone();
        // The tag is a sum of 16-bit words: what one word gains another loses.
        for (a, b) in [(4, 6), (8, 10)] {
            let word = |at: usize| i64::from(u16::from_be_bytes([self.rdata[at], self.rdata[at + 1]]));
            let step = (nth as i64 + 1).min(word(a)).min(0xffff - word(b));
            rdata[a..a + 2].copy_from_slice(&((word(a) - step) as u16).to_be_bytes());
            rdata[b..b + 2].copy_from_slice(&((word(b) + step) as u16).to_be_bytes());
        }
        assert_eq!(tag(&rdata), self.tag(), "colliding keys collide");
        rdata
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(data).as_ref().to_vec(),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), data).expect("a signature").as_ref().to_vec(),
            Pair::Nothing => vec![7; 64],
        }
    }
}

fn tag(rdata: &[u8]) -> u16 {
    let sum: u32 =
        rdata.iter().zip(0u32..).map(|(octet, at)| u32::from(*octet) << if at % 2 == 0 { 8 } else { 0 }).sum();
    (sum + (sum >> 16)) as u16
}

/// Seals a zone: its keys, its signatures, and what proves that something is not there.
pub(crate) struct Signer {
    zone: Name,
    pub(crate) signing: Signing,
    ksk: Key,
    zsk: Option<Key>,
    flaws: Vec<(Name, Rtype, Flaw)>,
    /// NSEC or NSEC3 sets, signed; NSEC in canonical order of their owners, NSEC3 in that of their hashes, which is the same.
    chain: Vec<Rrset>,
}

impl Signer {
    pub(crate) fn new(zone: &Name, words: &str) -> Signer {
        let signing = Signing::parse(words);
        let ksk = Key::new(zone, "ksk", &signing, signing.flags);
        let zsk = (!signing.csk).then(|| Key::new(zone, "zsk", &signing, 256));
        Signer { zone: zone.clone(), signing, ksk, zsk, flaws: vec![], chain: vec![] }
    }

    pub(crate) fn flaw(&mut self, owner: &Name, rtype: Rtype, flaw: Flaw) {
        self.flaws.push((owner.clone(), rtype, flaw));
    }

    fn zone_key(&self) -> &Key {
        self.zsk.as_ref().unwrap_or(&self.ksk)
    }

    /// The key as a trust anchor.
    pub(crate) fn anchor(&self) -> Vec<u8> {
        self.ksk.rdata.clone()
    }

    /// The DS set for the parent; `None` if it has none.
    pub(crate) fn ds(&self) -> Option<Rrset> {
        let algorithm = match self.signing.digest {
            1 => &SHA1_FOR_LEGACY_USE_ONLY,
            4 => &SHA384,
            _ => &SHA256,
        };
        let mut data = self.zone.lower().as_ref().as_wire().to_vec();
        data.extend(&self.ksk.rdata);
        let mut right = self.ksk.tag().to_be_bytes().to_vec();
        right.extend([self.signing.algorithm, self.signing.digest]);
        right.extend(digest(algorithm, &data).as_ref());
        let wrong = |nth: usize| {
            let mut rdata = right.clone();
            let at = rdata.len() - 1 - nth / 255;
            rdata[at] ^= (nth % 255) as u8 + 1;
            rdata
        };
        let mut rdata: Vec<Vec<u8>> = (1..=self.signing.badds).map(wrong).collect();
        match self.signing.ds.as_str() {
            "none" => return None,
            "wrong" => rdata.push(wrong(0)),
            "both" => rdata.extend([wrong(0), right.clone()]),
            "" => rdata.push(right.clone()),
            other => panic!("signed: no such word: ds={other}"),
        }
        let rdata = rdata.iter().map(|rdata| &rdata[..]).collect();
        Some(Rrset::new(self.zone.clone(), Rtype::DS, Class::IN, 3600, rdata))
    }

    /// Signs all sets, those of the denial included. `sets` gain DNSKEY; NS sets of `cuts` and what lies below them stay as
    /// they are.
    pub(crate) fn seal(&mut self, sets: &mut Vec<Rrset>) {
        let mut keys: Vec<Vec<u8>> = (0..self.signing.colliding).map(|nth| self.zone_key().collision(nth)).collect();
        keys.extend([Some(&self.ksk), self.zsk.as_ref()].into_iter().flatten().map(|key| key.rdata.clone()));
        let keys = keys.iter().map(|rdata| &rdata[..]).collect();
        sets.push(Rrset::new(self.zone.clone(), Rtype::DNSKEY, Class::IN, 3600, keys));
        let nsec3 = self.signing.denial == Denial::Nsec3;
        if nsec3 {
            let rdata = RdataSet::one(&self.nsec3_fields(0));
            sets.push(Rrset::new(self.zone.clone(), Rtype::NSEC3PARAM, Class::IN, 0, rdata));
        }
        let mut chain = match self.signing.denial {
            Denial::Nsec => self.nsec_chain(sets),
            Denial::Nsec3 => self.nsec3_chain(sets),
            Denial::Compact | Denial::None => vec![],
        };
        // What a test writes down wins over what is made.
        let written = sets.extract_if(.., |set| matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3));
        for set in written {
            chain.retain(|made| made.owner != set.owner);
            chain.push(set);
        }
        chain.sort_by(|a, b| a.owner.as_ref().cmp(&b.owner.as_ref()));
        self.chain = chain.into_iter().map(|set| self.sign(set)).collect();
        let cuts = self.cuts(sets);
        for set in sets.iter_mut() {
            let hidden = cuts.iter().any(|cut| {
                let at = set.owner == *cut;
                set.owner.as_ref().is_subdomain_of(cut.as_ref()) && !(at && set.rtype == Rtype::DS)
            });
            if !hidden {
                *set = self.sign(set.clone());
            }
        }
    }

    fn cuts(&self, sets: &[Rrset]) -> Vec<Name> {
        let cut = |set: &&Rrset| set.rtype == Rtype::NS && set.owner != self.zone;
        sets.iter().filter(cut).map(|set| set.owner.clone()).collect()
    }

    /// The set with its signatures, as its flaws have them.
    pub(crate) fn sign(&self, set: Rrset) -> Rrset {
        let mut flaw = Flaw::default();
        for (owner, rtype, more) in &self.flaws {
            if set.owner == *owner && (*rtype == set.rtype || *rtype == Rtype::ANY) {
                flaw.0.extend(more.0.iter().cloned());
            }
        }
        let has = |word: &str| flaw.0.iter().any(|have| have == word);
        if self.signing.unsigned || has("unsigned") {
            return set;
        }
        let stranger = has("by=stranger").then(|| Key::new(&self.zone, "stranger", &self.signing, 256));
        let key = match (&stranger, set.rtype == Rtype::DNSKEY || has("by=ksk")) {
            (Some(stranger), _) => stranger,
            (None, true) => &self.ksk,
            (None, false) => self.zone_key(),
        };
        let day = |days: i64| (BEGIN_S as i64 + days * DAY) as u32;
        let owner = set.owner.as_ref();
        let mut fields = Fields {
            covered: set.rtype,
            algorithm: self.signing.algorithm,
            labels: (owner.label_count() - usize::from(owner.is_wildcard())) as u8,
            original_ttl: set.ttl,
            expiration: day(self.signing.to),
            inception: day(self.signing.from),
            tag: key.tag(),
            signer: self.zone.clone(),
            owner: owner.to_buf(),
        };
        let (mut garbage, mut before) = (false, self.signing.badsigs);
        for word in &flaw.0 {
            let (what, value, number) = halves(word);
            match what {
                "expired" => fields.expiration = day(-5),
                "future" => fields.inception = day(5),
                "inverted" => (fields.expiration, fields.inception) = (day(-1), day(1)),
                "from" => fields.inception = day(number),
                "to" => fields.expiration = day(number),
                "labels" => fields.labels = number as u8,
                "labels+1" => fields.labels += 1,
                "labels-1" => fields.labels -= 1,
                "owner" => fields.owner = name(value).as_ref().to_buf(),
                "signer" => fields.signer = name(value),
                "tag" => fields.tag = number as u16,
                "alg" => fields.algorithm = number as u8,
                "ttl" => fields.original_ttl = number as u32,
                "covers" => fields.covered = rtype(value),
                "garbage" => garbage = true,
                "first" => before += 1,
                "by" => {}
                _ => panic!("flaw: no such word: {word}"),
            }
        }
        let mut sigs = RdataSet::new();
        let mut rdata = fields.covered.0.to_be_bytes().to_vec();
        rdata.extend([fields.algorithm, fields.labels]);
        for number in [fields.original_ttl, fields.expiration, fields.inception] {
            rdata.extend(number.to_be_bytes());
        }
        rdata.extend(fields.tag.to_be_bytes());
        rdata.extend(fields.signer.lower().as_ref().as_wire());
        for nth in 0..before {
            let mut wrong = rdata.clone();
            wrong.extend([nth as u8 ^ (nth >> 8) as u8 ^ 0x55; 64]);
            wrong.extend((nth as u16).to_be_bytes());
            wrong.truncate(rdata.len() + 64);
            wrong[rdata.len()..rdata.len() + 2].copy_from_slice(&(nth as u16).to_be_bytes());
            sigs.push(&wrong);
        }
        let mut signature = key.sign(&signed_data(&rdata, &fields, &set));
        if garbage {
            signature.iter_mut().for_each(|octet| *octet ^= 0xff);
        }
        rdata.extend(signature);
        sigs.push(&rdata);
        set.with_sigs(sigs)
    }

    /// Algorithm, flags, iterations and salt.
    fn nsec3_fields(&self, flags: u8) -> Vec<u8> {
        let mut rdata = vec![1, flags];
        rdata.extend(self.signing.iterations.to_be_bytes());
        rdata.push(self.signing.salt.len() as u8);
        rdata.extend(&self.signing.salt);
        rdata
    }

    /// Every name of the zone that has data of it, with its types; the empty ones between if `ents`.
    fn names(&self, sets: &[Rrset], ents: bool) -> Vec<(Name, Vec<Rtype>)> {
        let cuts = self.cuts(sets);
        let mut names: Vec<(Name, Vec<Rtype>)> = vec![];
        let mut add = |owner: NameRef<'_>, rtype: Option<Rtype>| {
            let at = match names.iter().position(|(have, _)| have.as_ref() == owner) {
                Some(at) => at,
                None => {
                    names.push((owner.to_name().lower(), vec![]));
                    names.len() - 1
                }
            };
            names[at].1.extend(rtype);
        };
        for set in sets.iter().filter(|set| !matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3)) {
            let owner = set.owner.as_ref();
            if cuts.iter().any(|cut| owner != cut.as_ref() && owner.is_subdomain_of(cut.as_ref())) {
                continue;
            }
            let cut = cuts.contains(&set.owner);
            if cut && !matches!(set.rtype, Rtype::NS | Rtype::DS) {
                continue;
            }
            let bare = cut && !sets.iter().any(|ds| ds.rtype == Rtype::DS && ds.owner == set.owner);
            if bare && self.signing.optout && ents {
                continue;
            }
            add(owner, Some(set.rtype));
            for above in owner.ancestors().skip(1).take_while(|above| ents && above.is_subdomain_of(self.zone.as_ref()))
            {
                add(above, None);
            }
        }
        names
    }

    fn nsec_chain(&self, sets: &[Rrset]) -> Vec<Rrset> {
        let mut names = self.names(sets, false);
        names.sort_by(|a, b| a.0.as_ref().cmp(&b.0.as_ref()));
        let nexts: Vec<Name> = names.iter().cycle().skip(1).take(names.len()).map(|(name, _)| name.clone()).collect();
        let ttl = denial_ttl(sets);
        let made = names.into_iter().zip(nexts).map(|((owner, mut types), next)| {
            types.extend([Rtype::RRSIG, Rtype::NSEC]);
            nsec(owner, next.as_ref(), &types, ttl)
        });
        made.collect()
    }

    fn nsec3_chain(&self, sets: &[Rrset]) -> Vec<Rrset> {
        let names = self.names(sets, true).into_iter();
        let mut names: Vec<(Vec<u8>, Vec<Rtype>)> =
            names.map(|(name, types)| (self.hash(name.as_ref()), types)).collect();
        names.sort();
        let nexts: Vec<Vec<u8>> =
            names.iter().cycle().skip(1).take(names.len()).map(|(hash, _)| hash.clone()).collect();
        let ttl = denial_ttl(sets);
        let made = names.into_iter().zip(nexts).map(|((hash, mut types), next)| {
            if types.iter().any(|rtype| !matches!(*rtype, Rtype::NS)) {
                types.push(Rtype::RRSIG);
            }
            let mut rdata = self.nsec3_fields(u8::from(self.signing.optout));
            rdata.push(next.len() as u8);
            rdata.extend(next);
            rdata.extend(bitmap(&types));
            Rrset::new(self.hashed(&hash), Rtype::NSEC3, Class::IN, ttl, RdataSet::one(&rdata))
        });
        made.collect()
    }

    /// RFC 5155 5.
    fn hash(&self, name: NameRef<'_>) -> Vec<u8> {
        let mut octets = name.lower().as_ref().as_wire().to_vec();
        for _ in 0..=self.signing.iterations {
            octets.extend(&self.signing.salt);
            octets = digest(&SHA1_FOR_LEGACY_USE_ONLY, &octets).as_ref().to_vec();
        }
        octets
    }

    fn hashed(&self, hash: &[u8]) -> Name {
        let mut label = Vec::new();
        for group in hash.chunks(5) {
            let value = group.iter().fold(0u64, |value, octet| value << 8 | u64::from(*octet));
            label.extend((0..8).rev().map(|at| b"0123456789abcdefghijklmnopqrstuv"[(value >> (5 * at) & 31) as usize]));
        }
        let mut owner = NameBuf::root();
        owner.push_label(&label).and_then(|()| owner.push_name(self.zone.as_ref())).expect("room for a hash");
        owner.to_name()
    }

    /// The record of the chain that stands at this name.
    pub(crate) fn at(&self, name: NameRef<'_>) -> Option<Rrset> {
        let owner = if self.signing.denial == Denial::Nsec3 { self.hashed(&self.hash(name)) } else { name.to_name() };
        self.chain.iter().find(|set| set.owner == owner).cloned()
    }

    /// The record of the chain whose gap this name falls into.
    pub(crate) fn over(&self, name: NameRef<'_>) -> Option<Rrset> {
        let owner = if self.signing.denial == Denial::Nsec3 { self.hashed(&self.hash(name)) } else { name.to_name() };
        let before = |set: &&Rrset| set.owner.as_ref().cmp(&owner.as_ref()) == Ordering::Less;
        self.chain.iter().rfind(before).or_else(|| self.chain.last()).cloned()
    }

    /// Proves that there is no such type at a name that exists, or is an unsigned delegation. `types` are those that are
    /// there, `encloser` the closest name above that has a record of the chain.
    pub(crate) fn no_data(&self, at: NameRef<'_>, types: &[Rtype]) -> Vec<Rrset> {
        match self.signing.denial {
            Denial::None => vec![],
            Denial::Compact => vec![self.compact(at, types)],
            Denial::Nsec => self.at(at).or_else(|| self.over(at)).into_iter().collect(),
            Denial::Nsec3 => match self.at(at) {
                Some(set) => vec![set],
                None => {
                    let above = at.ancestors().find(|above| self.at(*above).is_some()).unwrap_or(self.zone.as_ref());
                    [self.at(above), self.over(next_closer(at, above))].into_iter().flatten().collect()
                }
            },
        }
    }

    /// Proves that the name is not there, `encloser` is the closest that is, and it has no wildcard.
    pub(crate) fn name_error(&self, qname: NameRef<'_>, encloser: NameRef<'_>) -> Vec<Rrset> {
        let wildcard = wildcard(encloser);
        match self.signing.denial {
            Denial::None => vec![],
            Denial::Compact => vec![self.compact(qname, &[NXNAME])],
            Denial::Nsec => once([self.over(qname), self.over(wildcard.as_ref())]),
            Denial::Nsec3 => {
                once([self.at(encloser), self.over(next_closer(qname, encloser)), self.over(wildcard.as_ref())])
            }
        }
    }

    /// Proves that no closer name than the wildcard's is there.
    pub(crate) fn expanded(&self, qname: NameRef<'_>, encloser: NameRef<'_>) -> Vec<Rrset> {
        match self.signing.denial {
            Denial::Nsec => once([self.over(qname)]),
            Denial::Nsec3 => once([self.over(next_closer(qname, encloser))]),
            Denial::Compact | Denial::None => vec![],
        }
    }

    /// Proves that the wildcard is there and has no such type.
    pub(crate) fn wildcard_no_data(&self, qname: NameRef<'_>, encloser: NameRef<'_>, types: &[Rtype]) -> Vec<Rrset> {
        let wildcard = wildcard(encloser);
        match self.signing.denial {
            Denial::None => vec![],
            Denial::Compact => vec![self.compact(qname, types)],
            Denial::Nsec => once([self.over(qname), self.at(wildcard.as_ref())]),
            Denial::Nsec3 => {
                once([self.at(encloser), self.over(next_closer(qname, encloser)), self.at(wildcard.as_ref())])
            }
        }
    }

    /// Whether denials are made while a question is answered: names that are not there are told with NOERROR, and what comes
    /// out of a wildcard is signed for its name (RFC 9824).
    pub(crate) fn is_compact(&self) -> bool {
        self.signing.denial == Denial::Compact
    }

    fn compact(&self, at: NameRef<'_>, types: &[Rtype]) -> Rrset {
        let mut next = NameBuf::root();
        next.push_label(&[0]).and_then(|()| next.push_name(at)).expect("room for a label");
        let types: Vec<Rtype> = types.iter().copied().chain([Rtype::RRSIG, Rtype::NSEC]).collect();
        self.sign(nsec(at.to_name(), next.as_ref(), &types, 300))
    }
}

/// What is signed: the fields, then each record in canonical form and order (RFC 4034 3.1.8.1).
fn signed_data(fixed: &[u8], fields: &Fields, set: &Rrset) -> Vec<u8> {
    let mut records: Vec<_> =
        set.rdata.iter().map(|rdata| dnssec::canonical::canonical_rdata(set.rtype, rdata)).collect();
    records.sort();
    records.dedup();
    let mut data = fixed.to_vec();
    for rdata in records {
        data.extend(fields.owner.lower().as_ref().as_wire());
        data.extend(set.rtype.0.to_be_bytes());
        data.extend(set.class.0.to_be_bytes());
        data.extend(fields.original_ttl.to_be_bytes());
        data.extend((rdata.len() as u16).to_be_bytes());
        data.extend(rdata.iter());
    }
    data
}

fn nsec(owner: Name, next: NameRef<'_>, types: &[Rtype], ttl: u32) -> Rrset {
    let mut rdata = next.as_wire().to_vec();
    rdata.extend(bitmap(types));
    Rrset::new(owner, Rtype::NSEC, Class::IN, ttl, RdataSet::one(&rdata))
}

/// RFC 4034 4.1.2.
fn bitmap(types: &[Rtype]) -> Vec<u8> {
    let mut types: Vec<u16> = types.iter().map(|rtype| rtype.0).collect();
    types.sort_unstable();
    types.dedup();
    let mut out = Vec::new();
    for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let last = usize::from(window.last().copied().unwrap_or(0) & 0xff);
        let mut octets = vec![0u8; last / 8 + 1];
        for rtype in window {
            octets[usize::from(rtype & 0xff) / 8] |= 0x80 >> (rtype % 8);
        }
        out.extend([(window[0] >> 8) as u8, octets.len() as u8]);
        out.extend(octets);
    }
    out
}

/// RFC 9077: the lesser of the SOA's TTL and its last field.
fn denial_ttl(sets: &[Rrset]) -> u32 {
    let soa = sets.iter().find(|set| set.rtype == Rtype::SOA).expect("a zone has a SOA");
    let minimum = soa.rdata.first().and_then(|rdata| rdata.last_chunk::<4>()).expect("a SOA has fields");
    soa.ttl.min(u32::from_be_bytes(*minimum))
}

pub(crate) fn wildcard(encloser: NameRef<'_>) -> Name {
    let mut wildcard = NameBuf::root();
    wildcard.push_label(b"*").and_then(|()| wildcard.push_name(encloser)).expect("room for an asterisk");
    wildcard.to_name()
}

/// The name one label longer than the encloser (RFC 5155 1.3).
fn next_closer<'a>(qname: NameRef<'a>, encloser: NameRef<'_>) -> NameRef<'a> {
    let labels = encloser.label_count() + 1;
    qname.ancestors().find(|above| above.label_count() == labels).unwrap_or(qname)
}

/// Each record once.
fn once<const N: usize>(sets: [Option<Rrset>; N]) -> Vec<Rrset> {
    let mut out: Vec<Rrset> = Vec::new();
    for set in sets.into_iter().flatten() {
        if !out.iter().any(|have| have.owner == set.owner) {
            out.push(set);
        }
    }
    out
}

/// A type by its word.
pub(crate) fn rtype(word: &str) -> Rtype {
    word.parse().unwrap_or_else(|_| panic!("no such type: {word}"))
}
