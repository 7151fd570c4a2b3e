//! Admission control, as a control plane sends it: requests are refused when too many failed.

use mesh_tests::get;
use mesh_tests::world::Notes;
use mesh_tests::written::Written;
use serde_json::json;

const FILTER: &str = "envoy.extensions.filters.http.admission_control.v3.AdmissionControl";

#[tokio::test]
async fn requests_are_refused_as_often_as_their_failures_say() {
    let failing =
        Notes::answering(|number| if number < 50 { (200, &[]) } else { (500, &[]) }).await;
    let config = json!({
        "success_criteria": {"http_criteria": {"http_success_status": [{"start": 100, "end": 400}]}},
        "sampling_window": "120s",
        "max_rejection_probability": {"default_value": {"value": 90}, "runtime_key": "k"},
    });
    let written = Written::new(&[failing.address()]).with_filter(FILTER, &config);
    let live = written.channel().await;
    assert_eq!(live.mesh.findings(), []);
    for _ in 0..50 {
        assert_eq!(get(&live.channel, "/").await.unwrap().status, 200);
    }
    let mut refused = 0;
    for _ in 0..300 {
        let answer = get(&live.channel, "/").await.unwrap();
        if answer.status == 503 {
            assert!(answer.body.is_empty());
            refused += 1;
        } else {
            assert_eq!(answer.status, 500);
        }
    }
    assert_eq!(failing.seen().len(), 350 - refused, "what is refused crosses no socket");
    // By the formula some 130 of 300: (n - 50 / 0.95) / (n + 1) grows from 0 to 0.76.
    assert!((90..220).contains(&refused), "{refused} of 300");
}
