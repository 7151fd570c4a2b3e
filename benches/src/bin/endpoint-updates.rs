//! What an update of 10,000 endpoints costs from the bytes of a response to live tables, beside
//! what decoding the message alone costs; and the first sync and the memory of many clusters.
//!
//! CPU time of this thread, medians of interleaved rounds.

//!
//! `endpoint-updates CLUSTERS` does one first sync of so many clusters and nothing else, for
//! profilers.

fn main() {
    match std::env::args().nth(1).and_then(|clusters| clusters.parse().ok()) {
        Some(clusters) => mesh_benches::updates::sync_once(clusters),
        None => mesh_benches::updates::report(),
    }
}
