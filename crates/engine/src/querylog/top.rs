//! Who asks most, and what is asked most, as far as a table of fixed size can tell: space-saving, with decay.
//!
//! Owns the table. A newcomer to a full table takes the place of whoever has least and begins with that much, which it may
//! not have had: `error` says so. So whatever comes often is in the table, whenever it began; and since counts halve with
//! time ([`HALF_LIFE_S`]), what came often once gives way. It must never grow beyond its places, and reads no clock.

use std::collections::HashMap;
use std::hash::Hash;

use net::tape::{Action, Entry};
use wire::Rcode;

/// Places of a table. What makes up more than a two-thousandth of all queries of the last hours is surely in it.
pub(super) const PLACES: usize = 2_048;
/// Seconds in which a count halves: a list is of the last hour or two.
pub(super) const HALF_LIFE_S: f64 = 3_600.0;
/// Half-lives after which all counts are scaled down, long before a number could not hold them.
const RESCALE: f64 = 64.0;

/// What one place knows.
#[derive(Clone, Debug)]
pub(super) struct Row<K> {
    pub(super) key: K,
    /// Queries, decayed; at most [`Row::error`] too many.
    pub(super) count: f64,
    pub(super) error: f64,
    /// The same by action, since it took its place.
    pub(super) actions: [f64; Action::ALL.len()],
    /// Those answered with SERVFAIL.
    pub(super) failed: f64,
    /// When it took its place and when it was last seen, in microseconds since 1970.
    pub(super) since_us: u64,
    pub(super) last_us: u64,
}

/// The table: a heap by count, the least first.
pub(super) struct Top<K> {
    heap: Vec<Row<K>>,
    places: HashMap<K, usize>,
    /// When a count of one is a count of one, in seconds since 1970; later ones weigh more.
    epoch_s: f64,
    room: usize,
}

impl<K: Clone + Eq + Hash> Top<K> {
    pub(super) fn new(room: usize) -> Top<K> {
        Top { heap: Vec::new(), places: HashMap::new(), epoch_s: 0.0, room: room.max(1) }
    }

    /// Counts an entry that stands for `weight` of its like.
    pub(super) fn count(&mut self, key: &K, entry: &Entry<'_>, weight: f64) {
        let now_s = entry.unix_us as f64 / 1e6;
        let weight = weight * self.growth(now_s);
        let at = match self.places.get(key) {
            Some(at) => *at,
            None => self.admit(key, entry.unix_us),
        };
        if let Some(row) = self.heap.get_mut(at) {
            row.count += weight;
            row.last_us = row.last_us.max(entry.unix_us);
            if let Some(count) = row.actions.get_mut(entry.action as usize) {
                *count += weight;
            }
            if entry.rcode == Some(Rcode::SERVFAIL) {
                row.failed += weight;
            }
            self.sink(at);
        }
    }

    /// The rows with most, the most first, as of a time in seconds since 1970.
    pub(super) fn most(&self, limit: usize, now_s: f64) -> Vec<Row<K>> {
        let mut rows: Vec<&Row<K>> = self.heap.iter().collect();
        rows.sort_by(|a, b| b.count.total_cmp(&a.count));
        rows.into_iter().take(limit).map(|row| self.now(row, now_s)).collect()
    }

    /// One row, if it has a place.
    pub(super) fn get(&self, key: &K, now_s: f64) -> Option<Row<K>> {
        self.places.get(key).and_then(|at| self.heap.get(*at)).map(|row| self.now(row, now_s))
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
        self.places.clear();
    }

    /// Forgets some rows and says how many.
    pub(super) fn retain(&mut self, keep: impl Fn(&K) -> bool) -> usize {
        let before = self.heap.len();
        self.heap.retain(|row| keep(&row.key));
        self.heap.sort_by(|a, b| a.count.total_cmp(&b.count)); // what is sorted is a heap
        self.places = self.heap.iter().enumerate().map(|(at, row)| (row.key.clone(), at)).collect();
        before - self.heap.len()
    }

    /// What a query weighs then: counts do not shrink with time, later ones weigh more.
    fn growth(&mut self, now_s: f64) -> f64 {
        if self.heap.is_empty() {
            self.epoch_s = now_s;
        }
        let lives = (now_s - self.epoch_s) / HALF_LIFE_S;
        if lives > RESCALE {
            let by = (-lives).exp2();
            for row in &mut self.heap {
                row.scale(by);
            }
            self.epoch_s = now_s;
            return 1.0;
        }
        lives.max(-RESCALE).exp2()
    }

    fn now(&self, row: &Row<K>, now_s: f64) -> Row<K> {
        let mut row = row.clone();
        row.scale((-(now_s - self.epoch_s) / HALF_LIFE_S).exp2());
        row
    }

    /// Makes a place for a newcomer; its index.
    fn admit(&mut self, key: &K, unix_us: u64) -> usize {
        let row = |count| Row {
            key: key.clone(),
            count,
            error: count,
            actions: [0.0; Action::ALL.len()],
            failed: 0.0,
            since_us: unix_us,
            last_us: unix_us,
        };
        if self.heap.len() < self.room {
            self.heap.push(row(0.0));
            let mut at = self.heap.len() - 1;
            self.places.insert(key.clone(), at);
            while at > 0 && self.less(at, (at - 1) / 2) {
                self.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
            return at;
        }
        if let Some(least) = self.heap.first_mut() {
            let new = row(least.count);
            self.places.remove(&least.key);
            *least = new;
            self.places.insert(key.clone(), 0);
        }
        0
    }

    fn less(&self, a: usize, b: usize) -> bool {
        matches!((self.heap.get(a), self.heap.get(b)), (Some(a), Some(b)) if a.count < b.count)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for at in [a, b] {
            if let Some(place) = self.heap.get(at).and_then(|row| self.places.get_mut(&row.key)) {
                *place = at;
            }
        }
    }

    /// Restores the order of the heap below a row whose count has grown.
    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let least = if self.less(right, left) { right } else { left };
            if !self.less(least, at) {
                return;
            }
            self.swap(least, at);
            at = least;
        }
    }
}

impl<K> Row<K> {
    fn scale(&mut self, by: f64) {
        for count in [&mut self.count, &mut self.error, &mut self.failed].into_iter().chain(&mut self.actions) {
            *count *= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::tape::{Client, Transport};

    fn entry(seconds: u64) -> Entry<'static> {
        Entry {
            unix_us: seconds * 1_000_000,
            latency_us: 1,
            client: Client::Unknown,
            question: None,
            rcode: Some(Rcode::SERVFAIL),
            size: 12,
            action: Action::Cached,
            security: None,
            transport: Transport::Udp,
            octets: &[],
        }
    }

    #[test]
    fn what_comes_often_is_found_in_a_stream_of_others_and_no_count_is_too_low() {
        let mut top = Top::new(16);
        let mut truth: HashMap<u64, f64> = HashMap::new();
        let mut seed = 1_u64;
        for number in 0..100_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = if number % 5 == 0 { number / 5 % 4 } else { 1_000 + (seed >> 33) };
            top.count(&key, &entry(0), 1.0);
            *truth.entry(key).or_default() += 1.0;
        }
        assert_eq!(top.len(), 16);
        for key in 0..4 {
            assert!(top.get(&key, 0.0).is_none_or(|row| row.count + 1e-6 >= truth[&key]), "{key}");
        }
        for row in top.most(16, 0.0) {
            let real = truth[&row.key];
            assert!(row.count + 1e-6 >= real && row.count - row.error <= real + 1e-6, "{row:?} {real}");
            assert!(row.error <= 100_000.0 / 16.0 + 1.0);
        }
    }

    #[test]
    fn it_never_stops_learning_and_what_is_old_gives_way() {
        let mut top = Top::new(8);
        for _ in 0..100_000 {
            top.count(&1_u64, &entry(0), 1.0);
        }
        for other in 10..1_000 {
            top.count(&other, &entry(0), 1.0);
        }
        assert_eq!(top.most(1, 0.0)[0].key, 1);
        let later = 20 * HALF_LIFE_S as u64;
        for _ in 0..500 {
            top.count(&2, &entry(later), 1.0);
        }
        let rows = top.most(2, later as f64);
        assert_eq!(rows[0].key, 2);
        assert!((rows[0].count - 500.0).abs() < 1.0 && rows[0].failed > 499.0);
        assert!(top.get(&1, later as f64).is_none_or(|row| row.count < 0.2));
        let years = later + 100_000 * HALF_LIFE_S as u64;
        top.count(&3, &entry(years), 4.0);
        let rows = top.most(8, years as f64);
        assert_eq!((rows[0].key, rows[0].count), (3, 4.0));
        assert!(rows.iter().all(|row| row.count.is_finite()));
        assert_eq!(top.retain(|key| *key != 3), 1);
        assert!(top.get(&3, years as f64).is_none());
        top.count(&3, &entry(years), 1.0);
        assert_eq!(top.get(&3, years as f64).map(|row| row.count >= 1.0), Some(true));
    }

    #[test]
    fn a_fifth_of_all_is_always_there() {
        let mut top = Top::new(8);
        for number in 0..50_000_u64 {
            let key = if number % 4 == 0 { 7 } else { number + 100 };
            top.count(&key, &entry(number / 100), 1.0);
        }
        assert_eq!(top.most(1, 500.0)[0].key, 7);
    }
}
