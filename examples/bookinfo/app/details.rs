//! Facts about the book. Calls nobody.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) year: u16,
    pub(crate) pages: u16,
    pub(crate) language: String,
}

pub(crate) fn app() -> Router {
    Router::new().route("/details/{id}", get(details))
}

async fn details(Path(id): Path<String>) -> Json<Details> {
    Json(Details {
        id,
        title: "The Comedy of Errors".to_owned(),
        author: "William Shakespeare".to_owned(),
        year: 1595,
        pages: 200,
        language: "English".to_owned(),
    })
}
