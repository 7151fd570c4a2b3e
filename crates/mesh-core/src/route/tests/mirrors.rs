use http::HeaderValue;

use crate::head::Head;
use crate::resource::{HeaderMatch, MirrorCluster, MirrorPolicy};
use crate::route::mirrors;
use crate::testing::{get, randoms};

fn to(cluster: &str) -> MirrorPolicy {
    MirrorPolicy::new(MirrorCluster::Cluster(cluster.into()))
}

#[test]
fn shadow_stands_before_the_port() {
    let plain = to("c");
    let bare = MirrorPolicy { disable_shadow_host_suffix_append: true, ..to("c") };
    let host = Some(HeaderValue::from_static("lit:1"));
    let literal = MirrorPolicy { host_rewrite: host, ..to("c") };
    let table = [
        (&plain, "a", "a-shadow"),
        (&plain, "a:80", "a-shadow:80"),
        (&plain, "[::1]:80", "[::1]-shadow:80"),
        (&plain, "[::1]", "[::1]-shadow"),
        (&bare, "a:80", "a:80"),
        (&literal, "a:80", "lit:1"),
    ];
    let request = get("/", &[]);
    for (policy, authority, want) in table {
        let policies = [policy.clone()];
        let mirror = mirrors(&policies, &Head::of(&request), 1).next().unwrap();
        assert_eq!(mirror.authority(authority), want, "{policy:?}");
    }
}

#[test]
fn header_names_the_cluster_or_there_is_no_copy() {
    let header = MirrorCluster::Header(HeaderMatch::Header(http::HeaderName::from_static("x-c")));
    let policies = [MirrorPolicy::new(header), to("fixed")];
    let clusters = |headers: &[(&'static str, &str)]| -> Vec<String> {
        let request = get("/", headers);
        let found = mirrors(&policies, &Head::of(&request), 1);
        found.map(|mirror| mirror.cluster.to_owned()).collect()
    };
    assert_eq!(clusters(&[("x-c", "one"), ("x-c", "two")]), ["one", "fixed"]);
    assert_eq!(clusters(&[("x-c", "")]), ["fixed"]);
    assert_eq!(clusters(&[]), ["fixed"]);
}

#[test]
fn copies_take_their_shares() {
    const DRAWS: usize = 4_000;
    let request = get("/", &[]);
    for (share, want) in [(Some(0), 0.0), (Some(250_000), 0.25), (None, 1.0), (Some(u32::MAX), 1.0)]
    {
        let policies = [MirrorPolicy { runtime_fraction: share, ..to("c") }];
        let draw = |random: &u64| mirrors(&policies, &Head::of(&request), *random).next().is_some();
        let copied = randoms(DRAWS).filter(draw).count() as f64;
        let mean = want * DRAWS as f64;
        let spread = 3.0 * (mean * (1.0 - want)).sqrt();
        assert!((copied - mean).abs() <= spread, "{share:?}: {copied}");
    }
}
