//! The commands together: a control plane, servers and clients, each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Server, json_lines, meshctl, output, run};

/// A service of two versions behind a control plane.
struct Bookinfo {
    control: Server,
    folder: TempDir,
    /// What the clients have, apart from the folder that is served.
    _home: TempDir,
    reviews: [Server; 2],
    bootstrap: PathBuf,
}

impl Bookinfo {
    async fn start(routes: &str) -> Self {
        let reviews = [
            Server::start(&["echo", "--name", "reviews", "--version", "v1"]).await,
            Server::start(&["echo", "--name", "reviews", "--version", "v2"]).await,
        ];
        let folder = tempfile::tempdir().unwrap();
        let services = services(reviews.each_ref().map(|server| server.address("http")));
        std::fs::write(folder.path().join("services.yaml"), services).unwrap();
        std::fs::write(folder.path().join("routes.yaml"), virtual_service(routes)).unwrap();

        let control = Server::start(&["serve", path(folder.path())]).await;
        assert_eq!(control.ready["ca"], Value::Null);
        let xds = control.address("xds").to_string();
        let home = tempfile::tempdir().unwrap();
        let bootstrap = home.path().join("bootstrap.json");
        let arguments = ["--name", "productpage", "--xds", &xds, "--out", path(&bootstrap)];
        assert!(run(&[&["bootstrap"], &arguments[..]].concat()).await.status.success());
        Self { control, folder, _home: home, reviews, bootstrap }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = meshctl(arguments);
        command.env("GRPC_XDS_BOOTSTRAP", &self.bootstrap);
        output(command).await
    }

    /// The only line of a command that must succeed.
    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat()).await;
        assert!(output.status.success(), "{output:?}");
        let mut lines = json_lines(&output);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    fn address(&self, version: usize) -> SocketAddr {
        self.reviews[version - 1].address("http")
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn services(addresses: [SocketAddr; 2]) -> String {
    let workloads: String = (1..)
        .zip(addresses)
        .map(|(version, address)| {
            format!(
                "\
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: reviews-v{version}}}
spec:
  address: {}
  labels: {{app: reviews, version: v{version}}}
  ports: {{http: {port}, grpc: {port}}}
",
                address.ip(),
                port = address.port(),
            )
        })
        .collect();
    format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: reviews}}
spec:
  selector: {{app: reviews}}
  ports:
  - {{name: http, port: 9080}}
  - {{name: grpc, port: 50051}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews}}
spec:
  host: reviews
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
{workloads}"
    )
}

fn virtual_service(routes: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
{routes}"
    )
}

const BY_USER: &str = "  - name: jason
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - name: everybody
    route: [{destination: {host: reviews, subset: v1}}]
";

const SPLIT: &str = "  - name: split
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
";

const URL: &str = "http://reviews:9080/reviews/0";

#[tokio::test]
async fn fetch_goes_where_the_rules_say() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    for (user, route, version) in [("jason", "jason", 2), ("nobody", "everybody", 1)] {
        let header = format!("end-user: {user}");
        let fetched = bookinfo.json(&["fetch", URL, "-H", &header, "-d", "hello"]).await;
        assert_eq!(fetched["status"], 200);
        assert_eq!(fetched["route"], route);
        assert_eq!(fetched["endpoint"], bookinfo.address(version).to_string());
        assert_eq!(fetched["attempts"], 1);
        assert_eq!((&fetched["flags"], &fetched["details"]), (&"-".into(), &"-".into()));
        assert_eq!(fetched["error"], Value::Null);
        let seen: Value = serde_json::from_str(fetched["body"].as_str().unwrap()).unwrap();
        assert_eq!(seen["version"], format!("v{version}"));
        assert_eq!((&seen["method"], &seen["path"]), (&"POST".into(), &"/reviews/0".into()));
        assert_eq!(seen["body_bytes"], 5);
    }
}

#[tokio::test]
async fn load_splits_by_weight() {
    let bookinfo = Bookinfo::start(SPLIT).await;
    let load = ["load", URL, "--requests", "2000", "--concurrency", "8", "--seed", "1"];
    let report = bookinfo.json(&load).await;
    assert_eq!(report["requests"], 2_000);
    assert_eq!(report["status"]["200"], 2_000);
    assert_eq!(report["errors"], serde_json::json!({}));
    assert_eq!(report["attempts"]["1"], 2_000);
    let first = report["by"]["reviews/v1"].as_u64().unwrap();
    assert_eq!(report["by"]["reviews/v2"].as_u64().unwrap(), 2_000 - first);
    // Four standard deviations of 2,000 draws at 90 % are 54.
    assert!((1_746..=1_854).contains(&first), "{first}");
    assert_eq!(report["endpoints"][bookinfo.address(1).to_string()], first);
}

#[tokio::test]
async fn load_follows_the_clock_and_reports_intervals() {
    let bookinfo = Bookinfo::start(SPLIT).await;
    let output = bookinfo
        .run(&["load", URL, "--json", "--rate", "100", "--duration", "1s", "--every", "250ms"])
        .await;
    assert!(output.status.success());
    let lines = json_lines(&output);
    let (total, intervals) = lines.split_last().unwrap();
    assert_eq!(total["requests"], 100);
    assert!(total.get("interval").is_none());
    assert!((2..=5).contains(&intervals.len()), "{}", intervals.len());
    assert_eq!(intervals[0]["interval"], 0);
    assert!(total["latency_us"]["p50"].as_u64() <= total["latency_us"]["max"].as_u64());
}

#[tokio::test]
async fn calls_grpc_methods_by_name() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    let grpc = "http://reviews:50051";
    let unary = ["--grpc", "mesh.echo.v1.Echo/Unary", "-d", r#"{"message":"hello"}"#];
    let fetched =
        bookinfo.json(&[&["fetch", grpc, "-H", "end-user: jason"], &unary[..]].concat()).await;
    assert_eq!((&fetched["status"], &fetched["grpc_status"]), (&200.into(), &0.into()));
    assert_eq!(fetched["protocol"], "HTTP/2");
    assert_eq!(fetched["endpoint"], bookinfo.address(2).to_string());
    let reply: Value = serde_json::from_str(fetched["body"].as_str().unwrap()).unwrap();
    assert_eq!((&reply["message"], &reply["version"]), (&"hello".into(), &"v2".into()));

    let failing = ["fetch", grpc, "-H", "x-echo-grpc-status: 5"];
    let fetched = bookinfo.json(&[&failing[..], &unary[..]].concat()).await;
    assert_eq!((&fetched["grpc_status"], &fetched["error"]), (&5.into(), &Value::Null));

    let slow = ["fetch", grpc, "-H", "x-echo-delay-ms: 60000", "--timeout", "300ms", "--json"];
    let output = bookinfo.run(&[&slow[..], &unary[..]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let fetched = &json_lines(&output)[0];
    assert_eq!(
        (&fetched["grpc_status"], &fetched["error"]["kind"]),
        (&4.into(), &"deadline".into())
    );
    // People are told once.
    let told = fetched["grpc_message"].as_str().unwrap();
    let slow = slow.into_iter().filter(|argument| *argument != "--json").chain(unary);
    let output = bookinfo.run(&slow.collect::<Vec<_>>()).await;
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let part = told.split(':').next().unwrap();
    assert_eq!(text.matches(part).count(), 1, "{part:?} in {text}");

    let load = ["load", grpc, "--requests", "20"];
    let report = bookinfo.json(&[&load[..], &unary[..]].concat()).await;
    assert_eq!(report["grpc_status"]["0"], 20);
    assert_eq!(report["by"]["reviews/v1"], 20);
}

#[tokio::test]
async fn fetch_tells_why_there_is_no_answer() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    let output =
        bookinfo.run(&["fetch", "--json", "--timeout", "300ms", "http://nowhere:9080/"]).await;
    assert_eq!(output.status.code(), Some(1));
    let fetched = &json_lines(&output)[0];
    assert!(fetched["error"]["kind"].is_string());
    assert!(fetched["error"]["text"].as_str().unwrap().contains("nowhere"), "{fetched}");
    assert_eq!((&fetched["endpoint"], &fetched["protocol"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn fetch_tells_flags_and_details_of_what_failed() {
    const FOR_JASON: &str = "  - name: jason
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
";
    let bookinfo = Bookinfo::start(FOR_JASON).await;
    let output = bookinfo.run(&["fetch", "--json", URL]).await;
    assert_eq!(output.status.code(), Some(1));
    let fetched = &json_lines(&output)[0];
    assert_eq!((&fetched["status"], &fetched["error"]["kind"]), (&404.into(), &"no_route".into()));
    let told = (&fetched["flags"], &fetched["details"]);
    assert_eq!(told, (&"NR".into(), &"route_not_found".into()));
}

#[tokio::test]
async fn explains_without_sending() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    let explained = bookinfo.json(&["explain", URL, "-H", "end-user: jason"]).await;
    assert_eq!(explained["route"]["name"], "jason");
    assert_eq!(explained["other_routes"][0]["name"], "everybody");
    assert_eq!(explained["cluster"]["usable_endpoints"][0], bookinfo.address(2).to_string());
    let retry = &explained["forward"]["retry"];
    assert_eq!((&retry["num_retries"], &retry["base_interval_ms"]), (&2.into(), &25.into()));
    assert_eq!(explained["forward"]["timeout_ms"], serde_json::Value::Null);
    assert_eq!(explained["forward"]["mirrors"], serde_json::json!([]));
    let output = bookinfo.run(&["explain", URL]).await;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("timeout              none") && text.contains("retries              2"));
    assert!(text.contains("#1 everybody") && text.contains("not #0 jason"), "{text}");
}

#[tokio::test]
async fn serve_refuses_a_folder_with_errors() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = BY_USER.replace("route: [", "rout: [");
    std::fs::write(folder.path().join("a.yaml"), virtual_service(&wrong)).unwrap();
    let output = run(&["serve", path(folder.path())]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("a.yaml:9:") && text.contains("rout"), "{text}");
}

#[tokio::test]
async fn serves_what_is_edited() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    let v2 = BY_USER.replace("subset: v1", "subset: v2");
    std::fs::write(bookinfo.folder.path().join("routes.yaml"), virtual_service(&v2)).unwrap();
    // A request says which version it met; the new one must come, or the test runs out of time.
    let served = async {
        loop {
            let fetched = bookinfo.json(&["fetch", URL]).await;
            if fetched["endpoint"] == bookinfo.address(2).to_string() {
                break;
            }
        }
    };
    tokio::time::timeout(crate::support::DEADLINE, served).await.expect("never served");
}

#[tokio::test]
async fn load_reports_what_it_has_when_interrupted() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    let mut load = meshctl(&["load", URL, "--json", "--duration", "1h", "--every", "50ms"]);
    load.env("GRPC_XDS_BOOTSTRAP", &bookinfo.bootstrap);
    let mut load = Server::spawn_any(load).await;
    load.signal("-INT").await;
    assert!(load.wait().await.success());
    let lines = load.rest().await;
    let total: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert!(total.get("interval").is_none());
    assert!(total["requests"].as_u64() > Some(0));
    assert_eq!(total["requests"], total["status"]["200"]);
}

#[tokio::test]
async fn survives_the_control_plane() {
    let mut bookinfo = Bookinfo::start(BY_USER).await;
    let mut load = meshctl(&["load", URL, "--json", "--rate", "200", "--duration", "2s"]);
    load.env("GRPC_XDS_BOOTSTRAP", &bookinfo.bootstrap).arg("--every").arg("100ms");
    let mut load = Server::spawn_any(load).await;
    // An interval was reported, so the load is under way.
    bookinfo.control.signal("-KILL").await;
    bookinfo.control.wait().await;
    assert!(load.wait().await.success());
    let lines = load.rest().await;
    let total: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&total["requests"], &total["status"]["200"]), (&400.into(), &400.into()));
    assert_eq!(total["errors"], serde_json::json!({}));
}

#[tokio::test]
async fn echo_serves_behind_the_mesh() {
    let bookinfo = Bookinfo::start(BY_USER).await;
    let mut command = meshctl(&["echo", "--name", "ratings", "--mesh", "--grpc", "127.0.0.1:0"]);
    command.env("GRPC_XDS_BOOTSTRAP", &bookinfo.bootstrap);
    let mut server = Server::spawn(command).await;
    for (field, http2) in [("http", false), ("grpc", true)] {
        let address = server.address(field);
        let mut client = match http2 {
            false => Client::http1(address).await,
            true => Client::http2(address).await,
        };
        let request = http::Request::get(format!("http://{address}/x"))
            .header("host", "ratings")
            .body(http_body_util::Full::default())
            .unwrap();
        let seen: Value =
            serde_json::from_slice(client.send(request).await.unwrap().body()).unwrap();
        assert_eq!(seen["name"], "ratings");
        assert!(seen["peer"]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
    server.signal("-TERM").await;
    assert!(server.wait().await.success());

    // Without a bootstrap there is no mesh to be behind.
    let output = run(&["echo", "--name", "ratings", "--mesh"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn goes_straight_when_the_mesh_is_off() {
    let server = Server::start(&["echo", "--name", "alone"]).await;
    let url = format!("http://{}/x", server.address("http"));
    let mut command = meshctl(&["fetch", "--json", &url]);
    command.env("MESH", "off");
    let output = output(command).await;
    assert!(output.status.success(), "{output:?}");
    let fetched = &json_lines(&output)[0];
    assert_eq!(fetched["status"], 200);
    assert_eq!(fetched["endpoint"], server.address("http").to_string());
}

#[tokio::test]
async fn a_mesh_is_needed_to_send() {
    for arguments in [&["fetch", URL][..], &["load", URL, "--requests", "1"], &["explain", URL]] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("bootstrap"));
    }
}
