use std::cmp::Reverse;

use proptest::prelude::*;

use crate::resource::{RouteConfiguration, VirtualHost};
use crate::route::hosts::{HostIndex, without_port};
use crate::testing::text_of;

fn hosts(domains: &[&[&str]]) -> HostIndex {
    let host = |domains: &&[&str]| VirtualHost::new("host", domains.iter(), Vec::new());
    HostIndex::new(&domains.iter().map(host).collect::<Vec<_>>())
}

#[test]
fn exact_beats_longest_suffix_beats_longest_prefix_beats_any() {
    let index = hosts(&[
        &["*"],
        &["foo.*", "f*"],
        &["*.bar.com", "*.com"],
        &["*.foo.bar.com"],
        &["foo.bar.com", "foo.bar.com:80"],
    ]);
    let table = [
        ("foo.bar.com", 4),
        ("foo.bar.com:80", 4),
        ("FOO.Bar.COM:80", 4),
        ("foo.bar.com:81", 1),
        ("x.foo.bar.com", 3),
        ("x.bar.com", 2),
        ("foo.com", 2),
        ("foo.org", 1),
        ("fo", 1),
        ("bar.org", 0),
        ("", 0),
    ];
    for (authority, host) in table {
        assert_eq!(index.find(authority), Some(host), "{authority:?}");
    }
}

#[test]
fn wildcard_stands_for_at_least_one_character() {
    let index = hosts(&[&["*.x", "foo.*"]]);
    for authority in ["x", ".x", "foo", "foo.", "", "y"] {
        assert_eq!(index.find(authority), None, "{authority:?}");
    }
    for authority in ["a.x", "foo.a", "..x"] {
        assert_eq!(index.find(authority), Some(0), "{authority:?}");
    }
}

#[test]
fn first_of_two_hosts_with_the_same_domain_counts() {
    let index = hosts(&[&["a"], &["A", "*.b", "c.*", "*"], &["*.b", "c.*", "*"]]);
    for (authority, host) in [("a", 0), ("x.b", 1), ("c.x", 1), ("y", 1)] {
        assert_eq!(index.find(authority), Some(host), "{authority:?}");
    }
}

#[test]
fn case_does_not_count_beyond_the_stack_buffer() {
    let long = "a".repeat(1000);
    let index = hosts(&[&[&long], &["*.é"]]);
    assert_eq!(index.find(&long.to_uppercase()), Some(0));
    // Lengths that fall inside a character, and a character that is not ASCII.
    assert_eq!(index.find("ééX.é"), Some(1));
    assert_eq!(index.find("éé"), None);
}

#[test]
fn no_hosts_find_nothing() {
    assert_eq!(hosts(&[]).find("a"), None);
    assert_eq!(hosts(&[&[]]).find(""), None);
}

#[test]
fn configuration_finds_the_host_of_an_authority() {
    let domains = ["*", "api.*", "*.com", "*.example.com", "api.example.com", "api.example.*"];
    let hosts = domains.map(|domain| VirtualHost::new(domain, [domain], Vec::new()));
    let mut routes = RouteConfiguration::new("r", hosts.to_vec());
    for (authority, want) in [
        ("API.example.com", "api.example.com"),
        ("www.example.com", "*.example.com"),
        ("other.com", "*.com"),
        ("api.example.org", "api.example.*"),
        ("api.org", "api.*"),
        (".com", "*"),
        ("elsewhere", "*"),
        ("api.example.com:80", "api.example.*"),
    ] {
        assert_eq!(&*routes.virtual_host(authority).unwrap().name, want, "{authority}");
    }
    routes.ignore_port_in_host_matching = true;
    assert_eq!(&*routes.virtual_host("api.example.com:80").unwrap().name, "api.example.com");
    assert!(RouteConfiguration::new("r", Vec::new()).virtual_host("a").is_none());
}

#[test]
fn port_is_what_follows_the_last_colon_outside_brackets() {
    for (authority, want) in [
        ("a:80", "a"),
        ("a", "a"),
        ("a:", "a"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", ":"),
        ("", ""),
    ] {
        assert_eq!(without_port(authority), want);
    }
}

fn domain() -> impl Strategy<Value = String> {
    let text = || text_of(&['a', 'b', '.'], 1..5);
    prop_oneof![
        4 => text(),
        3 => text().prop_map(|text| format!("*{text}")),
        3 => text().prop_map(|text| format!("{text}*")),
        1 => Just("*".to_owned()),
    ]
}

/// Looks at every domain of every host.
fn naive(hosts: &[Vec<String>], authority: &str) -> Option<u32> {
    let authority = authority.to_ascii_lowercase();
    let rank = |domain: &str| {
        if domain == "*" {
            return Some((3, Reverse(0)));
        }
        let longer = domain.len() <= authority.len();
        if let Some(suffix) = domain.strip_prefix('*') {
            (longer && authority.ends_with(suffix)).then_some((1, Reverse(domain.len())))
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (longer && authority.starts_with(prefix)).then_some((2, Reverse(domain.len())))
        } else {
            (domain == authority).then_some((0, Reverse(0)))
        }
    };
    let ranks = (0..).zip(hosts).filter_map(|(number, domains)| {
        Some((domains.iter().filter_map(|domain| rank(domain)).min()?, number))
    });
    ranks.min().map(|(_, number)| number)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn index_finds_what_a_full_search_finds(
        domains in prop::collection::vec(prop::collection::vec(domain(), 0..4), 0..8),
        authorities in prop::collection::vec(text_of(&['a', 'b', 'A', 'B', '.'], 0..7), 1..20),
    ) {
        let host = |domains: &Vec<String>| VirtualHost::new("host", domains, Vec::new());
        let index = HostIndex::new(&domains.iter().map(host).collect::<Vec<_>>());
        for authority in authorities {
            prop_assert_eq!(index.find(&authority), naive(&domains, &authority), "{}", authority);
        }
    }
}
