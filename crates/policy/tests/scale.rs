//! The search for the closest enclosing zone against the obvious way to do it, and what many zones cost.

use policy::{Block, Defaults, Item, LocalZones, LocalZonesBuilder, Origin, Overlay, ZoneKind};
use proptest::prelude::*;
use wire::{Class, Name, NameBuf, Query, Rtype};

fn label() -> impl Strategy<Value = String> {
    // Few labels, so that names meet; one longer than a word of the hash.
    prop_oneof![Just("a"), Just("B"), Just("b"), Just("cc"), Just("a-label-of-many-letters")].prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 0..6).prop_map(|labels| labels.join(".") + ".")
}

proptest! {
    #[test]
    fn the_closest_zone_is_found(
        zones in prop::collection::vec((name(), 0..ZoneKind::ALL.len()), 0..20),
        questions in prop::collection::vec((name(), any::<bool>()), 1..30),
    ) {
        let mut builder = LocalZonesBuilder::new();
        let mut model: Vec<(Name, ZoneKind)> = Vec::new();
        for (name, kind) in &zones {
            let (parsed, kind) = (Name::from_text(name).unwrap(), ZoneKind::ALL[*kind]);
            builder.zone(name, kind.word(), Origin::default()).unwrap();
            model.retain(|(other, _)| *other != parsed);
            model.push((parsed, kind));
        }
        let built = builder.build(Defaults::default()).0;
        for (qname, ds) in &questions {
            let qname = NameBuf::from_text(qname).unwrap();
            let qtype = if *ds { Rtype::DS } else { Rtype::TXT };
            let from = if *ds { qname.as_ref().parent().unwrap_or(qname.as_ref()) } else { qname.as_ref() };
            let expected = model
                .iter()
                .filter(|(zone, _)| from.is_subdomain_of(zone.as_ref()))
                .max_by_key(|(zone, _)| zone.as_ref().label_count());
            let query = Query { id: 0, flags: 0, qname, qtype, qclass: Class::IN, edns: None };
            let hit = built.decide(&query).map(|(_, hit)| hit);
            prop_assert_eq!(hit.map(|hit| (hit.zone.to_name(), hit.kind)), expected.map(|(n, k)| (n.clone(), k.word())));
        }
    }
}

/// Octets a zone without data may cost beside its name.
const MOST_OCTETS: usize = 40;

#[test]
fn many_zones_cost_little_more_than_their_names() {
    const MANY: usize = 100_000;
    let mut builder = LocalZonesBuilder::new();
    let mut names = 0;
    for i in 0..MANY {
        let name = format!("host{i}.site{}.example.", i % 1000);
        names += name.len() + 1;
        builder.zone(&name, "always_nxdomain", Origin::default()).unwrap();
    }
    let (zones, problems) = builder.build(Defaults::default());
    assert!(problems.is_empty());
    assert!(zones.zone_count() > MANY);
    let beside = (zones.bytes() - names) / MANY;
    assert!(beside <= MOST_OCTETS, "{beside}");
    for i in (0..MANY).step_by(997) {
        let qname = NameBuf::from_text(&format!("www.HOST{i}.site{}.example.", i % 1000)).unwrap();
        let query = Query { id: 0, flags: 0, qname, qtype: Rtype::A, qclass: Class::IN, edns: None };
        assert_eq!(zones.decide(&query).map(|(_, hit)| hit.kind), Some("always_nxdomain"));
    }
}

/// Octets a block may cost beside its name.
const MOST_BLOCK_OCTETS: usize = 20;

#[test]
fn many_blocks_cost_little_more_than_their_names_and_one_more_copies_little() {
    const MANY: usize = 200_000;
    let name = |i: usize| Name::from_text(&format!("host{i}.site{}.example.", i % 1000)).unwrap();
    let block = |i| Item::Block { name: name(i), action: Block::Nxdomain };
    let empty = Overlay::default();
    let overlay = empty.amended((0..MANY).map(block), []);
    let names: usize = (0..MANY).map(|i| name(i).as_ref().len()).sum();
    let beside = (overlay.bytes() - empty.bytes() - names) / MANY;
    assert!(beside <= MOST_BLOCK_OCTETS, "{beside}");

    let zones = LocalZonesBuilder::new().build(Defaults::default()).0.laid_over(overlay);
    let next = zones.amended([block(MANY)], [block(0)]);
    assert_eq!(next.overlay().block_count(), MANY);
    let hit = |zones: &LocalZones, i| {
        let qname = NameBuf::from_text(&format!("a.b.WWW.{}", name(i))).unwrap();
        let query = Query { id: 0, flags: 0, qname, qtype: Rtype::A, qclass: Class::IN, edns: None };
        zones.block(&query, 0).map(|(_, hit)| hit.labels)
    };
    for i in (1..MANY).step_by(997) {
        assert_eq!((hit(&zones, i), hit(&next, i)), (Some(3), Some(3)));
    }
    assert_eq!((hit(&zones, 0), hit(&next, 0), hit(&zones, MANY), hit(&next, MANY)), (Some(3), None, None, Some(3)));
}
