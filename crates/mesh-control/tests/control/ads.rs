//! The control plane as a client sees it: a real gRPC stream on a socket.

use crate::common::{
    Ads, HOST, ROUTES, V1, V2, ack, decode, eventually, nack, node, over, request, serve,
};
use crate::common::{SERVICES, weights};
use mesh_istio::ResourceType::{Cluster, ClusterLoadAssignment, Listener, RouteConfiguration};
use mesh_pb::envoy::config::cluster::v3 as cluster;
use mesh_pb::envoy::config::endpoint::v3 as endpoint;
use mesh_pb::envoy::config::listener::v3 as listener;
use mesh_pb::envoy::config::route::v3 as route;
use mesh_pb::envoy::service::discovery::v3 as xds;

fn split(response: &xds::DiscoveryResponse) -> Vec<(String, u32)> {
    use route::route::Action;
    use route::route_action::ClusterSpecifier;
    let config = decode::<route::RouteConfiguration>(response).remove(0);
    let Some(Action::Route(action)) = &config.virtual_hosts[0].routes[0].action else { panic!() };
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action.cluster_specifier else {
        panic!("{action:?}")
    };
    weighted.clusters.iter().map(|c| (c.name.clone(), c.weight.unwrap().value)).collect()
}

#[tokio::test]
async fn walks_from_the_target_to_its_endpoints() {
    let (_folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(Listener, &["reviews:9080"])).await;
    let found = decode::<listener::Listener>(&ads.accept(&["reviews:9080"]).await);
    assert_eq!(found[0].name, "reviews:9080");
    let routes = ads.fetch(RouteConfiguration, &[ROUTES]).await;
    assert_eq!(split(&routes), [(V1.to_owned(), 90), (V2.to_owned(), 10)]);
    let clusters = decode::<cluster::Cluster>(&ads.fetch(Cluster, &[V1, V2]).await);
    assert_eq!(clusters.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), [V1, V2]);
    let endpoints = decode::<endpoint::ClusterLoadAssignment>(
        &ads.fetch(ClusterLoadAssignment, &[V1, V2]).await,
    );
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[0].endpoints[0].lb_endpoints.len(), 1);
}

#[tokio::test]
async fn an_edit_pushes_only_what_it_changed() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(Listener, &["reviews:9080"])).await;
    ads.accept(&["reviews:9080"]).await;
    ads.fetch(RouteConfiguration, &[ROUTES]).await;
    ads.fetch(Cluster, &[V1, V2]).await;
    ads.fetch(ClusterLoadAssignment, &[V1, V2]).await;
    std::fs::write(folder.path().join("routes.yaml"), weights(50, 50)).unwrap();
    let pushed = ads.accept(&[ROUTES]).await;
    assert_eq!(split(&pushed), [(V1.to_owned(), 50), (V2.to_owned(), 50)]);
    // A new endpoint concerns the endpoints of one subset, and no other type.
    let more = format!(
        "{SERVICES}---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
         metadata: {{name: reviews-v1b}}\n\
         spec: {{address: 127.0.0.13, labels: {{app: reviews, version: v1}}}}\n"
    );
    std::fs::write(folder.path().join("services.yaml"), more).unwrap();
    let pushed = ads.accept(&[V1, V2]).await;
    assert_eq!(pushed.type_url, ClusterLoadAssignment.type_url());
    let changed = decode::<endpoint::ClusterLoadAssignment>(&pushed);
    assert_eq!(changed.iter().map(|c| c.cluster_name.as_str()).collect::<Vec<_>>(), [V1]);
    assert_eq!(changed[0].endpoints[0].lb_endpoints.len(), 2);
}

#[tokio::test]
async fn one_push_of_several_types_goes_clusters_endpoints_listeners_routes() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(RouteConfiguration, &[ROUTES])).await;
    ads.accept(&[ROUTES]).await;
    ads.fetch(ClusterLoadAssignment, &[V1]).await;
    ads.fetch(Listener, &["reviews:9080", "new:80"]).await;
    ads.fetch(Cluster, &[V1]).await;
    let new = SERVICES.replace("127.0.0.11", "127.0.0.21").replace(
        "  host: reviews\n",
        "  host: reviews\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n",
    );
    let new = format!(
        "{new}---\napiVersion: v1\nkind: Service\nmetadata: {{name: new}}\n\
         spec: {{ports: [{{port: 80}}]}}\n---\n{}",
        weights(1, 1)
    );
    // One file replaced in one step, and the other gone: but two saves may be seen apart.
    std::fs::write(folder.path().join("routes.yaml"), "").unwrap();
    let emptied = ads.accept(&[ROUTES]).await;
    assert_eq!(emptied.type_url, RouteConfiguration.type_url());
    std::fs::write(folder.path().join("services.yaml"), new).unwrap();
    for kind in [Cluster, ClusterLoadAssignment, Listener, RouteConfiguration] {
        assert_eq!(ads.next().await.unwrap().type_url, kind.type_url());
    }
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_set_and_tells_where() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(RouteConfiguration, &[ROUTES])).await;
    ads.accept(&[ROUTES]).await;
    let file = folder.path().join("routes.yaml");
    let good = weights(90, 10);
    for (bad, field) in [
        (good.replace("subset: v1", "subset: v9"), "spec.http[0].route[0].destination.subset"),
        (good.replace("hosts:", "hostss:"), "spec.hostss"),
        (
            good.replace("subset: v1}, weight: 90}", "subset: v1, weight: 90}}"),
            "spec.http[0].route[0].destination.weight",
        ),
        (good.replace("[reviews]", "[reviews"), ""),
    ] {
        std::fs::write(&file, &bad).unwrap();
        eventually(field, || {
            control.diagnostics().iter().any(|d| {
                d.is_error() && d.field == field && d.file.ends_with("routes.yaml") && d.line > 1
            })
        })
        .await;
        assert_eq!(control.generation(), 1);
        let mut other = Ads::open(&control, request(RouteConfiguration, &[ROUTES])).await;
        assert_eq!(split(&other.next().await.unwrap())[0].1, 90);
    }
    std::fs::write(&file, weights(20, 80)).unwrap();
    assert_eq!(split(&ads.accept(&[ROUTES]).await)[0].1, 20);
    assert!(control.diagnostics().is_empty());
}

#[tokio::test]
async fn a_refusal_is_kept_with_its_reason_until_the_next_acceptance() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(Cluster, &[V1])).await;
    let response = ads.next().await.unwrap();
    ads.send(nack(&response, &[V1])).await;
    let status = || control.clients()[0].types.get(Cluster.type_url()).cloned();
    eventually("refusal", || status().is_some_and(|s| s.rejected.is_some())).await;
    let refused = status().unwrap();
    assert!(refused.rejected.unwrap().reason.contains("\"bad\": connect_timeout"));
    assert_eq!(refused.accepted, None);
    let new = SERVICES.replace(
        "  host: reviews\n",
        "  host: reviews\n  trafficPolicy: {loadBalancer: {simple: RANDOM}}\n",
    );
    std::fs::write(folder.path().join("services.yaml"), new).unwrap();
    let response = ads.accept(&[V1]).await;
    eventually("acceptance", || {
        status().is_some_and(|s| {
            s.rejected.is_none() && s.accepted == Some(response.version_info.clone())
        })
    })
    .await;
    drop(ads);
    eventually("disconnection", || control.clients().is_empty()).await;
}

#[tokio::test]
async fn a_second_subscription_before_the_first_answer_is_served() {
    let (_folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(ClusterLoadAssignment, &[V1])).await;
    ads.send(request(ClusterLoadAssignment, &[V1, V2])).await;
    let mut names = Vec::new();
    while !names.contains(&V2.to_owned()) {
        let response = ads.next().await.unwrap();
        names.extend(
            decode::<endpoint::ClusterLoadAssignment>(&response)
                .into_iter()
                .map(|c| c.cluster_name),
        );
    }
    assert_eq!(names.iter().filter(|name| *name == V1).count(), 1);
}

#[tokio::test]
async fn names_that_do_not_exist_are_said_to_be_so() {
    let (_folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(Listener, &["nobody:80"])).await;
    let missing = |response: &xds::DiscoveryResponse| {
        assert!(response.resources.is_empty());
        let [error] = response.resource_errors.as_slice() else { panic!("{response:?}") };
        assert_eq!(error.error_detail.as_ref().unwrap().code, 5, "not found");
        error.resource_name.as_ref().unwrap().name.clone()
    };
    assert_eq!(missing(&ads.accept(&["nobody:80"]).await), "nobody:80");
    let routes = "outbound|1||nobody";
    assert_eq!(missing(&ads.fetch(RouteConfiguration, &[routes]).await), routes);
    assert_eq!(missing(&ads.fetch(Cluster, &["nonsense"]).await), "nonsense");
}

#[tokio::test]
async fn versions_survive_a_restart_on_the_same_files() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(Cluster, &[V1, V2])).await;
    let before = ads.accept(&[V1, V2]).await;
    let endpoints = ads.fetch(ClusterLoadAssignment, &[V1, V2]).await;
    control.shutdown().await;
    assert_eq!(ads.next().await.unwrap_err().code(), tonic::Code::Unavailable);
    let control = over(folder.path()).await;
    // As clients do: the version is kept, the nonce is not.
    let first = xds::DiscoveryRequest {
        version_info: before.version_info.clone(),
        ..request(Cluster, &[V1, V2])
    };
    let mut ads = Ads::open(&control, first).await;
    assert_eq!(ads.accept(&[V1, V2]).await.version_info, before.version_info);
    let again = ads.fetch(ClusterLoadAssignment, &[V1, V2]).await;
    assert_eq!(again.version_info, endpoints.version_info);
}

#[tokio::test]
async fn a_stale_answer_changes_nothing() {
    let (folder, control) = serve().await;
    let mut ads = Ads::open(&control, request(RouteConfiguration, &[ROUTES])).await;
    let old = ads.next().await.unwrap();
    std::fs::write(folder.path().join("routes.yaml"), weights(50, 50)).unwrap();
    let new = ads.next().await.unwrap();
    ads.send(ack(&old, &[])).await;
    ads.send(ack(&new, &[ROUTES])).await;
    std::fs::write(folder.path().join("routes.yaml"), weights(10, 90)).unwrap();
    assert_eq!(split(&ads.next().await.unwrap())[0].1, 10);
}

#[tokio::test]
async fn the_first_request_must_carry_the_node() {
    use tokio_stream::iter;
    use xds::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
    let (_folder, control) = serve().await;
    let endpoint = format!("http://{}", control.xds_addr());
    let mut client = AggregatedDiscoveryServiceClient::connect(endpoint).await.unwrap();
    let stream = client.stream_aggregated_resources(iter([request(Cluster, &[V1])])).await;
    let status = stream.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let stream =
        client.delta_aggregated_resources(iter([xds::DeltaDiscoveryRequest::default()])).await;
    let status = stream.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn too_many_names_end_that_stream_only() {
    let (_folder, control) = serve().await;
    let names: Vec<String> = (0..65_537).map(|n| format!("{n}:1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut other = Ads::open(&control, request(Cluster, &[V1])).await;
    let mut ads = Ads::open(&control, request(Listener, &names)).await;
    assert_eq!(ads.next().await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    assert_eq!(other.accept(&[V1]).await.resources.len(), 1);
}

#[tokio::test]
async fn clients_are_told_apart_by_namespace() {
    let (_folder, control) = serve().await;
    let id = "sidecar~10.0.0.1~x.prod~prod.svc.cluster.local";
    let first = xds::DiscoveryRequest {
        node: Some(node(id)),
        ..request(Listener, &["reviews:9080", "reviews.default:9080"])
    };
    let mut ads = Ads::open(&control, first).await;
    let found = decode::<listener::Listener>(&ads.next().await.unwrap());
    assert_eq!(found.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["reviews.default:9080"]);
    assert_eq!(control.clients()[0].namespace, "prod");
    assert!(ROUTES.ends_with(HOST));
}
