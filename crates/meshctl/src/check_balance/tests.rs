use serde_json::{Value, json};

use super::check;

fn run(record: &Value) -> Value {
    serde_json::to_value(check(3, &record.to_string())).unwrap()
}

fn endpoint(last: u8) -> Value {
    let address = json!({"address": format!("10.0.0.{last}"), "port_value": 80});
    json!({"endpoint": {"address": {"socket_address": address}}})
}

fn endpoints(priorities: &[&[u8]]) -> Value {
    let locality = |(priority, list): (usize, &&[u8])| {
        let list: Vec<Value> = list.iter().map(|last| endpoint(*last)).collect();
        json!({"priority": priority, "lb_endpoints": list})
    };
    json!({"endpoints": priorities.iter().enumerate().map(locality).collect::<Vec<_>>()})
}

#[test]
fn keys_lead_to_endpoints() {
    let record = json!({
        "id": "ring", "cluster": {"lb_policy": "RING_HASH"}, "endpoints": endpoints(&[&[1, 2, 3]]),
        "keys": ["a", "b"],
    });
    let answer = run(&record);
    assert_eq!(answer["id"], "ring");
    assert!(answer["picks"]["a"].as_str().unwrap().starts_with("10.0.0."), "{answer}");
    assert_eq!(answer["picks"], run(&record)["picks"]);
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
}

#[test]
fn draws_follow_priorities() {
    let record = json!({
        "id": 1, "cluster": {"type": "STRICT_DNS"}, "endpoints": endpoints(&[&[1, 2], &[3]]),
        "unhealthy": ["10.0.0.1:80"], "draws": 4000, "seed": 7,
    });
    let answer = run(&record);
    assert_eq!((&answer["panic"], &answer["failed"]), (&json!(false), &json!(0)));
    // Half of the first priority is well, which takes 70 % of the load.
    let first = answer["priorities"]["0"].as_u64().unwrap();
    assert!(first.abs_diff(2800) < 90, "{answer}");
    assert_eq!(answer["shares"]["10.0.0.2:80"].as_u64().unwrap(), first);
    assert_eq!(answer["shares"]["10.0.0.3:80"].as_u64().unwrap(), 4000 - first);
}

#[test]
fn endpoints_of_the_cluster_itself_are_used() {
    let cluster = json!({"load_assignment": endpoints(&[&[9]])});
    let answer = run(&json!({"id": 1, "cluster": cluster, "keys": ["k"]}));
    assert_eq!(answer["picks"], json!({"k": "10.0.0.9:80"}));
    let none = run(&json!({"id": 1, "cluster": {}, "keys": ["k"]}));
    assert_eq!(none["picks"], json!({"k": null}));
}

#[test]
fn dropped_requests_are_told() {
    let mut endpoints = endpoints(&[&[1]]);
    endpoints["policy"] =
        json!({"drop_overloads": [{"category": "lb", "drop_percentage": {"numerator": 50}}]});
    let record = json!({"id": 1, "cluster": {}, "endpoints": endpoints, "draws": 1000});
    let answer = run(&record);
    let dropped = answer["dropped"]["lb"].as_u64().unwrap();
    assert!(dropped.abs_diff(500) < 60, "{answer}");
    assert_eq!(answer["shares"]["10.0.0.1:80"].as_u64().unwrap(), 1000 - dropped);
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |cluster: Value, text: &str| {
        let record = json!({"id": 5, "cluster": cluster, "keys": []});
        let answer = run(&record);
        assert_eq!(answer["id"], 5);
        assert!(answer["error"].as_str().unwrap().contains(text), "{answer}");
    };
    refused(json!({"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 10}}), "table_size");
    refused(json!({"lb_policy": 1.5}), "lb_policy");
    let neither = run(&json!({"id": 5, "cluster": {}}));
    assert!(neither["error"].as_str().unwrap().contains("keys and draws"), "{neither}");
    let stranger = json!({"cluster": {}, "unhealthy": ["10.0.0.1:80"], "keys": []});
    assert!(run(&stranger)["error"].as_str().unwrap().contains("is no endpoint"));
    assert!(check(1, "{").error.is_some());
}
