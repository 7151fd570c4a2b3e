//! What the client examples call: two versions of a service in a mesh of their own, with a control
//! plane that reads these rules.

use axum::Router;
use axum::http::{HeaderMap, Version};
use axum::routing::get;
use mesh_examples::ratings::ratings_server::{self, RatingsServer};
use mesh_examples::ratings::{RatingsReply, RatingsRequest};
use mesh_test::TestMesh;
use tonic::{Request, Response, Status};

/// Jason gets v2, everybody else v1; what fails is tried again.
const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
    retries: {attempts: 3, retryOn: 'connect-failure,reset,503'}
";

/// The mesh with the service `reviews:9080`, of which v1 has two endpoints.
pub(crate) async fn mesh() -> TestMesh {
    TestMesh::live()
        .service("reviews:9080", "v1", app("v1"))
        .service("reviews:9080", "v1", app("v1"))
        .service("reviews:9080", "v2", app("v2"))
        .file("rules.yaml", RULES)
        .start()
        .await
}

/// Says which version it is, and as what it was asked.
fn app(version: &'static str) -> Router {
    let who = move |protocol: Version, headers: HeaderMap| async move {
        let host = headers.get("host").and_then(|host| host.to_str().ok());
        format!("{version} {protocol:?} {}", host.unwrap_or("reviews:9080"))
    };
    Router::new()
        .route("/", get(who))
        .route_service("/bookinfo.ratings.v1.Ratings/{method}", RatingsServer::new(Stars(version)))
}

struct Stars(&'static str);

#[tonic::async_trait]
impl ratings_server::Ratings for Stars {
    async fn get(&self, _: Request<RatingsRequest>) -> Result<Response<RatingsReply>, Status> {
        let product_id = self.0.to_owned();
        Ok(Response::new(RatingsReply { product_id, stars: Default::default() }))
    }
}
