//! Stars by reviewer, over HTTP and over gRPC on the same port. Calls nobody.

use std::collections::HashMap;

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use mesh_examples::ratings::ratings_server::{self, RatingsServer};
use mesh_examples::ratings::{RatingsReply, RatingsRequest};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ratings {
    pub(crate) id: String,
    /// 1 to 5, by the reviewer's name.
    pub(crate) stars: HashMap<String, u32>,
}

pub(crate) fn app() -> Router {
    Router::new()
        .route("/ratings/{id}", get(ratings))
        .route_service("/bookinfo.ratings.v1.Ratings/{method}", RatingsServer::new(Grpc))
}

async fn ratings(Path(id): Path<String>) -> Json<Ratings> {
    Json(Ratings { id, stars: stars() })
}

struct Grpc;

#[tonic::async_trait]
impl ratings_server::Ratings for Grpc {
    async fn get(
        &self,
        request: Request<RatingsRequest>,
    ) -> Result<Response<RatingsReply>, Status> {
        let product_id = request.into_inner().product_id;
        Ok(Response::new(RatingsReply { product_id, stars: stars() }))
    }
}

fn stars() -> HashMap<String, u32> {
    HashMap::from([("Reviewer1".to_owned(), 5), ("Reviewer2".to_owned(), 4)])
}
