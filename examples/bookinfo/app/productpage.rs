//! The page: one book with its details and reviews.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Html;
use axum::routing::get;
use mesh_tower::{Channel, Error, Mesh};
use serde::Deserialize;

use super::details::Details;
use super::reviews::{Review, Reviews};
use super::{DECIDED_AT, END_USER, Failure, ROUTE_GENERATION, SERVED_BY};
use crate::clock;

#[derive(Clone)]
struct Services {
    details: Channel,
    reviews: Channel,
}

pub(crate) fn app(mesh: &Mesh) -> Result<Router, Error> {
    let details = Channel::new(mesh, "details:9080")?;
    let reviews = Channel::new(mesh, "reviews:9080")?;
    Ok(Router::new().route("/productpage", get(page)).with_state(Services { details, reviews }))
}

/// Browsers cannot set `end-user`, so `?user=` logs in as well.
#[derive(Deserialize)]
struct Login {
    user: Option<String>,
}

async fn page(
    State(services): State<Services>,
    Query(login): Query<Login>,
    headers: HeaderMap,
) -> Result<(HeaderMap, Html<String>), Failure> {
    let user = login.user.and_then(|user| HeaderValue::from_str(&user).ok());
    let user = user.as_ref().or(headers.get(END_USER));
    let details = super::get(services.details, "http://details:9080/details/0", user);
    let reviews = super::get(services.reviews, "http://reviews:9080/reviews/0", user);
    let (details, (reviews, decided_at)) = tokio::join!(details, clock::decided(reviews));
    let ((_, details), (seen, reviews)) = (details?, reviews?);

    let mut answer = HeaderMap::new();
    answer.insert(DECIDED_AT, decided_at.into());
    for name in [SERVED_BY, ROUTE_GENERATION] {
        if let Some(value) = seen.get(name) {
            answer.insert(name, value.clone());
        }
    }
    Ok((answer, Html(render(&details, &reviews))))
}

fn render(details: &Details, reviews: &Reviews) -> String {
    let Details { title, author, year, pages, language, .. } = details;
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}}\
         .black{{color:#222}}.red{{color:#c00}}blockquote{{margin:1em 0}}</style>\
         <p><a href=?>anyone</a> · <a href='?user=jason'>as jason</a></p>\
         <h1>{title}</h1><p>{author}, {year} · {pages} pages · {language}</p>\
         <h2>Reviews, by reviews {}</h2>",
        reviews.version
    );
    for Review { reviewer, text, stars, color } in &reviews.reviews {
        let (stars, color) = (stars.unwrap_or(0) as usize, color.as_deref().unwrap_or("none"));
        let stars = "★".repeat(stars.min(5));
        write!(
            html,
            "<blockquote>{text}<br>— {reviewer} <span class={color}>{stars}</span></blockquote>"
        )
        .expect("writing to a string");
    }
    html
}
