//! The filter that keeps sessions with one endpoint.

use std::sync::Arc;

use http::{HeaderName, StatusCode};
use mesh_core::resource::{CookieSource, SessionState, StatefulSession};
use mesh_pb::envoy::extensions::filters::http::stateful_session::v3 as pb;
use mesh_pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use mesh_pb::envoy::extensions::http::stateful_session::envelope::v3::EnvelopeSessionState;
use mesh_pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use mesh_pb::google::protobuf::Any;

use super::at::{At, Invalid};
use super::{common, policies};

/// What a filter or a route says of sessions; `None` when there are none.
pub(super) type Made = Option<Arc<StatefulSession>>;

/// The filter's configuration.
pub(super) fn filter(at: At<'_>, any: &Any) -> Result<Made, Invalid> {
    sessions(at, &common::any_of(at, any)?)
}

/// What a route says of it.
pub(super) fn per_route(at: At<'_>, any: &Any) -> Result<Made, Invalid> {
    use pb::stateful_session_per_route::Override;
    let proto: pb::StatefulSessionPerRoute = common::any_of(at, any)?;
    match &proto.r#override {
        Some(Override::Disabled(true)) => Ok(None),
        Some(Override::Disabled(false)) => Err(at.field("disabled").invalid("must be true")),
        Some(Override::StatefulSession(proto)) => sessions(at.field("stateful_session"), proto),
        None => Err(at.field("override").invalid("is missing")),
    }
}

fn sessions(at: At<'_>, proto: &pb::StatefulSession) -> Result<Made, Invalid> {
    let Some(state) = &proto.session_state else { return Ok(None) };
    let at_state = at.field("session_state");
    let at_state = at_state.field("typed_config");
    let any = state.typed_config.as_ref().ok_or_else(|| at_state.invalid("is missing"))?;
    let Some(state) = state_of(at_state, any)? else { return Ok(None) };
    let mut made = StatefulSession::new(state);
    made.strict = proto.strict;
    let status = proto.status_on_strict_destination_not_found;
    if status != 0 {
        let at = at.field("status_on_strict_destination_not_found");
        let known = u16::try_from(status).ok().and_then(|code| StatusCode::from_u16(code).ok());
        let known = known.filter(|status| status.as_u16() < 600);
        let known = known.ok_or_else(|| at.invalid(format!("{status} is not a status")))?;
        if proto.strict {
            made.missing_status = known;
        }
    }
    Ok(Some(Arc::new(made)))
}

fn state_of(at: At<'_>, any: &Any) -> Result<Option<SessionState>, Invalid> {
    if common::is_of::<CookieBasedSessionState>(any) {
        let proto: CookieBasedSessionState = common::any_of(at, any)?;
        let at = at.field("cookie");
        let proto = proto.cookie.as_ref().ok_or_else(|| at.invalid("is missing"))?;
        common::non_empty(at.field("name"), &proto.name)?;
        common::one_line(at.field("name"), &proto.name)?;
        common::one_line(at.field("path"), &proto.path)?;
        let mut made = CookieSource::new(proto.name.as_str());
        made.ttl = common::optional_duration(at.field("ttl"), proto.ttl.as_ref())?;
        made.path = proto.path.as_str().into();
        for (index, proto) in proto.attributes.iter().enumerate() {
            let at = at.index("attributes", index);
            made.attributes.push(policies::attribute(at, &proto.name, &proto.value)?);
        }
        return Ok(Some(SessionState::Cookie(made)));
    }
    if common::is_of::<HeaderBasedSessionState>(any) {
        let proto: HeaderBasedSessionState = common::any_of(at, any)?;
        let at = at.field("name");
        common::non_empty(at, &proto.name)?;
        let name = HeaderName::try_from(&proto.name).map_err(|_| at.invalid("is not a header"))?;
        return Ok(Some(SessionState::Header(name)));
    }
    if common::is_of::<EnvelopeSessionState>(any) {
        at.finding("sessions in headers of the application are not honoured");
        return Ok(None);
    }
    Err(at.invalid(format!("{:?} is not supported", any.type_url)))
}
