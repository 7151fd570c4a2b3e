//! Load reported to the control plane (LRS): what it is told is what became of requests.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use mesh_pb::envoy::config::endpoint::v3 as pb;
use mesh_pb::google::protobuf::Any;
use mesh_pb::type_url;
use mesh_tests::loads::Totals;
use mesh_tests::serve::{any_port, serve};
use mesh_tests::written::written;
use mesh_tests::{Ads, Backend, eventually, get, mesh, send, within, xds};
use mesh_tower::{Body, BoxError, Channel};
use meshctl::proto::EchoRequest;
use meshctl::proto::echo_client::EchoClient;
use prost::Message as _;
use serde_json::json;
use tonic::Code;

/// A target whose one cluster, `things`, asks for reports.
async fn asking(backends: &[&Backend], metrics: &[&str]) -> Ads {
    let ads = Ads::start().await;
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    ads.put_target("target", &[("/", "things", addresses[0])]);
    ads.put("things", xds::endpoints("things", &addresses));
    ads.put("things", xds::reporting_cluster("things", metrics));
    ads
}

fn totals([issued, succeeded, failed, in_progress]: [u64; 4]) -> Totals {
    Totals { issued, succeeded, failed, in_progress }
}

fn edited(any: Any, edit: impl FnOnce(&mut pb::ClusterLoadAssignment)) -> Any {
    let mut made = pb::ClusterLoadAssignment::decode(any.value.as_slice()).unwrap();
    edit(&mut made);
    xds::any(type_url::CLUSTER_LOAD_ASSIGNMENT, &made)
}

#[tokio::test]
async fn server_is_told_how_requests_end_and_which_are_under_way() {
    let backend = Backend::start("things", "v1").await;
    let ads = asking(&[&backend], &[]).await;
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    for _ in 0..5 {
        get(&channel, "/").await.unwrap();
    }
    for status in ["404", "500", "503"] {
        let request = Request::get("/").header("x-echo-status", status);
        send(&channel, request.body(Body::empty()).unwrap()).await.unwrap();
    }
    // A 404 is an answer of its server's own.
    ads.loads().reach("things", "here", totals([8, 6, 2, 0])).await;
    let node = &ads.loads().nodes()[0];
    assert!(node.client_features.contains(&"envoy.lrs.supports_send_all_clusters".to_owned()));
    assert!(!node.id.is_empty());

    let slow = Request::get("/").header("x-echo-delay-ms", "60000").body(Body::empty()).unwrap();
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { send(&channel, slow).await }
    });
    ads.loads().reach("things", "here", totals([9, 6, 2, 1])).await;
    waiting.abort();
    // Given up by its caller: it did not succeed.
    ads.loads().reach("things", "here", totals([9, 6, 3, 0])).await;
    for report in ads.loads().of("things") {
        let interval = report.load_report_interval.unwrap();
        assert!(interval.seconds < 60 && (interval.seconds > 0 || interval.nanos > 0));
        assert_eq!(report.cluster_service_name, "");
    }
}

#[tokio::test]
async fn calls_count_by_their_status() {
    let backend = Backend::start("things", "v1").await;
    let ads = asking(&[&backend], &[]).await;
    let mesh = mesh(ads.address());
    let channel = mesh_grpc::Channel::new(&mesh, "xds:///target").unwrap();
    let mut client = EchoClient::new(channel);
    let message = EchoRequest { message: "x".to_owned(), count: 1 };
    for _ in 0..3 {
        client.unary(message.clone()).await.unwrap();
    }
    for code in [Code::NotFound, Code::Internal] {
        let mut request = tonic::Request::new(message.clone());
        request.metadata_mut().insert("x-echo-grpc-status", (code as i32).into());
        assert_eq!(client.unary(request).await.unwrap_err().code(), code);
    }
    ads.loads().reach("things", "here", totals([5, 3, 2, 0])).await;
}

#[tokio::test]
async fn copies_count_in_the_cluster_they_are_for() {
    let (backend, shadow) =
        (Backend::start("things", "v1").await, Backend::start("shadow", "v1").await);
    let ads = asking(&[&backend], &[]).await;
    ads.put("shadow", xds::endpoints("shadow", &[shadow.address]));
    ads.put("shadow", xds::reporting_cluster("shadow", &[]));
    let route = json!({
        "match": {"prefix": "/"},
        "route": {"cluster": "things", "request_mirror_policies": [{"cluster": "shadow"}]},
    });
    let host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    let routes = json!({"name": "routes", "virtual_hosts": [host]});
    ads.put("routes", written(type_url::ROUTE_CONFIGURATION, &routes));
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    get(&channel, "/").await.unwrap();
    let bad = Request::get("/").header("x-echo-status", "503").body(Body::empty()).unwrap();
    send(&channel, bad).await.unwrap();
    ads.loads().reach("things", "here", totals([2, 1, 1, 0])).await;
    ads.loads().reach("shadow", "here", totals([2, 1, 1, 0])).await;
    // Nobody is there any more: copies are issued, and fail.
    drop(shadow);
    get(&channel, "/").await.unwrap();
    ads.loads().reach("shadow", "here", totals([3, 1, 2, 0])).await;

    let calls = mesh_grpc::Channel::new(&mesh, "xds:///target").unwrap();
    let message = EchoRequest { message: "x".to_owned(), count: 1 };
    EchoClient::new(calls).unary(message).await.unwrap();
    ads.loads().reach("things", "here", totals([4, 3, 1, 0])).await;
    ads.loads().reach("shadow", "here", totals([4, 1, 3, 0])).await;
}

#[tokio::test]
async fn localities_and_drops_are_told_apart() {
    let backends = Backend::versions("things", 2).await;
    let ads = asking(&[&backends[0]], &[]).await;
    let both = xds::endpoints("things", &[backends[0].address, backends[1].address]);
    ads.put(
        "things",
        edited(both, |made| {
            let mut there = made.endpoints[0].clone();
            there.locality.as_mut().unwrap().region = "there".to_owned();
            there.lb_endpoints.remove(0);
            made.endpoints[0].lb_endpoints.pop();
            made.endpoints.push(there);
        }),
    );
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    let mut by_version = [0, 0];
    for _ in 0..40 {
        let answer = get(&channel, "/").await.unwrap();
        by_version[usize::from(answer.version() == "v2")] += 1;
    }
    assert!(by_version[0] > 0 && by_version[1] > 0);
    for (region, count) in ["here", "there"].into_iter().zip(by_version) {
        ads.loads().reach("things", region, totals([count, count, 0, 0])).await;
    }

    let all = xds::endpoints("things", &[backends[0].address]);
    ads.put(
        "things",
        edited(all, |made| {
            let overload = pb::cluster_load_assignment::policy::DropOverload {
                category: "lb".to_owned(),
                drop_percentage: Some(mesh_pb::envoy::r#type::v3::FractionalPercent {
                    numerator: 100,
                    ..Default::default()
                }),
            };
            let policy = made.policy.get_or_insert_default();
            policy.drop_overloads.push(overload);
        }),
    );
    ads.accepted(type_url::CLUSTER_LOAD_ASSIGNMENT).await;
    eventually_dropped(&channel).await;
    let dropped = eventually("drops", || {
        let reports = ads.loads().of("things");
        reports.into_iter().find(|report| report.total_dropped_requests > 0)
    });
    let dropped = dropped.await;
    assert_eq!(dropped.dropped_requests[0].category, "lb");
    assert_eq!(dropped.dropped_requests[0].dropped_count, dropped.total_dropped_requests);
}

async fn eventually_dropped(channel: &Channel) {
    while get(channel, "/").await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn metrics_of_endpoints_are_passed_on_that_the_cluster_selects() {
    let service = tower::service_fn(|_: Request<Incoming>| async {
        let told = "TEXT cpu_utilization=0.5, named_metrics.queue=3, named_metrics.other=9";
        let answer = Response::builder().header("endpoint-load-metrics", told);
        Ok::<_, BoxError>(answer.body(Full::new(Bytes::new())).unwrap())
    });
    let server = serve(any_port(), service).await;
    let ads = Ads::start().await;
    ads.put_target("target", &[("/", "things", server.address())]);
    let metrics = ["cpu_utilization", "named_metrics.queue"];
    ads.put("things", xds::reporting_cluster("things", &metrics));
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    for _ in 0..4 {
        get(&channel, "/").await.unwrap();
    }
    ads.loads().reach("things", "here", totals([4, 4, 0, 0])).await;
    let reports = ads.loads().of("things");
    let localities: Vec<_> =
        reports.iter().flat_map(|report| &report.upstream_locality_stats).collect();
    let cpu = localities.iter().filter_map(|stats| stats.cpu_utilization.as_ref());
    assert_eq!(cpu.map(|stats| stats.total_metric_value).sum::<f64>(), 2.0);
    let named: Vec<_> = localities.iter().flat_map(|stats| &stats.load_metric_stats).collect();
    assert!(named.iter().all(|stats| stats.metric_name == "named_metrics.queue"), "{named:?}");
    assert_eq!(named.iter().map(|stats| stats.total_metric_value).sum::<f64>(), 12.0);
}

#[tokio::test]
async fn what_is_counted_while_the_server_is_gone_is_told_when_it_is_back() {
    let backend = Backend::start("things", "v1").await;
    let mut ads = asking(&[&backend], &[]).await;
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    get(&channel, "/").await.unwrap();
    ads.loads().reach("things", "here", totals([1, 1, 0, 0])).await;
    ads.stop();
    eventually("stream closed", || (ads.loads().open() == 0).then_some(())).await;
    for _ in 0..10 {
        get(&channel, "/").await.unwrap();
    }
    ads.restart().await;
    ads.loads().reach("things", "here", totals([11, 11, 0, 0])).await;
    assert_eq!(ads.loads().nodes().len(), 2, "each stream says who it is from");
}

#[tokio::test]
async fn there_is_a_stream_for_as_long_as_a_cluster_asks() {
    let backend = Backend::start("things", "v1").await;
    let ads = Ads::start().await;
    ads.put_target("target", &[("/", "things", backend.address)]);
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    get(&channel, "/").await.unwrap();
    assert_eq!(ads.loads().open(), 0);
    ads.put("things", xds::reporting_cluster("things", &[]));
    eventually("a stream", || (ads.loads().open() == 1).then_some(())).await;
    ads.put("things", xds::cluster("things"));
    eventually("none", || (ads.loads().open() == 0).then_some(())).await;
    within("a request", get(&channel, "/")).await.unwrap();
}

#[tokio::test]
async fn only_clusters_are_told_of_that_the_server_wants() {
    let backend = Backend::start("things", "v1").await;
    let ads = Ads::start().await;
    ads.loads().want(&["others"]);
    let routes = [("/things", "things", backend.address), ("/others", "others", backend.address)];
    ads.put_target("target", &routes);
    for cluster in ["things", "others"] {
        ads.put(cluster, xds::reporting_cluster(cluster, &[]));
    }
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, "target").unwrap();
    for path in ["/things", "/others"] {
        get(&channel, path).await.unwrap();
    }
    ads.loads().reach("others", "here", totals([1, 1, 0, 0])).await;
    assert!(ads.loads().of("things").is_empty());
}
