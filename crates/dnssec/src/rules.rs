//! [`Rules`]: what the operator decides about validation. Read, never changed, by every other module.
//!
//! It owns defaults and bounds of the options; it does not parse `unbound.conf`.

/// Seconds of clock skew granted at least; `val-sig-skew-min`.
pub const SKEW_MIN_S: u32 = 3600;
/// Seconds of clock skew granted at most; `val-sig-skew-max`.
pub const SKEW_MAX_S: u32 = 86_400;
/// NSEC3 iterations up to which a proof is checked, for keys of every size; `val-nsec3-keysize-iterations`. RFC 9276 3.2
/// lets a validator go down to 0; more than 100 is treated as insecure by others too.
pub const ITERATIONS: u16 = 150;

/// The operator's decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether algorithms 5 and 7 (RSASHA1, RSASHA1-NSEC3-SHA1) are verified. Off, zones that have nothing else are
    /// insecure, never bogus (RFC 9905 2). On by default, as Unbound does.
    pub rsasha1: bool,
    /// `fake-sha1`: for tests with keys of algorithms and sizes that nobody verifies any more. RSASHA1 is verified as if
    /// `rsasha1` were on, but for keys too small for that, whose signatures count as valid, as those of DSA do.
    pub fake_sha1: bool,
    /// `fake-dsa`: for tests. Signatures of DSA count as valid.
    pub fake_dsa: bool,
    /// `val-sig-skew-min`, seconds.
    pub skew_min_s: u32,
    /// `val-sig-skew-max`, seconds.
    pub skew_max_s: u32,
    /// `val-override-date`.
    pub date: Date,
    /// `harden-algo-downgrade`: of the DS set only the strongest digest counts, and every algorithm in it must have signed
    /// every set. RFC 6840 5.11 asks validators to take any one valid path, which is the default.
    pub harden_algo_downgrade: bool,
    /// `val-nsec3-keysize-iterations`.
    pub iterations: Iterations,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            rsasha1: true,
            fake_sha1: false,
            fake_dsa: false,
            skew_min_s: SKEW_MIN_S,
            skew_max_s: SKEW_MAX_S,
            date: Date::Now,
            harden_algo_downgrade: false,
            iterations: Iterations::default(),
        }
    }
}

/// Which date signatures are checked against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Date {
    /// The time handed in.
    #[default]
    Now,
    /// This one, unix seconds modulo 2^32; for finding faults only.
    Fixed(u32),
    /// None: inception and expiration are not looked at.
    Ignored,
}

/// NSEC3 iterations allowed by size of the zone's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iterations(Vec<(u32, u16)>);

impl Iterations {
    /// Pairs of key size in bits and limit; `None` when there is none or the sizes do not ascend.
    pub fn new(steps: Vec<(u32, u16)>) -> Option<Iterations> {
        let ascending = steps.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        (ascending && !steps.is_empty()).then_some(Iterations(steps))
    }

    /// The limit for a key of so many bits: that of the first size not below it, else of the last.
    pub fn limit(&self, bits: u32) -> u16 {
        let step = self.0.iter().find(|(size, _)| bits <= *size).or_else(|| self.0.last());
        step.map_or(ITERATIONS, |(_, limit)| *limit)
    }
}

impl Default for Iterations {
    fn default() -> Iterations {
        Iterations(vec![(1024, ITERATIONS), (2048, ITERATIONS), (4096, ITERATIONS)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn val_nsec3_keysize_iterations_rounds_the_size_up() {
        let table = Iterations::new(vec![(1024, 150), (2048, 500), (4096, 2500)]).unwrap();
        for (bits, limit) in [(256, 150), (1024, 150), (1025, 500), (2048, 500), (4096, 2500), (8192, 2500)] {
            assert_eq!(table.limit(bits), limit, "{bits}");
        }
        assert!(Iterations::new(vec![]).is_none() && Iterations::new(vec![(2048, 1), (1024, 1)]).is_none());
    }
}
