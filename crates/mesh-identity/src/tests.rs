use super::*;

fn parse(uri: &str) -> Result<SpiffeId, ErrorKind> {
    uri.parse().map_err(|error: Error| error.kind())
}

#[test]
fn accepts_what_the_specification_allows() {
    for (uri, domain, path) in [
        ("spiffe://cluster.local", "cluster.local", ""),
        ("spiffe://cluster.local/ns/default/sa/reviews", "cluster.local", "/ns/default/sa/reviews"),
        ("spiffe://a-b_c.1/X", "a-b_c.1", "/X"),
        ("spiffe://td/...", "td", "/..."),
        ("spiffe://td/.hidden/A_b-9", "td", "/.hidden/A_b-9"),
    ] {
        let id = parse(uri).unwrap();
        assert_eq!(id.trust_domain().as_str(), domain);
        assert_eq!(id.path(), path);
        assert_eq!(id.to_string(), uri);
        assert_eq!(id.as_str(), uri);
    }
}

#[test]
fn names_the_rule_that_is_broken() {
    for (uri, kind) in [
        ("", ErrorKind::Scheme),
        ("cluster.local/ns/x", ErrorKind::Scheme),
        ("https://cluster.local/x", ErrorKind::Scheme),
        ("SPIFFE://cluster.local/x", ErrorKind::Scheme),
        ("spiffe:/cluster.local/x", ErrorKind::Scheme),
        (" spiffe://cluster.local/x", ErrorKind::Scheme),
        ("spiffe://", ErrorKind::EmptyTrustDomain),
        ("spiffe:///x", ErrorKind::EmptyTrustDomain),
        ("spiffe://Cluster.local/x", ErrorKind::TrustDomainCharacter),
        ("spiffe://clüster.local/x", ErrorKind::TrustDomainCharacter),
        ("spiffe://cluster local/x", ErrorKind::TrustDomainCharacter),
        ("spiffe://[::1]/x", ErrorKind::Port),
        ("spiffe://td:80/x", ErrorKind::Port),
        ("spiffe://td:/x", ErrorKind::Port),
        ("spiffe://user@td/x", ErrorKind::UserInfo),
        ("spiffe://user:secret@td/x", ErrorKind::UserInfo),
        ("spiffe://%74d/x", ErrorKind::PercentEncoding),
        ("spiffe://td/%41", ErrorKind::PercentEncoding),
        ("spiffe://td/%2e%2e/x", ErrorKind::PercentEncoding),
        ("spiffe://td?x=1", ErrorKind::Query),
        ("spiffe://td/x?", ErrorKind::Query),
        ("spiffe://td#x", ErrorKind::Fragment),
        ("spiffe://td/x#?", ErrorKind::Fragment),
        ("spiffe://td/", ErrorKind::TrailingSlash),
        ("spiffe://td/x/", ErrorKind::TrailingSlash),
        ("spiffe://td//x", ErrorKind::EmptySegment),
        ("spiffe://td/a//b", ErrorKind::EmptySegment),
        ("spiffe://td/.", ErrorKind::DotSegment),
        ("spiffe://td/a/../b", ErrorKind::DotSegment),
        ("spiffe://td/a b", ErrorKind::PathCharacter),
        ("spiffe://td/a~b", ErrorKind::PathCharacter),
        ("spiffe://td/a\0", ErrorKind::PathCharacter),
        ("spiffe://td/ünï", ErrorKind::PathCharacter),
        ("spiffe://td/a\\b", ErrorKind::PathCharacter),
    ] {
        assert_eq!(parse(uri), Err(kind), "{uri:?}");
    }
}

#[test]
fn holds_the_limits_of_length() {
    let domain = "d".repeat(TrustDomain::MAX_BYTES);
    assert!(domain.parse::<TrustDomain>().is_ok());
    assert_eq!(parse(&format!("spiffe://{domain}d/x")), Err(ErrorKind::TrustDomainTooLong));

    let longest = format!("spiffe://td/{}", "p".repeat(SpiffeId::MAX_BYTES - 12));
    assert_eq!(parse(&longest).unwrap().as_str().len(), SpiffeId::MAX_BYTES);
    assert_eq!(parse(&format!("{longest}p")), Err(ErrorKind::TooLong));
}

#[test]
fn builds_the_identity_of_a_service_account() {
    let domain: TrustDomain = "cluster.local".parse().unwrap();
    let id = SpiffeId::for_service_account(&domain, "prod", "reviews").unwrap();
    assert_eq!(id.as_str(), "spiffe://cluster.local/ns/prod/sa/reviews");

    for (namespace, account, kind) in [
        ("prod/sa/root", "reviews", ErrorKind::PathCharacter),
        ("prod", "..", ErrorKind::DotSegment),
        ("", "reviews", ErrorKind::EmptySegment),
        ("prod", "a%2fb", ErrorKind::PercentEncoding),
    ] {
        let error = SpiffeId::for_service_account(&domain, namespace, account).unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn tells_the_rule_in_one_lower_case_line() {
    let error = "spiffe://td/".parse::<SpiffeId>().unwrap_err();
    assert_eq!(error.to_string(), "the path ends with a slash");
    let error = "".parse::<TrustDomain>().unwrap_err();
    assert_eq!(error.to_string(), "the trust domain is missing");
}

#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<SpiffeId>();
    check::<TrustDomain>();
    check::<Error>();
}

#[test]
fn what_holds_keys_is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<CertificateProvider>();
    check::<Identity>();
    check::<Trust>();
    check::<ClientTls>();
    check::<ServerTls>();
    check::<LoadError>();
}
