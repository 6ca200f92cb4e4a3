//! What the records of the API change in the zones around them.
//!
//! It owns the two things that a look at the name of a query alone cannot tell: which names exist in `static` zones only
//! because a record stands below them, and where the zone is that holds all records which stand in no other. Both are
//! kept up with each change, so that a record more among a million costs the labels of its name. The records themselves
//! are the overlay's, the zones and their own data the file's.

use std::collections::{HashMap, HashSet};

use wire::{Class, Name, NameRef};

use super::zones::{Enclosing, LocalZones, Made, Store, ZoneKind};
use crate::overlay::{Changes, Item, Names, Overlay, Presence, presence};
use crate::walk::Walk;

/// What is known beside the zones of the file and the records of the overlay.
#[derive(Clone, Debug, Default)]
pub(super) struct Join {
    /// Names above records in `static` zones: for each zone how many are below.
    above: Names,
    homeless: Option<Homeless>,
}

/// The records of the overlay that no zone of the file encloses. There is one transparent zone for them and for the data
/// of the file that have none, at the closest common ancestor of all.
#[derive(Clone, Debug)]
struct Homeless {
    /// The ancestor, in lower case.
    apex: Name,
    /// Two of the names that have no higher common ancestor: as long as both are there, the apex stays where it is.
    witnesses: [Name; 2],
    /// How many names have such records.
    count: usize,
}

/// A name whose records changed: what there was and what there is.
type Touched = (Name, Presence, Presence);

impl LocalZones {
    /// The same zones with this overlay in the place of theirs. Takes time for each of its names.
    #[must_use]
    pub fn laid_over(&self, overlay: Overlay) -> LocalZones {
        let all = overlay.records.iter();
        let touched = all.map(|(name, packed)| (name.to_name(), Presence::default(), presence(packed))).collect();
        let join = Join::default().after(&self.store, &overlay, touched);
        LocalZones { store: self.store.clone(), overlay, join }
    }

    /// The same zones with their overlay amended, see [`Overlay::amended`]. Takes time for what changes alone.
    #[must_use]
    pub fn amended(&self, put: impl IntoIterator<Item = Item>, remove: impl IntoIterator<Item = Item>) -> LocalZones {
        let mut touched: Vec<Touched> = Vec::new();
        let overlay = self.overlay.amended_and(put, remove, |name, before, after| {
            if before != after {
                touched.push((name.to_name(), before, after));
            }
        });
        let join = self.join.after(&self.store, &overlay, touched);
        LocalZones { store: self.store.clone(), overlay, join }
    }

    /// What the API has put over the file.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }
}

impl Join {
    /// The apex of the zone for what stands in no other, if the overlay has a part in it.
    pub(super) fn implicit(&self) -> Option<NameRef<'_>> {
        // It may be the name of a zone of the file, which a lone DS record can make it: that one is met first.
        self.homeless.as_ref().map(|homeless| homeless.apex.as_ref())
    }

    /// Whether a record of the overlay that is in this zone stands below the suffix of so many labels.
    pub(super) fn is_above(&self, zone: u32, walk: &Walk<'_>, labels: usize) -> bool {
        self.above.get(walk, labels).is_some_and(|packed| counts(packed).any(|(of, _)| of == zone))
    }

    /// What is known after these names were touched; `overlay` is as it is afterwards.
    fn after(&self, store: &Store, overlay: &Overlay, touched: Vec<Touched>) -> Join {
        let mut above = Changes::default();
        let (mut gained, mut lost) = (Vec::new(), HashSet::new());
        for (name, before, after) in touched {
            let lower = name.as_ref().to_buf();
            let walk = Walk::new(lower.as_ref());
            let (was, is) = (is_homeless(store, &walk, before), is_homeless(store, &walk, after));
            for (parent, before, after) in [(false, before.own, after.own), (true, before.of_parent, after.of_parent)] {
                if before != after
                    && let Some(within) = home(store, &walk, parent)
                    && store.zone(within.zone).is_some_and(|zone| zone.kind == ZoneKind::Static)
                {
                    let change = if after { 1_i32 } else { -1 };
                    name.as_ref()
                        .ancestors()
                        .skip(1)
                        .take(walk.labels() - within.labels)
                        .for_each(|name| above.add(name, |into| write(within.zone, change, into)));
                }
            }
            match (was, is) {
                (false, true) => gained.push(name),
                (true, false) => drop(lost.insert(name)),
                _ => {}
            }
        }
        let above = self.above.amended(above, |_, old, changes, into| {
            let mut sums: HashMap<u32, i32> = counts(old.unwrap_or_default()).collect();
            for (zone, change) in changes.iter().flat_map(|change| counts(change)) {
                *sums.entry(zone).or_default() += change;
            }
            sums.retain(|_, count| *count > 0);
            sums.iter().for_each(|(zone, count)| write(*zone, *count, into));
            !sums.is_empty()
        });
        Join { above, homeless: self.homeless_after(store, overlay, &gained, &lost) }
    }

    fn homeless_after(
        &self,
        store: &Store,
        overlay: &Overlay,
        gained: &[Name],
        lost: &HashSet<Name>,
    ) -> Option<Homeless> {
        let old = self.homeless.as_ref();
        let count = old.map_or(0, |old| old.count) + gained.len() - lost.len();
        if count == 0 {
            return None;
        }
        let of_file = store.implicit(Class::IN).and_then(|zone| store.zone(zone));
        let of_file = of_file.map(|zone| store.name_at(zone.name).lower().to_name());
        let mut next = Common::default();
        match old {
            Some(old) if old.witnesses.iter().any(|witness| lost.contains(witness)) => {
                // The apex may be lower now. It is not, once names were seen that have no lower one; mostly that is soon.
                let mut highest = Common { apex: Some(old.apex.clone()), ..Common::default() };
                gained.iter().for_each(|name| highest.add(name));
                of_file.iter().for_each(|name| next.add(name));
                for (name, packed) in overlay.records.iter() {
                    let lower = name.to_buf();
                    if is_homeless(store, &Walk::new(lower.as_ref()), presence(packed)) {
                        next.add(&name.to_name());
                        if next.apex == highest.apex {
                            break;
                        }
                    }
                }
            }
            Some(old) => next = Common { apex: Some(old.apex.clone()), witnesses: Some(old.witnesses.clone()) },
            None => of_file.iter().for_each(|name| next.add(name)),
        }
        gained.iter().for_each(|name| next.add(name));
        let (apex, witnesses) = (next.apex?, next.witnesses?);
        Some(Homeless { apex, witnesses, count })
    }
}

/// The closest common ancestor of some names.
#[derive(Default)]
struct Common {
    apex: Option<Name>,
    witnesses: Option<[Name; 2]>,
}

impl Common {
    fn add(&mut self, name: &Name) {
        let Some(apex) = &self.apex else {
            (self.apex, self.witnesses) = (Some(name.clone()), Some([name.clone(), name.clone()]));
            return;
        };
        if name.as_ref().is_subdomain_of(apex.as_ref()) {
            return;
        }
        let higher = apex.as_ref().ancestors().find(|above| name.as_ref().is_subdomain_of(*above));
        self.apex = Some(higher.unwrap_or(wire::name::ROOT).to_name());
        if let Some([_, second]) = &mut self.witnesses {
            *second = name.clone();
        }
    }
}

/// The zone of the file, not one that was made for data without a zone, for records of a name; with `parent`, for those
/// that belong to the parent's side.
fn home(store: &Store, walk: &Walk<'_>, parent: bool) -> Option<Enclosing> {
    let enclosing = store.enclosing(walk, Class::IN, parent)?;
    store.zone(enclosing.zone).filter(|zone| zone.made != Made::Implicit).map(|_| enclosing)
}

fn is_homeless(store: &Store, walk: &Walk<'_>, there: Presence) -> bool {
    there.own && home(store, walk, false).is_none() || there.of_parent && home(store, walk, true).is_none()
}

fn write(zone: u32, count: i32, into: &mut Vec<u8>) {
    into.extend_from_slice(&zone.to_be_bytes());
    into.extend_from_slice(&count.to_be_bytes());
}

fn counts(packed: &[u8]) -> impl Iterator<Item = (u32, i32)> {
    packed.chunks_exact(8).filter_map(|pair| {
        let (zone, count) = pair.split_first_chunk::<4>()?;
        Some((u32::from_be_bytes(*zone), i32::from_be_bytes(*count.first_chunk()?)))
    })
}
