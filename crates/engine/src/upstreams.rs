//! What is known of the upstream servers, for those who operate the resolver.
//!
//! Owns how the views of all workers become one: each asks on its own and knows its own times. It must never ask a
//! server anything.

use std::collections::HashMap;
use std::net::SocketAddr;

use resolve::{ForwardZone, Forwards, Millis, ServerView};

use crate::engine::lost;
use crate::{Engine, Failure};

/// How a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has not been asked, or was and is still waited for.
    Unknown,
    /// Some worker has answers of it and trusts it.
    Up,
    /// Every worker that asked it leaves it alone for a while.
    Down,
}

impl Health {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One server of one zone, over all workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The zone's apex, in lower case; `resolv-fallback` for the system's resolvers, which serve no zone.
    pub zone: String,
    /// Address and port.
    pub addr: SocketAddr,
    /// Whether it is only asked over TCP.
    pub tcp: bool,
    /// The name its certificate must have.
    pub tls_name: Option<String>,
    /// How it does.
    pub health: Health,
    /// Smoothed time of its answers in milliseconds, the mean of the workers by answers; `None` before the first.
    pub srtt_ms: Option<f64>,
    /// Milliseconds its next answer is waited for, by the most patient worker.
    pub wait_ms: u64,
    /// Questions sent to it.
    pub queries: u64,
    /// Replies of use.
    pub answers: u64,
    /// Replies of no use.
    pub failures: u64,
    /// Times it was silent.
    pub timeouts: u64,
    /// Times it was first of several.
    pub wins: u64,
    /// What was wrong the last time something was.
    pub last_error: Option<String>,
    /// Milliseconds until a server that is down is tried again.
    pub retry_in_ms: Option<u64>,
}

impl Engine {
    /// A row for each forward zone and server; empty before [`Engine::start`].
    ///
    /// # Errors
    /// A worker does not answer.
    pub fn upstreams(&self) -> Result<Vec<Upstream>, Failure> {
        let Some((pool, _)) = self.plane() else { return Ok(Vec::new()) };
        let views = pool.servers().map_err(lost)?;
        let snapshot = pool.snapshot();
        Ok(rows(&snapshot.forwards, &views, snapshot.serve.limits.unknown_server_time, sys::clock::monotonic_ms()))
    }
}

/// A row for each zone and server, in the order of zones and addresses. `views` are those of all workers; `unasked_ms`
/// is how long a server is waited for that none of them knows.
pub(crate) fn rows(forwards: &Forwards, views: &[ServerView], unasked_ms: u64, now: Millis) -> Vec<Upstream> {
    let mut known: HashMap<SocketAddr, Vec<&ServerView>> = HashMap::new();
    for view in views {
        known.entry(view.addr).or_default().push(view);
    }
    let mut zones: Vec<(String, &ForwardZone)> =
        forwards.zones().map(|zone| (zone.name.to_string().to_ascii_lowercase(), &**zone)).collect();
    zones.extend(forwards.fallback().map(|zone| ("resolv-fallback".to_owned(), &**zone)));
    let mut rows = Vec::new();
    for (name, zone) in zones {
        for server in &zone.servers {
            let views = known.get(&server.addr).map(Vec::as_slice).unwrap_or_default();
            let mut row = row(server.addr, views, unasked_ms, now);
            row.zone.clone_from(&name);
            row.tcp = zone.tcp_only;
            row.tls_name = server.tls_name.as_deref().map(str::to_owned);
            rows.push(row);
        }
    }
    rows.sort_by(|a, b| (&a.zone, a.addr).cmp(&(&b.zone, b.addr)));
    rows
}

fn row(addr: SocketAddr, views: &[&ServerView], unasked_ms: u64, now: Millis) -> Upstream {
    let sum = |field: fn(&ServerView) -> u64| views.iter().map(|view| field(view)).sum::<u64>();
    let asked: Vec<&&ServerView> = views.iter().filter(|view| view.queries > 0).collect();
    let health = if !asked.is_empty() && asked.iter().all(|view| view.dead) {
        Health::Down
    } else if asked.iter().any(|view| view.answers > 0 && !view.dead) {
        Health::Up
    } else {
        Health::Unknown
    };
    // A worker that was answered once counts once; one that measured without an answer of use, a little.
    let weights = views.iter().filter_map(|view| view.srtt_ms.map(|ms| (ms as f64, view.answers.max(1) as f64)));
    let (weighted, weight) = weights.fold((0.0, 0.0), |(sum, all), (ms, weight)| (sum + ms * weight, all + weight));
    let worst = views.iter().max_by_key(|view| (view.last_fault.is_some(), view.silences, view.failures));
    let tried = asked.iter().filter_map(|view| view.backed_off_until).map(|until| until.saturating_sub(now)).min();
    Upstream {
        zone: String::new(),
        addr,
        tcp: false,
        tls_name: None,
        health,
        srtt_ms: (weight > 0.0).then(|| weighted / weight),
        wait_ms: views.iter().map(|view| view.wait_ms).max().unwrap_or(unasked_ms),
        queries: sum(|view| view.queries),
        answers: sum(|view| view.answers),
        failures: sum(|view| view.failures),
        timeouts: sum(|view| view.timeouts),
        wins: sum(|view| view.wins),
        last_error: worst.and_then(|view| view.last_fault.clone()),
        retry_in_ms: tried.filter(|_| health == Health::Down),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::forwards_of;
    use crate::document::tests::{document, forward};
    use crate::surroundings::Surroundings;

    fn view(addr: &str) -> ServerView {
        ServerView {
            addr: addr.parse().expect("an address"),
            srtt_ms: None,
            variance_ms: 0,
            wait_ms: 376,
            silences: 0,
            dead: false,
            backed_off_until: None,
            queries: 0,
            answers: 0,
            failures: 0,
            timeouts: 0,
            wins: 0,
            last_fault: None,
        }
    }

    #[test]
    fn the_views_of_all_workers_are_one_and_each_zone_has_its_row() {
        let mut document = document();
        document.forwards = vec![forward(".", &["192.0.2.1", "192.0.2.2"]), forward("a.", &["192.0.2.1"])];
        document.forwards[1].tcp = true;
        let resolvers = vec!["192.0.2.9:53".parse().expect("an address")];
        let forwards = forwards_of(&document, &Surroundings { resolvers, ..Surroundings::default() }, None);
        let slow = ServerView { srtt_ms: Some(40), queries: 4, answers: 3, wait_ms: 200, ..view("192.0.2.1:53") };
        let fast = ServerView { srtt_ms: Some(20), queries: 1, answers: 1, wins: 1, ..view("192.0.2.1:53") };
        let rows = rows(&forwards, &[slow, fast], 500, 0);
        let shown: Vec<_> =
            rows.iter().map(|row| (row.zone.as_str(), row.addr.to_string(), row.health.word())).collect();
        assert_eq!(
            shown,
            [
                (".", "192.0.2.1:53".to_owned(), "up"),
                (".", "192.0.2.2:53".to_owned(), "unknown"),
                ("a.", "192.0.2.1:53".to_owned(), "up"),
                ("resolv-fallback", "192.0.2.9:53".to_owned(), "unknown"),
            ]
        );
        assert_eq!((rows[0].queries, rows[0].answers, rows[0].wins), (5, 4, 1));
        assert_eq!((rows[0].srtt_ms, rows[0].wait_ms), (Some(35.0), 376));
        assert_eq!((rows[0].tcp, rows[2].tcp), (false, true));
        assert_eq!((rows[1].srtt_ms, rows[1].wait_ms), (None, 500));
    }

    #[test]
    fn a_server_is_down_when_every_worker_that_asked_it_says_so() {
        let mut document = document();
        document.forwards = vec![forward(".", &["192.0.2.1"])];
        let forwards = forwards_of(&document, &Surroundings::default(), None);
        let fault = Some("did not answer".to_owned());
        let dead = ServerView { queries: 3, dead: true, backed_off_until: Some(5_000), ..view("192.0.2.1:53") };
        let dead = ServerView { silences: 3, timeouts: 3, last_fault: fault, ..dead };
        let of = |views: &[ServerView]| rows(&forwards, views, 376, 4_000).remove(0);
        let down = of(&[dead.clone(), view("192.0.2.1:53")]);
        assert_eq!((down.health, down.retry_in_ms), (Health::Down, Some(1_000)));
        assert_eq!(down.last_error.as_deref(), Some("did not answer"));
        let trusted = of(&[dead, ServerView { queries: 1, answers: 1, ..view("192.0.2.1:53") }]);
        assert_eq!((trusted.health, trusted.retry_in_ms), (Health::Up, None));
    }
}
