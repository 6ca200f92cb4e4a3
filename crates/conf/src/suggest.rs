//! What somebody may have meant: the nearest of a set of words.
//!
//! Owns the distance and the cut-off. Must never look at anything but the words it is given.

/// Longest word compared; a longer one is no misspelling of any keyword and would only cost time.
const MAX_WORD: usize = 64;

/// The number of single-octet insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut older = vec![0; width];
    let mut old: Vec<usize> = (0..width).collect();
    for (i, x) in a.iter().enumerate() {
        let mut new = vec![i + 1; width];
        for (j, y) in b.iter().enumerate() {
            let same = usize::from(x != y);
            new[j + 1] = (old[j] + same).min(old[j + 1] + 1).min(new[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                new[j + 1] = new[j + 1].min(older[j - 1] + 1);
            }
        }
        older = std::mem::replace(&mut old, new);
    }
    old[b.len()]
}

/// The candidate nearest to `word`, if it is near enough to be a slip of the hand: at most a third of the word, 3 at most.
pub fn nearest<'a>(word: &[u8], candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let limit = (word.len() / 3).clamp(1, 3);
    let near = candidates.into_iter().filter(|c| c.len().abs_diff(word.len()) <= limit);
    let scored = near.map(|c| (distance(&word, c.as_bytes()), c));
    scored.filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let words = ["port", "interface", "verbosity", "do-ip6"];
        assert_eq!(nearest(b"verbosiyt", words), Some("verbosity"));
        assert_eq!(nearest(b"interfaces", words), Some("interface"));
        assert_eq!(nearest(b"PORT", words), Some("port"));
        assert_eq!(nearest(b"bogus-option", words), None);
        assert_eq!(nearest(&[b'x'; 100], words), None);
    }

    #[test]
    fn distance_counts_a_swap_as_one() {
        assert_eq!(distance(b"abc", b"acb"), 1);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b"abc"), 0);
    }
}
