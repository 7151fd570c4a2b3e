//! Zones, as a control plane sends them: requests stay where the client is, as far as others of its
//! kind leave room.

use mesh_core::resource::Locality;
use mesh_tests::world::Notes;
use mesh_tests::written::{TARGET, Written, endpoint};
use mesh_tests::{Ads, get, within};
use mesh_tower::{Channel, Mesh};
use mesh_xds_client::Bootstrap;
use serde_json::{Value, json};

fn zone(name: &str, servers: &[&Notes]) -> Value {
    let list: Vec<Value> = servers.iter().map(|server| endpoint(server.address())).collect();
    json!({"locality": {"zone": name}, "lb_endpoints": list})
}

#[tokio::test]
async fn requests_stay_in_the_zone_as_far_as_the_local_cluster_leaves_room() {
    let (here, there) = (Notes::take().await, Notes::take().await);
    let (caller, other) = (Notes::take().await, Notes::take().await);
    let config = json!({"common_lb_config": {"zone_aware_lb_config": {"min_cluster_size": 2}}});
    let zones = [zone("a", &[&here]), zone("b", &[&there])];
    let even = [zone("a", &[&caller]), zone("b", &[&other])];
    let written = Written::new(&[]).with_cluster("things", &config, &zones);
    let ads = Ads::start().await;
    written.clone().with_cluster("callers", &json!({}), &even).put(&ads);
    let locality = Locality { zone: "a".into(), ..Locality::default() };
    let bootstrap = Bootstrap::builder(ads.address().to_string())
        .with_locality(locality)
        .with_local_cluster("callers")
        .build()
        .unwrap();
    let mesh = Mesh::builder().bootstrap(bootstrap).seed(7).build().unwrap();
    let channel = Channel::new(&mesh, TARGET).unwrap();
    within("configuration", mesh.ready()).await.unwrap();
    let share = async || {
        let before = here.seen().len();
        for _ in 0..40 {
            assert_eq!(get(&channel, "/").await.unwrap().status, 200);
        }
        here.seen().len() - before
    };
    // The local cluster need not be there when the first request is sent.
    within("all requests in the zone", async { while share().await < 40 {} }).await;
    assert_eq!(mesh.findings(), []);

    // Two thirds of the callers are here, and half of the endpoints: three quarters stay.
    let third = Notes::take().await;
    let uneven = [zone("a", &[&caller, &other]), zone("b", &[&third])];
    written.clone().with_cluster("callers", &json!({}), &uneven).put(&ads);
    within("requests to the other zone", async { while !(22..=38).contains(&share().await) {} })
        .await;
}

#[tokio::test]
async fn zones_without_a_local_cluster_are_reported_and_not_looked_at() {
    let (here, there) = (Notes::take().await, Notes::take().await);
    let config = json!({"common_lb_config": {"zone_aware_lb_config": {"min_cluster_size": 1}}});
    let zones = [zone("a", &[&here]), zone("b", &[&there])];
    let live = Written::new(&[]).with_cluster("things", &config, &zones).channel().await;
    for _ in 0..10 {
        get(&live.channel, "/").await.unwrap();
    }
    assert_eq!([&here, &there].map(|server| server.seen().len()), [5, 5]);
    let findings = live.mesh.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].field, "common_lb_config.zone_aware_lb_config");
}
