//! A small HTTP endpoint to look at the control plane.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::clients::Clients;
use crate::generation::Publisher;

/// What the endpoint shows.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) clients: Clients,
}

impl Admin {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/ready", get(ready))
            .route("/status", get(status))
            .route("/diagnostics", get(diagnostics))
            .with_state(self)
    }
}

/// A control plane without a good set does not start, so one that answers is ready. `current`
/// tells whether it serves the files as they are.
async fn ready(State(admin): State<Admin>) -> Json<Value> {
    let publisher = &admin.publisher;
    Json(json!({
        "ready": true,
        "generation": publisher.number(),
        "current": publisher.is_current(),
    }))
}

async fn status(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({ "generation": admin.publisher.number(), "clients": admin.clients.list() }))
}

async fn diagnostics(State(admin): State<Admin>) -> Json<Value> {
    let publisher = &admin.publisher;
    Json(json!({
        "generation": publisher.number(),
        "current": publisher.is_current(),
        "diagnostics": publisher.diagnostics().as_ref(),
    }))
}
