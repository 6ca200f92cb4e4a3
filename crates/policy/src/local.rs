//! Local zones and local data: what the operator answers himself.
//!
//! The options `local-zone`, `local-data`, `local-data-ptr` and `unblock-lan-zones`, exactly as Unbound has them,
//! the zones that are there without being asked for, and the records of the API, which behave as if they stood in
//! `local-data` at the end of the file. Built once by [`LocalZonesBuilder`], immutable afterwards; [`LocalZones::amended`]
//! makes the next with other records of the API.
//!
//! | module | owns |
//! |---|---|
//! | `zones` | the compact store and the search for the closest enclosing zone |
//! | `answer` | what each type of zone says to a query |
//! | `held` | the records of one name in a zone, the file's and the API's together |
//! | `join` | what records of the API change in the zones around them |
//! | `build` | text in, zones and problems out |
//! | `defaults` | the special-use names (RFC 6303, 6761, 7686, 8375 and others) |
//!
//! # The rules that are easy to get wrong
//! - A query belongs to the closest enclosing zone of its class, whatever that zone's type says. A transparent zone in a
//!   static one makes a hole; zones further up are not asked again.
//! - Type DS is a matter of the parent: its query, and its record, belong to the zone that encloses the name's parent.
//! - A name in local data is answered with a CNAME for any type but CNAME's own when its CNAME was given before (in file
//!   order) the type asked for. Unbound follows it only out of `redirect` zones, as an alias that is resolved further.
//! - ANY is a type like others here: local data do not match it (a CNAME does).
//! - Negative answers carry the SOA of the zone's apex, if there is one, with the lower of its TTL and its last number.
//! - Names between the apex and a name with data exist (RFC 8020): NODATA in `static`, but not in `transparent` zones.
//! - Data outside of all zones get one transparent zone per class, at the closest common ancestor of all their names:
//!   often the root.

mod answer;
mod build;
mod defaults;
mod held;
mod join;
mod zones;

pub use build::{Defaults, LocalZonesBuilder};
pub use zones::{LocalZones, ZoneKind};
