//! tonic's own `Channel` under the mesh's decisions: one per endpoint.
//!
//! For gRPC there is `mesh_grpc::Channel`, which costs less and follows gRPC's own rules; this is
//! for who wants to keep tonic's connections. It ends by itself, with an error when an answer is
//! not what the rules say.

mod reviews;

use mesh_examples::ratings::RatingsRequest;
use mesh_examples::ratings::ratings_client::RatingsClient;
use mesh_tower::client::Endpoint;
use mesh_tower::{Body, BoxError, ClientLayer};
use tonic::transport;
use tower::ServiceExt as _;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let test = reviews::mesh().await;
    let origin = http::Uri::from_static("http://reviews:9080");
    let authority = origin.clone();
    let channel =
        ClientLayer::new(test.mesh(), "reviews:9080")?.layer(move |endpoint: &Endpoint| {
            let address = format!("http://{}", endpoint.address());
            let endpoint = transport::Endpoint::from_shared(address).expect("an address is a URI");
            // The authority stays the target's.
            let channel = endpoint.origin(authority.clone()).connect_lazy();
            channel.map_request(|request: http::Request<Body>| request.map(tonic::body::Body::new))
        });
    let client = RatingsClient::with_origin(channel, origin);
    let ask = async |user: &'static str| {
        let mut request = tonic::Request::new(RatingsRequest { product_id: "7".to_owned() });
        request.metadata_mut().insert("end-user", user.parse()?);
        Ok::<_, BoxError>(client.clone().get(request).await?.into_inner().product_id)
    };
    assert_eq!(ask("jason").await?, "v2");
    assert_eq!(ask("anna").await?, "v1");
    test.endpoints("reviews:9080")[0].kill().await;
    for _ in 0..20 {
        assert_eq!(ask("anna").await?, "v1");
    }
    println!("gRPC: routed by metadata, and no call lost with an endpoint");
    Ok(())
}
