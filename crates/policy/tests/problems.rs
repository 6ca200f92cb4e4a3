//! What is said about statements that cannot be used, all of them in one go and with their places.

use policy::{Defaults, LocalZonesBuilder, Origin, Problem, Severity};

/// Builds statements, one a line; gives line, severity and text of each problem, and the hints.
fn problems(statements: &[&str]) -> Vec<Problem> {
    let mut builder = LocalZonesBuilder::new();
    let mut all = Vec::new();
    for (line, statement) in (1..).zip(statements) {
        let origin = Origin { file: 0, line, column: 3 };
        let (option, value) = statement.split_once(": ").unwrap();
        let outcome = match option {
            "zone" => value.rsplit_once(' ').map(|(name, kind)| builder.zone(name, kind, origin)).unwrap(),
            "data" => builder.data(value, origin),
            "ptr" => builder.data_ptr(value, origin),
            other => panic!("{other}"),
        };
        all.extend(outcome.err());
    }
    all.extend(builder.build(Defaults::default()).1);
    all
}

fn one(statements: &[&str]) -> (u32, Severity, String, String) {
    let mut all = problems(statements);
    assert_eq!(all.len(), 1, "{all:?}");
    let problem = all.remove(0);
    (problem.origin.line, problem.severity, problem.text, problem.hint.unwrap_or_default())
}

#[test]
fn zone_names_and_types() {
    let (_, severity, text, _) = one(&["zone: a..b static"]);
    assert_eq!(severity, Severity::Error);
    assert!(text.starts_with("local-zone: \"a..b\" is not a name: "), "{text}");
    let (_, _, text, hint) = one(&["zone: a.b Static"]);
    assert_eq!((text.as_str(), hint.as_str()), ("local-zone: \"Static\" is not a zone type", "did you mean static?"));
    let (_, _, _, hint) = one(&["zone: a.b always_nxdoman"]);
    assert_eq!(hint, "did you mean always_nxdomain?");
    let (_, _, _, hint) = one(&["zone: a.b sinkhole"]);
    assert!(hint.starts_with("one of deny, refuse, static,") && hint.ends_with("noview, nodefault"), "{hint}");
    let (_, _, text, _) = one(&["zone: a.b ipset"]);
    assert_eq!(text, "local-zone: type ipset needs the ipset module, which is not offered");
}

#[test]
fn a_zone_given_twice_is_a_warning_for_each_but_the_last() {
    let all = problems(&["zone: x.dup static", "zone: X.dup. refuse", "zone: y static", "zone: x.dup deny"]);
    let seen: Vec<_> = all.iter().map(|p| (p.origin.line, p.severity, p.text.as_str())).collect();
    assert_eq!(
        seen,
        [
            (1, Severity::Warning, "local-zone: duplicate local-zone x.dup."),
            (2, Severity::Warning, "local-zone: duplicate local-zone X.dup."),
        ]
    );
}

#[test]
fn nodefault_for_a_zone_that_is_none_is_a_warning() {
    let (line, severity, text, _) = one(&["zone: Test nodefault", "zone: x.test nodefault", "zone: alt. nodefault"]);
    assert_eq!((line, severity), (2, Severity::Warning));
    assert_eq!(text, "local-zone: x.test. is not a default zone, nodefault has no effect");
}

#[test]
fn records_that_cannot_be_read() {
    for bad in
        ["a.b", "", "a..b A 1.2.3.4", "a.b A 1.2.3", "a.b FOO 1.2.3.4", "a.b SOA a. b. 1", "a.b 4294967296 A 1.2.3.4"]
    {
        let (line, severity, text, _) = one(&[&format!("data: {bad}")]);
        assert_eq!((line, severity), (1, Severity::Error));
        assert!(text.starts_with(&format!("local-data: \"{bad}\" at octet ")), "{text}");
    }
}

#[test]
fn reverse_records_that_cannot_be_read() {
    for bad in ["", "1.2.3.4", "1.2.3 foo", "1.2.3.4/24 foo", "1.2.3.4@53 foo", "1.2.3.4 x foo", "1.2.3.4 10 foo bar"] {
        let (_, severity, text, hint) = one(&[&format!("ptr: {bad}")]);
        assert_eq!(severity, Severity::Error);
        assert!(text.starts_with(&format!("local-data-ptr: \"{bad}\" ")), "{text}");
        assert!(hint.contains("192.0.2.1 [ttl] www.example.com"));
    }
    assert_eq!(problems(&["ptr: 1.2.3.4  10  foo.", "ptr: 1.2.3.4 10", "ptr: 1.2.3.4 1h foo", "ptr: ::1 foo"]), []);
}

#[test]
fn redirect_zones_have_data_at_the_top_and_a_cname_alone() {
    let (line, severity, text, hint) = one(&["zone: r.z redirect", "data: a.R.z A 192.0.2.1"]);
    assert_eq!((line, severity), (2, Severity::Error));
    assert_eq!(text, "local-data: in a redirect zone data must reside at the top of the zone, not at a.r.z.");
    assert_eq!(hint, "add: local-zone: \"a.r.z.\" transparent, or give the data to the zone's own name");
    for (first, second) in
        [("A 192.0.2.1", "CNAME a."), ("CNAME a.", "A 192.0.2.1"), ("CNAME a.", "CNAME b."), ("CNAME a.", "CNAME a.")]
    {
        let zone = "zone: r.z inform_redirect";
        let (line, severity, text, _) = one(&[zone, &format!("data: r.z {first}"), &format!("data: r.z {second}")]);
        assert_eq!((line, severity), (2, Severity::Error), "{first} {second}");
        assert_eq!(text, "local-data: a CNAME in a redirect zone must be the only record of r.z.");
    }
    assert_eq!(one(&["data: a.localhost A 192.0.2.1"]).1, Severity::Error);
    assert_eq!(
        problems(&["zone: r.z redirect", "data: r.z A 192.0.2.1", "data: r.z A 192.0.2.1", "data: r.z AAAA ::1"]),
        []
    );
}

#[test]
fn a_ds_record_needs_a_zone_for_its_parent() {
    let ds = "DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000";
    let (line, severity, text, hint) = one(&["zone: zz static", &format!("data: zz {ds}")]);
    assert_eq!((line, severity), (2, Severity::Error));
    assert_eq!(text, "local-data: no local-zone encloses the parent of zz., where its DS record belongs");
    assert_eq!(hint, "add: local-zone: \".\" transparent");
    assert_eq!(one(&[&format!("data: a.b.i {ds}"), "data: x.y CH TXT a"]).0, 1);
    assert_eq!(problems(&[&format!("data: a.b.i {ds}"), "data: a.c.i A 192.0.2.1"]), []);
}

#[test]
fn everything_is_reported_in_one_go_and_in_order() {
    let all = problems(&[
        "zone: a static",
        "data: b.r A 192.0.2.1",
        "data: c.r A 192.0.2.1",
        "zone: r redirect",
        "zone: a deny",
    ]);
    assert_eq!(all.iter().map(|p| p.origin.line).collect::<Vec<_>>(), [1, 2, 3]);
}
