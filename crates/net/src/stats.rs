//! Counters, under Unbound's names.
//!
//! Each worker owns one `WorkerStats` and is its only writer, so counting is a plain add without a locked instruction;
//! anyone may read. `total` adds workers up. It never resets: whoever wants differences keeps the last values.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use store::Security;
use wire::types::flag;
use wire::{Class, Opcode, Query, Rcode, Rtype};

/// Types counted one by one; those beyond are `num.query.type.other`, as in Unbound.
const TYPES: usize = 256;
/// Classes counted one by one; those beyond are `num.query.class.other`.
const CLASSES: usize = 256;
/// Opcodes there can be.
const OPCODES: usize = 16;
/// Header response codes there can be.
const RCODES: usize = 16;
/// Buckets of the histogram of resolving times: from 1 µs to 524,288 s. Unbound's.
const BUCKETS: usize = 40;

/// Parts an octave of the histogram of turns has: a tenth more must be seen in it.
const TURN_PARTS: usize = 16;
/// Nanoseconds below which turns are not told apart.
const TURN_LEAST: u64 = 1 << 10;
/// Octaves above [`TURN_LEAST`], to two seconds.
const TURN_OCTAVES: usize = 21;

/// A number one worker adds to and everyone reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning worker may.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the value if `n` is larger; only the owning worker may.
    pub fn max(&self, n: u64) {
        if n > self.get() {
            self.0.store(n, Ordering::Relaxed);
        }
    }

    /// Sets the value (a level, not a count); only the owning worker may.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn counters(n: usize) -> Box<[Counter]> {
    (0..n).map(|_| Counter::default()).collect()
}

/// The counters of one worker; each field's Unbound name is in `total`.
#[expect(missing_docs, reason = "the names in `total` say what each counts")]
#[derive(Debug)]
pub struct WorkerStats {
    pub queries: Counter,
    pub cookie_valid: Counter,
    pub cookie_client: Counter,
    pub cookie_invalid: Counter,
    pub discard_timeout: Counter,
    pub wait_limit: Counter,
    pub timed_out: Counter,
    pub queue_time_us_max: Counter,
    pub cache_misses: Counter,
    pub prefetch: Counter,
    pub expired: Counter,
    pub recursive_replies: Counter,
    pub recursion_us: Counter,
    pub list_sum: Counter,
    pub list_samples: Counter,
    pub list_max: Counter,
    pub list_overwritten: Counter,
    /// Turned away before the mesh was asked.
    pub list_exceeded: Counter,
    /// Turned away by the mesh.
    pub list_exceeded_mesh: Counter,
    pub list_current: Counter,
    pub list_current_user: Counter,
    pub list_current_clients: Counter,
    pub tcp_usage: Counter,
    pub stream_wait: Counter,
    pub tcp: Counter,
    pub ipv6: Counter,
    pub tcp_out: Counter,
    pub udp_out: Counter,
    pub edns: Counter,
    pub edns_do: Counter,
    pub secure: Counter,
    pub bogus: Counter,
    pub rrset_bogus: Counter,
    pub verifications: Counter,
    pub verifications_at_once: Counter,
    pub aggressive_noerror: Counter,
    pub aggressive_nxdomain: Counter,
    pub nodata: Counter,
    pub blocked: Counter,
    pub unwanted_queries: Counter,
    pub unwanted_replies: Counter,
    pub first_level_hits: Counter,
    pub first_level_entries: Counter,
    pub first_level_bytes: Counter,
    pub panics: Counter,
    pub send_failed: Counter,
    pub type_other: Counter,
    pub class_other: Counter,
    flags: [Counter; 8],
    types: Box<[Counter]>,
    classes: Box<[Counter]>,
    opcodes: Box<[Counter]>,
    rcodes: Box<[Counter]>,
    histogram: Box<[Counter]>,
    turn_ns: Counter,
    turns: Box<[Counter]>,
    waits: Box<[Counter]>,
}

/// Header flags in the order of `flags`, with Unbound's names.
const FLAGS: [(&str, u16); 8] = [
    ("QR", flag::QR),
    ("AA", flag::AA),
    ("TC", flag::TC),
    ("RD", flag::RD),
    ("RA", flag::RA),
    ("Z", flag::Z),
    ("AD", flag::AD),
    ("CD", flag::CD),
];

impl Default for WorkerStats {
    fn default() -> Self {
        let c = Counter::default;
        WorkerStats {
            queries: c(),
            cookie_valid: c(),
            cookie_client: c(),
            cookie_invalid: c(),
            discard_timeout: c(),
            wait_limit: c(),
            timed_out: c(),
            queue_time_us_max: c(),
            cache_misses: c(),
            prefetch: c(),
            expired: c(),
            recursive_replies: c(),
            recursion_us: c(),
            list_sum: c(),
            list_samples: c(),
            list_max: c(),
            list_overwritten: c(),
            list_exceeded: c(),
            list_exceeded_mesh: c(),
            list_current: c(),
            list_current_user: c(),
            list_current_clients: c(),
            tcp_usage: c(),
            stream_wait: c(),
            tcp: c(),
            ipv6: c(),
            tcp_out: c(),
            udp_out: c(),
            edns: c(),
            edns_do: c(),
            secure: c(),
            bogus: c(),
            rrset_bogus: c(),
            verifications: c(),
            verifications_at_once: c(),
            aggressive_noerror: c(),
            aggressive_nxdomain: c(),
            nodata: c(),
            blocked: c(),
            unwanted_queries: c(),
            unwanted_replies: c(),
            first_level_hits: c(),
            first_level_entries: c(),
            first_level_bytes: c(),
            panics: c(),
            send_failed: c(),
            type_other: c(),
            class_other: c(),
            flags: Default::default(),
            types: counters(TYPES),
            classes: counters(CLASSES),
            opcodes: counters(OPCODES),
            rcodes: counters(RCODES),
            histogram: counters(BUCKETS),
            turn_ns: c(),
            turns: counters(1 + TURN_OCTAVES * TURN_PARTS),
            waits: counters(1 + TURN_OCTAVES * TURN_PARTS),
        }
    }
}

impl WorkerStats {
    /// Counts a question by type; also those that are refused for their type.
    pub fn question(&self, qtype: Rtype) {
        self.types.get(usize::from(qtype.0)).unwrap_or(&self.type_other).add(1);
    }

    /// Counts a query that goes on: class, opcode, flags, EDNS, transport.
    pub fn query(&self, q: &Query, tcp: bool, ipv6: bool) {
        self.classes.get(usize::from(q.qclass.0)).unwrap_or(&self.class_other).add(1);
        if let Some(opcode) = self.opcodes.get(usize::from(q.opcode().0)) {
            opcode.add(1);
        }
        for (counter, (_, bit)) in self.flags.iter().zip(FLAGS) {
            if q.flags & bit != 0 {
                counter.add(1);
            }
        }
        if q.edns.is_some() {
            self.edns.add(1);
        }
        if q.do_bit() {
            self.edns_do.add(1);
        }
        if tcp {
            self.tcp.add(1);
        }
        if ipv6 {
            self.ipv6.add(1);
        }
    }

    /// Counts an answer as it goes out: by the code in its header, and whether it had data.
    pub fn answer(&self, message: &[u8]) {
        let (Some(low), Some(an)) = (message.get(3), message.get(6..8)) else { return };
        let rcode = usize::from(low & 0x0f);
        if let Some(counter) = self.rcodes.get(rcode) {
            counter.add(1);
        }
        if rcode == 0 && an == [0, 0] {
            self.nodata.add(1);
        }
    }

    /// Counts what is known of the truth of an answer: proven, whether or not the client is told; or proven wrong, and
    /// therefore refused.
    pub fn proven(&self, security: Security, rcode: Rcode) {
        match security {
            Security::Secure => self.secure.add(1),
            Security::Bogus if rcode == Rcode::SERVFAIL => self.bogus.add(1),
            _ => {}
        }
    }

    /// Counts an answer that had to be resolved, and the time it took.
    pub fn resolved(&self, us: u64) {
        self.recursive_replies.add(1);
        self.recursion_us.add(us);
        let bucket = (0..BUCKETS).find(|&i| us < edge_us(i + 1)).unwrap_or(BUCKETS - 1);
        if let Some(counter) = self.histogram.get(bucket) {
            counter.add(1);
        }
    }

    /// Counts a turn in which answers left that were there at once, by its time in nanoseconds from batch in to batch out; and
    /// how long that was after the worker last could have looked at its sockets, whatever it did in between.
    pub fn turn(&self, ns: u64, wait_ns: u64) {
        self.turn_ns.add(ns);
        count_ns(&self.turns, ns);
        count_ns(&self.waits, wait_ns);
    }

    /// Counts the length of the list of running queries as a query finds it.
    pub fn list(&self, running: u64) {
        self.list_sum.add(running);
        self.list_samples.add(1);
        self.list_max.max(running);
    }
}

/// Counts a time in a histogram of turns.
fn count_ns(histogram: &[Counter], ns: u64) {
    let octave = ns.max(TURN_LEAST).ilog2() - TURN_LEAST.ilog2();
    let part = (ns >> (octave + TURN_LEAST.ilog2() - TURN_PARTS.ilog2())) as usize % TURN_PARTS;
    let bucket = if ns < TURN_LEAST { 0 } else { 1 + octave as usize * TURN_PARTS + part };
    if let Some(counter) = histogram.get(bucket.min(histogram.len().saturating_sub(1))) {
        counter.add(1);
    }
}

fn rcode_word(code: u16) -> String {
    match code {
        4 => "NOTIMPL".to_owned(), // Unbound's spelling, in statistics and logs
        _ => Rcode(code).to_string(),
    }
}

/// Response codes that are reported even when zero, as Unbound does.
const ALWAYS_REPORTED: usize = 6;

/// Adds workers up under Unbound's names. Times (`total.recursion.time.*`) are in microseconds, and
/// `total.requestlist.avg` in thousandths, because all values are whole numbers; the control plane writes them as
/// Unbound does. With `extended`, also the counters by type, class, opcode, flag and response code.
pub fn total(workers: &[std::sync::Arc<WorkerStats>], extended: bool) -> BTreeMap<String, u64> {
    let sum = |field: fn(&WorkerStats) -> &Counter| workers.iter().map(|w| field(w).get()).sum::<u64>();
    let most = |field: fn(&WorkerStats) -> &Counter| workers.iter().map(|w| field(w).get()).max().unwrap_or(0);
    let mut out = BTreeMap::new();
    let mut put = |name: &str, value: u64| {
        out.insert(name.to_owned(), value);
    };
    let queries = sum(|w| &w.queries);
    let misses = sum(|w| &w.cache_misses);
    put("total.num.queries", queries);
    put("total.num.queries_ip_ratelimited", 0);
    put("total.num.queries_cookie_valid", sum(|w| &w.cookie_valid));
    put("total.num.queries_cookie_client", sum(|w| &w.cookie_client));
    put("total.num.queries_cookie_invalid", sum(|w| &w.cookie_invalid));
    put("total.num.queries_discard_timeout", sum(|w| &w.discard_timeout));
    put("total.num.queries_wait_limit", sum(|w| &w.wait_limit));
    put("total.num.queries_timed_out", sum(|w| &w.timed_out));
    put("total.query.queue_time_us.max", most(|w| &w.queue_time_us_max));
    // Unbound's rule: whatever did not need resolving is a hit, local answers and errors included.
    put("total.num.cachehits", queries.saturating_sub(misses));
    put("total.num.cachemiss", misses);
    put("total.num.prefetch", sum(|w| &w.prefetch));
    put("total.num.expired", sum(|w| &w.expired));
    let replies = sum(|w| &w.recursive_replies);
    put("total.num.recursivereplies", replies);
    let samples = sum(|w| &w.list_samples);
    put("total.requestlist.avg", (sum(|w| &w.list_sum) * 1_000).checked_div(samples).unwrap_or(0));
    put("total.requestlist.max", most(|w| &w.list_max));
    put("total.requestlist.overwritten", sum(|w| &w.list_overwritten));
    put("total.requestlist.exceeded", sum(|w| &w.list_exceeded) + sum(|w| &w.list_exceeded_mesh));
    put("total.requestlist.current.all", sum(|w| &w.list_current));
    put("total.requestlist.current.user", sum(|w| &w.list_current_user));
    put("total.recursion.time.sum", sum(|w| &w.recursion_us)); // ours: an average cannot be added up over time
    put("total.recursion.time.avg", sum(|w| &w.recursion_us).checked_div(replies).unwrap_or(0));
    let histogram: Vec<u64> =
        (0..BUCKETS).map(|i| workers.iter().filter_map(|w| w.histogram.get(i)).map(Counter::get).sum()).collect();
    put("total.recursion.time.median", within(&histogram, edge_us, 50));
    put("total.tcpusage", sum(|w| &w.tcp_usage));
    // Ours: what Unbound has no name for.
    put("total.num.panics", sum(|w| &w.panics));
    put("total.num.answers_not_sent", sum(|w| &w.send_failed));
    put("total.requestlist.current.clients", sum(|w| &w.list_current_clients));
    put("total.num.answers_hits", sum(|w| &w.first_level_hits));
    let failed = workers.iter().filter_map(|w| w.rcodes.get(usize::from(Rcode::SERVFAIL.0)));
    put("total.num.answers_servfail", failed.map(Counter::get).sum());
    put("num.answer.blocked", sum(|w| &w.blocked));
    let of = |histogram: fn(&WorkerStats) -> &[Counter]| -> Vec<u64> {
        let at = |i| workers.iter().filter_map(|w| histogram(w).get(i)).map(Counter::get).sum();
        (0..1 + TURN_OCTAVES * TURN_PARTS).map(at).collect()
    };
    let (turns, waits) = (of(|w| &w.turns), of(|w| &w.waits));
    put("total.num.verifications", sum(|w| &w.verifications));
    put("total.verifications.at_once.max", most(|w| &w.verifications_at_once));
    put("total.num.turns", turns.iter().sum());
    put("total.turn.ns.sum", sum(|w| &w.turn_ns));
    put("total.turn.ns.median", within(&turns, turn_edge_ns, 50));
    put("total.turn.ns.p99", within(&turns, turn_edge_ns, 99));
    put("total.wait.ns.median", within(&waits, turn_edge_ns, 50));
    put("total.wait.ns.p99", within(&waits, turn_edge_ns, 99));
    if !extended {
        return out;
    }
    put("mem.streamwait", sum(|w| &w.stream_wait));
    put("mem.cache.answers", sum(|w| &w.first_level_bytes));
    put("answers.cache.count", sum(|w| &w.first_level_entries));
    put("num.query.tcp", sum(|w| &w.tcp));
    put("num.query.tcpout", sum(|w| &w.tcp_out));
    put("num.query.udpout", sum(|w| &w.udp_out));
    put("num.query.ipv6", sum(|w| &w.ipv6));
    put("num.query.edns.present", sum(|w| &w.edns));
    put("num.query.edns.DO", sum(|w| &w.edns_do));
    put("num.answer.rcode.nodata", sum(|w| &w.nodata));
    put("num.answer.secure", sum(|w| &w.secure));
    put("num.answer.bogus", sum(|w| &w.bogus));
    put("num.rrset.bogus", sum(|w| &w.rrset_bogus));
    put("num.query.aggressive.NOERROR", sum(|w| &w.aggressive_noerror));
    put("num.query.aggressive.NXDOMAIN", sum(|w| &w.aggressive_nxdomain));
    put("unwanted.queries", sum(|w| &w.unwanted_queries));
    put("unwanted.replies", sum(|w| &w.unwanted_replies));
    for (i, (name, _)) in FLAGS.iter().enumerate() {
        put(
            &format!("num.query.flags.{name}"),
            workers.iter().filter_map(|w| w.flags.get(i)).map(Counter::get).sum::<u64>(),
        );
    }
    let mut row = |field: fn(&WorkerStats) -> &[Counter], name: &dyn Fn(u16) -> String, always: usize| {
        let len = workers.first().map_or(0, |w| field(w).len());
        for i in 0..len {
            let n = workers.iter().filter_map(|w| field(w).get(i)).map(Counter::get).sum::<u64>();
            if let (Ok(number), true) = (u16::try_from(i), n > 0 || i < always) {
                out.insert(name(number), n);
            }
        }
    };
    row(|w| &w.types, &|n| format!("num.query.type.{}", Rtype(n)), 0);
    row(|w| &w.classes, &|n| format!("num.query.class.{}", Class(n)), 0);
    row(|w| &w.opcodes, &|n| format!("num.query.opcode.{}", Opcode(n as u8)), 0);
    row(|w| &w.rcodes, &|n| format!("num.answer.rcode.{}", rcode_word(n)), ALWAYS_REPORTED);
    for (name, n) in
        [("num.query.type.other", sum(|w| &w.type_other)), ("num.query.class.other", sum(|w| &w.class_other))]
    {
        if n > 0 {
            out.insert(name.to_owned(), n);
        }
    }
    for (i, n) in histogram.iter().enumerate() {
        out.insert(format!("histogram.{}.to.{}", bucket_edge(i), bucket_edge(i + 1)), *n);
    }
    for (what, histogram) in [("turn", &turns), ("wait", &waits)] {
        for (i, n) in histogram.iter().enumerate().filter(|(_, n)| **n > 0) {
            let (low, high) = (in_ns(turn_edge_ns(i)), in_ns(turn_edge_ns(i + 1)));
            out.insert(format!("histogram.{what}.{low}.to.{high}"), *n);
        }
    }
    out
}

/// The lower edge of bucket `i` of the histogram of turns, in nanoseconds.
fn turn_edge_ns(i: usize) -> u64 {
    let Some(nth) = i.checked_sub(1) else { return 0 };
    let (octave, part) = (nth / TURN_PARTS, nth % TURN_PARTS);
    ((TURN_PARTS + part) as u64) << (octave as u32 + TURN_LEAST.ilog2() - TURN_PARTS.ilog2())
}

/// Nanoseconds in the form of Unbound's buckets, with nine digits behind the second.
fn in_ns(ns: u64) -> String {
    format!("{:06}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// The lower edge of bucket `i` in microseconds: 0, then powers of two of a microsecond below a second, then powers of
/// two of a second.
fn edge_us(i: usize) -> u64 {
    match i {
        0 => 0,
        1..=20 => 1 << (i - 1),
        _ => 1_000_000 << (i - 21).min(32),
    }
}

/// The lower edge of bucket `i` in Unbound's form, seconds and microseconds of six digits each.
fn bucket_edge(i: usize) -> String {
    let us = edge_us(i);
    format!("{:06}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// What so many percent of a histogram lie below, by interpolation inside a bucket.
fn within(histogram: &[u64], edge: fn(usize) -> u64, percent: u64) -> u64 {
    let all: u64 = histogram.iter().sum();
    let mut before = 0;
    for (i, n) in histogram.iter().enumerate() {
        if *n > 0 && (before + n) * 100 >= all * percent {
            let low = edge(i);
            let width = edge(i + 1) - low;
            let inside = (all * percent / 100).saturating_sub(before);
            return low + width * inside / n;
        }
        before += n;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn names_and_sums_are_unbounds() {
        let a = Arc::new(WorkerStats::default());
        let b = Arc::new(WorkerStats::default());
        a.queries.add(2);
        b.queries.add(1);
        b.cache_misses.add(1);
        a.question(Rtype::A);
        b.question(Rtype(999));
        a.answer(&[0, 0, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]);
        a.answer(&[0, 0, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]);
        a.resolved(3);
        let t = total(&[a, b], true);
        for (name, n) in [
            ("total.num.queries", 3),
            ("total.num.cachehits", 2),
            ("total.recursion.time.sum", 3),
            ("num.query.type.A", 1),
            ("num.query.type.other", 1),
            ("total.num.answers_servfail", 0),
            ("num.answer.rcode.REFUSED", 1),
            ("num.answer.rcode.nodata", 1),
            ("num.answer.rcode.NOTIMPL", 0),
            ("histogram.000000.000002.to.000000.000004", 1),
            ("histogram.000000.524288.to.000001.000000", 0),
            ("histogram.262144.000000.to.524288.000000", 0),
        ] {
            assert_eq!(t.get(name), Some(&n), "{name}");
        }
        assert!(!t.contains_key("num.answer.rcode.YXDOMAIN"));
        assert!(!total(&[], false).contains_key("num.query.type.A"));
    }

    #[test]
    fn a_turn_falls_into_a_bucket_of_a_sixteenth_of_its_octave() {
        for ns in [0, 1, 1_023, 1_024, 1_087, 1_088, 5_000, 123_456, 1_000_000_000, 1 << 40] {
            let stats = Arc::new(WorkerStats::default());
            stats.turn(ns, ns);
            let bucket = stats.turns.iter().position(|counter| counter.get() == 1).unwrap();
            let (low, high) = (turn_edge_ns(bucket), turn_edge_ns(bucket + 1));
            assert!(low <= ns && (ns < high || bucket + 1 == stats.turns.len()), "{ns}: {low} to {high}");
            assert!(ns < TURN_LEAST || (high - low) * TURN_PARTS as u64 <= low, "{ns}: {low} to {high}");
            let t = total(&[stats], true);
            assert_eq!((t["total.num.turns"], t["total.turn.ns.sum"]), (1, ns));
        }
        let stats = Arc::new(WorkerStats::default());
        stats.turn(5_000, 7_000);
        let name = "histogram.turn.000000.000004864.to.000000.000005120";
        assert_eq!(total(&[stats], true).get(name), Some(&1));
    }
}
