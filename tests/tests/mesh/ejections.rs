//! Outlier detection as a control plane asks for it: by rates, by gateway failures, how many at
//! once and for how long.

use mesh_core::Dialect;
use mesh_tests::world::{Notes, Script};
use mesh_tests::written::{Live, Written, call, endpoints};
use mesh_tests::{send, within};
use serde_json::{Value, json};

/// A cluster that ejects for an hour by what those fields say, looked at every 50 ms.
fn ejecting(fields: &Value) -> Value {
    let mut detection = json!({
        "interval": "0.05s", "base_ejection_time": "3600s", "max_ejection_time": "7200s",
        "max_ejection_percent": 100, "enforcing_consecutive_5xx": 0, "enforcing_success_rate": 0,
    });
    for (name, value) in fields.as_object().expect("fields") {
        detection[name] = value.clone();
    }
    let no_panic = json!({"healthy_panic_threshold": {"value": 0.0}});
    json!({"outlier_detection": detection, "common_lb_config": no_panic})
}

/// A mesh that ejects so, over some servers of which the last ones answer with that status.
async fn over(fields: &Value, dialect: Dialect, good: usize, bad: &[Script]) -> (Live, Vec<Notes>) {
    let mut servers = Vec::new();
    for script in [(|_| (200, &[("grpc-status", "0")])) as Script].repeat(good) {
        servers.push(Notes::answering(script).await);
    }
    for script in bad {
        servers.push(Notes::answering(*script).await);
    }
    let addresses: Vec<_> = servers.iter().map(Notes::address).collect();
    let written = Written::new(&[]);
    let written = written.with_cluster("things", &ejecting(fields), &[endpoints(&addresses)]);
    let live = written.channel_of(dialect).await;
    assert_eq!(live.mesh.findings(), []);
    (live, servers)
}

/// How many of so many requests reach each server.
async fn counts(live: &Live, servers: &[Notes], requests: usize) -> Vec<usize> {
    let seen = || servers.iter().map(|server| server.seen().len()).collect::<Vec<_>>();
    let before = seen();
    for _ in 0..requests {
        send(&live.channel, call("/a/b", &[])).await.unwrap();
    }
    seen().iter().zip(before).map(|(after, before)| after - before).collect()
}

#[tokio::test]
async fn endpoint_with_a_success_rate_far_below_the_others_is_left_alone() {
    let by_rate = |enforced: u32| {
        json!({
            "enforcing_success_rate": enforced, "success_rate_minimum_hosts": 4,
            "success_rate_request_volume": 2, "success_rate_stdev_factor": 1000,
        })
    };
    for dialect in [Dialect::Http, Dialect::Grpc] {
        let bad: Script = |_| (503, &[]);
        let (live, servers) = over(&by_rate(100), dialect, 3, &[bad]).await;
        let (other, others) = over(&by_rate(0), dialect, 3, &[bad]).await;
        within("its ejection", async {
            while counts(&live, &servers, 12).await[3] > 0 {
                counts(&other, &others, 12).await;
            }
        })
        .await;
        // The others take its requests, and where no ejection is carried out it keeps its own.
        assert_eq!(counts(&live, &servers, 30).await, [10, 10, 10, 0], "{dialect:?}");
        assert_eq!(counts(&other, &others, 40).await, [10; 4], "{dialect:?}");
    }
}

#[tokio::test]
async fn gateway_failures_are_counted_apart_from_other_failures() {
    let gateway = json!({
        "consecutive_gateway_failure": 3, "enforcing_consecutive_gateway_failure": 100,
    });
    for status in [502, 503, 504] {
        let bad: Script = match status {
            502 => |_| (502, &[]),
            503 => |_| (503, &[]),
            _ => |_| (504, &[]),
        };
        let (live, servers) = over(&gateway, Dialect::Http, 1, &[bad]).await;
        assert_eq!(counts(&live, &servers, 20).await, [17, 3], "{status}");
    }
    let (live, servers) = over(&gateway, Dialect::Http, 1, &[|_| (500, &[])]).await;
    assert_eq!(counts(&live, &servers, 20).await, [10, 10]);
}

#[tokio::test]
async fn no_more_than_a_share_of_endpoints_is_left_alone() {
    let bad: Script = |_| (500, &[]);
    for (percent, always, left) in [(100, false, 0), (50, false, 1), (10, true, 2), (10, false, 3)]
    {
        let fields = json!({
            "consecutive_5xx": 1, "enforcing_consecutive_5xx": 100,
            "max_ejection_percent": percent, "always_eject_one_host": always,
        });
        let (live, servers) = over(&fields, Dialect::Http, 1, &[bad; 3]).await;
        counts(&live, &servers, 40).await;
        let after = counts(&live, &servers, 40).await;
        let used = after[1..].iter().filter(|count| **count > 0).count();
        assert_eq!(used, left, "{percent} % {always}: {after:?}");
    }
}

#[tokio::test]
async fn jitter_makes_an_ejection_longer() {
    let fields = |jitter: &str| {
        json!({
            "consecutive_5xx": 1, "enforcing_consecutive_5xx": 100,
            "base_ejection_time": "0.1s", "max_ejection_time_jitter": jitter,
        })
    };
    let once: Script = |number| if number == 0 { (500, &[]) } else { (200, &[]) };
    let (short, of_short) = over(&fields("0s"), Dialect::Http, 1, &[once]).await;
    let (long, of_long) = over(&fields("3600s"), Dialect::Http, 1, &[once]).await;
    for (live, servers) in [(&short, &of_short), (&long, &of_long)] {
        assert_eq!(counts(live, servers, 2).await, [1, 1]);
    }
    within("the return of the one", async { while counts(&short, &of_short, 4).await[1] == 0 {} })
        .await;
    assert_eq!(counts(&long, &of_long, 10).await, [10, 0]);
}
