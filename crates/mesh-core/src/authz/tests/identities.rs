use super::*;
use crate::origin::TlsOrigin;
use crate::resource::{Name, SanMatcher};

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::from(*name)).collect()
}

fn peer(uri: &[&str], dns: &[&str], subject: &str) -> Call {
    let (uri_sans, dns_sans, subject) = (names(uri), names(dns), subject.into());
    let server_name = "".into();
    let (presented, validated) = (true, true);
    let tls = TlsOrigin { presented, validated, server_name, uri_sans, dns_sans, subject };
    Call::new("/").from(|origin| origin.tls = Some(tls))
}

fn named(name: &str) -> Condition {
    Condition::Authenticated(Some(StringMatcher::exact(name)))
}

#[test]
fn any_tls_peer_is_authenticated_and_no_plain_one() {
    let anyone = Condition::Authenticated(None);
    for dialect in BOTH {
        assert!(!Call::new("/").meets(&anyone, dialect));
        let bare = Call::new("/").from(|origin| origin.tls = Some(TlsOrigin::default()));
        assert!(bare.meets(&anyone, dialect), "also without a certificate");
        assert!(bare.meets(&named(""), dialect), "whose name is then empty");
        assert!(!bare.meets(&named("a"), dialect));
        assert!(!Call::new("/").meets(&named(""), dialect));
    }
}

#[test]
fn uri_names_come_before_dns_names_and_the_subject() {
    let all = || peer(&["spiffe://td/a", "spiffe://td/b"], &["a.local", "b.local"], "CN=a");
    let dns = || peer(&[], &["a.local", "b.local"], "CN=a");
    let subject = || peer(&[], &[], "CN=a");
    // In HTTP the search goes on to the next kind of name, in gRPC the first kind is the identity.
    let table = [
        (all(), "spiffe://td/a", true, true),
        (all(), "spiffe://td/b", true, true),
        (all(), "b.local", true, false),
        (all(), "CN=a", true, false),
        (all(), "c.local", false, false),
        (dns(), "a.local", true, true),
        (dns(), "b.local", true, true),
        (dns(), "CN=a", true, false),
        (dns(), "", false, false),
        (subject(), "CN=a", true, true),
        (subject(), "", false, false),
    ];
    for (row, (call, name, http, grpc)) in table.into_iter().enumerate() {
        assert_eq!(call.meets(&named(name), Dialect::Http), http, "row {row}");
        assert_eq!(call.meets(&named(name), Dialect::Grpc), grpc, "row {row}");
    }
}

#[test]
fn mtls_asks_for_a_verified_certificate() {
    let anyone = Condition::MtlsAuthenticated(None);
    let table = [(false, false, false), (false, true, false), (true, false, false)];
    for (presented, validated, want) in table.into_iter().chain([(true, true, true)]) {
        let call = peer(&["spiffe://td/a"], &[], "").from(|origin| {
            let tls = origin.tls.as_mut().unwrap();
            (tls.presented, tls.validated) = (presented, validated);
        });
        assert_eq!(call.meets(&anyone, Dialect::Http), want, "{presented} {validated}");
        let uri = SanMatcher::Uri(StringMatcher::exact("spiffe://td/a"));
        let uri = Condition::MtlsAuthenticated(Some(uri));
        assert_eq!(call.meets(&uri, Dialect::Http), want, "{presented} {validated}");
    }
    assert!(!Call::new("/").meets(&anyone, Dialect::Http));
}

#[test]
fn san_matchers_look_at_names_of_their_kind() {
    let call = || peer(&["spiffe://td/a", "spiffe://td/b"], &["a.local", "*.b.local"], "CN=a");
    let uri = |name: &str| SanMatcher::Uri(StringMatcher::exact(name));
    let dns = |name: &str| SanMatcher::Dns(StringMatcher::exact(name));
    let prefix = |value: &str| {
        SanMatcher::Dns(StringMatcher::Prefix { value: value.into(), ignore_case: false })
    };
    let table = [
        (uri("spiffe://td/a"), true),
        (uri("spiffe://td/b"), true),
        (uri("a.local"), false),
        (uri("CN=a"), false),
        (dns("a.local"), true),
        (dns("A.Local"), true),
        (dns("x.a.local"), false),
        (dns("x.b.local"), true),
        (dns("x.B.local"), true),
        (dns("*.b.local"), true),
        (dns("b.local"), false),
        (dns(".b.local"), false),
        (dns("x.y.b.local"), false),
        (dns("spiffe://td/a"), false),
        (prefix("a."), true),
        (prefix("x."), false),
        (prefix("*."), true),
    ];
    for (san, want) in table {
        let condition = Condition::MtlsAuthenticated(Some(san));
        assert_eq!(call().meets(&condition, Dialect::Http), want, "{condition:?}");
    }
}

#[test]
fn server_name_is_empty_without_tls() {
    let asked = |name: &str| Condition::RequestedServerName(StringMatcher::exact(name));
    let plain = || Call::new("/").from(|origin| origin.local = Some(([10, 0, 0, 1], 80).into()));
    assert!(plain().meets(&asked(""), Dialect::Http));
    assert!(!plain().meets(&asked("a"), Dialect::Http));
    let call = peer(&[], &[], "").from(|origin| {
        origin.tls.as_mut().unwrap().server_name = "a".into();
    });
    assert!(call.meets(&asked("a"), Dialect::Grpc));
    assert!(!call.meets(&asked(""), Dialect::Grpc));
}
