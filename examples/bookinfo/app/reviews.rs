//! Two reviews of the book. v1 shows no stars; v2 asks ratings over HTTP and shows black stars, v3
//! asks over gRPC and shows red ones.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::get;
use axum::{Json, Router};
use mesh_examples::ratings::RatingsRequest;
use mesh_examples::ratings::ratings_client::RatingsClient;
use mesh_tower::{Channel, Error, Mesh};
use serde::{Deserialize, Serialize};

use super::ratings::Ratings;
use super::{END_USER, Failure, ROUTE_GENERATION, SERVED_BY};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reviews {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) reviews: Vec<Review>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Review {
    pub(crate) reviewer: String,
    pub(crate) text: String,
    pub(crate) stars: Option<u32>,
    pub(crate) color: Option<String>,
}

#[derive(Clone)]
enum Version {
    V1,
    V2 { ratings: Channel },
    V3 { ratings: RatingsClient<mesh_grpc::Channel> },
}

pub(crate) fn v1() -> Router {
    app(Version::V1)
}

pub(crate) fn v2(mesh: &Mesh) -> Result<Router, Error> {
    Ok(app(Version::V2 { ratings: Channel::new(mesh, "ratings:9080")? }))
}

pub(crate) fn v3(mesh: &Mesh) -> Result<Router, Error> {
    let channel = mesh_grpc::Channel::new(mesh, "xds:///ratings:9090")?;
    Ok(app(Version::V3 { ratings: RatingsClient::new(channel) }))
}

fn app(version: Version) -> Router {
    Router::new().route("/reviews/{id}", get(reviews)).with_state(version)
}

async fn reviews(
    State(version): State<Version>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<(HeaderMap, Json<Reviews>), Failure> {
    let ratings = version.ratings(&id, headers.get(END_USER)).await?;
    let review = |reviewer: &str, text: &str| Review {
        reviewer: reviewer.to_owned(),
        text: text.to_owned(),
        stars: ratings.stars.get(reviewer).copied(),
        color: version.color().map(str::to_owned),
    };
    let reviews = vec![
        review("Reviewer1", "Two pairs of twins, one day, and no dull page. I laughed out loud."),
        review("Reviewer2", "Light as a feather. Read it for the wit and the mistaken doors."),
    ];
    let version = version.name();
    let mut answer = HeaderMap::new();
    answer.insert(SERVED_BY, HeaderValue::from_static(version));
    if let Some(generation) = headers.get(ROUTE_GENERATION) {
        answer.insert(HeaderName::from_static(ROUTE_GENERATION), generation.clone());
    }
    Ok((answer, Json(Reviews { id, version: version.to_owned(), reviews })))
}

impl Version {
    async fn ratings(&self, id: &str, user: Option<&HeaderValue>) -> Result<Ratings, Failure> {
        match self {
            Self::V1 => Ok(Ratings::default()),
            Self::V2 { ratings } => {
                let uri = format!("http://ratings:9080/ratings/{id}");
                Ok(super::get(ratings.clone(), &uri, user).await?.1)
            }
            Self::V3 { ratings } => {
                let request = RatingsRequest { product_id: id.to_owned() };
                let failed = |status| Failure::new("bookinfo.ratings.v1.Ratings/Get", &status);
                let reply = ratings.clone().get(request).await.map_err(failed)?.into_inner();
                Ok(Ratings { id: reply.product_id, stars: reply.stars })
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 { .. } => "v2",
            Self::V3 { .. } => "v3",
        }
    }

    fn color(&self) -> Option<&'static str> {
        match self {
            Self::V1 => None,
            Self::V2 { .. } => Some("black"),
            Self::V3 { .. } => Some("red"),
        }
    }
}
