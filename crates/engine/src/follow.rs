//! Trust anchors that follow their zones' key rolls (RFC 5011), and the files they are kept in.
//!
//! Owns one thread, which also ends negative trust anchors whose time is over: when a probe is due it asks a worker for the zone's keys, hands them to [`Autotrust`], puts the anchors
//! in force that come of it, and writes the file. What a probe means is `dnssec`'s. Nothing here runs on the packet path;
//! a file that cannot be written is told, and what would stand in it stays in force.
//!
//! A probe is due by the calendar, for that is what the file says, whatever happened to the clock or the machine since:
//! the thread looks every few seconds, and a worker that finds in passing that a probe is due rings for it.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use dnssec::autotrust::{Change, State, Timers};
use dnssec::{Autotrust, Budget, Keys, Rules};
use net::pool::Pool;
use resolve::Live;
use resolve::trust::Nta;
use store::Store;
use sys::log::{Level, Logger};
use wire::{Name, Rcode, Rrset, Rtype};

use crate::document;
use crate::lookup::question;
use crate::recheck;
use crate::trust::AutoFile;
use crate::watch::Watch;

/// Time between two looks at the calendar while nobody rings: of an idle machine's day, nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Longest time one probe may take: as long as the mesh goes on for any question.
const PROBE_TIME: Duration = Duration::from_secs(30);
/// Part of the time between probes by which each comes earlier at random, so that resolvers that started together do not
/// ask together (RFC 5011 2.3 leaves it open; Unbound takes the same).
const JITTER_PART: u64 = 10;

/// A zone that is followed.
#[derive(Debug)]
struct Followed {
    path: PathBuf,
    auto: Autotrust,
    /// What the file held when it was last read or written, to tell whether somebody else wrote it since.
    text: String,
}

/// What the thread needs of the resolver that runs.
struct Plane {
    pool: Arc<Pool>,
    store: Arc<Store>,
    rules: Rules,
    timers: Timers,
    /// `val-max-restart`.
    again: u8,
}

#[derive(Default)]
struct Inner {
    zones: Vec<Followed>,
    plane: Option<Plane>,
    /// When it is looked next whether a name that is excused validates again.
    rechecks: HashMap<Name, u64>,
    /// Who looks at the moment.
    aside: Option<Arc<Pool>>,
}

/// All zones that are followed, and the thread that does it.
pub(crate) struct Follow {
    live: Arc<Live>,
    log: Arc<Logger>,
    inner: Arc<Mutex<Inner>>,
    watch: Mutex<Option<Watch>>,
}

impl Follow {
    /// Follows nothing yet.
    pub(crate) fn new(live: Arc<Live>, log: Arc<Logger>) -> Follow {
        Follow { live, log, inner: Arc::default(), watch: Mutex::default() }
    }

    /// From now on these files are followed, and their anchors are in force. A file that nobody has touched since it was
    /// read or written here goes on where it is, and that may be further than the file, if it could not be written.
    pub(crate) fn take(&self, files: Vec<AutoFile>) {
        let mut inner = lock(&self.inner);
        let mut before = std::mem::take(&mut inner.zones);
        for AutoFile { path, text, auto } in files {
            let same = |zone: &Followed| zone.path == path && zone.text == text && zone.auto.owner == auto.owner;
            let kept = before.iter().position(same).map(|at| before.swap_remove(at));
            inner.zones.push(kept.unwrap_or(Followed { path, auto, text }));
        }
        in_force(&inner.zones, &self.live);
    }

    /// Probes are made with this from now on. The thread is started when anything is validated.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn run(&self, pool: &Arc<Pool>, store: &Arc<Store>, from: Option<&document::Trust>) -> io::Result<()> {
        let mut inner = lock(&self.inner);
        let Some(from) = from else {
            // The thread stays: waiting for its end could take a probe's time.
            inner.plane = None;
            return Ok(());
        };
        inner.plane = Some(Plane {
            pool: Arc::clone(pool),
            store: Arc::clone(store),
            rules: crate::trust::rules(from),
            timers: timers(from),
            again: u8::try_from(from.max_restart).unwrap_or(u8::MAX),
        });
        drop(inner);
        let mut watch = lock(&self.watch);
        if watch.is_none() {
            let (inner, live, log) = (Arc::clone(&self.inner), Arc::clone(&self.live), Arc::clone(&self.log));
            let started = Watch::start("runbound-anchors", LOOK_EVERY, move || look(&inner, &live, &log))?;
            let bell = started.bell();
            self.live.on_due(Some(Box::new(move || bell.look())));
            *watch = Some(started);
        }
        if let Some(watch) = &*watch {
            watch.look();
        }
        Ok(())
    }

    /// Stops probing. To be called after the workers have stopped, so that no probe is waited for.
    pub(crate) fn stop(&self) {
        let aside = {
            let mut inner = lock(&self.inner);
            inner.plane = None;
            inner.aside.take()
        };
        // A look under way is cut short.
        if let Some(aside) = aside {
            aside.stop();
        }
        self.live.on_due(None);
        let watch = lock(&self.watch).take();
        drop(watch);
    }

    /// Something has changed that may be due earlier than all else.
    pub(crate) fn look(&self) {
        if let Some(watch) = &*lock(&self.watch) {
            watch.look();
        }
    }

    /// Every zone that is followed: its state, and the file.
    pub(crate) fn zones(&self) -> Vec<(Autotrust, PathBuf)> {
        lock(&self.inner).zones.iter().map(|zone| (zone.auto.clone(), zone.path.clone())).collect()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The operator's timers.
fn timers(from: &document::Trust) -> Timers {
    Timers {
        add_holddown_s: from.add_holddown_s,
        del_holddown_s: from.del_holddown_s,
        keep_missing_s: from.keep_missing_s,
        small: from.small_holddown,
    }
}

/// Puts the anchors of these zones in force.
fn in_force(zones: &[Followed], live: &Live) {
    live.follow(zones.iter().filter_map(|zone| zone.auto.anchor()));
    let probes = zones.iter().filter(|zone| !zone.auto.revoked).map(|zone| zone.auto.next_probe);
    live.due_at(probes.chain(live.ntas(0).iter().map(|nta| nta.until)).min());
}

/// Ends every negative trust anchor whose time is over, and makes every probe that is due, one after the other.
fn look(inner: &Mutex<Inner>, live: &Live, log: &Arc<Logger>) {
    let now = sys::clock::unix().as_secs();
    for nta in live.expire(now) {
        log.line(Level::Notice, 0, &format!("negative trust anchor {}: its time is over", nta.name));
        // What was concluded of these names meanwhile was concluded without a chain of trust.
        if let Some(plane) = &lock(inner).plane {
            plane.store.flush_zone(nta.name.as_ref());
        }
    }
    recheck(inner, live, log);
    let due: Vec<Name> = {
        let inner = lock(inner);
        let due = inner.zones.iter().filter(|zone| !zone.auto.revoked && zone.auto.next_probe <= now);
        due.map(|zone| zone.auto.owner.clone()).collect()
    };
    for zone in due {
        let mut tries = 0;
        while try_once(inner, &zone, &mut tries, log) == Some(true) {}
        in_force(&lock(inner).zones, live);
    }
    let inner = lock(inner);
    in_force(&inner.zones, live);
    live.due_no_later_than(inner.rechecks.values().min().copied());
}

/// Ends negative trust anchors whose names validate again. They are looked at in turn, each when its time has come.
fn recheck(inner: &Mutex<Inner>, live: &Live, log: &Arc<Logger>) {
    let now = sys::clock::unix().as_secs();
    let ntas = live.ntas(now);
    let looks = ntas.iter().filter(|nta| nta.recheck_s > 0);
    let (due, pool): (Vec<Name>, Option<Arc<Pool>>) = {
        let mut inner = lock(inner);
        inner.rechecks.retain(|name, _| ntas.iter().any(|nta| nta.name == *name));
        let due = |nta: &&Nta| *inner.rechecks.entry(nta.name.clone()).or_insert(nta.since + nta.recheck_s) <= now;
        let due = looks.filter(due).map(|nta| nta.name.clone()).collect();
        (due, inner.plane.as_ref().map(|plane| Arc::clone(&plane.pool)))
    };
    for name in due {
        let Some(aside) = pool.as_ref().and_then(|pool| recheck::aside(pool, log)) else { return };
        {
            let mut inner = lock(inner);
            if inner.plane.is_none() {
                return aside.stop();
            }
            inner.aside = Some(Arc::clone(&aside));
        }
        let validates = recheck::validates(&aside, &name);
        let mut inner = lock(inner);
        inner.aside = None;
        let now = sys::clock::unix().as_secs();
        let Some(nta) = live.ntas(now).into_iter().find(|nta| nta.name == name) else { continue };
        if !validates {
            inner.rechecks.insert(name, now + nta.recheck_s.max(1));
        } else if live.revoke(name.as_ref()).is_some() {
            log.line(Level::Notice, 0, &format!("negative trust anchor {name}: the name validates again, so it ends"));
            inner.plane.iter().for_each(|plane| _ = plane.store.flush_zone(name.as_ref()));
        }
    }
}

/// Asks for the keys of a zone and takes what comes. True: they did not verify, and another server may have others.
/// `None` when there is nothing to be done any more.
fn try_once(inner: &Mutex<Inner>, zone: &Name, tries: &mut u8, log: &Logger) -> Option<bool> {
    let (pool, store) = {
        let inner = lock(inner);
        let plane = inner.plane.as_ref()?;
        (Arc::clone(&plane.pool), Arc::clone(&plane.store))
    };
    // What is known of the keys is not asked for again, so it is forgotten first.
    store.flush_type(zone.as_ref(), Rtype::DNSKEY);
    let found = pool.lookup(question(zone.clone(), Rtype::DNSKEY, true), PROBE_TIME).ok().flatten();
    let is = |set: &Rrset| set.rtype == Rtype::DNSKEY && set.owner == *zone;
    let answered = found.as_ref().is_some_and(|found| found.answer.rcode == Rcode::NOERROR);
    let set = found.and_then(|found| found.answer.answer.into_iter().find(is));
    let mut inner = lock(inner);
    let Inner { zones, plane, .. } = &mut *inner;
    let plane = plane.as_ref()?;
    // It may be gone since the question was asked, or the operator has written its file.
    let followed = zones.iter_mut().find(|followed| followed.auto.owner == *zone)?;
    let verified = probed(followed, set.as_ref(), answered, plane, log);
    *tries += 1;
    Some(answered && !verified && !followed.auto.revoked && *tries <= plane.again)
}

/// Takes what a probe brought, and saves it. False when it did not verify. `answered`: some server spoke for the zone.
fn probed(followed: &mut Followed, set: Option<&Rrset>, answered: bool, plane: &Plane, log: &Logger) -> bool {
    let now = sys::clock::unix().as_secs();
    let auto = &mut followed.auto;
    let probe = auto.probe(set, &plane.timers, &plane.rules, now, &mut Budget::default());
    let verified = matches!(probe.keys, Keys::Secure(_));
    if !auto.revoked {
        auto.next_probe = earlier(auto.next_probe, now);
    }
    for change in &probe.changes {
        log.line(Level::Notice, 0, &format!("trust anchor of {}: {}", auto.owner, told(change)));
    }
    let path = followed.path.display();
    if auto.revoked {
        let what = "every key is revoked: the zone has no trust anchor any more";
        log.line(Level::Warning, 0, &format!("trust anchor of {}: {what}, until {path} has a new one", auto.owner));
    } else if let Keys::Bogus(reason) | Keys::Insecure(reason) = &probe.keys {
        let text = format!("trust anchor of {}: the probe for its keys failed: {reason}", auto.owner);
        log.line(Level::Warning, 0, &text);
    }
    // As in Unbound: silence teaches nothing, and what the operator wrote stays as it is until it has worked once.
    if !answered || auto.last_success == 0 {
        return verified;
    }
    let text = auto.to_text();
    match save(&followed.path, &text) {
        Ok(()) => followed.text = text,
        Err(error) => {
            let failure = crate::Failure::new(format!("auto-trust-anchor-file: {path} cannot be written: {error}"));
            let hint =
                "the keys are followed in memory; its folder must be one that the resolver's account may write to";
            log.line(Level::Error, 0, &failure.advise(hint).to_string());
        }
    }
    verified
}

/// A moment up to a tenth earlier, by chance.
fn earlier(at: u64, now: u64) -> u64 {
    let span = at.saturating_sub(now) / JITTER_PART;
    let mut octets = [0; 8];
    // Without chance all are on time, which is no reason not to be.
    let _ = getrandom::fill(&mut octets);
    at - u64::from_ne_bytes(octets).checked_rem(span).unwrap_or(0)
}

fn told(change: &Change) -> String {
    let Change { tag, from, to } = *change;
    match to {
        Some(State::AddPend) => format!("key {tag} is new, and trusted after its hold-down time"),
        Some(State::Valid) if from.is_none() => format!("key {tag} is trusted by its DS record"),
        Some(State::Valid) => format!("key {tag} is trusted"),
        Some(State::Missing) => format!("key {tag} is missing, and trusted all the same"),
        Some(State::Revoked) => format!("key {tag} is revoked"),
        None => format!("key {tag} is forgotten"),
    }
}

/// Writes the whole file, or leaves it as it was: a crash must not leave a resolver without anchors.
fn save(path: &Path, text: &str) -> io::Result<()> {
    // Behind a link, the file that it leads to; the link stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut new = path.clone().into_os_string();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        fs::rename(&new, &path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("runbound-follow-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("the folder");
            let mut names: Vec<String> =
                entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn file(path: &Path, text: &str) -> AutoFile {
        AutoFile { path: path.to_path_buf(), text: text.to_owned(), auto: Autotrust::parse(text).expect("an anchor") }
    }

    fn follow() -> Follow {
        let log = Logger::open(sys::log::Options::default()).expect("standard error is open");
        Follow::new(Arc::default(), Arc::new(log))
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = Folder::new("save");
        let (path, link) = (folder.0.join("root.key"), folder.0.join("link.key"));
        fs::write(&path, "old").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("permissions");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        save(&link, "new").expect("a folder that may be written to");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "new");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
        assert!(save(&folder.0.join("nowhere/root.key"), "new").is_err());
        assert_eq!(folder.names(), ["link.key", "root.key"], "nothing is left behind");
    }

    #[test]
    fn a_reload_keeps_what_was_learned_unless_the_operator_wrote_the_file() {
        let follow = follow();
        let path = Path::new("/nowhere/test.key");
        let text = "test. IN DS 1 8 2 ab\n";
        follow.take(vec![file(path, text)]);
        lock(&follow.inner).zones[0].auto.failed = 7;
        follow.take(vec![file(path, text)]);
        assert_eq!(follow.zones()[0].0.failed, 7);
        follow.take(vec![file(path, "test. IN DS 2 8 2 ab\n")]);
        let (auto, _) = &follow.zones()[0];
        assert_eq!((auto.failed, auto.ds.first()), (0, Some(&[0, 2, 8, 2, 0xab][..])));
        follow.take(Vec::new());
        assert!(follow.zones().is_empty());
    }

    #[test]
    fn rfc5011_2_3_probes_come_up_to_a_tenth_earlier() {
        for _ in 0..100 {
            assert!((5_401..=6_000).contains(&earlier(6_000, 0)));
        }
        assert_eq!((earlier(100, 100), earlier(0, 100), earlier(109, 100)), (100, 0, 109));
    }
}
