//! The query log: what workers wrote down, fetched, kept, counted, shown, written to a file, and forgotten.
//!
//! A thread fetches the tapes of all workers four times a second, and whoever reads does so first, so that a query that was
//! answered is seen. Owns what is kept of them: [`ring`] the last entries, [`top`] who and what comes most, [`file`] the
//! lines. What of a client's address may be kept is decided where packets are (`net::tape`); from here on there is nothing
//! else to show. It must never slow a worker down: whoever reads holds no lock that a worker takes for more than a pointer.

mod file;
mod ring;
mod show;
#[cfg(test)]
mod tests;
mod top;

use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use net::pool::Pool;
use net::snapshot::Snapshot;
use net::tape::{Action, Client, Clients, Entries, Entry, PseudonymKey, Tapes};
use sys::log::{Level, Logger};
use wire::{Name, Rcode};

use crate::document::QueryLog as Options;
use crate::watch::Watch;
use crate::{Failure, engine};
use file::Sink;
use ring::{Chunk, Ring};
use show::{Filter, Who};
use top::Top;

/// Time between two looks at the tapes: a busy worker's wait no longer than they have room.
const FETCH_EVERY: Duration = Duration::from_millis(250);
/// Entries that the lists learn from at one look; of more, some are taken at random and stand for the others. Twenty
/// thousand a second cost a hundredth of a processor.
const LEARNT: u64 = 5_000;
/// Most entries the ring is given room for, about 800 MB: beyond it a log belongs in a file.
pub(crate) const MAX_RETENTION: u64 = 10_000_000;
/// How long an erasure may take in the file: rewriting some gigabytes.
const ERASURE: Duration = Duration::from_secs(60);

/// What there is of the log.
struct Book {
    ring: Ring,
    clients: Top<Client>,
    /// All names, those blocked, those that ended in SERVFAIL.
    names: [Top<Name>; 3],
    sink: Option<Sink>,
    known: Clients,
    pool: Weak<Pool>,
    /// State of the draw of entries that the lists learn from.
    chance: u64,
    /// Lost by workers, as of the last look.
    lost: u64,
}

/// The log of a running engine.
pub(crate) struct QueryLog {
    key: PseudonymKey,
    log: Arc<Logger>,
    book: Arc<Mutex<Book>>,
    figures: Arc<file::Figures>,
    watch: Mutex<Option<Watch>>,
}

/// What a document asks for, with all done that can fail.
pub(crate) struct Ready {
    clients: Option<Clients>,
    retention: u64,
    path: PathBuf,
    opened: Option<File>,
}

/// Which names are listed.
#[derive(Clone, Copy)]
enum Kind {
    All,
    Blocked,
    Failed,
}

/// What an erasure removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Entries of the ring.
    pub ring: u64,
    /// Rows of the lists of clients and names.
    pub lists: u64,
    /// Lines of the file.
    pub file: u64,
}

impl QueryLog {
    /// An empty one, with a new key of pseudonyms: it lives as long as the process, so that nobody can tell later whose
    /// they were.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(log: Arc<Logger>) -> Result<QueryLog, Failure> {
        let mut key = [0; 24];
        getrandom::fill(&mut key).map_err(|e| Failure::new(format!("no random numbers: {e}")))?;
        let [secret @ .., c0, c1, c2, c3, c4, c5, c6, c7] = key;
        let book = Book {
            ring: Ring::new(),
            clients: Top::new(top::PLACES),
            names: [Top::new(top::PLACES), Top::new(top::PLACES), Top::new(top::PLACES)],
            sink: None,
            known: Clients::No,
            pool: Weak::new(),
            chance: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]) | 1,
            lost: 0,
        };
        Ok(QueryLog {
            key: PseudonymKey(secret),
            log,
            book: Arc::new(Mutex::new(book)),
            figures: Arc::default(),
            watch: Mutex::default(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Does all that can fail for a document, and changes nothing.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn prepare(&self, options: &Options) -> Result<Ready, Failure> {
        let path = PathBuf::from(&options.file);
        let wanted = !options.file.is_empty();
        let has_it = self.book().sink.as_ref().is_some_and(|sink| sink.path() == path);
        let opened = if wanted && !has_it { Some(file::open(&path)?) } else { None };
        let clients = match options.clients.as_str() {
            "yes" => Clients::Yes,
            "pseudonym" => Clients::Pseudonym(self.key),
            _ => Clients::No,
        };
        let retention = options.retention.min(MAX_RETENTION);
        Ok(Ready { clients: (retention > 0 || wanted).then_some(clients), retention, path, opened })
    }

    /// Says in a snapshot what workers write down.
    pub(crate) fn tell(ready: &Ready, snapshot: &mut Snapshot) {
        Arc::make_mut(&mut snapshot.serve).query_log = ready.clients;
    }

    /// Puts into force what was prepared; the workers have heard of it.
    pub(crate) fn run(&self, ready: Ready, pool: &Arc<Pool>) {
        let mut book = self.book();
        book.pool = Arc::downgrade(pool);
        let known = ready.clients.unwrap_or_default();
        if known == book.known {
            self.fetch(&mut book);
        } else {
            // What was written under the other rule is neither shown nor kept.
            let _ = book.tapes();
            book.ring.clear();
            book.clients.clear();
            book.known = known;
        }
        book.ring.keep(ready.retention);
        if ready.clients.is_none() {
            book.clients.clear();
            book.names.iter_mut().for_each(Top::clear);
        }
        if ready.path.as_os_str().is_empty() {
            book.sink = None;
        } else if let Some(file) = ready.opened {
            let sink = Sink::start(ready.path, file, Arc::clone(&self.figures), Arc::clone(&self.log));
            book.sink = sink.map_err(|error| self.complain("query-log-file: no thread can be started", &error)).ok();
        }
        drop(book);
        let mut watch = lock(&self.watch);
        if ready.clients.is_none() {
            *watch = None;
        } else if watch.is_none() {
            let (book, log) = (Arc::clone(&self.book), Arc::clone(&self.log));
            let mut failing = false;
            let look = move || {
                let fetched = lock(&book).fetch();
                if let (Err(error), false) = (&fetched, failing) {
                    log.line(
                        Level::Error,
                        0,
                        &engine::lost(std::io::Error::new(error.kind(), "the query log")).to_string(),
                    );
                }
                failing = fetched.is_err();
            };
            let started = Watch::start("runbound-qring", FETCH_EVERY, look);
            *watch = started.map_err(|error| self.complain("log-retention: no thread can be started", &error)).ok();
        }
    }

    fn complain(&self, what: &str, error: &std::io::Error) {
        self.log.line(Level::Error, 0, &Failure::new(format!("{what}: {error}")).to_string());
    }

    /// Has the file opened anew.
    pub(crate) fn reopen(&self) {
        let mut book = self.book();
        self.fetch(&mut book); // what was said before belongs into the old one
        if let Some(sink) = &book.sink {
            sink.reopen();
        }
    }

    /// Ends it: the workers are about to. What they wrote gets into the file.
    pub(crate) fn stop(&self) {
        *lock(&self.watch) = None;
        let mut book = self.book();
        self.fetch(&mut book);
        book.sink = None;
    }

    fn fetch(&self, book: &mut Book) {
        // A worker that does not answer is told of by the thread; what there is is shown.
        let _ = book.fetch();
    }

    /// The log's own figures, for the statistics.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let book = self.book();
        let figure = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [
            ("num.querylog.entries", book.ring.next() - 1),
            ("num.querylog.lost", book.lost),
            ("mem.querylog", book.ring.octets() as u64),
            ("num.querylog.lines", figure(&self.figures.lines)),
            ("num.querylog.lines_lost", figure(&self.figures.lost)),
        ]
        .into_iter()
    }

    /// The chunks of the ring, up to now, and the numbers of the oldest entry shown and of the next to come.
    fn chunks(&self) -> (Vec<Chunk>, u64, u64) {
        let mut book = self.book();
        self.fetch(&mut book);
        (book.ring.chunks(), book.ring.oldest(), book.ring.next())
    }

    /// The newest entries that the filter wants, the newest first: `{"items":[…],"next":"…","total":n}`. `next` is what the
    /// filter's `before` continues with.
    ///
    /// # Errors
    /// The filter means nothing.
    pub(crate) fn list(&self, packed: &[u8], limit: usize) -> Result<String, Failure> {
        let filter = Filter::read(packed)?;
        let wanted = filter.ready(&self.key)?;
        let (chunks, oldest, _) = self.chunks();
        let before = filter.before.unwrap_or(u64::MAX);
        let oldest = oldest.max(filter.after.saturating_add(1));
        let (mut out, mut shown, mut last, mut total) = (String::from("{\"items\":["), 0, 0, 0_u64);
        for chunk in chunks.iter().rev() {
            let found: Vec<(u64, Entry<'_>)> =
                chunk.entries().filter(|(number, entry)| *number >= oldest && wanted.has(entry)).collect();
            total += found.len() as u64;
            for (number, entry) in found.iter().rev().filter(|(number, _)| *number < before) {
                if shown == limit {
                    shown += 1; // there is more
                }
                if shown > limit {
                    break;
                }
                if shown > 0 {
                    out.push(',');
                }
                show::entry(&mut out, *number, entry);
                (shown, last) = (shown + 1, *number);
            }
        }
        let _ = match shown > limit {
            true => write!(out, "],\"next\":\"{last}\",\"total\":{total}}}"),
            false => write!(out, "],\"next\":null,\"total\":{total}}}"),
        };
        Ok(out)
    }

    /// What came after one entry and before another and the filter wants, in the order in which it came, the newest `limit`
    /// of it: the number of the last entry there is, how many were left out, and the entries as a JSON list.
    ///
    /// # Errors
    /// The filter means nothing.
    pub(crate) fn tail(&self, packed: &[u8], limit: usize) -> Result<(u64, u64, String), Failure> {
        let filter = Filter::read(packed)?;
        let wanted = filter.ready(&self.key)?;
        let (chunks, oldest, next) = self.chunks();
        let oldest = oldest.max(filter.after.saturating_add(1));
        let next = next.min(filter.before.unwrap_or(u64::MAX)).max(1);
        let newer = chunks.iter().filter(|chunk| chunk.first + chunk.count > oldest);
        let found: Vec<(u64, Entry<'_>)> = newer
            .flat_map(Chunk::entries)
            .filter(|(number, entry)| (oldest..next).contains(number) && wanted.has(entry))
            .collect();
        let skipped = found.len().saturating_sub(limit);
        let mut out = String::from("[");
        for (number, entry) in found.iter().skip(skipped) {
            if out.len() > 1 {
                out.push(',');
            }
            show::entry(&mut out, *number, entry);
        }
        out.push(']');
        Ok((next - 1, skipped as u64, out))
    }

    /// The names that come most, as a JSON list: `all` of them, those `blocked`, or those that `failed`.
    ///
    /// # Errors
    /// There is no such list.
    pub(crate) fn top_names(&self, kind: &str, limit: usize) -> Result<String, Failure> {
        let kind = match kind {
            "all" => Kind::All,
            "blocked" => Kind::Blocked,
            "failed" => Kind::Failed,
            other => return Err(Failure::new(format!("{other:?} is no list of names: all, blocked or failed"))),
        };
        let mut book = self.book();
        self.fetch(&mut book);
        let rows = book.names.get(kind as usize).map(|top| top.most(limit, now_s())).unwrap_or_default();
        drop(book);
        Ok(show::rows(&rows, "name", |name| Some(name.as_ref().to_string())))
    }

    /// The clients that ask most, or one of them, as a JSON list.
    ///
    /// # Errors
    /// The text names no client.
    pub(crate) fn top_clients(&self, one: Option<&str>, limit: usize) -> Result<String, Failure> {
        let mut book = self.book();
        self.fetch(&mut book);
        let rows = match one {
            Some(text) => {
                let client = Who::read(text, &self.key)?.one(book.known);
                client.and_then(|client| book.clients.get(&client, now_s())).into_iter().collect()
            }
            None => book.clients.most(limit, now_s()),
        };
        drop(book);
        Ok(show::rows(&rows, "client", show::client))
    }

    /// Forgets a client, or all: in the ring, in the lists, in the file. Who asked for it is not written down.
    ///
    /// # Errors
    /// The text names no client, or the file cannot be rewritten; the rest is forgotten then.
    pub(crate) fn erase(&self, client: Option<&str>) -> Result<Erased, Failure> {
        let who = client.map(|text| Who::read(text, &self.key)).transpose()?;
        let mut book = self.book();
        self.fetch(&mut book);
        let mut erased = Erased::default();
        match &who {
            None => {
                erased.ring = book.ring.retain(|_| false);
                erased.lists = (book.clients.len() + book.names.iter().map(Top::len).sum::<usize>()) as u64;
                book.clients.clear();
                book.names.iter_mut().for_each(Top::clear);
            }
            Some(who) => {
                erased.ring = book.ring.retain(|entry| !who.is(&entry.client));
                erased.lists = book.clients.retain(|client| !who.is(client)) as u64;
            }
        }
        let told = book.sink.as_ref().map(|sink| sink.erase(who));
        drop(book); // the file takes its time
        if let Some(told) = told {
            let failed = |why: String| {
                Failure::new(format!("query-log-file: the entries are gone from memory, but not from the file: {why}"))
                    .advise("remove them from the file, or the file itself")
            };
            let done = told.recv_timeout(ERASURE).map_err(|_| failed("its writer hangs".to_owned()))?;
            erased.file = done.map_err(|error| failed(error.to_string()))?;
        }
        Ok(erased)
    }
}

impl Book {
    fn tapes(&mut self) -> std::io::Result<Tapes> {
        let Some(pool) = self.pool.upgrade() else { return Ok(Tapes::default()) };
        let tapes = pool.tapes()?;
        self.lost = tapes.lost;
        Ok(tapes)
    }

    /// Takes what the workers wrote.
    fn fetch(&mut self) -> std::io::Result<()> {
        let tapes = self.tapes()?;
        self.learn(&tapes);
        let new = self.ring.take(tapes.workers, self.sink.is_some());
        if let Some(sink) = &self.sink {
            new.into_iter().for_each(|chunk| sink.write(chunk));
        }
        Ok(())
    }

    /// Lets the lists learn: from all entries or, if there are many, from some drawn at random.
    fn learn(&mut self, tapes: &Tapes) {
        let all = || tapes.workers.iter().flatten().flat_map(|tape| Entries::of(tape));
        let each = all().count() as u64 / LEARNT + 1;
        let mut skip = self.draw(each);
        for entry in all() {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            // One of each so many on average; never in step with anything that comes at regular intervals.
            skip = self.draw(2 * each - 1);
            self.count(&entry, each as f64);
        }
    }

    /// A number below `n`.
    fn draw(&mut self, n: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % n.max(1)
    }

    fn count(&mut self, entry: &Entry<'_>, weight: f64) {
        if entry.client != Client::Unknown {
            self.clients.count(&entry.client, entry, weight);
        }
        let Some((name, ..)) = entry.question else { return };
        let name = name.lower().to_name();
        let [all, blocked, failed] = &mut self.names;
        all.count(&name, entry, weight);
        if entry.action == Action::Blocked {
            blocked.count(&name, entry, weight);
        }
        if entry.rcode == Some(Rcode::SERVFAIL) {
            failed.count(&name, entry, weight);
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_s() -> f64 {
    sys::clock::unix().as_secs_f64()
}
