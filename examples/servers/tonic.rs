//! A gRPC server in the mesh on tonic's own server, with a health service by the mesh's readiness.
//!
//! It calls itself once, and ends by itself.

use std::time::Duration;

use mesh_examples::ratings::ratings_client::RatingsClient;
use mesh_examples::ratings::ratings_server::{self, RatingsServer};
use mesh_examples::ratings::{RatingsReply, RatingsRequest};
use mesh_grpc::{Channel, Incoming, Mesh};
use mesh_tower::{BoxError, Peer, ServerLayer};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Ratings;

#[tonic::async_trait]
impl ratings_server::Ratings for Ratings {
    async fn get(
        &self,
        request: Request<RatingsRequest>,
    ) -> Result<Response<RatingsReply>, Status> {
        let peer = request.extensions().get::<Peer>().expect("the layer told who calls");
        let stars = [(peer.address().ip().to_string(), 5)].into();
        let product_id = request.into_inner().product_id;
        Ok(Response::new(RatingsReply { product_id, stars }))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // `Mesh::from_env()` in a program that is part of a mesh.
    let mesh = Mesh::disabled()?;
    let incoming = Incoming::bind(&mesh, "127.0.0.1:0").await?;
    let target = incoming.local_addr().to_string();
    let server = Server::builder()
        .layer(ServerLayer::new(&mesh))
        .add_service(RatingsServer::new(Ratings))
        .serve_with_incoming_shutdown(incoming, mesh.draining());
    let serving = tokio::spawn(server);

    let mut ratings = RatingsClient::new(Channel::new(&mesh, &target)?);
    let reply = ratings.get(RatingsRequest { product_id: "7".to_owned() }).await?.into_inner();
    println!("stars of product {}: {:?}", reply.product_id, reply.stars);
    assert_eq!(reply.stars["127.0.0.1"], 5);
    mesh.shutdown(Duration::from_secs(10)).await;
    Ok(serving.await??)
}
