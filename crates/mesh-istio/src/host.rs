//! Names of services: expansion of short ones, and the patterns that may match one.

use std::net::IpAddr;

/// The full name that `host` means in an object of namespace `namespace`.
///
/// `*`, addresses and anything with a dot are final; a name without a dot is a service of the
/// namespace. So `reviews.prod` stays as it is, here as in Istio.
pub(crate) fn resolve(host: &str, namespace: &str, domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains(['.', '*']) || host.parse::<IpAddr>().is_ok() {
        return host;
    }
    format!("{host}.{namespace}.svc.{domain}")
}

/// The full names a client of namespace `namespace` may mean by `host`, likeliest first.
///
/// More forms than [`resolve`] accepts in objects: what applications dial (`reviews.prod`,
/// `reviews.prod.svc`, a trailing dot) is completed as a resolver's search list would.
pub(crate) fn dialled(host: &str, namespace: &str, domain: &str) -> Vec<String> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.parse::<IpAddr>().is_ok() {
        return vec![host];
    }
    let search = [
        format!("{host}.{namespace}.svc.{domain}"),
        format!("{host}.svc.{domain}"),
        format!("{host}.{domain}"),
    ];
    // A dotted name is first taken as it stands, a plain one first within the namespace.
    if host.contains('.') {
        std::iter::once(host).chain(search.into_iter().skip(1)).collect()
    } else {
        search.into_iter().take(1).chain([host]).collect()
    }
}

/// Splits `host:port`; IPv6 addresses may be in brackets.
pub(crate) fn split_port(name: &str) -> (&str, Option<u16>) {
    let unbracket = |host: &'_ str| -> Option<(usize, usize)> {
        host.strip_prefix('[')?.strip_suffix(']').map(|inner| (1, inner.len() + 1))
    };
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            match port.parse::<u16>() {
                Ok(port) => (host, Some(port)),
                Err(_) => (name, None),
            }
        }
        _ => (name, None),
    };
    match unbracket(host) {
        Some((start, end)) => (&host[start..end], port),
        None => (host, port),
    }
}

/// `host`, then the wildcards that hold it, most specific first: `a.b.c` gives `a.b.c`, `*.b.c`,
/// `*.c`, `*`.
pub(crate) fn patterns(host: &str) -> impl Iterator<Item = String> + '_ {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let parents = std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, p)| p));
    // Of `*.b.c`, the first parent is the wildcard itself.
    let skipped = 1;
    std::iter::once(host.to_owned())
        .chain(parents.skip(skipped).map(|parent| format!("*.{parent}")))
        .chain((host != "*").then(|| "*".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_a_dot_are_expanded_in_objects() {
        let resolve = |host| resolve(host, "prod", "cluster.local");
        assert_eq!(resolve("reviews"), "reviews.prod.svc.cluster.local");
        for host in ["reviews.prod", "*", "*.example.com", "10.0.0.1", "::1"] {
            assert_eq!(resolve(host), host);
        }
    }

    #[test]
    fn clients_may_shorten_at_any_dot() {
        let dialled = |host| dialled(host, "ns", "cluster.local");
        assert_eq!(dialled("Foo")[0], "foo.ns.svc.cluster.local");
        assert!(dialled("foo.ns").contains(&"foo.ns.svc.cluster.local".to_owned()));
        assert!(dialled("foo.ns.svc").contains(&"foo.ns.svc.cluster.local".to_owned()));
        assert_eq!(dialled("foo.ns.svc.cluster.local.")[0], "foo.ns.svc.cluster.local");
        assert_eq!(dialled("example.com")[0], "example.com");
        assert_eq!(dialled("10.0.0.1"), ["10.0.0.1"]);
    }

    #[test]
    fn splits_ports_off_names_and_addresses() {
        for (name, parts) in [
            ("foo:80", ("foo", Some(80))),
            ("foo", ("foo", None)),
            ("[::1]:80", ("::1", Some(80))),
            ("::1", ("::1", None)),
            ("[::1]", ("::1", None)),
            ("foo:http", ("foo:http", None)),
            ("foo:99999", ("foo:99999", None)),
        ] {
            assert_eq!(split_port(name), parts, "{name}");
        }
    }

    #[test]
    fn patterns_go_from_specific_to_general() {
        assert_eq!(patterns("a.b.c").collect::<Vec<_>>(), ["a.b.c", "*.b.c", "*.c", "*"]);
        assert_eq!(patterns("*.b.c").collect::<Vec<_>>(), ["*.b.c", "*.c", "*"]);
        assert_eq!(patterns("*").collect::<Vec<_>>(), ["*"]);
    }

    proptest::proptest! {
        #[test]
        fn splitting_never_panics(name in "[\\[\\]:a-z0-9.é]{0,20}") {
            assert!(name.contains(split_port(&name).0));
        }

        #[test]
        fn what_was_joined_splits_again(host in "[a-z0-9.-]{1,20}", port: u16) {
            assert_eq!(split_port(&format!("{host}:{port}")), (host.as_str(), Some(port)));
        }

        #[test]
        fn every_pattern_holds_the_host(host in "[a-z]{1,3}(\\.[a-z]{1,3}){0,4}") {
            for pattern in patterns(&host).skip(1) {
                assert!(host.ends_with(pattern.strip_prefix('*').unwrap()), "{pattern}");
            }
        }
    }
}
