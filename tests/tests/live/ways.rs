//! One control plane, asked in each of the ways there are; the same answers to the same requests.

use mesh_tests::{Backend, Control, get, within, yaml};
use mesh_tower::{Channel, Mesh};
use mesh_xds_client::Bootstrap;
use mesh_xds_client::bootstrap::{Ask, ServerFeatures};

const NODE: &str = "sidecar~127.0.0.1~client.default~default.svc.cluster.local";

fn bootstrap(control: &Control, ask: Ask, delta: bool) -> Bootstrap {
    let mut features = ServerFeatures::default();
    features.delta = delta;
    features.envoy = ask == Ask::Envoy;
    let builder = Bootstrap::builder(control.xds().to_string()).with_node_id(NODE);
    let builder = builder.with_server_features(features);
    let builder = match ask {
        Ask::IstioGrpc => builder.with_metadata("GENERATOR", "grpc"),
        _ => builder,
    };
    let made = builder.build().unwrap();
    assert_eq!(made.ask(), ask);
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_ask_reaches_the_same_backends_and_follows_changes() {
    let _turn = super::turn().await;
    let reviews = Backend::versions("reviews", 2).await;
    let ratings = [Backend::start("ratings", "v9").await];
    let route = |version: &str| {
        let http = format!("  - route: [{{destination: {{host: reviews, subset: {version}}}}}]\n");
        yaml::routes("reviews", &http)
    };
    let files = [
        ("reviews.yaml", yaml::service_of("reviews", 9080, "HTTP", &reviews)),
        ("ratings.yaml", yaml::service_of("ratings", 9080, "HTTP", &ratings)),
        ("subsets.yaml", yaml::subsets("reviews", &["v1", "v2"])),
        ("routes.yaml", route("v1")),
    ];
    let control =
        Control::start(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let mut asked = Vec::new();
    for ask in [Ask::Native, Ask::IstioGrpc, Ask::Envoy] {
        for delta in [false, true] {
            let bootstrap = bootstrap(&control, ask, delta);
            let mesh = Mesh::builder().bootstrap(bootstrap).build().unwrap();
            let channels = ["reviews:9080", "ratings.default.svc.cluster.local:9080"]
                .map(|target| Channel::new(&mesh, target).unwrap());
            asked.push((format!("{ask:?}, delta {delta}"), channels));
        }
    }
    for (way, [reviews, ratings]) in &asked {
        let answer = get(reviews, "/").await.unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!((answer.status.as_u16(), answer.version()), (200, "v1"), "{way}");
        let answer = get(ratings, "/").await.unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(answer.version(), "v9", "{way}");
    }
    control.write("routes.yaml", &route("v2"));
    for (way, [reviews, _]) in &asked {
        let changed = async { while get(reviews, "/").await.unwrap().version() != "v2" {} };
        within(way, changed).await;
    }
}
