//! What an update of 10,000 endpoints costs from the bytes of a response to live tables, beside
//! what decoding the message alone costs; and the first sync and the memory of many clusters.
//!
//! CPU time of this thread, medians of interleaved rounds.

fn main() {
    mesh_benches::updates::report();
}
