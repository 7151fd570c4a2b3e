//! Clusters whose endpoints are told by name, from xDS to a request.

use mesh_core::Dialect;
use mesh_pb::type_url;
use mesh_tests::world::Notes;
use mesh_tests::written::written;
use mesh_tests::{Ads, get, mesh, xds};
use mesh_tower::Channel;
use serde_json::json;

const TARGET: &str = "echo:80";

/// A control plane of one service, whose endpoint is told by that name.
async fn control_plane(kind: &str, name: &str, port: u16) -> Ads {
    let cluster = json!({
        "name": "named", "type": kind, "dns_lookup_family": "V4_ONLY",
        "load_assignment": {"cluster_name": "named", "endpoints": [{
            "load_balancing_weight": 1,
            "lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": name, "port_value": port,
            }}}}],
        }]},
    });
    let ads = Ads::start().await;
    ads.put("named", written(type_url::CLUSTER, &cluster));
    ads.put("routes", xds::routes("routes", &[("/", "named")]));
    ads.put(TARGET, xds::listener(TARGET, "routes"));
    ads
}

/// An address in place of a name is one endpoint more; the other is found by the system's resolver.
#[tokio::test]
async fn request_reaches_an_endpoint_by_its_name() {
    let server = Notes::take().await;
    let port = server.address().port();
    for (kind, dialects) in
        [("STRICT_DNS", &[Dialect::Http][..]), ("LOGICAL_DNS", &[Dialect::Http, Dialect::Grpc])]
    {
        let ads = control_plane(kind, "localhost", port).await;
        for dialect in dialects {
            let mesh = mesh(ads.address());
            let channel = Channel::with_dialect(&mesh, TARGET, *dialect).unwrap();
            let before = server.seen().len();
            let answer = get(&channel, "/").await.unwrap();
            assert_eq!(answer.status, 200, "{kind}");
            assert_eq!(server.seen().len(), before + 1);
        }
    }
}

#[tokio::test]
async fn name_that_does_not_resolve_fails_at_once_and_is_told() {
    let ads = control_plane("STRICT_DNS", "does-not-exist.invalid", 80).await;
    let mesh = mesh(ads.address());
    let channel = Channel::new(&mesh, TARGET).unwrap();
    let mut error: &dyn std::error::Error = &*get(&channel, "/").await.unwrap_err();
    let mut text = error.to_string();
    while let Some(cause) = error.source() {
        text.push_str(&cause.to_string());
        error = cause;
    }
    assert!(text.contains("cannot resolve \"does-not-exist.invalid\""), "{text}");
}
