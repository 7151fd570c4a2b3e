//! The corpus as tests.

use std::fs;
use std::path::Path;

/// Runs a target over its corpus and over bytes of a generator that is the same in every run.
fn runs(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("each target has a corpus") {
        target(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in (0..4_000).map(|run| run % 400) {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        target(&bytes);
    }
}

#[test]
fn ads_session_tells_servers_what_is_wanted() {
    runs("ads_session", crate::ads_session::run);
}

#[test]
fn bootstrap_is_read_or_refused_with_reasons() {
    runs("bootstrap", crate::bootstrap::run);
}

#[test]
fn header_matcher_decides_as_its_model() {
    runs("header_matcher", crate::header_matcher::run);
}

#[test]
fn path_normalization_is_final_and_as_its_model() {
    runs("path_normalization", crate::path_normalization::run);
}

#[test]
fn rbac_decides_as_its_model() {
    runs("rbac", crate::rbac::run);
}

#[test]
fn route_compile_never_panics() {
    runs("route_compile", crate::route_compile::run);
}

#[test]
fn route_match_decides_as_a_scan() {
    runs("route_match", crate::route_match::run);
}

#[test]
fn clusters_compile_and_are_picked_from() {
    runs("cluster_decode", crate::resources::cluster);
}

#[test]
fn endpoints_after_others_are_as_if_all_were_read() {
    runs("endpoints_decode", crate::resources::endpoints);
}

#[test]
fn listeners_never_panic() {
    runs("listener_decode", crate::resources::listener);
}

#[test]
fn secrets_never_panic() {
    runs("secret_decode", crate::resources::secret);
}
