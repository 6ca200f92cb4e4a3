//! Names with a few octets each, in a table that shares with the one before it all shards that did not change.
//!
//! It owns the layout. A shard is one run of octets (name, length, payload, one entry after the other) and a hash table of
//! places in it, so an entry costs its name, its payload and some 8 to 12 octets. The shards hang on a tree of two levels:
//! a change of one name copies one shard, the 64 pointers to its neighbours, and the 64 above these. It never knows what a
//! payload means.

use std::iter;
use std::sync::Arc;

use hashbrown::HashTable;
use wire::NameRef;

use crate::walk::Walk;

/// Pointers in each of the two levels above the shards. 4,096 shards of a million names are some 250 names each, copied in
/// some microseconds; with none there is one empty shard that all pointers share.
const FAN: usize = 64;
/// Bits of the hash that choose a shard. hashbrown takes its places from the lowest bits and its tags from the highest, and
/// would find neither useful if all names of a shard agreed in them.
const SHARD_BITS: u32 = 32;

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    root: Arc<[Arc<Group>; FAN]>,
    len: usize,
    /// Labels of the highest and of the deepest name there ever was: other suffixes are not looked for.
    highest: usize,
    deepest: usize,
}

#[derive(Clone, Debug)]
struct Group([Arc<Shard>; FAN]);

#[derive(Debug, Default)]
struct Shard {
    octets: Box<[u8]>,
    table: HashTable<u32>,
}

/// What is to be done to a table: for each name some octets that `merge` of [`Names::amended`] understands.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    octets: Vec<u8>,
    list: Vec<Change>,
    /// Labels of the highest and of the deepest name among them.
    depths: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    hash: u64,
    /// Where its name begins in `octets`, where it ends, and where the whole does.
    start: usize,
    middle: usize,
    end: usize,
}

impl Changes {
    /// Adds a change of a name; what `write` appends is handed to `merge`.
    pub(crate) fn add(&mut self, name: NameRef<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let lower = name.lower();
        let walk = Walk::new(lower.as_ref());
        let start = self.octets.len();
        self.octets.extend_from_slice(lower.as_ref().as_wire());
        let middle = self.octets.len();
        write(&mut self.octets);
        let labels = walk.labels();
        let (highest, deepest) = self.depths.unwrap_or((labels, labels));
        self.depths = Some((highest.min(labels), deepest.max(labels)));
        self.list.push(Change { hash: walk.hash(walk.labels()), start, middle, end: self.octets.len() });
    }

    fn name(&self, change: &Change) -> &[u8] {
        self.octets.get(change.start..change.middle).unwrap_or_default()
    }

    fn payload(&self, change: &Change) -> &[u8] {
        self.octets.get(change.middle..change.end).unwrap_or_default()
    }

    /// The changes by shard, those of one name together and in the order they came.
    fn sorted(&self) -> Vec<Change> {
        let mut list = self.list.clone();
        // Turned so that the bits of the shard come first.
        let turned = |change: &Change| change.hash.rotate_right(SHARD_BITS + (FAN * FAN).ilog2());
        list.sort_unstable_by(|a, b| {
            let by_hash = turned(a).cmp(&turned(b));
            by_hash.then_with(|| self.name(a).cmp(self.name(b))).then(a.start.cmp(&b.start))
        });
        list
    }
}

/// The number of the shard for a hash.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> SHARD_BITS).unwrap_or(0) % (FAN * FAN)
}

impl Default for Names {
    fn default() -> Names {
        let shard = Arc::new(Shard::default());
        let group = Arc::new(Group(std::array::from_fn(|_| Arc::clone(&shard))));
        Names { root: Arc::new(std::array::from_fn(|_| Arc::clone(&group))), len: 0, highest: usize::MAX, deepest: 0 }
    }
}

impl Names {
    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The payload of the suffix of so many labels.
    pub(crate) fn get(&self, walk: &Walk<'_>, labels: usize) -> Option<&[u8]> {
        if self.is_empty() || labels < self.highest || labels > self.deepest {
            return None;
        }
        self.find(walk.hash(labels), walk.suffix(labels))
    }

    /// The longest suffix that is there, with its labels and its payload.
    pub(crate) fn closest(&self, walk: &Walk<'_>) -> Option<(usize, &[u8])> {
        if self.is_empty() {
            return None;
        }
        let suffixes = walk.suffixes().enumerate().take(self.deepest + 1).skip(self.highest);
        suffixes.filter_map(|(labels, (hash, suffix))| Some((labels, self.find(hash, suffix)?))).last()
    }

    fn find(&self, hash: u64, name: &[u8]) -> Option<&[u8]> {
        let shard = self.shard(shard_of(hash))?;
        shard.payload(shard.find(hash, name)?)
    }

    fn shard(&self, nth: usize) -> Option<&Shard> {
        self.root.get(nth / FAN)?.0.get(nth % FAN).map(|shard| &**shard)
    }

    /// All names with their payloads, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NameRef<'_>, &[u8])> {
        self.shards().flat_map(|shard| shard.entries().map(|(_, name, payload)| (name, payload)))
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.root.iter().flat_map(|group| &group.0).map(|shard| &**shard)
    }

    /// Octets of memory held, those that are shared included.
    pub(crate) fn bytes(&self) -> usize {
        let pointers = (FAN + 1) * FAN * size_of::<usize>();
        pointers + self.shards().map(Shard::bytes).sum::<usize>()
    }

    /// The table with these changes. `merge` gets a name, its payload if it is there, and its changes in order, writes the
    /// new payload, and says whether the name stays.
    pub(crate) fn amended(
        &self,
        changes: Changes,
        mut merge: impl FnMut(NameRef<'_>, Option<&[u8]>, &[&[u8]], &mut Vec<u8>) -> bool,
    ) -> Names {
        let Some((highest, deepest)) = changes.depths else { return self.clone() };
        let (highest, deepest) = (self.highest.min(highest), self.deepest.max(deepest));
        let mut next = Names { highest, deepest, ..self.clone() };
        let root = Arc::make_mut(&mut next.root);
        for run in changes.sorted().chunk_by(|a, b| shard_of(a.hash) == shard_of(b.hash)) {
            let nth = run.first().map_or(0, |change| shard_of(change.hash));
            let Some(group) = root.get_mut(nth / FAN) else { continue };
            let Some(slot) = Arc::make_mut(group).0.get_mut(nth % FAN) else { continue };
            let shard = slot.amended(&changes, run, &mut merge);
            next.len = next.len + shard.table.len() - slot.table.len();
            *slot = Arc::new(shard);
        }
        next
    }
}

impl Shard {
    /// Where the entry of a name, in lower case, begins.
    fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        let is = |at: &u32| {
            place(*at).checked_add(name.len()).and_then(|end| self.octets.get(place(*at)..end)) == Some(name)
        };
        self.table.find(hash, is).copied()
    }

    /// The entry that begins at `at`: its name, its payload, and where the next one begins.
    fn entry(&self, at: u32) -> Option<(NameRef<'_>, &[u8], u32)> {
        let (name, rest) = NameRef::split_from(self.octets.get(place(at)..)?).ok()?;
        let (len, rest) = read_len(rest)?;
        let (payload, rest) = rest.split_at_checked(len)?;
        Some((name, payload, u32::try_from(self.octets.len() - rest.len()).ok()?))
    }

    fn payload(&self, at: u32) -> Option<&[u8]> {
        self.entry(at).map(|(_, payload, _)| payload)
    }

    /// All entries in the order they stand.
    fn entries(&self) -> impl Iterator<Item = (u32, NameRef<'_>, &[u8])> {
        let mut next = 0;
        iter::from_fn(move || {
            let at = next;
            let (name, payload, after) = self.entry(at)?;
            next = after;
            Some((at, name, payload))
        })
    }

    fn bytes(&self) -> usize {
        // A hashbrown table is at most 7/8 full; each place costs the index and a control octet.
        self.octets.len() + self.table.capacity() / 7 * 8 * (size_of::<u32>() + 1) + size_of::<Shard>()
    }

    /// The shard with the changes of `run`, all of which are about names of this shard.
    fn amended(
        &self,
        changes: &Changes,
        run: &[Change],
        merge: &mut impl FnMut(NameRef<'_>, Option<&[u8]>, &[&[u8]], &mut Vec<u8>) -> bool,
    ) -> Shard {
        let mut touched: Vec<(u32, u32)> = Vec::new();
        let mut fresh = Vec::new();
        let mut payload = Vec::new();
        for of_name in run.chunk_by(|a, b| a.hash == b.hash && changes.name(a) == changes.name(b)) {
            let Some(first) = of_name.first() else { continue };
            let Ok(name) = NameRef::from_wire(changes.name(first)) else { continue };
            let old = self.find(first.hash, name.as_wire()).and_then(|at| Some((at, self.entry(at)?)));
            touched.extend(old.map(|(at, (_, _, after))| (at, after)));
            let list: Vec<&[u8]> = of_name.iter().map(|change| changes.payload(change)).collect();
            payload.clear();
            if merge(name, old.map(|(_, (_, payload, _))| payload), &list, &mut payload) {
                fresh.extend_from_slice(name.as_wire());
                write_len(payload.len(), &mut fresh);
                fresh.extend_from_slice(&payload);
            }
        }
        touched.sort_unstable();
        let mut octets = Vec::with_capacity(self.octets.len() + fresh.len());
        let mut from = 0;
        for (at, after) in touched {
            octets.extend_from_slice(self.octets.get(from..place(at)).unwrap_or_default());
            from = place(after);
        }
        octets.extend_from_slice(self.octets.get(from..).unwrap_or_default());
        octets.extend_from_slice(&fresh);
        Shard::indexed(octets.into_boxed_slice())
    }

    /// A shard of these entries.
    fn indexed(octets: Box<[u8]>) -> Shard {
        let mut shard = Shard { octets, table: HashTable::new() };
        let mut table = HashTable::with_capacity(shard.entries().count());
        for (at, name, _) in shard.entries() {
            table.insert_unique(hash_of(name), at, |at| shard.entry(*at).map_or(0, |(name, ..)| hash_of(name)));
        }
        shard.table = table;
        shard
    }
}

/// The hash of a whole name in lower case.
fn hash_of(name: NameRef<'_>) -> u64 {
    let walk = Walk::new(name);
    walk.hash(walk.labels())
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// A length, seven bits an octet, the lowest first; the top bit says that more follows.
fn write_len(mut len: usize, into: &mut Vec<u8>) {
    while len >= 0x80 {
        into.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    into.push((len & 0x7f) as u8);
}

fn read_len(octets: &[u8]) -> Option<(usize, &[u8])> {
    let mut len = 0usize;
    for (nth, octet) in octets.iter().enumerate().take(5) {
        len |= usize::from(octet & 0x7f) << (7 * nth);
        if octet & 0x80 == 0 {
            return Some((len, octets.get(nth + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use wire::Name;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        let label = prop_oneof![Just("a"), Just("B"), Just("b"), Just("cc"), Just("a-label-of-many-letters")];
        prop::collection::vec(label, 0..5).prop_map(|labels| labels.join(".") + ".")
    }

    /// The last change of a name is its payload; an empty one takes it away.
    fn last(_: NameRef<'_>, _: Option<&[u8]>, changes: &[&[u8]], into: &mut Vec<u8>) -> bool {
        let last = changes.last().copied().unwrap_or_default();
        into.extend_from_slice(last);
        !last.is_empty()
    }

    proptest! {
        #[test]
        fn a_table_is_the_map_it_stands_for(
            rounds in prop::collection::vec(prop::collection::vec((name(), prop::collection::vec(any::<u8>(), 0..300)), 0..12), 1..6),
            asked in prop::collection::vec(name(), 1..20),
        ) {
            let mut model: BTreeMap<Name, Vec<u8>> = BTreeMap::new();
            let mut table = Names::default();
            for round in &rounds {
                let (before, kept) = (table.clone(), model.clone());
                let mut changes = Changes::default();
                for (name, payload) in round {
                    let name = Name::from_text(name).unwrap();
                    changes.add(name.as_ref(), |into| into.extend_from_slice(payload));
                    model.remove(&name);
                    if !payload.is_empty() {
                        model.insert(name.lower(), payload.clone());
                    }
                }
                table = table.amended(changes, last);
                let all = |table: &Names| table.iter().map(|(n, p)| (n.to_name(), p.to_vec())).collect::<BTreeMap<_, _>>();
                prop_assert_eq!(&all(&before), &kept, "the one before it stays as it was");
                prop_assert_eq!(all(&table), model.clone());
                prop_assert_eq!(table.len(), model.len());
            }
            for asked in asked {
                let lower = Name::from_text(&asked).unwrap().as_ref().lower();
                let walk = Walk::new(lower.as_ref());
                let found = table.closest(&walk).map(|(labels, payload)| (labels, payload.to_vec()));
                let above = |name: &&Name| lower.as_ref().is_subdomain_of(name.as_ref());
                let expected = model.keys().filter(above).max_by_key(|name| name.as_ref().label_count());
                prop_assert_eq!(found, expected.map(|name| (name.as_ref().label_count(), model[name].clone())));
                prop_assert_eq!(table.get(&walk, walk.labels()), model.get(&lower.to_name()).map(Vec::as_slice));
            }
        }
    }

    #[test]
    fn a_change_copies_what_it_touches() {
        let mut changes = Changes::default();
        for i in 0..20_000 {
            changes.add(Name::from_text(&format!("host{i}.example.")).unwrap().as_ref(), |into| into.push(1));
        }
        let table = Names::default().amended(changes, last);
        let mut changes = Changes::default();
        changes.add(Name::from_text("one.example.").unwrap().as_ref(), |into| into.push(1));
        let next = table.amended(changes, last);
        let shared = table.shards().zip(next.shards()).filter(|(a, b)| std::ptr::eq(*a, *b)).count();
        assert_eq!(shared, FAN * FAN - 1);
        assert_eq!(table.len() + 1, next.len());
    }

    #[test]
    fn lengths_are_read_as_they_were_written() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 1 << 24] {
            let mut octets = Vec::new();
            write_len(len, &mut octets);
            octets.push(9);
            assert_eq!(read_len(&octets), Some((len, &[9][..])));
        }
        assert_eq!(read_len(&[0x80]), None);
    }
}
