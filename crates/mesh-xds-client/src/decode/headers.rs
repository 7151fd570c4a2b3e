//! Header changes.

use http::{HeaderName, HeaderValue};
use mesh_core::resource::{AppendAction, HeaderMutation, HeaderOperation};
use mesh_pb::envoy::config::core::v3 as pb;
use mesh_pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;

use super::at::{At, Invalid};

/// The additions and removals of one direction, from fields of those names.
pub(super) fn mutation(
    at: At<'_>,
    (add_field, add): (&'static str, &[pb::HeaderValueOption]),
    (remove_field, remove): (&'static str, &[String]),
) -> Result<HeaderMutation, Invalid> {
    let mut made = HeaderMutation::default();
    for (index, proto) in add.iter().enumerate() {
        made.add.extend(operation(at.index(add_field, index), proto)?);
    }
    for (index, name) in remove.iter().enumerate() {
        made.remove.push(header_name(at.index(remove_field, index), name)?);
    }
    Ok(made)
}

/// Request and response changes of any message that has the four usual fields.
macro_rules! mutations {
    ($at:expr, $message:expr) => {
        $crate::decode::headers::mutation(
            $at,
            ("request_headers_to_add", &$message.request_headers_to_add),
            ("request_headers_to_remove", &$message.request_headers_to_remove),
        )
        .and_then(|request| {
            let response = $crate::decode::headers::mutation(
                $at,
                ("response_headers_to_add", &$message.response_headers_to_add),
                ("response_headers_to_remove", &$message.response_headers_to_remove),
            )?;
            Ok((request, response))
        })
    };
}
pub(super) use mutations;

/// A header that may be changed: pseudo-headers and `host` may not, as in Envoy.
fn header_name(at: At<'_>, name: &str) -> Result<HeaderName, Invalid> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(at.invalid(format!("header {name:?} must not be changed")));
    }
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| at.invalid(format!("{name:?} is not a header name")))
}

fn operation(
    at: At<'_>,
    proto: &pb::HeaderValueOption,
) -> Result<Option<HeaderOperation>, Invalid> {
    let at_header = at.field("header");
    let header = proto.header.as_ref().ok_or_else(|| at_header.invalid("is missing"))?;
    let name = header_name(at_header.field("key"), &header.key)?;
    let (field, raw) = match header.raw_value.as_slice() {
        [] => ("value", header.value.as_bytes()),
        raw => ("raw_value", raw),
    };
    let at_value = at_header.field(field);
    let Some(value) = literal(at_value, raw)? else { return Ok(None) };
    if value.is_empty() && !proto.keep_empty_value {
        return Ok(None);
    }
    let value =
        HeaderValue::from_bytes(&value).map_err(|_| at_value.invalid("is not a header value"))?;
    Ok(Some(HeaderOperation { name, value, action: action(at, proto)? }))
}

/// The deprecated `append` counts where it is set; older control planes know nothing else.
#[allow(deprecated, reason = "control planes still send the older field")]
fn action(at: At<'_>, proto: &pb::HeaderValueOption) -> Result<AppendAction, Invalid> {
    if let Some(append) = &proto.append {
        return Ok(if append.value {
            AppendAction::AppendIfExistsOrAdd
        } else {
            AppendAction::OverwriteIfExistsOrAdd
        });
    }
    Ok(match HeaderAppendAction::try_from(proto.append_action) {
        Ok(HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        Ok(HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        Ok(HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        Ok(HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
        Err(_) => {
            let value = proto.append_action;
            return Err(at.field("append_action").invalid(format!("unknown value {value}")));
        }
    })
}

/// The text of a value with `%%` made `%`. A value with a formatter (`%REQ(x)%`) is not honoured.
fn literal(at: At<'_>, value: &[u8]) -> Result<Option<Vec<u8>>, Invalid> {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            text.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'%') => text.push(b'%'),
            Some(_) if rest.any(|byte| byte == b'%') => {
                at.finding("formatters are not honoured; the header is left as it is");
                return Ok(None);
            }
            _ => return Err(at.invalid("has a lone %; a literal one is written %%")),
        }
    }
    Ok(Some(text))
}
