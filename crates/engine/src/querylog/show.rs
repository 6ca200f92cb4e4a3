//! How an entry of the query log is shown, and which ones are asked for.
//!
//! Owns the JSON forms, of an entry the same for the file, for lists and for streams, and the filter. A name stands in presentation form,
//! absolute, so that nothing from a packet but graphic ASCII can get into a line. It must never keep anything.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use net::tape::{Action, Client, Clients, Entry, PseudonymKey};
use serde::Deserialize;
use wire::{NameBuf, Rtype};

use super::top::Row;
use crate::{Failure, lookup};

/// What stands before the digits of a pseudonym.
const PSEUDONYM: &str = "p-";

/// Which entries are wanted: those for which all of it holds. As Python packs it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Words of actions; none means any.
    #[serde(default)]
    actions: Vec<String>,
    /// An address, a network or a pseudonym.
    #[serde(default)]
    client: Option<String>,
    /// A name: it and what is below it.
    #[serde(default)]
    name: Option<String>,
    /// A type's mnemonic.
    #[serde(default)]
    rtype: Option<String>,
    /// A response code's word.
    #[serde(default)]
    rcode: Option<String>,
    /// Microseconds since 1970.
    #[serde(default)]
    since_us: u64,
    /// Only entries with smaller numbers.
    #[serde(default)]
    pub(super) before: Option<u64>,
    /// Only entries with larger numbers.
    #[serde(default)]
    pub(super) after: u64,
}

/// A filter ready for use.
pub(super) struct Wanted {
    actions: [bool; Action::ALL.len()],
    client: Option<Who>,
    name: Option<NameBuf>,
    rtype: Option<Rtype>,
    rcode: Option<String>,
    since_us: u64,
}

/// A client, or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// One address, also under its pseudonym of today.
    Address(IpAddr, u64),
    Network(IpNet),
    Pseudonym(u64),
}

impl Who {
    /// Reads an address, a network or a pseudonym.
    pub(super) fn read(text: &str, key: &PseudonymKey) -> Result<Who, Failure> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            return Ok(Who::Address(address, key.pseudonym(address)));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Who::Network(network.trunc()));
        }
        pseudonym(text).map(Who::Pseudonym).ok_or_else(|| {
            Failure::new(format!("{text:?} is no client"))
                .advise("write an address, a network as 192.0.2.0/24, or a pseudonym as the log shows it")
        })
    }

    /// Whether this is the one. Whom the log does not know is nobody.
    pub(super) fn is(&self, client: &Client) -> bool {
        match (self, client) {
            (_, Client::Unknown) => false,
            (Who::Address(address, _), Client::Address(client)) => address == client,
            (Who::Address(_, asked), Client::Pseudonym(client)) => asked == client,
            (Who::Network(network), Client::Address(client)) => network.contains(client),
            (Who::Pseudonym(asked), Client::Pseudonym(client)) => asked == client,
            _ => false,
        }
    }

    /// The client as the log knows it, if it is one.
    pub(super) fn one(&self, clients: Clients) -> Option<Client> {
        match self {
            Who::Address(address, _) => Some(clients.of(*address)).filter(|client| *client != Client::Unknown),
            Who::Pseudonym(pseudonym) => Some(Client::Pseudonym(*pseudonym)),
            Who::Network(_) => None,
        }
    }
}

impl Filter {
    pub(super) fn read(packed: &[u8]) -> Result<Filter, Failure> {
        rmp_serde::from_slice(packed).map_err(|e| Failure::new(format!("the filter cannot be read: {e}")))
    }

    /// Makes it ready.
    ///
    /// # Errors
    /// A part that means nothing.
    pub(super) fn ready(&self, key: &PseudonymKey) -> Result<Wanted, Failure> {
        let mut actions = [self.actions.is_empty(); Action::ALL.len()];
        for word in &self.actions {
            let action = Action::ALL.into_iter().find(|action| action.word() == word);
            let action = action.ok_or_else(|| Failure::new(format!("{word:?} is no action of the query log")))?;
            if let Some(wanted) = actions.get_mut(action as usize) {
                *wanted = true;
            }
        }
        Ok(Wanted {
            actions,
            client: self.client.as_deref().map(|text| Who::read(text, key)).transpose()?,
            name: self.name.as_deref().map(lookup::name).transpose()?.map(|name| name.as_ref().to_buf()),
            rtype: self.rtype.as_deref().map(lookup::rtype).transpose()?,
            rcode: self.rcode.as_deref().map(str::to_ascii_uppercase),
            since_us: self.since_us,
        })
    }
}

impl Wanted {
    /// Whether this is one of them.
    pub(super) fn has(&self, entry: &Entry<'_>) -> bool {
        let name = || match (&self.name, &entry.question) {
            (None, _) => true,
            (Some(name), Some((asked, ..))) => asked.is_subdomain_of(name.as_ref()),
            (Some(_), None) => false,
        };
        entry.unix_us >= self.since_us
            && self.actions.get(entry.action as usize).is_some_and(|wanted| *wanted)
            && self.rtype.is_none_or(|wanted| entry.question.is_some_and(|(_, rtype, _)| rtype == wanted))
            && self.client.as_ref().is_none_or(|who| who.is(&entry.client))
            && self.rcode.as_ref().is_none_or(|word| entry.rcode.is_some_and(|rcode| rcode.to_string() == *word))
            && name()
    }
}

/// A client as the log shows it; nothing where it knows none.
pub(super) fn client(client: &Client) -> Option<String> {
    match client {
        Client::Unknown => None,
        Client::Pseudonym(pseudonym) => Some(format!("{PSEUDONYM}{pseudonym:016x}")),
        Client::Address(address) => Some(address.to_string()),
    }
}

/// A text of our own or a name in presentation form as a JSON string: only quote and backslash need care.
pub(super) fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The same for what may be missing.
pub(super) fn json_maybe(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => json_text(out, text),
        None => out.push_str("null"),
    }
}

/// A moment as RFC 3339 has it, in UTC with microseconds.
pub(super) fn time(out: &mut String, unix_us: u64) {
    const DAY_S: u64 = 86_400;
    let seconds = unix_us / 1_000_000;
    // Days since 1 March of the year 0, in eras of 400 years that all have as many days.
    let days = seconds / DAY_S + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let of_day = seconds % DAY_S;
    let _ = write!(
        out,
        "\"{year:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}.{:06}Z\"",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        unix_us % 1_000_000
    );
}

/// An entry as one JSON object, without a line end.
pub(super) fn entry(out: &mut String, number: u64, entry: &Entry<'_>) {
    let _ = write!(out, "{{\"seq\":{number},\"time\":");
    time(out, entry.unix_us);
    out.push_str(",\"client\":");
    json_maybe(out, client(&entry.client).as_deref());
    match entry.question {
        Some((name, rtype, class)) => {
            out.push_str(",\"name\":");
            json_text(out, &name.to_string());
            let _ = write!(out, ",\"type\":\"{rtype}\",\"class\":\"{class}\"");
        }
        None => out.push_str(",\"name\":null,\"type\":null,\"class\":null"),
    }
    let _ = write!(out, ",\"action\":\"{}\",\"rcode\":", entry.action.word());
    json_maybe(out, entry.rcode.map(|rcode| rcode.to_string()).as_deref());
    let _ = write!(
        out,
        ",\"latency_us\":{},\"transport\":\"{}\",\"origin\":\"{}\",\"security\":",
        entry.latency_us,
        entry.transport.word(),
        entry.action.origin()
    );
    json_maybe(out, entry.security.map(lookup::word));
    let _ = write!(out, ",\"size\":{}}}", entry.size);
}

/// Rows as a JSON list. Counts are those of the last hours: they halve each hour.
pub(super) fn rows<K>(rows: &[Row<K>], what: &str, text: impl Fn(&K) -> Option<String>) -> String {
    let mut out = String::from("[");
    for row in rows {
        if out.len() > 1 {
            out.push(',');
        }
        let _ = write!(out, "{{\"{what}\":");
        json_maybe(&mut out, text(&row.key).as_deref());
        let _ = write!(
            out,
            ",\"queries\":{:.1},\"error\":{:.1},\"failed\":{:.1},\"actions\":{{",
            row.count, row.error, row.failed
        );
        let actions = Action::ALL.into_iter().zip(&row.actions).filter(|(_, count)| **count >= 0.05);
        for (i, (action, count)) in actions.enumerate() {
            let _ = write!(out, "{}\"{}\":{count:.1}", if i > 0 { "," } else { "" }, action.word());
        }
        out.push_str("},\"since\":");
        time(&mut out, row.since_us);
        out.push_str(",\"last\":");
        time(&mut out, row.last_us);
        out.push('}');
    }
    out.push(']');
    out
}

/// The client of a line of the file, if it has one.
pub(super) fn client_of(line: &str) -> Option<Client> {
    // No name can hold this: a quote inside a string has a backslash before it.
    const MEMBER: &str = "\"client\":\"";
    let (_, rest) = line.split_once(MEMBER)?;
    let (text, _) = rest.split_once('"')?;
    pseudonym(text).map(Client::Pseudonym).or_else(|| text.parse().ok().map(Client::Address))
}

/// Reads a pseudonym.
fn pseudonym(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(PSEUDONYM).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
