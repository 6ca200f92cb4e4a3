//! [`Budget`]: what one client's question may cost in cryptography, and the named limits against attacks on validators.
//!
//! It owns counting and nothing else. A budget is made once for a question and handed by `&mut` to every step, restarts of
//! the validation included; it can neither be copied nor refilled, so that no path earns a second one (CVE-2026-50045).

/// Signature verifications a question may cost, all chains and failures together. KeyTrap (CVE-2023-50387) makes one small
/// reply cost millions. A chain of eight zones takes 16 and a proof of denial five; a CNAME chain through eight such zones,
/// nothing of it cached, stays below this. 128 P-256 verifications take about 8 ms. Bounds 16 to 4096.
pub const VERIFICATIONS: u32 = 128;
/// Blocks of 64 octets hashed for a question: NSEC3 iterations (CVE-2023-50868), DS digests, and signed data above
/// [`FREE_OCTETS`]. A proof of three hashes at 150 iterations takes under a thousand. Bounds 1024 to 1,048,576.
pub const HASH_BLOCKS: u32 = 16_384;
/// Octets of signed data that the verification itself pays for; beyond them each block is charged.
pub const FREE_OCTETS: usize = 4096;

/// Signatures over one RRset for which cryptography is done (KeyTrap, CVE-2023-50387). Real sets have one, two during an
/// algorithm roll, four when keys and algorithms roll together; Unbound stops at 8 too.
pub const MAX_SIGNATURES: usize = 8;
/// Keys of one tag and algorithm tried for one signature (KeyTrap: colliding key tags cost an attacker nothing). Two keys
/// collide by accident once in 65,536 pairs; Unbound stops at 4 too.
pub const MAX_COLLIDING_KEYS: usize = 4;
/// Verifications for one RRset, signatures times keys, valid or not. Below the product of the two limits above, since
/// nothing real needs many of both.
pub const MAX_SET_VERIFICATIONS: u32 = 16;
/// DS records whose digest is compared with a key that has their tag, and is not the one, before the DS set counts as
/// wrong (KeyTrap's variant "HashTrap"). Unbound stops at 4 too.
pub const MAX_DS_MISMATCHES: u32 = 4;
/// Keys of a DNSKEY set that are looked at. The largest in use have below ten; a message of 64 KiB holds 1800.
pub const MAX_KEYS: usize = 128;
/// Records of one RRset that are put into canonical order; a message holds 5957 addresses at most.
pub const MAX_RECORDS: usize = 8192;
/// Octets of canonical form over which a signature is checked. A set that fills a message of 65,535 octets grows when its
/// names are written out (CVE-2026-56416); what grows beyond this was built to.
pub const MAX_SIGNED_OCTETS: usize = 512 * 1024;
/// NSEC or NSEC3 sets of one reply that are looked at; a proof needs three at most (RFC 5155 7.2), referrals with
/// thousands of them cost memory and time (CVE-2026-42923). Callers need not verify more than these either.
pub const MAX_DENIALS: usize = 16;

/// What is left of the work that a question may cause.
#[derive(Debug)]
pub struct Budget {
    verifications: u32,
    blocks: u32,
    spent_verifications: u32,
    spent_blocks: u32,
}

/// The work allowed for a question is used up. The answer is then neither proven nor disproven: SERVFAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

impl Budget {
    /// So many signature verifications and hash blocks; see [`VERIFICATIONS`] and [`HASH_BLOCKS`].
    pub fn new(verifications: u32, blocks: u32) -> Budget {
        Budget { verifications, blocks, spent_verifications: 0, spent_blocks: 0 }
    }

    /// Pays for one signature verification, before it is done. What cannot be paid in full uses up the rest.
    pub(crate) fn verification(&mut self, cost: u32) -> Result<(), OverBudget> {
        let Some(left) = self.verifications.checked_sub(cost) else {
            self.verifications = 0;
            return Err(OverBudget);
        };
        self.verifications = left;
        self.spent_verifications = self.spent_verifications.saturating_add(cost);
        Ok(())
    }

    /// Pays for hashing so many blocks, before it is done. What cannot be paid in full uses up the rest.
    pub(crate) fn hash(&mut self, blocks: u32) -> Result<(), OverBudget> {
        let Some(left) = self.blocks.checked_sub(blocks) else {
            self.blocks = 0;
            return Err(OverBudget);
        };
        self.blocks = left;
        self.spent_blocks = self.spent_blocks.saturating_add(blocks);
        Ok(())
    }

    /// Pays for hashing so many octets once.
    pub(crate) fn octets(&mut self, octets: usize) -> Result<(), OverBudget> {
        self.hash(u32::try_from(octets / 64).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Verifications and hash blocks paid for so far, for statistics and traces.
    pub fn spent(&self) -> (u32, u32) {
        (self.spent_verifications, self.spent_blocks)
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new(VERIFICATIONS, HASH_BLOCKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_stays_at_its_end() {
        let mut budget = Budget::new(2, 10);
        assert_eq!(
            (budget.verification(1), budget.verification(1), budget.verification(1)),
            (Ok(()), Ok(()), Err(OverBudget))
        );
        assert_eq!((budget.hash(6), budget.hash(5), budget.hash(1)), (Ok(()), Err(OverBudget), Err(OverBudget)));
        assert_eq!(budget.spent(), (2, 6));
    }
}
