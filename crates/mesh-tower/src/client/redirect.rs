//! Redirects of a server that are followed here, as if the request had been made anew.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use mesh_core::Head;
use mesh_core::resource::{InternalRedirect, Name};
use mesh_core::snapshot::RouteRef;

use super::copy::Copy;
use super::routing::Place;
use super::step::Start;
use crate::body::Body;
use crate::mesh::{Hold, Inner, Random, Subscribed};

/// What a request needs to begin anew.
pub(super) struct Redirecting {
    mesh: Arc<Inner>,
    target: Arc<Subscribed>,
}

/// The redirects that a request followed so far: from which route to which. Comes along with the
/// request, among its extensions.
#[derive(Clone, Debug, Default)]
struct Followed(Vec<(Name, Name)>);

const ORIGINAL_URL: &str = "x-envoy-original-url";

impl Redirecting {
    pub(super) fn new(place: Place<'_>) -> Box<Self> {
        Box::new(Self { mesh: place.mesh.clone(), target: place.target.clone() })
    }

    /// The request that an answer leads to; `None` when the caller is to get the answer.
    #[inline(never)]
    pub(super) fn follow(
        &self,
        hold: &Hold,
        route: RouteRef,
        (status, headers): (StatusCode, &HeaderMap),
        random: &mut Random,
        copy: &mut Copy,
    ) -> Option<Box<Start>> {
        let view = hold.view(route);
        let policy = view.internal_redirect()?;
        if !policy.redirect_response_codes.contains(&status) {
            return None;
        }
        let to = location(headers)?;
        let mut head = copy.head();
        let mut followed: Followed = head.extensions_mut().remove().unwrap_or_default();
        let from = head.uri().scheme_str().unwrap_or("http").to_owned();
        if followed.0.len() >= policy.max_internal_redirects as usize
            || !policy.allows_scheme(&from, to.scheme_str()?)
        {
            return None;
        }
        lead(&mut head, policy, status, headers, (&from, to));
        let root = hold.root(self.target.listener(), self.target.hint())?;
        let seen = Head::of(&head).to_target(self.target.authority());
        let decision = hold.route(root, &seen, mesh_core::Dialect::Http, random.next());
        let target = hold.view(decision.route()?).route.name.clone();
        if !policy.allows_route(&view.route.name, &target, &followed.0) {
            return None;
        }
        followed.0.push((view.route.name.clone(), target));
        head.extensions_mut().insert(followed);
        // Only now: it cuts off what is still sent of the body.
        let body = copy.body()?;
        let request = match status {
            StatusCode::SEE_OTHER => head.map(|()| Body::empty()),
            _ => head.map(|()| body),
        };
        Some(Start::anew(self.mesh.clone(), self.target.clone(), request))
    }
}

/// Where an answer leads to, when it says so by a whole URL.
fn location(headers: &HeaderMap) -> Option<Uri> {
    let uri: Uri = headers.get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.authority().is_some()).then_some(uri)
}

/// Makes the head one for the place that an answer leads to.
fn lead(
    head: &mut Request<()>,
    policy: &InternalRedirect,
    status: StatusCode,
    answered: &HeaderMap,
    (scheme, to): (&str, Uri),
) {
    let before = Head::of(head);
    let original = format!("{scheme}://{}{}", before.authority, before.path_and_query);
    if let Ok(original) = HeaderValue::try_from(original) {
        head.headers_mut().insert(ORIGINAL_URL, original);
    }
    if status == StatusCode::SEE_OTHER {
        // RFC 9110 §15.4.4: the answer is to be fetched, and not what was asked asked again.
        if !matches!(*head.method(), Method::GET | Method::HEAD) {
            *head.method_mut() = Method::GET;
        }
        head.headers_mut().remove(header::CONTENT_LENGTH);
        head.headers_mut().remove(header::TRANSFER_ENCODING);
    }
    for name in &policy.response_headers_to_copy {
        head.headers_mut().remove(name);
        for value in answered.get_all(name) {
            head.headers_mut().append(name.clone(), value.clone());
        }
    }
    head.headers_mut().remove(header::HOST);
    *head.uri_mut() = to;
}
