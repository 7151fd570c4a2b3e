//! The header mutation filter.

use mesh_core::resource::{AppendAction, HeaderChange, HeaderMutations, QueryChange};
use mesh_pb::envoy::config::common::mutation_rules::v3 as rules;
use mesh_pb::envoy::config::core::v3::KeyValueMutation;
use mesh_pb::envoy::config::core::v3::key_value_append::KeyValueAppendAction;
use mesh_pb::envoy::extensions::filters::http::header_mutation::v3 as pb;
use mesh_pb::google::protobuf::value::Kind;
use rules::header_mutation::Action;

use super::at::{At, Invalid, not_honoured};
use super::headers::Operation;
use super::{common, headers, matcher};

/// The filter's own configuration.
pub(super) fn filter(at: At<'_>, proto: &pb::HeaderMutation) -> Result<HeaderMutations, Invalid> {
    let mut made = mutations(at, proto.mutations.as_ref())?;
    made.most_specific_header_mutations_wins = proto.most_specific_header_mutations_wins;
    Ok(made)
}

/// That of a route.
pub(super) fn per_route(
    at: At<'_>,
    proto: &pb::HeaderMutationPerRoute,
) -> Result<HeaderMutations, Invalid> {
    mutations(at, proto.mutations.as_ref())
}

fn mutations(at: At<'_>, proto: Option<&pb::Mutations>) -> Result<HeaderMutations, Invalid> {
    let at = at.field("mutations");
    let mut made = HeaderMutations::default();
    let Some(proto) = proto else { return Ok(made) };
    headers::check_count(at.field("request_mutations"), proto.request_mutations.len())?;
    headers::check_count(at.field("response_mutations"), proto.response_mutations.len())?;
    let queries = proto.query_parameter_mutations.len();
    headers::check_count(at.field("query_parameter_mutations"), queries)?;
    for (index, proto) in proto.request_mutations.iter().enumerate() {
        match change(at.index("request_mutations", index), proto)? {
            Some(Ok(change)) => made.request.push(change),
            Some(Err(name)) => {
                made.invalid_name.get_or_insert(name);
            }
            None => {}
        }
    }
    for (index, proto) in proto.response_mutations.iter().enumerate() {
        let change = change(at.index("response_mutations", index), proto)?;
        made.response.extend(change.and_then(Result::ok));
    }
    for (index, proto) in proto.query_parameter_mutations.iter().enumerate() {
        made.query.push(query(at.index("query_parameter_mutations", index), proto)?);
    }
    for (field, trailers) in [
        ("response_trailers_mutations", &proto.response_trailers_mutations),
        ("request_trailers_mutations", &proto.request_trailers_mutations),
    ] {
        for (index, proto) in trailers.iter().enumerate() {
            change(at.index(field, index), proto)?;
        }
    }
    not_honoured!(at, proto, [response_trailers_mutations, request_trailers_mutations]);
    Ok(made)
}

/// The name of a header that cannot be added, or a change.
type Change = Option<Result<HeaderChange, Box<str>>>;

fn change(at: At<'_>, proto: &rules::HeaderMutation) -> Result<Change, Invalid> {
    Ok(match &proto.action {
        Some(Action::Append(append)) => match headers::operation(at.field("append"), append)? {
            Some(Operation::Valid(operation)) => Some(Ok(HeaderChange::Append(operation))),
            Some(Operation::InvalidName(name)) => Some(Err(name)),
            None => None,
        },
        // No message has a header whose name is empty (Envoy takes it here).
        Some(Action::Remove(name)) if name.is_empty() => None,
        Some(Action::Remove(name)) => {
            headers::removal(at.field("remove"), name)?.map(|name| Ok(HeaderChange::Remove(name)))
        }
        Some(Action::RemoveOnMatch(proto)) => {
            let at = at.field("remove_on_match");
            let at = at.field("key_matcher");
            let proto = proto.key_matcher.as_ref().ok_or_else(|| at.invalid("is missing"))?;
            Some(Ok(HeaderChange::RemoveOnMatch(matcher::string(at, proto)?)))
        }
        None => return Err(at.invalid("has no known action")),
    })
}

fn query(at: At<'_>, proto: &KeyValueMutation) -> Result<QueryChange, Invalid> {
    let Some(append) = &proto.append else {
        common::non_empty(at.field("remove"), &proto.remove)?;
        return Ok(QueryChange::Remove(proto.remove.as_str().into()));
    };
    if !proto.remove.is_empty() {
        return Err(at.invalid("only one of append and remove may be set"));
    }
    let at = at.field("append");
    let action = match KeyValueAppendAction::try_from(append.action) {
        Ok(KeyValueAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        Ok(KeyValueAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        Ok(KeyValueAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        Ok(KeyValueAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
        Err(_) => {
            return Err(at.field("action").invalid(format!("unknown value {}", append.action)));
        }
    };
    let at = at.field("record");
    let record = append.record.as_ref().ok_or_else(|| at.invalid("is missing"))?;
    common::non_empty_line(at.field("key"), &record.key)?;
    let at_value = at.field("value");
    let Some(Kind::StringValue(value)) = record.value.as_ref().and_then(|v| v.kind.as_ref()) else {
        return Err(at_value.invalid("must be a string"));
    };
    let value = headers::format(at_value, value.as_bytes())?;
    Ok(QueryChange::Append { key: record.key.as_str().into(), value, action })
}
