//! The helper with a real token: SoftHSM2, in a folder of each test's own.
//!
//! The helper is this test program again, in a process of its own: what the library knows is the process's, and so is the
//! environment it reads. `./dev test` sees to it that softhsm2 and opensc are there.

#![allow(clippy::result_large_err)] // a failure ends a test

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::hmac;
use hsm::client::{Call, Client};
use hsm::messages::{
    Deleted, Described, Failure, Form, Initialized, Inspected, KeyInfo, Loaded, Mode, Open, Probed, Refused, Request,
    Signed, Token, Want,
};
use serde::de::DeserializeOwned;
use sys::memory::Locked;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const SO_PIN: &str = "31415926";
const PIN: &str = "648219";
const NONCE: &[u8] = &[0x4E; 32];
/// What tells this program that it is the helper.
const ROLE: &str = "RUNBOUND_TEST_HELPER";
/// The public point of `ecdh.rs` on P-256, written once more.
const POINT: &str = "04f5d7997b718529cc2ffc22f1a5945d5ecb4601389431d16bd2c2a9be5856f4fc6455076269c883b8363b4ff536f000e3ec6716fbeedf5dcfc2e1ee7b3ecdc85a";

/// Not a test: the helper itself, when a test starts this program so.
#[test]
fn helper() {
    if std::env::var_os(ROLE).is_some() {
        hsm::serve::serve_stdin();
    }
}

/// A folder of tokens, gone when dropped.
struct Tokens(PathBuf);

impl Tokens {
    /// A folder with one token in it, made by the helper.
    fn with_one(name: &str) -> Tokens {
        let tokens = Tokens::none(name);
        let made: Initialized = tokens.helper().ask(&init(None, false), &[SO_PIN, PIN]).unwrap().0;
        assert_eq!((made.token.label.as_str(), made.slot.index), ("runbound-test", 0));
        tokens
    }

    fn none(name: &str) -> Tokens {
        let folder = std::env::temp_dir().join(format!("runbound-hsm-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("tokens")).unwrap();
        let lines = format!("directories.tokendir = {}\nobjectstore.backend = file\n", folder.join("tokens").display());
        fs::write(folder.join("softhsm2.conf"), lines).unwrap();
        Tokens(folder)
    }

    fn conf(&self) -> PathBuf {
        self.0.join("softhsm2.conf")
    }

    fn helper(&self) -> Helper {
        let program = std::env::current_exe().unwrap();
        let words = [
            "/usr/bin/env",
            &format!("{ROLE}=1"),
            &format!("SOFTHSM2_CONF={}", self.conf().display()),
            program.to_str().unwrap(),
            "--exact",
            "helper",
            "--nocapture",
        ];
        let argv: Vec<CString> = words.map(|word| CString::new(word).unwrap()).into();
        Helper(Client::spawn(&argv, true).unwrap())
    }

    /// OpenSC's tool, which shares no code with us.
    fn tool(&self, words: &[&str]) -> Output {
        let common = ["--module", MODULE, "--token-label", "runbound-test", "--login", "--pin", PIN];
        let done =
            Command::new("pkcs11-tool").args(common).args(words).env("SOFTHSM2_CONF", self.conf()).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        done
    }

    /// A secret key as OpenSC's tool writes it.
    fn import(&self, label: &str, value: &[u8], options: &[&str]) {
        let file = self.0.join("value");
        fs::write(&file, value).unwrap();
        let words = ["--write-object", file.to_str().unwrap(), "--type", "secrkey", "--label", label, "--usage-sign"];
        self.tool(&[&words, options].concat());
        fs::remove_file(&file).unwrap();
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Helper(Client);

impl Helper {
    fn ask<R: DeserializeOwned>(&mut self, request: &Request, secrets: &[&str]) -> Result<(R, Vec<Locked>), Failure> {
        let message = rmp_serde::to_vec_named(request).unwrap();
        let secrets: Vec<Locked> = secrets.iter().map(|text| Locked::copy_of(text.as_bytes()).unwrap()).collect();
        let secrets: Vec<&Locked> = secrets.iter().collect();
        let mut call = Call::new(&message, &secrets, Duration::from_secs(60)).unwrap();
        let turn = loop {
            if let Some(turn) = self.0.go_on(&mut call).unwrap() {
                break turn;
            }
        };
        match rmp_serde::from_slice::<Refused>(&turn.message) {
            Ok(refused) => Err(refused.error),
            Err(_) => Ok((rmp_serde::from_slice(&turn.message).unwrap(), turn.secrets)),
        }
    }

    fn refused(&mut self, request: &Request, secrets: &[&str]) -> Failure {
        match self.ask::<serde::de::IgnoredAny>(request, secrets) {
            Err(failure) => failure,
            Ok(_) => panic!("{request:?} was done"),
        }
    }
}

fn open() -> Open {
    Open { module: MODULE.to_owned(), token_label: Some("runbound-test".to_owned()), ..Open::default() }
}

fn init(slot: Option<u32>, force: bool) -> Request {
    let open = Open { module: MODULE.to_owned(), slot, ..Open::default() };
    Request::Init { open, label: "runbound-test".to_owned(), force }
}

fn load(mode: Mode, wants: &[(&str, &str)]) -> Request {
    load_from(open(), mode, wants)
}

fn load_from(open: Open, mode: Mode, wants: &[(&str, &str)]) -> Request {
    let want = |(role, label): &(&str, &str)| Want { role: (*role).to_owned(), label: (*label).to_owned(), id: None };
    let nonce = NONCE.to_vec().into();
    Request::Load { open, mode, wants: wants.iter().map(want).collect(), nonce, stay: mode == Mode::InToken }
}

fn put(role: &str, label: &str, mode: Mode, generate: Option<Form>) -> Request {
    let (role, label) = (role.to_owned(), label.to_owned());
    Request::Put {
        open: open(),
        role,
        label,
        id: None,
        mode,
        data: false,
        generate,
        export: generate == Some(Form::Hex),
    }
}

fn code(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

fn tag(info: &KeyInfo) -> &[u8] {
    info.tag.as_ref().unwrap()
}

#[test]
fn keys_are_made_read_and_destroyed() {
    let tokens = Tokens::with_one("extract");
    let mut helper = tokens.helper();
    let value = "0123456789abcdef0123456789abcdef-store";
    let (made, _): (Described, _) = helper.ask(&put("store", "store", Mode::Extract, None), &[PIN, value]).unwrap();
    let is = (made.info.extractable, made.info.sensitive, made.info.private, made.info.how.as_str());
    assert_eq!(is, (Some(true), Some(false), Some(true), "value"));
    let (_, api): (Described, _) = helper.ask(&put("api", "api", Mode::Extract, Some(Form::Hex)), &[PIN]).unwrap();
    assert!(api[0].as_ref().len() == 64 && api[0].as_ref().iter().all(u8::is_ascii_hexdigit));
    assert_eq!(helper.refused(&put("store", "store", Mode::Extract, None), &[PIN, value]).kind, "exists");

    let (loaded, secrets): (Loaded, _) =
        helper.ask(&load(Mode::Extract, &[("api", "api"), ("store", "store")]), &[PIN]).unwrap();
    assert_eq!(secrets.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>(), [value.as_bytes()]);
    assert_eq!(tag(&loaded.keys[0]), code(api[0].as_ref(), NONCE));
    assert_eq!((loaded.logins, loaded.warnings.len(), loaded.slot.index), (1, 0, 0));

    let get = Request::Get { open: open(), role: "api".to_owned(), label: "api".to_owned() };
    let (_, got): (Described, _) = helper.ask(&get, &[PIN]).unwrap();
    assert_eq!(got[0].as_ref(), api[0].as_ref());
    let delete = Request::Delete { open: open(), label: "api".to_owned() };
    assert_eq!(helper.ask::<Deleted>(&delete, &[PIN]).unwrap().0.deleted, 1);
    let absent = helper.refused(&load(Mode::Extract, &[("api", "api")]), &[PIN]);
    assert_eq!((absent.kind.as_str(), absent.labels.as_slice()), ("label-absent", &["store".to_owned()][..]));
    assert_eq!(helper.refused(&delete, &[PIN]).kind, "label-absent");
}

#[test]
fn keys_that_never_leave_give_the_same_roots_again() {
    let tokens = Tokens::with_one("in-token");
    let mut helper = tokens.helper();
    // One that the token drew itself, one that was brought.
    let (drawn, none): (Described, _) =
        helper.ask(&put("store", "drawn", Mode::InToken, Some(Form::Raw)), &[PIN]).unwrap();
    assert!(none.is_empty());
    assert_eq!(
        (drawn.info.extractable, drawn.info.sensitive, drawn.info.how.as_str()),
        (Some(false), Some(true), "hmac")
    );
    let value = "brought-0123456789abcdef0123456789abcdef";
    helper.ask::<Described>(&put("api", "brought", Mode::InToken, None), &[PIN, value]).unwrap();

    let request = load(Mode::InToken, &[("api", "brought"), ("store", "drawn"), ("audit", "drawn")]);
    let (loaded, roots): (Loaded, _) = helper.ask(&request, &[PIN]).unwrap();
    assert_eq!(tag(&loaded.keys[0]), code(value.as_bytes(), NONCE));
    let proof = code(value.as_bytes(), &[b"runbound confirm 1", NONCE].concat());
    assert_eq!(loaded.keys[0].proof.as_ref().unwrap().as_slice(), proof);
    assert_eq!(roots.len(), 2);
    assert_ne!(roots[0].as_ref(), roots[1].as_ref(), "each role has a root of its own");

    // The keeper: a watch that logs in never, a signature that does it once.
    let probe = Request::Probe { open: None };
    assert!(helper.ask::<Probed>(&probe, &[]).unwrap().0.present);
    let sign =
        |role: &str, data: &[u8]| Request::Sign { role: role.to_owned(), data: data.to_vec().into(), close: false };
    let (signed, _): (Signed, _) = helper.ask(&sign("api", &[b"runbound confirm 1", NONCE].concat()), &[]).unwrap();
    assert_eq!((signed.signature.as_slice(), signed.logins), (proof.as_slice(), 1));
    let (signed, _): (Signed, _) = helper.ask(&sign("store", b"runbound store 1"), &[]).unwrap();
    assert_eq!((signed.signature.as_slice(), signed.logins), (roots[0].as_ref(), 0));
    assert_eq!(helper.refused(&sign("other", b""), &[]).kind, "protocol");

    // Another process comes to the same; another watch needs no load.
    let (_, again): (Loaded, _) = tokens.helper().ask(&request, &[PIN]).unwrap();
    assert!(again.iter().map(AsRef::<[u8]>::as_ref).eq(roots.iter().map(AsRef::<[u8]>::as_ref)));
    let watch = Request::Probe { open: Some(open()) };
    assert!(tokens.helper().ask::<Probed>(&watch, &[]).unwrap().0.present);
    assert_eq!(tokens.helper().refused(&probe, &[]).kind, "protocol");
    // It is not there, and there again.
    let (here, away) = (tokens.0.join("tokens"), tokens.0.join("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    for probe in [&probe, &watch] {
        let probed = if matches!(probe, Request::Probe { open: None }) {
            helper.ask::<Probed>(probe, &[]).unwrap().0
        } else {
            tokens.helper().ask::<Probed>(probe, &[]).unwrap().0
        };
        assert!(!probed.present && probed.failure.is_some(), "{probed:?}");
    }
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    assert!(helper.ask::<Probed>(&probe, &[]).unwrap().0.present);
    assert_eq!(helper.ask::<Signed>(&sign("store", b"x"), &[]).unwrap().0.logins, 1);

    // And it cannot be taken out.
    assert_eq!(helper.refused(&load(Mode::Extract, &[("store", "drawn")]), &[PIN]).kind, "not-extractable");
}

#[test]
fn a_private_key_gives_the_secret_of_the_fixed_point() {
    let tokens = Tokens::with_one("ecdh");
    let key = PrivateKey::generate(&ECDH_P256).unwrap();
    let file = tokens.0.join("key.der");
    let der = AsDer::<EcPrivateKeyRfc5915Der>::as_der(&key).unwrap();
    fs::write(&file, der.as_ref()).unwrap();
    let words = ["--write-object", file.to_str().unwrap(), "--type", "privkey", "--label", "card", "--usage-derive"];
    tokens.tool(&words);

    let point: Vec<u8> =
        (0..POINT.len()).step_by(2).map(|at| u8::from_str_radix(&POINT[at..at + 2], 16).unwrap()).collect();
    let peer = UnparsedPublicKey::new(&ECDH_P256, &point);
    let secret = agreement::agree(&key, peer, (), |secret| Ok(secret.to_vec())).unwrap();
    let (loaded, roots): (Loaded, _) = tokens.helper().ask(&load(Mode::InToken, &[("store", "card")]), &[PIN]).unwrap();
    assert_eq!((loaded.keys[0].how.as_str(), loaded.keys[0].object.as_str()), ("ecdh", "private-key"));
    assert_eq!(roots[0].as_ref(), code(&secret, b"runbound store 1"));
    let api = tokens.helper().refused(&load(Mode::InToken, &[("api", "card")]), &[PIN]);
    assert_eq!(api.kind, "no-mechanism");
    let (seen, _): (Inspected, _) =
        tokens.helper().ask(&Request::Inspect { open: open(), login: true, rates: true }, &[PIN]).unwrap();
    assert_eq!(seen.objects.iter().find(|object| object.label == "card").unwrap().modes, [Mode::InToken]);
    let rates = seen.rates.unwrap();
    assert!(rates.hmac_per_s.unwrap() > 1.0 && rates.ecdsa_per_s.unwrap() > 1.0, "{rates:?}");
}

#[test]
fn what_others_wrote_is_taken_and_what_cannot_be_a_key_is_named() {
    let tokens = Tokens::with_one("values");
    let good = "0123456789abcdef0123456789abcdef";
    let both = &["--extractable", "--private"][..];
    tokens.import("tool", good.as_bytes(), both);
    tokens.import("public", good.as_bytes(), &["--extractable"]);
    tokens.import("twice", good.as_bytes(), both);
    tokens.import("twice", good.as_bytes(), both);
    tokens.import("sensitive", good.as_bytes(), &["--extractable", "--private", "--sensitive"]);
    tokens.import("kept", good.as_bytes(), &["--private"]);
    tokens.import("newline", format!("{good}\n").as_bytes(), both);
    tokens.import("binary", &[0xFF; 32], both);
    tokens.import("space", b"0123456789abcdef 0123456789abcdef", both);
    tokens.import("shortish", b"0123456789abcdef", both);
    tokens.import("short", b"0123456789", both);
    let file = tokens.0.join("data");
    fs::write(&file, good).unwrap();
    tokens.tool(&["--write-object", file.to_str().unwrap(), "--type", "data", "--label", "data", "--private"]);

    let mut helper = tokens.helper();
    let mut kind = |role: &str, label: &str, mode| helper.refused(&load(mode, &[(role, label)]), &[PIN]).kind;
    assert_eq!(kind("api", "twice", Mode::Extract), "label-duplicate");
    assert_eq!(kind("api", "sensitive", Mode::Extract), "sensitive");
    assert_eq!(kind("api", "kept", Mode::Extract), "not-extractable");
    assert_eq!(kind("api", "newline", Mode::Extract), "value-newline");
    assert_eq!(kind("api", "binary", Mode::Extract), "value-not-utf8");
    assert_eq!(kind("api", "space", Mode::Extract), "value-not-printable");
    assert_eq!(kind("api", "short", Mode::Extract), "value-short");
    assert_eq!(kind("store", "shortish", Mode::Extract), "value-short");
    assert_eq!(kind("store", "data", Mode::InToken), "no-mechanism");
    let said = helper.refused(&load(Mode::Extract, &[("store", "twice")]), &[PIN]).detail;
    assert_eq!(said, "store key: 2 secret-key objects have the label \"twice\"");

    let mut warned = |role: &str, label: &str| {
        let (loaded, _): (Loaded, _) = helper.ask(&load(Mode::Extract, &[(role, label)]), &[PIN]).unwrap();
        let kinds: Vec<String> = loaded.warnings.into_iter().map(|warning| warning.kind).collect();
        (loaded.keys[0].object.clone(), kinds)
    };
    assert_eq!(warned("api", "tool"), ("secret-key".to_owned(), vec![]));
    assert_eq!(warned("api", "data"), ("data".to_owned(), vec![]));
    assert_eq!(warned("store", "binary"), ("secret-key".to_owned(), vec![]));
    assert_eq!(warned("api", "public").1, ["not-private"]);
    assert_eq!(warned("api", "shortish").1, ["api-short"]);
}

#[test]
fn a_wrong_pin_is_said_once() {
    let tokens = Tokens::with_one("pin");
    let request = load(Mode::Extract, &[("api", "none")]);
    let wrong = tokens.helper().refused(&request, &["000000"]);
    let said = (wrong.kind.as_str(), wrong.function.as_deref(), wrong.code, wrong.name.as_deref());
    assert_eq!(said, ("login-pin", Some("C_Login"), Some(0xA0), Some("CKR_PIN_INCORRECT")));
    let token = || -> Token {
        let look = Request::Inspect { open: open(), login: false, rates: false };
        tokens.helper().ask::<Inspected>(&look, &[]).unwrap().0.slots[0].token.clone().unwrap()
    };
    assert!(token().flags.contains(&"USER_PIN_COUNT_LOW".to_owned()), "SoftHSM remembers one");
    assert_eq!(tokens.helper().refused(&request, &[]).kind, "pin-missing");
    assert_eq!(tokens.helper().refused(&request, &[""]).kind, "pin-empty");
    tokens.import("api", b"0123456789abcdef0123456789abcdef", &["--extractable", "--private"]);
    assert!(!token().flags.contains(&"USER_PIN_COUNT_LOW".to_owned()), "a right PIN is forgiven");
}

#[test]
fn another_token_is_not_logged_in_to() {
    let tokens = Tokens::with_one("tokens");
    let kind = |open: Open| tokens.helper().refused(&load_from(open, Mode::Extract, &[("api", "x")]), &[PIN]).kind;
    let module = MODULE.to_owned();
    assert_eq!(kind(Open { token_label: Some("other".to_owned()), ..open() }), "token-mismatch");
    assert_eq!(kind(Open { token_serial: Some("0".to_owned()), ..open() }), "token-mismatch");
    assert_eq!(kind(Open { slot: Some(7), module: module.clone(), ..Open::default() }), "slot-index");
    assert_eq!(kind(Open { slot: Some(1), module: module.clone(), ..Open::default() }), "token-uninitialized");
    assert_eq!(kind(Open { slot: Some(0), module, ..Open::default() }), "label-absent");
    // A token that is there stays, unless one insists.
    assert_eq!(tokens.helper().refused(&init(Some(0), false), &[SO_PIN, PIN]).kind, "exists");
    assert_eq!(tokens.helper().refused(&init(Some(0), true), &["wrong-so", PIN]).kind, "login-pin");
    tokens.helper().ask::<Initialized>(&init(Some(0), true), &[SO_PIN, PIN]).unwrap();
    // A second one goes into the first slot without; the label alone means both then.
    tokens.helper().ask::<Initialized>(&init(None, false), &[SO_PIN, PIN]).unwrap();
    assert_eq!(kind(open()), "token-mismatch");
}

#[test]
fn only_a_module_that_is_roots_is_loaded() {
    let tokens = Tokens::none("module");
    let kind = |module: &Path| {
        let open = Open { module: module.to_str().unwrap().to_owned(), ..Open::default() };
        tokens.helper().refused(&Request::Inspect { open, login: false, rates: false }, &[]).kind
    };
    let root = fs::metadata(&tokens.0).unwrap().uid() == 0;
    let copy = tokens.0.join("module.so");
    fs::copy(MODULE, &copy).unwrap();
    let mode = |mode| fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(kind(Path::new("libsofthsm2.so")), "module-path");
    assert_eq!(kind(&tokens.0.join("absent.so")), "module-missing");
    assert_eq!(kind(&tokens.0), "module-not-regular");
    if root {
        mode(0o666);
        assert_eq!(kind(&copy), "module-writable");
        mode(0o644);
        std::os::unix::fs::chown(&copy, Some(65_534), None).unwrap();
        assert_eq!(kind(&copy), "module-owner");
        std::os::unix::fs::chown(&copy, Some(0), None).unwrap();
        // Whoever can put another file in its place can as well write it.
        fs::set_permissions(&tokens.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(kind(&copy), "module-writable");
        fs::set_permissions(&tokens.0, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&copy, "no library").unwrap();
        assert_eq!(kind(&copy), "module-load");
    } else {
        assert_eq!(kind(&copy), "module-owner");
    }
    let libc = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"];
    let libc = libc.into_iter().map(Path::new).find(|path| path.exists()).unwrap();
    assert_eq!(kind(libc), "module-no-functions");
}

#[test]
fn the_helper_is_nobody_when_the_library_is_loaded() {
    let tokens = Tokens::with_one("account");
    if fs::metadata(&tokens.0).unwrap().uid() != 0 {
        return; // needs root: the rule is tested where the tests run as root (containers, CI)
    }
    // SoftHSM's files are root's alone, so whoever else looks finds no token.
    fs::set_permissions(tokens.0.join("tokens"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut helper = tokens.helper();
    let open = Open { account: Some((65_534, 65_534, vec![65_534])), ..open() };
    let failure = helper.refused(&load_from(open, Mode::Extract, &[("api", "api")]), &[PIN]);
    assert_eq!(failure.account.as_deref(), Some("65534"), "{failure:?}");
    assert!(["initialize", "token-mismatch"].contains(&failure.kind.as_str()), "{failure:?}");
    let pid = helper.0.pid();
    // Its own thread, its watch and, because this is a test program, the one that started both.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    let threads: Vec<String> = threads.collect();
    for line in ["Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "CapPrm:\t0000000000000000"] {
        assert!(threads.iter().all(|status| status.contains(line)), "{line}: {threads:?}");
    }
    assert_eq!(threads.iter().filter(|status| status.contains("NoNewPrivs:\t1")).count(), 2, "{threads:?}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Of a process that may not be dumped, /proc is root's.
    assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);
    // It has become that account for good.
    let root = Open { account: Some((0, 0, vec![])), module: "/other.so".to_owned(), ..Open::default() };
    let request = Request::Inspect { open: root, login: false, rates: false };
    assert_eq!(helper.refused(&request, &[]).kind, "protocol");
}
