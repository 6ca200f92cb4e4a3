//! What the scanner makes of texts: statements, places, and one message for each slip.

use std::path::{Path, PathBuf};

use conf::source::{Memory, Source};
use conf::{Scan, Severity};

fn with(files: &[(&str, &str)]) -> Scan {
    let mut memory = Memory::default();
    for (name, text) in files {
        memory.files.insert(PathBuf::from(name), text.as_bytes().to_vec());
    }
    conf::scan_in(&memory, Path::new(files[0].0), Path::new("/c")).unwrap()
}

fn scan(text: &str) -> Scan {
    with(&[("/c/unbound.conf", text)])
}

fn statements(scan: &Scan) -> Vec<String> {
    let one = |s: &conf::Statement| {
        let values: Vec<_> = s.values().iter().map(|v| String::from_utf8_lossy(scan.value(v)).into_owned()).collect();
        format!("{} {} {}", scan.clause(s), s.keyword, values.join("|"))
    };
    scan.statements.iter().map(one).collect()
}

fn errors(scan: &Scan) -> Vec<String> {
    let told = scan.messages.iter().filter(|m| m.severity == Severity::Error);
    told.map(|m| format!("{}:{}:{}: {}", scan.files[m.at.file as usize].name.display(), m.at.line, m.at.column, m.text))
        .collect()
}

#[test]
fn statements_have_clause_values_and_places() {
    let found = scan("server:port:5353\n access-control: \"10.0.0.0/8\"\n   allow # why\nforward-zone:\n name: .\n");
    assert_eq!(
        statements(&found),
        ["server port 5353", "server access-control 10.0.0.0/8|allow", "forward-zone name ."]
    );
    let acl = &found.statements[1];
    assert_eq!((acl.at.line, acl.at.column), (2, 2));
    assert_eq!((acl.values()[0].at.line, acl.values()[0].at.column), (2, 18));
    assert_eq!((acl.values()[1].at.line, acl.values()[1].at.column), (3, 4));
    assert_eq!(found.statements.iter().map(|s| s.clause).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(found.messages.is_empty());
}

#[test]
fn one_slip_is_one_message_with_a_suggestion() {
    let found = scan("server:\n verbositty: 1\n prot: 53\n port: 5353\n");
    assert_eq!(
        errors(&found),
        ["/c/unbound.conf:2:2: unknown keyword \"verbositty\":", "/c/unbound.conf:3:2: unknown keyword \"prot\":"]
    );
    assert_eq!(found.messages[0].hint.as_deref(), Some("did you mean verbosity:"));
    assert_eq!(found.messages[1].hint.as_deref(), Some("did you mean port:"));
    assert_eq!(statements(&found), ["server port 5353"]);
}

#[test]
fn a_misplaced_option_does_not_end_the_reading() {
    let found = scan("forward-zone:\n name: \".\"\n port: 53\n verbosity: 1\n bogus: 2\nserver:\n port: 5\n");
    assert_eq!(
        errors(&found),
        [
            "/c/unbound.conf:3:2: port: does not belong in forward-zone:",
            "/c/unbound.conf:4:2: verbosity: does not belong in forward-zone:",
            "/c/unbound.conf:5:2: unknown keyword \"bogus\":"
        ]
    );
    assert!(found.messages[0].hint.as_deref().unwrap().starts_with("it belongs in server:"));
    assert_eq!(statements(&found), ["forward-zone name .", "server port 5"]);
}

#[test]
fn a_clause_in_upper_case_or_unknown_brings_no_second_message() {
    assert_eq!(errors(&scan("SERVER:\n port: 53\n")), ["/c/unbound.conf:1:1: unknown keyword \"SERVER\":"]);
    assert_eq!(errors(&scan("logging:\n port: 53\n")), ["/c/unbound.conf:1:1: unknown keyword \"logging\":"]);
    assert_eq!(errors(&scan("port: 53\n")), ["/c/unbound.conf:1:1: port: stands before any clause"]);
}

#[test]
fn values_that_need_quotes_are_told_once() {
    let found = scan("server:\n local-data: x.test. A 192.0.2.1\n");
    assert_eq!(errors(&found), ["/c/unbound.conf:2:22: \"A\" is left over behind the value of local-data:"]);
    assert_eq!(found.messages[0].hint.as_deref(), Some("a value with blanks in it needs quotes around it"));
}

#[test]
fn an_open_quote_ends_with_its_line() {
    let found = scan("server:\n local-data: \"x.test. A\n 192.0.2.1\"\n port: 53\n identity: 'abc");
    assert_eq!(
        errors(&found),
        [
            "/c/unbound.conf:2:14: the line ends inside a quoted value, \" is missing",
            "/c/unbound.conf:5:12: the line ends inside a quoted value, ' is missing"
        ]
    );
    assert_eq!(statements(&found), ["server port 53"]);
}

#[test]
fn a_keyword_taken_for_a_value_is_a_warning() {
    let found = scan("server:\n identity:\n verbosity: 1\n");
    assert_eq!(found.messages[0].severity, Severity::Warning);
    assert_eq!(found.messages[0].text, "identity: takes \"verbosity:\" from this line as its value");
    assert_eq!(errors(&found).len(), 1);
    assert!(scan("server:\n identity: server:\n").messages.is_empty());
}

#[test]
fn lines_are_counted_and_found_again_as_unbound_counts_them() {
    let found = scan("server:\r\n  verbosity: 1\r\n  bogus: 1\r\n");
    assert_eq!(found.messages[0].at.line, 5);
    assert_eq!(found.line(0, 5), b"  bogus: 1");
    let found = scan("# a\nserver:\n bogus: 1");
    assert_eq!(found.line(0, 3), b" bogus: 1");
    assert_eq!(found.line(0, 4), b"");
    assert_eq!(found.line(7, 1), b"");
}

#[test]
fn includes_insert_text_anywhere() {
    let found = with(&[
        (
            "/c/unbound.conf",
            "server:\n local-zone: x.test. include: t.txt\n include: \"*.conf.d\"\n directory: /d\n include: a\n",
        ),
        ("/c/t.txt", "static\n"),
        ("/c/1.conf.d", "port: 1\n"),
        ("/c/2.conf.d", "port: 2\n"),
        ("/d/a", "verbosity: 4"),
    ]);
    assert!(found.messages.is_empty(), "{:?}", found.messages);
    assert_eq!(statements(&found), ["server port 1", "server port 2", "server directory /d", "server verbosity 4"]);
    assert_eq!(found.bulk_values(&found.bulk[0]), [&b"x.test."[..], b"static"]);
    let names: Vec<_> = found.files.iter().map(|f| f.name.display().to_string()).collect();
    assert_eq!(names, ["/c/unbound.conf", "t.txt", "1.conf.d", "2.conf.d", "a"]);
}

#[test]
fn a_loop_of_includes_is_named() {
    let found = with(&[("/c/unbound.conf", "include: a\n"), ("/c/a", "include: ./b\n"), ("/c/b", "include: a\n")]);
    assert_eq!(errors(&found), ["./b:1:10: these files include each other: a includes ./b includes a"]);
}

#[test]
fn missing_files_are_errors_and_empty_patterns_are_not() {
    let found = scan(
        "server:\n include: none.conf\n include: \"none*.conf\"\n include: \"/no/*.conf\"\n include: \"\"\n include:",
    );
    let texts = errors(&found);
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(texts[0].starts_with("/c/unbound.conf:2:11: cannot read the include file \"none.conf\""), "{}", texts[0]);
    assert!(texts[1].starts_with("/c/unbound.conf:4:11: cannot read the include file \"/no/*.conf\""), "{}", texts[1]);
    assert!(texts[2].ends_with("include: has an empty file name"));
    assert!(texts[3].ends_with("include: has no file name, the file ends here"));
}

#[test]
fn include_toplevel_closes_the_clause_before_and_behind() {
    let files = [
        ("/c/unbound.conf", "server:\n port: 1\ninclude-toplevel: f\n port: 2\n"),
        ("/c/f", "port: 3\nserver:\n port: 4\n"),
    ];
    let found = with(&files);
    assert_eq!(
        errors(&found),
        [
            "f:1:1: port: stands in no clause, include-toplevel: closes the one that was open",
            "/c/unbound.conf:4:2: port: stands in no clause, include-toplevel: closes the one that was open"
        ]
    );
    assert_eq!(statements(&found), ["server port 1", "server port 4"]);
}

#[test]
fn messages_are_limited_and_an_error_is_never_lost() {
    let text = format!("server:\n{}", " identity:\n verbosity:\n".repeat(1500));
    let found = scan(&format!("{text} bogus: 1\n"));
    assert!(found.messages.len() <= conf::MAX_MESSAGES + 2);
    assert!(found.has_errors());
    assert!(found.messages.last().unwrap().text.ends_with("more messages are not shown"));
}

#[test]
fn a_byte_order_mark_and_nul_are_told() {
    let found = scan("\u{feff}server:\n port: 53\n");
    assert_eq!(errors(&found).len(), 1);
    assert_eq!(statements(&found), ["server port 53"]);
    let found = scan("server:\n port: 53\u{0}x\n");
    assert_eq!(statements(&found), ["server port 53"]);
    assert!(!found.has_errors());
}

#[test]
fn patterns_of_memory_are_simple() {
    let mut memory = Memory::default();
    memory.files.insert("/a/b.conf".into(), Vec::new());
    assert_eq!(memory.glob(b"/a/**?.c*f").unwrap(), [PathBuf::from("/a/b.conf")]);
    assert!(memory.glob(b"/a/x*").unwrap().is_empty());
    assert!(memory.glob(b"/x/*").is_err());
}
