//! How much of a name a server gets to see (RFC 9156).
//!
//! It owns the steps, as a pure function. What a server said of a step, and whether that counts, is `mesh::descend`'s.
//!
//! A zone's servers are asked for one label more than the zone has, with type A (RFC 9156 2.1: a type that every server
//! knows and that betrays nothing), until one of them refers to the zone below, or the whole name is reached; then the
//! question is asked as it is. After [`MINIMISE_ONE_LAB`] steps several labels are added at a time, so that no name takes
//! more than [`MAX_MINIMISE_COUNT`].

use wire::{Name, NameRef, Rtype};

use crate::limits::{MAX_MINIMISE_COUNT, MINIMISE_ONE_LAB};

/// How far a name is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Questions asked in part so far, in all zones.
    pub(crate) taken: u8,
    /// The whole question is asked from now on.
    pub(crate) whole: bool,
    /// Silences since the last reply.
    pub(crate) silences: u8,
}

impl Steps {
    /// The next part of `name` to ask for, whose last `shown` labels were shown already; `None` when the whole question is
    /// next. Type A is asked for the whole name too before another type is: the name may be a zone of its own.
    pub(crate) fn next(&mut self, name: NameRef<'_>, qtype: Rtype, shown: usize) -> Option<Name> {
        let left = name.label_count().saturating_sub(shown);
        let last = matches!(qtype, Rtype::A | Rtype::DS);
        if self.whole || left == 0 || (left == 1 && last) {
            self.whole = true;
            return None;
        }
        let steps_left = usize::from(MAX_MINIMISE_COUNT.saturating_sub(self.taken));
        if steps_left == 0 {
            self.whole = true;
            return None;
        }
        self.taken += 1;
        let add = if self.taken <= MINIMISE_ONE_LAB || left <= steps_left { 1 } else { left.div_ceil(steps_left) };
        name.ancestors().nth(left.saturating_sub(add)).map(NameRef::to_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(name: &str, qtype: Rtype, zone_labels: usize) -> Vec<String> {
        let name = Name::from_text(name).expect("a name");
        let mut steps = Steps::default();
        let mut shown = zone_labels;
        let mut all = Vec::new();
        while let Some(part) = steps.next(name.as_ref(), qtype, shown) {
            shown = part.as_ref().label_count();
            all.push(part.to_string());
        }
        all
    }

    #[test]
    fn rfc9156_2_1_one_label_at_a_time_and_the_type_is_hidden() {
        assert_eq!(steps("www.example.com.", Rtype::A, 0), ["com.", "example.com."]);
        assert_eq!(steps("www.example.com.", Rtype::AAAA, 1), ["example.com.", "www.example.com."]);
        assert_eq!(steps("example.com.", Rtype::DS, 1), Vec::<String>::new());
        assert_eq!(steps(".", Rtype::NS, 0), Vec::<String>::new());
    }

    #[test]
    fn rfc9156_2_3_at_most_ten_steps_four_of_one_label() {
        let long = "a.".repeat(40);
        let all = steps(&long, Rtype::A, 0);
        assert!(all.len() <= usize::from(MAX_MINIMISE_COUNT), "{} steps", all.len());
        assert_eq!(all[..4], ["a.", "a.a.", "a.a.a.", "a.a.a.a."]);
        assert!(all[4].len() > "a.a.a.a.a.".len());
    }
}
