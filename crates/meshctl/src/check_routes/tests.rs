use serde_json::{Value, json};

use super::check;

fn run(record: &Value) -> Value {
    serde_json::to_value(check(7, &record.to_string())).unwrap()
}

fn record(routes: &Value, request: &Value) -> Value {
    let host = json!({"name": "all", "domains": ["*"], "routes": routes});
    json!({"id": "r", "route_config": {"virtual_hosts": [host]}, "request": request})
}

fn get(path: &str) -> Value {
    json!({"method": "GET", "authority": "test.local", "path": path, "headers": []})
}

#[test]
fn tells_what_the_upstream_receives_and_answers() {
    let routes = json!([{
        "name": "all",
        "match": {"prefix": "/"},
        "route": {"cluster": "c"},
        "request_headers_to_remove": ["x-gone"],
        "response_headers_to_add": [{"header": {"key": "x-told", "value": "1"}}],
    }]);
    let mut request = get("/a?b");
    request["headers"] = json!([["x-gone", "1"], ["x-kept", "1"]]);
    let answer = run(&record(&routes, &request));
    assert_eq!(answer["id"], "r");
    let expect = &answer["expect"];
    assert_eq!(expect["outcome"], "upstream");
    assert_eq!((&expect["status"], &expect["cluster"]), (&json!(200), &json!("c")));
    assert_eq!((&expect["virtual_host"], &expect["route_name"]), (&json!("all"), &json!("all")));
    assert_eq!(expect["response_code_details"], "via_upstream");
    let upstream = &expect["upstream"];
    assert_eq!((&upstream["path"], &upstream["authority"]), (&json!("/a?b"), &json!("test.local")));
    assert_eq!(upstream["headers_removed"], json!([["x-gone", "1"]]));
    let headers = expect["response_headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-told", "1"])), "{headers:?}");
}

#[test]
fn tells_why_a_configuration_is_refused() {
    let record =
        json!({"id": 1, "request": null, "route_config": {"virtual_hosts": [{"name": "v"}]}});
    let expect = &run(&record)["expect"];
    assert_eq!(expect["outcome"], "config_rejected");
    assert_eq!(expect["error"], "route_config.virtual_hosts[0].domains: is empty");

    let record = json!({"request": null, "route_config": {"virtual_hosts": [{"domains": [1]}]}});
    let error = &run(&record)["expect"]["error"];
    assert_eq!(
        error,
        "route_config.virtual_hosts[0].domains[0]: 1: invalid type: integer `1`, expected a string"
    );

    let accepted = json!({"request": null, "route_config": {}});
    assert_eq!(run(&accepted)["expect"]["outcome"], "config_accepted");
}

#[test]
fn tells_what_it_did_not_use() {
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "c"}, "colour": "red"}]);
    let mut request = get("/");
    request["dynamic_metadata"] = json!([]);
    let answer = run(&record(&routes, &request));
    let ignored =
        json!(["request.dynamic_metadata", "route_config.virtual_hosts[0].routes[0].colour"]);
    assert_eq!(answer["ignored"], ignored);
}

#[test]
fn answers_a_bad_line_with_an_error() {
    let none = json!([]);
    let with = |field: &str, value: Value| {
        let mut request = get("/");
        request[field] = value;
        record(&none, &request)
    };
    for (line, id, error) in [
        (json!("{}").to_string(), Value::Null, "line 7: "),
        ("{".to_owned(), Value::Null, "line 7: EOF"),
        (json!({"id": 3}).to_string(), json!(3), "line 7: missing field `route_config`"),
        (with("method", json!("G T")).to_string(), json!("r"), "line 7: request.method: "),
        (
            with("headers", json!([["a b", ""]])).to_string(),
            json!("r"),
            "line 7: request.headers[0]: ",
        ),
        (
            with("headers", json!([["a", "\n"]])).to_string(),
            json!("r"),
            "line 7: request.headers[0]: ",
        ),
    ] {
        let answer = serde_json::to_value(check(7, &line)).unwrap();
        assert_eq!(answer["id"], id, "{line}");
        assert!(answer["error"].as_str().unwrap().starts_with(error), "{answer}");
        assert_eq!(answer.get("expect"), None);
    }
}

#[test]
fn reads_a_request_as_its_message_would_be_read() {
    let routes = json!([{"match": {"prefix": "/a"}, "route": {"cluster": "c"}}]);
    let mut request = get("http://other.local/a?b");
    request["headers"] = json!([["x-h", " 1 "]]);
    let expect = &run(&record(&routes, &request))["expect"];
    let upstream = &expect["upstream"];
    assert_eq!(
        (&upstream["path"], &upstream["authority"]),
        (&json!("/a?b"), &json!("other.local"))
    );
    assert_eq!(upstream["headers_removed"], json!([]));

    let mut request = get("/a");
    request["method"] = json!("POST");
    let expect = &run(&record(&routes, &request))["expect"];
    let added = json!([["content-length", "0"], ["x-forwarded-proto", "http"]]);
    assert_eq!(expect["upstream"]["headers_added"], added);
}

#[test]
fn client_is_whom_a_proxy_in_front_names_and_plain_http_unless_it_says_otherwise() {
    let network = |first: &str| json!([{"name": "x-forwarded-proto", "exact_match": first}]);
    let routes = json!([
        {"match": {"prefix": "/", "headers": network("http")}, "route": {"cluster": "plain"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "tls"}},
    ]);
    for (headers, cluster, remote) in [
        (json!([]), "plain", "127.0.0.1"),
        (json!([["x-forwarded-for", "10.0.0.1, 10.0.0.2"]]), "plain", "10.0.0.2"),
        (json!([["x-forwarded-proto", "https"], ["x-forwarded-for", "?"]]), "tls", "127.0.0.1"),
    ] {
        let mut request = get("/");
        request["headers"] = headers;
        let mut record = record(&routes, &request);
        let told = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";
        record["route_config"]["request_headers_to_add"] =
            json!([{"header": {"key": "x-remote", "value": told}}]);
        let expect = &run(&record)["expect"];
        assert_eq!(expect["cluster"], cluster);
        let added = expect["upstream"]["headers_added"].as_array().unwrap();
        assert!(added.contains(&json!(["x-remote", remote])), "{added:?}");
    }
}

#[test]
fn only_clusters_that_the_configuration_names_exist() {
    let routes = json!([
        {"match": {"prefix": "/gone"}, "route": {"cluster": "gone"}},
        {"match": {"prefix": "/c"}, "route": {"cluster": "c"}},
        {"match": {"prefix": "/"}, "route": {"cluster_header": "x-cluster"}},
    ]);
    for (path, cluster, status) in
        [("/gone", "", 503), ("/", "c", 200), ("/", "gone", 503), ("/", "other", 503)]
    {
        let mut request = get(path);
        request["headers"] = json!([["x-cluster", cluster]]);
        let mut record = record(&routes, &request);
        record["absent"] = json!(["gone"]);
        let expect = &run(&record)["expect"];
        assert_eq!(expect["status"], status, "{path} {cluster}");
        assert_eq!(expect["response_flags"] == "NC", status == 503);
    }
}
