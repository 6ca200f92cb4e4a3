//! [`synthesised`]: whether an unsigned CNAME is what a verified DNAME makes (RFC 6672 5.3.1).
//!
//! It owns that one comparison. The CNAME of such an answer has no signature of its own and is as true as the DNAME.

use wire::{NameRef, Rrset, Rtype};

use crate::verify::Secure;

/// Whether `cname` is the CNAME that `dname` makes for its owner. A DNAME that is a wildcard's expansion makes none.
pub fn synthesised(dname: &Secure, cname: &Rrset) -> bool {
    let set = dname.set();
    if set.rtype != Rtype::DNAME
        || cname.rtype != Rtype::CNAME
        || set.class != cname.class
        || dname.wildcard().is_some()
    {
        return false;
    }
    let single = |set: &Rrset| (set.rdata.len() == 1).then(|| set.rdata.first().map(<[u8]>::to_vec)).flatten();
    let (Some(to), Some(target)) = (single(set), single(cname)) else { return false };
    let (Ok(to), Ok(target)) = (NameRef::from_wire(&to), NameRef::from_wire(&target)) else { return false };
    let made = cname.owner.as_ref().to_buf().rewrite(set.owner.as_ref(), to);
    matches!(made, Some(Ok(made)) if made.as_ref() == target)
}
