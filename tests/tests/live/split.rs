//! Weights, counted.

use std::collections::BTreeMap;

use mesh_tests::{Backend, Control, get, mesh_with_seed, yaml};
use mesh_tower::Channel;

const REQUESTS: u32 = 10_000;

/// Three standard deviations of a share of 90 % among 10,000, in percent.
const TOLERANCE: f64 = 0.9;

#[tokio::test]
async fn ninety_to_ten_is_ninety_to_ten() {
    let _turn = super::turn().await;
    let backends = Backend::versions("echo", 2).await;
    let http = "  - route:\n    - {destination: {host: echo, subset: v1}, weight: 90}\n    \
                - {destination: {host: echo, subset: v2}, weight: 10}\n";
    let files = [
        ("service.yaml", yaml::service_of("echo", 9080, "HTTP", &backends)),
        ("subsets.yaml", yaml::subsets("echo", &["v1", "v2"])),
        ("routes.yaml", yaml::routes("echo", http)),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    // One after the other, so that the same draws fall to the same requests in every run.
    let mesh = mesh_with_seed(control.xds(), 90_10);
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    let mut counts = BTreeMap::new();
    for _ in 0..REQUESTS {
        let answer = get(&channel, "/").await.unwrap();
        *counts.entry(answer.version().to_owned()).or_insert(0) += 1;
    }
    let share = f64::from(counts["v1"]) / f64::from(REQUESTS) * 100.0;
    println!("v1 served {share:.2} % of {REQUESTS}, 90 % expected, {TOLERANCE} tolerated");
    assert_eq!(counts.values().sum::<u32>(), REQUESTS);
    assert!((share - 90.0).abs() <= TOLERANCE, "v1 served {share:.2} %");
}
