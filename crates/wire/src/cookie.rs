//! Server cookies of RFC 9018: made and checked without any state but the secret.
//!
//! It owns the layout and the time window, and never reads a clock: the time is handed in.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// Seconds a server cookie is taken after it was made (RFC 9018 4.3: one hour).
pub const VALID_FOR: i32 = 3600;
/// Seconds after which a valid cookie is replaced by a new one (RFC 9018 4.3: half an hour).
pub const RENEW_AFTER: i32 = 1800;
/// Seconds a cookie may come from the future, for servers of one anycast address whose clocks differ (RFC 9018 4.3).
pub const FUTURE: i32 = 300;

/// A COOKIE option as a client sent it: 8 octets of its own and, if it has been here, 8 to 32 of a server's (RFC 7873 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCookie {
    /// The client's part.
    pub client: [u8; 8],
    server: [u8; 32],
    server_len: u8,
}

impl ClientCookie {
    /// Reads the option's data; `None` when its length is not 8 or 16 to 40 octets (RFC 7873 5.2.2: FORMERR).
    pub fn from_option(data: &[u8]) -> Option<ClientCookie> {
        let (client, rest) = data.split_first_chunk::<8>()?;
        if !matches!(rest.len(), 0 | 8..=32) {
            return None;
        }
        let mut server = [0; 32];
        server.get_mut(..rest.len())?.copy_from_slice(rest);
        Some(ClientCookie {
            client: *client,
            server,
            server_len: u8::try_from(rest.len()).ok()?,
        })
    }

    /// The server's part, empty if the client has none.
    pub fn server(&self) -> &[u8] {
        self.server
            .get(..usize::from(self.server_len))
            .unwrap_or_default()
    }
}

/// The 128-bit secret of server cookies (RFC 9018 4.4). Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecret(pub [u8; 16]);

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecret(…)")
    }
}

/// What a query's cookie proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieState {
    /// The query has none.
    None,
    /// The client's part alone: give it a server part.
    ClientOnly,
    /// The server part is ours and in time: the address is not forged.
    Valid {
        /// It is old enough to be replaced.
        renew: bool,
    },
    /// The server part is not ours, or out of time.
    Invalid,
}

/// Checks a cookie against the secrets, newest first. `now_unix` is in seconds, modulo 2^32 (RFC 1982 arithmetic).
pub fn verify(
    secrets: &[CookieSecret],
    c: &ClientCookie,
    ip: IpAddr,
    now_unix: u32,
) -> CookieState {
    let server = c.server();
    if server.is_empty() {
        return CookieState::ClientOnly;
    }
    let Some((head, hash)) = server.split_first_chunk::<8>() else {
        return CookieState::Invalid;
    };
    let [1, _, _, _, time @ ..] = head else {
        return CookieState::Invalid;
    };
    if hash.len() != 8 {
        return CookieState::Invalid;
    }
    let age = now_unix
        .wrapping_sub(u32::from_be_bytes(*time))
        .cast_signed();
    if !(-FUTURE..=VALID_FOR).contains(&age) {
        return CookieState::Invalid;
    }
    // The first secret is the one new cookies are made with: a cookie of an older one is replaced (RFC 9018 5).
    for (nth, secret) in secrets.iter().enumerate() {
        let want = digest(secret, c.client, *head, ip);
        let differ = want.iter().zip(hash).fold(0, |sum, (a, b)| sum | (a ^ b)); // the same time whatever differs
        if differ == 0 {
            return CookieState::Valid {
                renew: nth > 0 || age >= RENEW_AFTER,
            };
        }
    }
    CookieState::Invalid
}

/// Makes the whole option's data, client and server part, for a client's part and address.
pub fn make(secret: &CookieSecret, client: [u8; 8], ip: IpAddr, now_unix: u32) -> [u8; 24] {
    let [a, b, c, d] = now_unix.to_be_bytes();
    seal(secret, client, [1, 0, 0, 0, a, b, c, d], ip)
}

fn seal(secret: &CookieSecret, client: [u8; 8], head: [u8; 8], ip: IpAddr) -> [u8; 24] {
    let hash = digest(secret, client, head, ip);
    let mut all = [0; 24];
    for (to, from) in all.iter_mut().zip(client.iter().chain(&head).chain(&hash)) {
        *to = *from;
    }
    all
}

/// The hash over client part, version, reserved octets, time and address (RFC 9018 4.4).
fn digest(secret: &CookieSecret, client: [u8; 8], head: [u8; 8], ip: IpAddr) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(&secret.0);
    hasher.write(&client);
    hasher.write(&head);
    match ip {
        IpAddr::V4(v4) => hasher.write(&v4.octets()),
        IpAddr::V6(v6) => hasher.write(&v6.octets()),
    }
    hasher.finish().to_le_bytes()
}
