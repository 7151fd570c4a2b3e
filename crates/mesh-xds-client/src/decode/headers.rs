//! Header changes.

use http::{HeaderName, HeaderValue};
use mesh_core::headers::Format;
use mesh_core::resource::{AppendAction, HeaderMutation, HeaderOperation, HeaderText};
use mesh_pb::envoy::config::core::v3 as pb;
use mesh_pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;

use super::at::{At, Invalid};
use super::common;

/// The additions and removals of one direction, from fields of those names.
pub(super) fn mutation(
    at: At<'_>,
    (add_field, add): (&'static str, &[pb::HeaderValueOption]),
    (remove_field, remove): (&'static str, &[String]),
) -> Result<HeaderMutation, Invalid> {
    let mut made = HeaderMutation::default();
    check_count(at.field(add_field), add.len())?;
    check_count(at.field(remove_field), remove.len())?;
    for (index, proto) in add.iter().enumerate() {
        match operation(at.index(add_field, index), proto)? {
            Some(Operation::Valid(operation)) => made.add.push(operation),
            Some(Operation::InvalidName(name)) => {
                made.invalid_name.get_or_insert(name);
            }
            None => {}
        }
    }
    for (index, name) in remove.iter().enumerate() {
        made.remove.extend(removal(at.index(remove_field, index), name)?);
    }
    Ok(made)
}

/// At most a thousand changes of one kind, as Envoy's rules say of those that add.
pub(super) fn check_count(at: At<'_>, count: usize) -> Result<(), Invalid> {
    const LIMIT: usize = 1_000;
    if count > LIMIT {
        return Err(at.invalid(format!("has more than {LIMIT} entries")));
    }
    Ok(())
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

/// A header that is added.
pub(super) enum Operation {
    /// One that can be.
    Valid(HeaderOperation),
    /// One whose name no message can hold. Envoy takes it all the same, and answers each request
    /// that was to carry it with an error.
    InvalidName(Box<str>),
}

/// Pseudo-headers and `host` must not be changed, as in Envoy.
fn check_name(at: At<'_>, name: &str, what: &str) -> Result<(), Invalid> {
    common::non_empty_line(at, name)?;
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(at.invalid(format!(":-prefixed or host headers may not be {what}: {name:?}")));
    }
    Ok(())
}

/// A header to remove; `None` for a name that no header can have.
pub(super) fn removal(at: At<'_>, name: &str) -> Result<Option<HeaderName>, Invalid> {
    check_name(at, name, "removed")?;
    Ok(at.shared().header(name))
}

/// `None` when nothing is ever added.
pub(super) fn operation(
    at: At<'_>,
    proto: &pb::HeaderValueOption,
) -> Result<Option<Operation>, Invalid> {
    let at_header = at.field("header");
    let header = proto.header.as_ref().ok_or_else(|| at_header.invalid("is missing"))?;
    let at_key = at_header.field("key");
    check_name(at_key, &header.key, "modified")?;
    // Envoy looks at the text alone here, and passes bytes over.
    if !header.raw_value.is_empty() {
        at_header.field("raw_value").finding("is not honoured");
    }
    let (at_value, raw) = (at_header.field("value"), header.value.as_bytes());
    /// The longest value, in bytes (PGV).
    const VALUE_LIMIT: usize = 16_384;
    if raw.len() > VALUE_LIMIT {
        return Err(at_value.invalid(format!("is longer than {VALUE_LIMIT} bytes")));
    }
    if raw.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\0')) {
        return Err(at_value.invalid("must not have line ends or zero bytes"));
    }
    let value = HeaderText::from(format(at_value, raw)?);
    let action = action(at, proto)?;
    if matches!(&value, HeaderText::Literal(value) if value.is_empty()) && !proto.keep_empty_value {
        return Ok(None);
    }
    let Some(name) = at.shared().header(&header.key) else {
        at_key.finding("is not a header name: requests are answered with an error");
        let name = header.key.to_ascii_lowercase().into();
        let never = action == AppendAction::OverwriteIfExists;
        return Ok((!never).then_some(Operation::InvalidName(name)));
    };
    let mut made = HeaderOperation::new(name, value, action);
    made.keep_empty_value = proto.keep_empty_value;
    Ok(Some(Operation::Valid(made)))
}

/// A text with commands. What tells nothing here is noted.
pub(super) fn format(at: At<'_>, text: &[u8]) -> Result<Format, Invalid> {
    for lacks in [&b"%CEL("[..], b"%TYPED_CEL("] {
        if text.windows(lacks.len()).any(|window| window == lacks) {
            return Err(at.invalid("CEL is not supported"));
        }
    }
    let note = |name: &str, text: &str| at.finding(format!("%{name}% {text}"));
    let format = Format::parse(text, note).map_err(|error| at.invalid(error.to_string()))?;
    if format.literal().is_some_and(|text| HeaderValue::from_bytes(text).is_err()) {
        at.finding("is not a header value: requests are answered with an error");
    }
    Ok(format)
}

/// The deprecated `append` counts where it is set; older control planes know nothing else.
#[allow(deprecated, reason = "control planes still send the older field")]
fn action(at: At<'_>, proto: &pb::HeaderValueOption) -> Result<AppendAction, Invalid> {
    let made = match HeaderAppendAction::try_from(proto.append_action) {
        Ok(HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        Ok(HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        Ok(HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        Ok(HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
        Err(_) => {
            let value = proto.append_action;
            return Err(at.field("append_action").invalid(format!("unknown value {value}")));
        }
    };
    match &proto.append {
        None => Ok(made),
        Some(_) if made != AppendAction::AppendIfExistsOrAdd => {
            Err(at.field("append").invalid("must not be set together with append_action"))
        }
        Some(append) if append.value => Ok(AppendAction::AppendIfExistsOrAdd),
        Some(_) => Ok(AppendAction::OverwriteIfExistsOrAdd),
    }
}
