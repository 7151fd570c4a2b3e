//! What cannot be answered fails in time, and says why along the whole chain.

use std::time::{Duration, Instant};

use http::Request;
use mesh_grpc::Channel as GrpcChannel;
use mesh_tests::client::mesh_error;
use mesh_tests::serve::{any_port, listen, refused};
use mesh_tests::{Ads, Backend, Control, get, mesh, send, xds, yaml};
use mesh_tower::{Body, BoxError, Channel, Deadline, ErrorKind};
use meshctl::proto::EchoRequest;
use meshctl::proto::echo_client::EchoClient;

/// The caller's patience here.
const PATIENCE: Duration = Duration::from_millis(700);

/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_millis(800);

/// Sends a request with a deadline, which is not to be outlived by much, and returns its failure.
async fn failure(channel: &Channel, path: &str) -> BoxError {
    let start = Instant::now();
    let request = Request::get(path).extension(Deadline(start + PATIENCE));
    let result = send(channel, request.body(Body::empty()).unwrap()).await;
    assert!(start.elapsed() < PATIENCE + SLACK, "took {:?}", start.elapsed());
    result.unwrap_err()
}

fn assert_tells(error: &BoxError, kind: ErrorKind, parts: &[&str]) {
    let error = mesh_error(error);
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[tokio::test]
async fn cluster_without_endpoints_is_told_with_the_way_there() {
    let service = yaml::service("empty", 9080, "HTTP", &[]);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "empty:9080").unwrap();
    let error = failure(&channel, "/").await;
    let cluster = "cluster \"outbound|9080||empty.default.svc.cluster.local\"";
    let routes = "route configuration \"outbound|9080||empty.default.svc.cluster.local\"";
    assert_tells(&error, ErrorKind::NoEndpoints, &["listener \"empty:9080\"", routes, cluster]);
    assert_eq!(mesh_error(&error).to_response().status(), 503);
}

#[tokio::test]
async fn subset_without_endpoints_is_told_and_its_neighbour_serves() {
    let backends = [Backend::start("echo", "v1").await];
    let http = "  - match: [{uri: {prefix: /gone}}]\n    \
                route: [{destination: {host: echo, subset: v2}}]\n  \
                - route: [{destination: {host: echo, subset: v1}}]\n";
    let files = [
        ("service.yaml", yaml::service_of("echo", 9080, "HTTP", &backends)),
        ("subsets.yaml", yaml::subsets("echo", &["v1", "v2"])),
        ("routes.yaml", yaml::routes("echo", http)),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    let error = failure(&channel, "/gone").await;
    let cluster = "cluster \"outbound|9080|v2|echo.default.svc.cluster.local\"";
    assert_tells(&error, ErrorKind::NoEndpoints, &["listener \"echo:9080\"", cluster]);
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn target_that_does_not_exist_fails_within_the_deadline() {
    let control = Control::start(&[]).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "nowhere:9080").unwrap();
    let error = failure(&channel, "/").await;
    let control = format!("control plane {}", control.xds());
    assert_tells(&error, ErrorKind::NotReady, &[&control, "Listener \"nowhere:9080\""]);
}

#[tokio::test]
async fn control_plane_that_is_not_there_is_told_within_the_deadline() {
    let (_socket, address) = refused();
    let mesh = mesh(address);
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    // The second request finds the failure already known.
    for _ in 0..2 {
        let error = failure(&channel, "/").await;
        let address = address.to_string();
        assert_tells(&error, ErrorKind::NotReady, &["\"echo:9080\"", &address, "refused"]);
    }
}

#[tokio::test]
async fn control_plane_that_never_answers_does_not_hold_requests_up() {
    // Accepts connections by the kernel alone, and says nothing on them.
    let listener = listen(any_port()).await;
    let address = listener.local_addr().unwrap();
    let mesh = mesh(address);
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    let error = failure(&channel, "/").await;
    let control = format!("control plane {address}");
    assert_tells(&error, ErrorKind::NotReady, &[&control, "\"echo:9080\"", "connecting"]);
}

#[tokio::test]
async fn cluster_that_never_comes_is_told_within_the_deadline() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    ads.put_target("echo:9080", &[("/there", "there", backend.address)]);
    let prefixes = [("/there", "there"), ("/", "nowhere")];
    ads.put("routes", xds::routes("routes", &prefixes));
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    let error = failure(&channel, "/").await;
    assert_tells(&error, ErrorKind::NotReady, &["\"echo:9080\"", "Cluster \"nowhere\""]);
    ads.put("nowhere", xds::cluster("nowhere"));
    ads.put("nowhere", xds::endpoints("nowhere", &[backend.address]));
    assert_eq!(get(&channel, "/").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn refused_cluster_is_told_with_the_reason_of_the_refusal() {
    let backend = Backend::start("echo", "v1").await;
    let ads = Ads::start().await;
    let routes = [("/good", "good", backend.address), ("/bad", "bad", backend.address)];
    ads.put_target("echo:9080", &routes);
    ads.put("bad", xds::invalid_cluster("bad"));
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    let error = failure(&channel, "/bad").await;
    let parts = [
        "listener \"echo:9080\"",
        "route configuration \"routes\"",
        "cluster \"bad\"",
        "eds_cluster_config",
    ];
    assert_tells(&error, ErrorKind::NoCluster, &parts);
    assert_eq!(get(&channel, "/good").await.unwrap().version(), "v1");
}

#[tokio::test]
async fn endpoint_that_refuses_is_told_with_its_address() {
    let (_socket, address) = refused();
    let service = yaml::service("echo", 9080, "HTTP", &[(address, "v1")]);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let mesh = mesh(control.xds());
    let channel = Channel::new(&mesh, "echo:9080").unwrap();
    let error = failure(&channel, "/").await;
    let endpoint = format!("endpoint {address}");
    assert_tells(&error, ErrorKind::Connect, &["listener \"echo:9080\"", &endpoint, "refused"]);
}

#[tokio::test]
async fn grpc_failures_are_statuses_with_the_same_chain() {
    let (_socket, address) = refused();
    let service = yaml::service("empty", 9080, "GRPC", &[]);
    let control = Control::start(&[("service.yaml", &service)]).await;
    let here = mesh(control.xds());
    let nowhere = mesh(address);
    let table = [
        (&here, "xds:///empty:9080", vec!["listener \"empty:9080\"", "cluster \"outbound|9080||"]),
        (&here, "xds:///nowhere:9080", vec!["Listener \"nowhere:9080\""]),
        (&nowhere, "xds:///echo:9080", vec!["\"echo:9080\"", "refused"]),
    ];
    for (mesh, target, parts) in table {
        let mut client = EchoClient::new(GrpcChannel::new(mesh, target).unwrap());
        let mut request = tonic::Request::new(EchoRequest::default());
        request.set_timeout(PATIENCE);
        let start = Instant::now();
        let status = client.unary(request).await.unwrap_err();
        assert!(start.elapsed() < PATIENCE + SLACK, "took {:?}", start.elapsed());
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
        for part in parts {
            assert!(status.message().contains(part), "no {part:?} in {:?}", status.message());
        }
    }
}
