//! From the document to what validation starts from: anchors read out of files, and who is excused.
//!
//! Owns reading anchor files and saying what is wrong with them, each with its place. It must never change a file or what
//! is in force: the states of anchors that follow RFC 5011 are handed to whoever follows them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use dnssec::{Anchor, Anchors, Autotrust, Date, Iterations, Rules};
use resolve::trust::tags;
use resolve::{Live, Trust};
use wire::Rtype;

use crate::compile::{Messages, name};
use crate::document::{self, Placed};

/// Octets of an anchor file that are read. The root's has three keys and takes two kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// A file that follows RFC 5011, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AutoFile {
    /// Its path.
    pub(crate) path: PathBuf,
    /// What stood in it when it was read.
    pub(crate) text: String,
    /// The same, read.
    pub(crate) auto: Autotrust,
}

/// What a document makes of validation.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// Where validation begins; `None`: there is no anchor, nothing is validated.
    pub(crate) trust: Option<Arc<Trust>>,
    /// The anchors that follow RFC 5011.
    pub(crate) autos: Vec<AutoFile>,
}

/// Reads every anchor that the document names. What is wrong is said.
pub(crate) fn trusted(from: &document::Trust, live: &Arc<Live>, messages: &mut Messages<'_>) -> Trusted {
    let rules = rules(from);
    let mut anchors = if from.built_in { Anchors::root() } else { Anchors::new() };
    for anchor in &from.anchors {
        if let Err(error) = anchors.add_records(&anchor.value) {
            messages.error(&anchor.at, format!("trust-anchor: {}", error.what));
        }
    }
    for file in &from.anchor_files {
        let read = read(&file.value).and_then(|text| anchors.add_records(&text).map_err(|error| error.to_string()));
        if let Err(error) = read {
            messages.error(&file.at, format!("trust-anchor-file: {}: {error}", file.value));
        }
    }
    for file in &from.bind_files {
        bind_files(file, &mut anchors, messages);
    }
    let autos = auto_files(&from.auto_files, &anchors, messages);
    let mut kept = Anchors::new();
    for anchor in anchors.iter() {
        if anchor.is_usable(&rules) {
            anchor.ds.iter().for_each(|rdata| kept.add(anchor.owner.as_ref(), Rtype::DS, rdata));
            anchor.dnskey.iter().for_each(|rdata| kept.add(anchor.owner.as_ref(), Rtype::DNSKEY, rdata));
        } else {
            let text =
                format!("the trust anchor of {} has no algorithm that is supported, it is ignored", anchor.owner);
            let placed = from.anchors.iter().find(|placed| {
                let mut one = Anchors::new();
                one.add_records(&placed.value).is_ok() && one.iter().any(|other| other.owner == anchor.owner)
            });
            messages.warning(&placed.map(|placed| placed.at.clone()).unwrap_or_default(), text);
        }
    }
    if kept.iter().next().is_none() && autos.is_empty() {
        return Trusted { trust: None, autos };
    }
    let mut trust = Trust::new(&kept, Arc::clone(live));
    trust.rules = rules;
    trust.permissive = from.permissive;
    trust.bogus_ttl_s = from.bogus_ttl_s;
    trust.max_restart = u8::try_from(from.max_restart).unwrap_or(u8::MAX);
    trust.clean_additional = from.clean_additional;
    trust.ignore_cd = from.ignore_cd;
    trust.harden_dnssec_stripped = from.harden_dnssec_stripped;
    trust.aggressive_nsec = from.aggressive_nsec;
    trust.sentinel = from.sentinel;
    trust.signal = from.signal;
    trust.prefetch_key = from.prefetch_key;
    trust.lame_check = from.lame_check;
    trust.log_level = u8::try_from(from.log_level).unwrap_or(u8::MAX);
    for domain in &from.insecure {
        if let Some(name) = name("domain-insecure", &domain.value, &domain.at, messages) {
            trust.domain_insecure(name);
        }
    }
    Trusted { trust: Some(Arc::new(trust)), autos }
}

/// How strictly is checked. Where the file says more than a field holds, the most it holds means the same.
pub(crate) fn rules(from: &document::Trust) -> Rules {
    let steps = from.iterations.iter().map(|(bits, limit)| (*bits, u16::try_from(*limit).unwrap_or(u16::MAX)));
    Rules {
        rsasha1: from.sha1,
        fake_sha1: from.fake_sha1,
        fake_dsa: from.fake_dsa,
        skew_min_s: from.skew_min_s,
        skew_max_s: from.skew_max_s,
        date: match from.date {
            None => Date::Now,
            Some(-1) => Date::Ignored,
            // Dates of signatures are seconds modulo 2^32 (RFC 4034 3.1.5).
            Some(date) => Date::Fixed(u32::try_from(date.rem_euclid(1 << 32)).unwrap_or(0)),
        },
        harden_algo_downgrade: from.harden_algo_downgrade,
        iterations: Iterations::new(steps.collect()).unwrap_or_default(),
    }
}

/// The files of one `trusted-keys-file`, which may be a pattern.
fn bind_files(file: &Placed, anchors: &mut Anchors, messages: &mut Messages<'_>) {
    let plain = !file.value.contains(['*', '?', '[', '{', '~']);
    let paths = if plain { Ok(vec![PathBuf::from(&file.value)]) } else { sys::glob::glob(OsStr::new(&file.value)) };
    let paths = match paths {
        Ok(paths) => paths,
        // As Unbound: what is not there yet may come, and a reload will find it.
        Err(error) => return messages.warning(&file.at, format!("trusted-keys-file: {}: {error}", file.value)),
    };
    if paths.is_empty() {
        messages.warning(&file.at, format!("trusted-keys-file: there is no file like {}", file.value));
    }
    for path in paths {
        let path = path.display().to_string();
        let read = read(&path).and_then(|text| anchors.add_bind(&text).map_err(|error| error.to_string()));
        if let Err(error) = read {
            messages.error(&file.at, format!("trusted-keys-file: {path}: {error}"));
        }
    }
}

/// Each `auto-trust-anchor-file`. A zone has one, and no other anchors beside it: which of both would be believed?
fn auto_files(files: &[Placed], anchors: &Anchors, messages: &mut Messages<'_>) -> Vec<AutoFile> {
    let mut autos: Vec<AutoFile> = Vec::new();
    for file in files {
        let read = read(&file.value).and_then(|text| {
            let auto = Autotrust::parse(&text).map_err(|error| error.to_string())?;
            Ok(AutoFile { path: PathBuf::from(&file.value), text, auto })
        });
        let told = match read {
            Err(error) => error,
            Ok(new) if anchors.iter().any(|anchor| anchor.owner == new.auto.owner) => {
                format!("{} has a trust anchor that is not followed as well: one of both must go", new.auto.owner)
            }
            Ok(new) => match autos.iter().find(|other| other.auto.owner == new.auto.owner) {
                Some(other) => format!("{} is followed in {} already", new.auto.owner, other.path.display()),
                None => {
                    autos.push(new);
                    continue;
                }
            },
        };
        messages.error(&file.at, format!("auto-trust-anchor-file: {}: {told}", file.value));
    }
    autos
}

fn read(path: &str) -> Result<String, String> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(std::fs::File::open(path)?, MAX_FILE), &mut text)?;
        Ok(text)
    };
    read().map_err(|error| crate::Failure::new(error.to_string()).to_string())
}

/// A text for each anchor: the name and the tags of its keys, as `trustanchor.unbound` and `/dnssec` tell them.
pub(crate) fn texts(trust: Option<&Arc<Trust>>) -> Vec<String> {
    let text = |anchor: &Arc<Anchor>| {
        let tags: Vec<String> = tags(anchor).iter().map(ToString::to_string).collect();
        format!("{} {}", anchor.owner, tags.join(" "))
    };
    trust.map(|trust| trust.anchors().iter().map(text).collect()).unwrap_or_default()
}

/// One line for the log: whether answers are validated, and from where.
pub(crate) fn summary(from: Option<&document::Trust>, trust: Option<&Arc<Trust>>) -> String {
    let Some(from) = from else {
        return "validation is off: module-config: has no validator".to_owned();
    };
    let Some(trust) = trust else {
        return "validation is off: there is no trust anchor for the names that are asked about".to_owned();
    };
    let built_in = if from.built_in { " (built in)" } else { "" };
    let permissive = if trust.permissive { ", val-permissive-mode: bogus answers are given out" } else { "" };
    format!("validation is on, trust anchors: {}{built_in}{permissive}", texts(Some(trust)).join(", "))
}

#[cfg(test)]
mod tests {
    use conf::Severity;
    use resolve::Begin;
    use wire::{CookieSecret, Name};

    use super::*;
    use crate::Surroundings;
    use crate::compile::{Compiled, compile};
    use crate::document::At;
    use crate::document::tests::{document, trust};

    fn placed(value: impl Into<String>, line: u32) -> Placed {
        Placed { value: value.into(), at: At { file: "test.conf".to_owned(), line, column: 1 } }
    }

    fn compiled(from: document::Trust) -> Compiled {
        let document = document::Document { trust: Some(from), ..document() };
        compile(&document, None, CookieSecret([0; 16]), &Surroundings::default(), &Arc::default(), None)
    }

    fn said(from: document::Trust) -> Vec<(u32, String)> {
        compiled(from).messages.into_iter().map(|message| (message.at.line, message.text)).collect()
    }

    fn anchors(compiled: &Compiled) -> Vec<String> {
        texts(compiled.snapshot.as_ref().expect("no mistakes").forwards.trust())
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("runbound-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }

        fn file(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn anchors_come_from_every_kind_of_file() {
        let folder = Folder::new("anchors");
        let mut from = trust();
        from.anchors.push(placed("one.test. DS 1 8 2 ab", 1));
        from.anchor_files.push(placed(folder.file("two", "two.test. DS 2 8 2 ab\ntwo.test. DS 3 8 2 cd\n"), 2));
        folder.file("a.keys", "trusted-keys { \"three.test.\" 257 3 8 \"AQ==\"; };");
        folder.file("b.keys", "trust-anchors { four.test. static-ds 4 8 2 \"ab\"; };");
        from.bind_files.push(placed(folder.0.join("*.keys").display().to_string(), 3));
        from.auto_files.push(placed(folder.file("five", "five.test. DS 5 8 2 ab\n"), 4));
        let compiled = compiled(from);
        assert!(compiled.messages.is_empty(), "{:?}", compiled.messages);
        assert_eq!(anchors(&compiled), ["four.test. 4", "one.test. 1", "three.test. 1289", "two.test. 2 3"]);
        assert_eq!(compiled.autos.len(), 1);
        assert_eq!(compiled.autos[0].auto.owner.to_string(), "five.test.");
    }

    #[test]
    fn what_is_wrong_with_an_anchor_is_told_with_its_place_and_the_line_in_its_file() {
        let folder = Folder::new("wrong-anchors");
        let file = |name: &str, text: &str| folder.file(name, text);
        let mut from = trust();
        from.anchors.push(placed("x. DS nonsense", 1));
        from.anchor_files.push(placed(file("bad", ". DS 1 8 2 ab\n. DS nonsense\n"), 2));
        from.anchor_files.push(placed("/nowhere/root.key", 3));
        from.bind_files.push(placed(file("bind", "\ntrusted-keys { . 257 3; };"), 4));
        from.auto_files.push(placed(file("auto", "a.test. DS 1 8 2 ab\nb.test. DS 1 8 2 ab\n"), 5));
        from.auto_files.push(placed(file("empty", ""), 6));
        from.insecure.push(placed("a..b", 7));
        let said = said(from);
        let lines: Vec<u32> = said.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
        let told = |nth: usize, end: &str| assert!(said[nth].1.contains(end), "{}", said[nth].1);
        told(1, "/bad: line 2: ");
        told(2, "trust-anchor-file: /nowhere/root.key: No such file or directory");
        told(3, "/bind: line 2: ");
        told(4, "/auto: line 2: the file has more than one name");
        told(5, "/empty: line 1: the file has no trust anchor");
    }

    #[test]
    fn a_zone_is_followed_in_one_file_and_nowhere_else() {
        let folder = Folder::new("two-anchors");
        let auto = folder.file("auto", "a.test. DS 1 8 2 ab\n");
        let mut from = trust();
        from.anchors.push(placed("A.test. DS 2 8 2 ab", 1));
        from.auto_files.push(placed(auto.clone(), 2));
        assert!(
            said(from.clone())[0]
                .1
                .ends_with("a.test. has a trust anchor that is not followed as well: one of both must go")
        );
        from.anchors.clear();
        from.auto_files.push(placed(folder.file("again", "a.test. DS 1 8 2 ab\n"), 3));
        assert_eq!(
            said(from),
            [(
                3,
                format!("auto-trust-anchor-file: {}/again: a.test. is followed in {auto} already", folder.0.display())
            )]
        );
    }

    #[test]
    fn an_anchor_of_unsupported_algorithms_is_told_and_ignored_as_in_unbound() {
        let mut from = trust();
        from.anchors = vec![placed(". DS 1 8 2 ab", 1), placed("old.test. DS 1 3 1 ab", 2)];
        let found = compiled(from.clone());
        assert_eq!(anchors(&found), [". 1"]);
        assert_eq!((found.messages[0].at.line, found.messages[0].severity), (2, Severity::Warning));
        from.fake_dsa = true;
        assert_eq!(anchors(&compiled(from)), [". 1", "old.test. 1"]);
    }

    #[test]
    fn rfc9718_the_built_in_anchors_are_the_roots_two_keys() {
        let from = document::Trust { built_in: true, ..trust() };
        let compiled = compiled(from.clone());
        assert_eq!(anchors(&compiled), [". 20326 38696"]);
        let snapshot = compiled.snapshot.expect("no mistakes");
        let trust = snapshot.forwards.trust();
        assert_eq!(summary(Some(&from), trust), "validation is on, trust anchors: . 20326 38696 (built in)");
        assert!(summary(Some(&from), None).starts_with("validation is off: "));
        assert!(summary(None, None).starts_with("validation is off: module-config: "));
    }

    #[test]
    fn without_an_anchor_nothing_is_validated() {
        let compiled = compiled(trust());
        assert!(compiled.snapshot.expect("no mistakes").forwards.trust().is_none());
    }

    #[test]
    fn every_option_of_validation_reaches_its_field() {
        let mut from = document::Trust { built_in: true, ..trust() };
        let same = compiled(from.clone()).snapshot.expect("no mistakes");
        let plain = Trust::new(&Anchors::root(), Arc::clone(same.forwards.trust().expect("trust").live()));
        assert_eq!(**same.forwards.trust().expect("trust"), plain, "defaults are the room's own");

        from.insecure.push(placed("lan", 1));
        (from.sha1, from.fake_sha1, from.fake_dsa, from.skew_min_s, from.skew_max_s) = (false, true, true, 1, 2);
        (from.bogus_ttl_s, from.max_restart, from.log_level, from.date) = (3, 1000, 2, Some(-1));
        (from.permissive, from.clean_additional, from.ignore_cd, from.harden_dnssec_stripped) =
            (true, false, true, false);
        (from.harden_algo_downgrade, from.lame_check, from.aggressive_nsec) = (true, false, false);
        (from.prefetch_key, from.sentinel, from.signal) = (true, false, false);
        from.iterations = vec![(2048, 70_000)];
        let snapshot = compiled(from.clone()).snapshot.expect("no mistakes");
        let trust = snapshot.forwards.trust().expect("trust");
        let wanted = Rules {
            rsasha1: false,
            fake_sha1: true,
            fake_dsa: true,
            skew_min_s: 1,
            skew_max_s: 2,
            date: Date::Ignored,
            harden_algo_downgrade: true,
            iterations: Iterations::new(vec![(2048, u16::MAX)]).expect("ascending"),
        };
        assert_eq!(trust.rules, wanted);
        assert_eq!((trust.bogus_ttl_s, trust.max_restart, trust.log_level), (3, 255, 2));
        assert_eq!((trust.permissive, trust.clean_additional, trust.ignore_cd), (true, false, true));
        assert_eq!((trust.harden_dnssec_stripped, trust.lame_check, trust.aggressive_nsec), (false, false, false));
        assert_eq!((trust.prefetch_key, trust.sentinel, trust.signal), (true, false, false));
        let name = Name::from_text("printer.lan.").expect("a name");
        assert_eq!(trust.begin(name.as_ref(), 0), Begin::Excused(false));
        from.date = Some(4_294_967_297);
        let snapshot = compiled(from).snapshot.expect("no mistakes");
        assert_eq!(snapshot.forwards.trust().expect("trust").rules.date, Date::Fixed(1));
    }
}
