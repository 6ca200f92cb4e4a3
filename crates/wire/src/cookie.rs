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
        Some(ClientCookie { client: *client, server, server_len: u8::try_from(rest.len()).ok()? })
    }

    /// The server's part, empty if the client has none.
    pub fn server(&self) -> &[u8] {
        self.server.get(..usize::from(self.server_len)).unwrap_or_default()
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
pub fn verify(secrets: &[CookieSecret], c: &ClientCookie, ip: IpAddr, now_unix: u32) -> CookieState {
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
    let age = now_unix.wrapping_sub(u32::from_be_bytes(*time)).cast_signed();
    if !(-FUTURE..=VALID_FOR).contains(&age) {
        return CookieState::Invalid;
    }
    // The first secret is the one new cookies are made with: a cookie of an older one is replaced (RFC 9018 5).
    for (nth, secret) in secrets.iter().enumerate() {
        let want = digest(secret, c.client, *head, ip);
        let differ = want.iter().zip(hash).fold(0, |sum, (a, b)| sum | (a ^ b)); // the same time whatever differs
        if differ == 0 {
            return CookieState::Valid { renew: nth > 0 || age >= RENEW_AFTER };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let octets: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        octets.try_into().unwrap()
    }

    fn cookie(hex: &str) -> ClientCookie {
        ClientCookie::from_option(&bytes::<24>(hex)).unwrap()
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    #[test]
    fn rfc9018_a_1_learning_a_new_server_cookie() {
        let secret = CookieSecret(bytes(SECRET));
        let ip = "198.51.100.100".parse().unwrap();
        let client = ClientCookie::from_option(&bytes::<8>("2464c4abcf10c957")).unwrap();
        assert_eq!(verify(std::slice::from_ref(&secret), &client, ip, 0x5cf7_9f11), CookieState::ClientOnly);
        let made = make(&secret, client.client, ip, 0x5cf7_9f11);
        assert_eq!(made, bytes("2464c4abcf10c957010000005cf79f111f8130c3eee29480"));
    }

    #[test]
    fn rfc9018_a_2_renewed_after_forty_minutes() {
        let secret = CookieSecret(bytes(SECRET));
        let ip = "198.51.100.100".parse().unwrap();
        let old = cookie("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        assert_eq!(verify(std::slice::from_ref(&secret), &old, ip, 0x5cf7_a871), CookieState::Valid { renew: true });
        let made = make(&secret, old.client, ip, 0x5cf7_a871);
        assert_eq!(made, bytes("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"));
    }

    #[test]
    fn rfc9018_a_3_reserved_octets_are_hashed_as_they_came() {
        let secret = CookieSecret(bytes(SECRET));
        let ip = "203.0.113.203".parse().unwrap();
        let old = cookie("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        assert_eq!(verify(std::slice::from_ref(&secret), &old, ip, 0x5cf7_8f71), CookieState::Valid { renew: false });
        let made = make(&secret, old.client, ip, 0x5cf7_a9ac);
        assert_eq!(made, bytes("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"));
    }

    #[test]
    fn rfc9018_a_4_ipv6_and_a_rolled_over_secret() {
        let (old, new) = (
            CookieSecret(bytes("dd3bdf9344b678b185a6f5cb60fca715")),
            CookieSecret(bytes("445536bcd2513298075a5d379663c962")),
        );
        let ip = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let given = cookie("22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        let secrets = [new.clone(), old];
        assert_eq!(verify(&secrets, &given, ip, 0x5cf7_c609), CookieState::Valid { renew: true });
        assert_eq!(verify(&secrets[..1], &given, ip, 0x5cf7_c609), CookieState::Invalid);
        let made = make(&new, given.client, ip, 0x5cf7_c609);
        assert_eq!(made, bytes("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
    }

    #[test]
    fn rfc9018_4_3_time_window() {
        let secrets = [CookieSecret([7; 16])];
        let ip = "192.0.2.1".parse().unwrap();
        for at in [1_000_000_000u32, u32::MAX - 100, 50] {
            let made = make(&secrets[0], [1; 8], ip, at);
            let cookie = ClientCookie::from_option(&made).unwrap();
            for (later, state) in [
                (0, CookieState::Valid { renew: false }),
                (1799, CookieState::Valid { renew: false }),
                (1800, CookieState::Valid { renew: true }),
                (3600, CookieState::Valid { renew: true }),
                (3601, CookieState::Invalid),
                (-300, CookieState::Valid { renew: false }),
                (-301, CookieState::Invalid),
            ] {
                assert_eq!(verify(&secrets, &cookie, ip, at.wrapping_add_signed(later)), state, "{at} {later}");
            }
            assert_eq!(verify(&secrets, &cookie, "192.0.2.2".parse().unwrap(), at), CookieState::Invalid);
        }
    }

    #[test]
    fn rfc7873_5_2_2_lengths() {
        for len in 0..60usize {
            let good = len == 8 || (16..=40).contains(&len);
            assert_eq!(ClientCookie::from_option(&vec![0; len]).is_some(), good, "{len}");
        }
        // Cookies of other servers, longer or of another version, are not ours.
        let secrets = [CookieSecret([7; 16])];
        let ip = "192.0.2.1".parse().unwrap();
        let mut longer = make(&secrets[0], [1; 8], ip, 9).to_vec();
        longer.push(0);
        assert_eq!(verify(&secrets, &ClientCookie::from_option(&longer).unwrap(), ip, 9), CookieState::Invalid);
        let mut other = make(&secrets[0], [1; 8], ip, 9);
        other[8] = 2;
        assert_eq!(verify(&secrets, &ClientCookie::from_option(&other).unwrap(), ip, 9), CookieState::Invalid);
    }

    #[test]
    fn secrets_do_not_show() {
        assert!(!format!("{:?}", CookieSecret([0x41; 16])).contains("41"));
    }
}
