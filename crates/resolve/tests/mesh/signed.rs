//! The signed Internet tells the truth: what its servers say is walked here by hand with `dnssec` alone, from the root's key to
//! the answer, for each way of denial; and its flaws are found.

use dnssec::{Budget, Denial, Keys, NoDs, Outcome, Proof, Rules, Secure, ZoneKeys, by_anchor, by_ds, verify};
use wire::{Answer, Rcode, Rrset, Rtype};

use crate::internet::*;
use crate::net::*;
use crate::signer::BEGIN_S;

const RECORDS: &str = "example.com. NS ns.example.com.
    ns.example.com. A 192.0.2.1
    www.example.com. A 192.0.2.80
    *.wild.example.com. A 192.0.2.81
    x.ent.example.com. TXT deep
    insecure.example.com. NS ns.insecure.example.com.
    ns.insecure.example.com. A 192.0.2.9";

const WAYS: [&str; 6] = ["nsec", "nsec csk alg=13", "nsec3", "nsec3 salt=aabb iterations=3", "nsec3 optout", "compact"];

fn world(words: &str) -> Internet {
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
        .zone("example.com.", "192.0.2.1", RECORDS)
        .signed("example.com.", words)
}

struct Walk {
    internet: Internet,
    keys: ZoneKeys,
}

impl Walk {
    /// From the root to example.com.
    fn new(internet: Internet) -> Result<Walk, Keys> {
        let mut internet = internet;
        let trust = internet.seal().expect("an anchor");
        let anchor = trust.anchor(name(".").as_ref()).expect("of the root");
        let rules = Rules::default();
        let budget = &mut Budget::default();
        let set = |internet: &Internet, at: &str, owner: &str, rtype| {
            internet.say(at, owner, rtype).answer.into_iter().next().expect("an answer")
        };
        let root = set(&internet, "198.51.100.1", ".", Rtype::DNSKEY);
        let mut keys = by_anchor(&root, &anchor, &rules, BEGIN_S, budget);
        for (parent, zone, server) in
            [("198.51.100.1", "com.", "198.51.100.2"), ("198.51.100.2", "example.com.", "192.0.2.1")]
        {
            let Keys::Secure(above) = &keys else { return Err(keys) };
            let ds = set(&internet, parent, zone, Rtype::DS);
            let Outcome::Secure(ds) = verify(&ds, above, &rules, BEGIN_S, budget) else { panic!("DS of {zone}") };
            keys = by_ds(&set(&internet, server, zone, Rtype::DNSKEY), &ds, &rules, BEGIN_S, budget);
        }
        match keys {
            Keys::Secure(keys) => Ok(Walk { internet, keys }),
            other => Err(other),
        }
    }

    fn say(&self, qname: &str, qtype: Rtype) -> Answer {
        self.internet.say("192.0.2.1", qname, qtype)
    }

    fn verify(&self, set: &Rrset) -> Outcome {
        verify(set, &self.keys, &Rules::default(), BEGIN_S, &mut Budget::default())
    }

    fn proofs(&self, said: &Answer) -> Vec<Secure> {
        let sets = said.authority.iter().filter(|set| set.rtype != Rtype::NS);
        let secure = |set: &Rrset| match self.verify(set) {
            Outcome::Secure(secure) => secure,
            other => panic!("{set:?}: {other:?}"),
        };
        sets.map(secure).collect()
    }

    fn denial<T>(&self, said: &Answer, ask: impl FnOnce(&Denial<'_>, &mut Budget) -> T) -> T {
        let sets = self.proofs(said);
        ask(&Denial::new(self.keys.zone(), self.keys.bits(), &sets, &Rules::default()), &mut Budget::default())
    }
}

#[test]
fn what_is_signed_verifies_from_the_root_down() {
    for words in WAYS {
        let walk = Walk::new(world(words)).unwrap_or_else(|keys| panic!("{words}: {keys:?}"));
        for (qname, qtype) in
            [("www.example.com.", Rtype::A), ("example.com.", Rtype::SOA), ("example.com.", Rtype::NS)]
        {
            let said = walk.say(qname, qtype);
            assert!(matches!(walk.verify(&said.answer[0]), Outcome::Secure(_)), "{words}: {said:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_proven() {
    for words in WAYS {
        let walk = Walk::new(world(words)).unwrap_or_else(|keys| panic!("{words}: {keys:?}"));
        // In an opt-out gap nothing is for sure (RFC 5155 9.2).
        let proven = |proof: Proof| match proof {
            Proof::Proven(_) => true,
            Proof::Insecure(_) => words == "nsec3 optout",
            _ => false,
        };
        for (qname, qtype) in
            [("www.example.com.", Rtype::TXT), ("ent.example.com.", Rtype::A), ("a.wild.example.com.", Rtype::TXT)]
        {
            let said = walk.say(qname, qtype);
            assert_eq!((said.rcode, said.answer.len()), (Rcode::NOERROR, 0), "{words}: {qname}");
            assert!(
                walk.denial(&said, |denial, budget| proven(denial.no_data(name(qname).as_ref(), qtype, budget))),
                "{words}: {qname} {said:?}"
            );
        }
        for qname in ["gone.example.com.", "a.b.c.example.com.", "zzz.ent.example.com."] {
            let said = walk.say(qname, Rtype::A);
            let denied = walk.denial(&said, |denial, budget| match said.rcode {
                Rcode::NXDOMAIN => denial.name_error(name(qname).as_ref(), budget),
                _ => denial.no_data(name(qname).as_ref(), Rtype::A, budget),
            });
            match denied {
                Proof::Proven(proven) => assert_eq!(proven.nxname, words == "compact", "{words}: {qname}"),
                Proof::Insecure(_) => assert_eq!(words, "nsec3 optout", "{qname}"),
                other => panic!("{words}: {qname}: {other:?}"),
            }
        }
        let said = walk.say("a.b.wild.example.com.", Rtype::A);
        let made = walk.verify(&said.answer[0]);
        let Outcome::Secure(made) = made else { panic!("{words}: {made:?}") };
        if let Some(encloser) = made.wildcard() {
            let whole = |denial: &Denial<'_>, budget: &mut Budget| {
                !matches!(
                    denial.wildcard_answer(name("a.b.wild.example.com.").as_ref(), encloser, budget),
                    Proof::Bogus(_)
                )
            };
            assert!(walk.denial(&said, whole), "{words}: {said:?}");
        } else {
            assert_eq!(words, "compact");
        }
    }
}

#[test]
fn delegations_without_ds_are_proven_unsigned() {
    for words in WAYS {
        let walk = Walk::new(world(words)).unwrap_or_else(|keys| panic!("{words}: {keys:?}"));
        let said = walk.say("www.insecure.example.com.", Rtype::A);
        let found = walk.denial(&said, |denial, budget| denial.no_ds(name("insecure.example.com.").as_ref(), budget));
        assert!(matches!(found, NoDs::Unsigned(_) | NoDs::Insecure(_)), "{words}: {found:?}");
        let said = walk.say("insecure.example.com.", Rtype::DS);
        assert!(said.answer.is_empty());
        let found = walk.denial(&said, |denial, budget| denial.no_ds(name("insecure.example.com.").as_ref(), budget));
        assert!(matches!(found, NoDs::Unsigned(_) | NoDs::Insecure(_)), "{words}: {found:?}");
    }
}

#[test]
fn flaws_are_what_they_are_called() {
    use dnssec::Reason;
    for (words, reason) in [
        ("expired", Reason::Expired),
        ("future", Reason::NotYetValid),
        ("inverted", Reason::ExpiredBeforeValid),
        ("unsigned", Reason::NoSignature),
        ("garbage", Reason::BadSignature),
        ("labels+1", Reason::BadLabels),
        ("signer=com.", Reason::WrongSigner),
        ("by=stranger", Reason::NoMatchingKey),
        ("tag=1", Reason::NoMatchingKey),
        ("alg=200", Reason::UnsupportedAlgorithm),
    ] {
        let walk = Walk::new(world("").flaw("example.com.", "www.example.com. A", words)).expect("keys");
        let said = walk.say("www.example.com.", Rtype::A);
        match walk.verify(&said.answer[0]) {
            Outcome::Bogus(found) => assert_eq!(found, reason, "{words}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    for (words, reason) in [
        ("ds=wrong", Reason::NoKeyForDs),
        ("badds=9 ds=wrong", Reason::TooManyAttempts),
        ("unsigned", Reason::NoSignature),
        ("expired", Reason::Expired),
        ("revoked csk", Reason::KeyRevoked),
    ] {
        match Walk::new(world(words)).err() {
            Some(Keys::Bogus(found)) => assert_eq!(found, reason, "{words}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    for words in ["alg=200", "digest=9"] {
        assert!(matches!(Walk::new(world(words)).err(), Some(Keys::Insecure(_))), "{words}");
    }
    for words in ["ds=both", "digest=4", "colliding=2", "badsigs=3"] {
        assert!(Walk::new(world(words)).is_ok(), "{words}");
    }
}

#[test]
fn servers_lie_strip_and_recurse_as_they_are_told() {
    let lie = "rcode NOERROR
        answer *.wild.example.com. A as old.example.com.
        authority over zzz.example.com.
        authority example.com. NS
        additional ns.example.com. 60 A 192.0.2.99";
    let permissive = |internet: Internet| internet.trust(|trust| trust.permissive = true);
    let mut net = permissive(world("")).lie("192.0.2.1", "old.example.com. A", lie).plain();
    let told = net.resolve("old.example.com.", Rtype::A);
    assert_eq!(addresses(&told), ["192.0.2.81"]);
    assert_eq!(shown(&told.answer.answer), ["old.example.com. 3600 A", "old.example.com. 3600 RRSIG"]);
    let mut net = permissive(world("")).strips("192.0.2.1").plain();
    assert_eq!(shown(&net.resolve("www.example.com.", Rtype::A).answer.answer), ["www.example.com. 3600 A"]);

    let linked = permissive(world("").more("com.", "link.com. CNAME www.example.com.")).forwarder("192.0.2.53");
    let mut net = linked.forwarding(&[53]);
    let told = net.resolve("link.com.", Rtype::A);
    assert_eq!(addresses(&told), ["192.0.2.80"]);
    assert!(told.answer.answer.iter().all(|set| !set.sigs.is_empty()), "{told:?}");
}
