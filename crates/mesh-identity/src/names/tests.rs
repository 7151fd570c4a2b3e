use mesh_core::resource::{SanKind, StringMatcher, SubjectAltNameMatcher};

use super::SubjectNames;

fn names() -> SubjectNames {
    SubjectNames {
        dns: vec!["a.example.com".to_owned(), "*.Wild.example.com".to_owned(), String::new()],
        uris: vec!["spiffe://td/a".to_owned()],
        emails: vec!["who@example.com".to_owned()],
        ips: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
    }
}

fn has(kind: SanKind, value: StringMatcher) -> bool {
    names().matches(&[SubjectAltNameMatcher { kind, value }])
}

#[test]
fn exact_dns_names_match_as_host_names_do() {
    for (wanted, expected) in [
        ("a.example.com", true),
        ("A.Example.Com.", true),
        ("x.wild.example.com", true),
        ("X.WILD.EXAMPLE.COM", true),
        ("x.y.wild.example.com", false),
        ("wild.example.com", false),
        (".wild.example.com", false),
        ("*.wild.example.com", true),
        ("b.example.com", false),
        ("", false),
    ] {
        assert_eq!(has(SanKind::Any, StringMatcher::exact(wanted)), expected, "{wanted}");
        assert_eq!(has(SanKind::Dns, StringMatcher::exact(wanted)), expected, "{wanted}");
    }
}

#[test]
fn wildcards_elsewhere_stand_for_nothing() {
    for (name, wanted) in [
        ("*", "a"),
        ("*.com", "a.com"),
        ("*.*.example.com", "a.b.example.com"),
        ("a*.example.com", "ab.example.com"),
        ("x.*.example.com", "x.y.example.com"),
    ] {
        let names = SubjectNames { dns: vec![name.to_owned()], ..SubjectNames::default() };
        let value = StringMatcher::exact(wanted);
        assert!(!names.matches(&[SubjectAltNameMatcher { kind: SanKind::Dns, value }]), "{name}");
    }
}

#[test]
fn each_kind_of_name_is_looked_at_where_it_is_wanted() {
    let suffix = |text: &str| StringMatcher::Suffix { value: text.into(), ignore_case: true };
    for (kind, value, expected) in [
        (SanKind::Uri, StringMatcher::exact("spiffe://td/a"), true),
        (SanKind::Uri, StringMatcher::exact("SPIFFE://td/a"), false),
        (SanKind::Dns, StringMatcher::exact("spiffe://td/a"), false),
        (SanKind::Email, suffix("@EXAMPLE.COM"), true),
        (SanKind::Uri, suffix("@EXAMPLE.COM"), false),
        (SanKind::IpAddress, StringMatcher::exact("10.0.0.1"), true),
        (SanKind::IpAddress, StringMatcher::exact("2001:db8::1"), true),
        (SanKind::IpAddress, StringMatcher::exact("2001:0db8::0001"), false),
        (SanKind::Any, StringMatcher::exact("10.0.0.1"), true),
    ] {
        assert_eq!(has(kind, value.clone()), expected, "{kind:?} {value}");
    }
}

#[test]
fn no_matchers_want_nothing_and_no_names_meet_nothing() {
    assert!(SubjectNames::default().matches(&[]));
    let any = StringMatcher::Prefix { value: "".into(), ignore_case: false };
    let any = [SubjectAltNameMatcher { kind: SanKind::Any, value: any }];
    assert!(!SubjectNames::default().matches(&any));
    let empty = SubjectNames { dns: vec![String::new()], ..SubjectNames::default() };
    assert!(!empty.matches(&any));
    assert!(names().matches(&any));
}
