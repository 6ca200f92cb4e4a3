//! Class CH: what the server tells of itself under `id.server`, `version.server` and `trustanchor.unbound`.
//!
//! It owns these names and the records made for them. It does not know where the texts come from: the host name, the
//! version and the anchors are handed in. What is hidden here falls through to the local zones of class CH.
//!
//! As Unbound does it: only TXT and ANY are answered; the records have TTL 0; AA is not set; a text is cut to the 255
//! octets of one character-string; an empty list of anchors is an empty answer.

use std::fmt;
use std::sync::Arc;

use wire::{Answer, Class, NameRef, Query, Rcode, RdataSet, Rrset, Rtype};

/// What is told in class CH. `None` hides a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chaos {
    /// `id.server.` and `hostname.bind.`: the option `identity`, or the host name; hidden by `hide-identity`.
    pub identity: Option<String>,
    /// `version.server.` and `version.bind.`: the option `version`, or ours; hidden by `hide-version`.
    pub version: Option<String>,
    /// `trustanchor.unbound.`: a text for each anchor, such as `. 20326 38696`; hidden by `hide-trustanchor`.
    pub trust_anchors: Option<Texts>,
}

/// Texts that may change while the rules stay: they are asked for with each answer.
#[derive(Clone)]
pub struct Texts(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

impl Texts {
    /// What `tell` says.
    pub fn new(tell: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Texts {
        Texts(Arc::new(tell))
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Texts").field(&(self.0)()).finish()
    }
}

/// The same at this moment.
impl PartialEq for Texts {
    fn eq(&self, other: &Texts) -> bool {
        (self.0)() == (other.0)()
    }
}

impl Eq for Texts {}

/// Most octets of a character-string (RFC 1035 3.3).
const MAX_STRING: usize = 255;

impl Chaos {
    /// The answer to `q` if it asks for one of the names that are told.
    pub fn answer(&self, q: &Query) -> Option<Answer> {
        if q.qclass != Class::CH || (q.qtype != Rtype::TXT && q.qtype != Rtype::ANY) {
            return None;
        }
        let anchors: Vec<String>;
        let texts: &[String] = match name_of(q.qname.as_ref())? {
            Told::Identity => std::slice::from_ref(self.identity.as_ref()?),
            Told::Version => std::slice::from_ref(self.version.as_ref()?),
            Told::TrustAnchors => {
                anchors = (self.trust_anchors.as_ref()?.0)();
                &anchors
            }
        };
        let mut answer = Answer::new(Rcode::NOERROR);
        if !texts.is_empty() {
            let rdata = texts.iter().fold(RdataSet::new(), |mut set, text| {
                set.push(&character_string(text));
                set
            });
            answer.answer.push(Rrset::new(q.qname.to_name(), Rtype::TXT, Class::CH, 0, rdata));
        }
        Some(answer)
    }
}

/// What a name tells.
enum Told {
    Identity,
    Version,
    TrustAnchors,
}

fn name_of(name: NameRef<'_>) -> Option<Told> {
    let wire = name.as_wire();
    let is = |known: &[u8]| wire.eq_ignore_ascii_case(known);
    if is(b"\x02id\x06server\0") || is(b"\x08hostname\x04bind\0") {
        Some(Told::Identity)
    } else if is(b"\x07version\x06server\0") || is(b"\x07version\x04bind\0") {
        Some(Told::Version)
    } else if is(b"\x0btrustanchor\x07unbound\0") {
        Some(Told::TrustAnchors)
    } else {
        None
    }
}

fn character_string(text: &str) -> Vec<u8> {
    let octets = text.as_bytes().iter().take(MAX_STRING);
    let mut string = vec![u8::try_from(octets.len()).unwrap_or(u8::MAX)];
    string.extend(octets);
    string
}
