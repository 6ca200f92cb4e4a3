//! What somebody would try who sits at a server, on the way, or in the cache: forged data below a secure delegation must come out
//! as SERVFAIL, whatever true records of other zones, names and times they are dressed in; and nobody spoils what others ask for.

use resolve::Limits;
use wire::{Answer, Class, Rcode, RdataSet, Rrset, Rtype};

use crate::internet::*;
use crate::net::*;

const RECORDS: &str = "example.com. NS ns.example.com.
    ns.example.com. A 192.0.2.1
    www.example.com. A 192.0.2.80";

/// Root, com. and example.com., signed; and evil.com., signed too, which its parent knows nothing of.
fn world(words: &str) -> Internet {
    signed_internet()
        .more("com.", "example.com. NS ns.example.com.\nns.example.com. A 192.0.2.1")
        .more("com.", "evil.com. NS ns.evil.com.\nns.evil.com. A 192.0.2.66")
        .zone("example.com.", "192.0.2.1", RECORDS)
        .signed("example.com.", words)
        .zone("evil.com.", "192.0.2.66", "evil.com. NS ns.evil.com.\nns.evil.com. A 192.0.2.66")
        .signed("evil.com.", "ds=none seed=9")
}

#[test]
fn rfc4035_5_4_a_zone_beside_the_name_denies_nothing_not_even_insecurely() {
    for rcode in ["NXDOMAIN", "NOERROR"] {
        let lie = format!("rcode {rcode}\nauthority evil.com. SOA\nauthority at evil.com. of evil.com.");
        let mut net = world("").lie("198.51.100.2", "www.example.com. A", &lie).plain();
        let told = net.resolve("www.example.com.", Rtype::A);
        assert_ne!((told.answer.rcode, addresses(&told).len()), (Rcode::NXDOMAIN, 0), "{told:?}");
        assert!(told.answer.rcode == Rcode::SERVFAIL || !addresses(&told).is_empty(), "{rcode}: {told:?}");
        let mut net = world("").forwarder("192.0.2.53").lie("192.0.2.53", "www.example.com. A", &lie).forwarding(&[53]);
        let told = net.resolve("www.example.com.", Rtype::A);
        assert_eq!(told.answer.rcode, Rcode::SERVFAIL, "{rcode}: {told:?}");
    }
}

#[test]
fn rfc5155_9_2_that_a_name_in_an_opt_out_span_has_no_ds_is_never_authentic() {
    let mut net = world("nsec3 optout").plain();
    // Proofs that such types are not there span the names between, too.
    for name in ["example.com.", "www.example.com.", "ns.example.com."] {
        assert!(net.resolve(name, Rtype::TXT).answer.ad, "{name}");
    }
    for n in 0..20 {
        let told = net.resolve(&format!("gone{n}.example.com."), Rtype::DS);
        assert!(!told.answer.ad, "{told:?}");
    }
}

#[test]
fn rfc8198_5_3_a_zone_above_does_not_say_what_a_wildcard_below_stands_for() {
    let mut net = world("nsec3")
        .more("example.com.", "child.example.com. NS ns.child.example.com.\nns.child.example.com. A 192.0.2.7")
        .zone(
            "child.example.com.",
            "192.0.2.7",
            "child.example.com. 86400 NS ns.child.example.com.
            ns.child.example.com. 86400 A 192.0.2.7
            *.child.example.com. 86400 A 192.0.2.81
            here.child.example.com. A 192.0.2.82
            zz.child.example.com. A 192.0.2.85
            zza.child.example.com. A 192.0.2.83
            zzb.child.example.com. A 192.0.2.84",
        )
        .signed("child.example.com.", "")
        .plain();
    assert_eq!(addresses(&net.resolve("zz1.child.example.com.", Rtype::A)), ["192.0.2.81"]);
    // The proof of the wildcard ends before the wildcard; what the zone above has denied is known.
    net.now += 4_000_000;
    for n in 0..60 {
        net.resolve(&format!("gone{n}.example.com."), Rtype::A);
    }
    for name in ["zza.child.example.com.", "zzb.child.example.com.", "here.child.example.com."] {
        assert_ne!(addresses(&net.resolve(name, Rtype::A)), ["192.0.2.81"], "{name}");
    }
}

#[test]
fn what_one_question_has_used_up_spoils_nothing_for_others() {
    // A chain of links through many zones, and then a name of a zone whose keys nobody knows yet.
    let chain = || {
        (0..6).fold(world(""), |internet, n| {
            let to = if n == 5 { "www.example.com.".to_owned() } else { format!("x.e{}.com.", n + 1) };
            let (zone, addr) = (format!("e{n}.com."), format!("192.0.2.{}", 100 + n));
            let cut = format!("{zone} NS ns.{zone}\nns.{zone} A {addr}");
            internet.more("com.", &cut).zone(&zone, &addr, &format!("{cut}\nx.{zone} CNAME {to}"))
        })
    };
    let mut failed = 0;
    for quota in 10..30 {
        let limits = Limits { max_global_quota: quota, ..Limits::default() };
        let mut net = chain().build(limits, |recursion| recursion.minimise = resolve::Minimise::Off, |_| {});
        failed += usize::from(net.resolve("x.e0.com.", Rtype::A).answer.rcode == Rcode::SERVFAIL);
        let told = net.resolve("www.example.com.", Rtype::A);
        assert!(told.answer.ad && !addresses(&told).is_empty(), "{quota}: {told:?} {:#?}", net.trace());
    }
    assert!(failed > 4, "{failed}");
}

#[test]
fn rfc4035_5_3_4_what_a_wildcard_made_is_told_with_its_proof_to_any_too() {
    let mut net = world("").more("example.com.", "*.wild.example.com. A 192.0.2.81").plain();
    assert!(net.resolve("a.wild.example.com.", Rtype::A).answer.ad);
    let told = net.resolve("a.wild.example.com.", Rtype::ANY).answer;
    assert!(!told.ad || told.authority.iter().any(|set| set.rtype == Rtype::NSEC), "{told:?}");
}

#[test]
fn sets_that_are_refused_unverified_take_their_turns_too() {
    let truth = world("").plain().resolve("www.example.com.", Rtype::A).answer;
    let stuffed = move |asked: &Asked| {
        let mut answer = Answer { aa: true, ..(*truth).clone() };
        let sigs = truth.answer[0].sigs.clone();
        let junk = |n: usize| Rrset::new(name(&format!("n{n}.example.com.")), Rtype::NSEC, Class::IN, 300, nsec());
        answer.authority = (0..300).map(|n| junk(n).with_sigs(sigs.clone())).collect();
        (asked.name() == "www.example.com." && asked.query.qtype == Rtype::A).then(|| soon(asked.render(&answer)))
    };
    let mut net = world("").at("192.0.2.1", stuffed).plain();
    let told = net.resolve("www.example.com.", Rtype::A);
    assert!(told.answer.ad && addresses(&told) == ["192.0.2.80"] && told.answer.authority.is_empty(), "{told:?}");
}

/// From here to the apex nothing, and an address here.
fn nsec() -> RdataSet {
    RdataSet::one(&[&[7][..], b"example", &[3], b"com", &[0, 0, 1, 0x40]].concat())
}
