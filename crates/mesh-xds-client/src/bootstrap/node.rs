use mesh_core::resource::Locality;
use mesh_pb::envoy::config::core::v3 as pb;
use mesh_pb::google::protobuf::{self, value::Kind};
use serde_json::{Map, Value};

/// Who we are, as told to the control plane.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// The identity; every error text of the client names it.
    pub id: String,
    /// The local service's name.
    pub cluster: String,
    /// Where we run.
    pub locality: Option<Locality>,
    /// Passed through to the control plane.
    pub metadata: Map<String, Value>,
}

/// `envoy.lb.does_not_support_overprovisioning`: a locality is used or not, never in part (gRFC
/// A27). `xds.config.resource-in-sotw`: resources may come in a `Resource` message.
/// `xds.config.supports-resource-ttl`: which may give them a time to live.
const CLIENT_FEATURES: [&str; 3] = [
    "envoy.lb.does_not_support_overprovisioning",
    "xds.config.resource-in-sotw",
    "xds.config.supports-resource-ttl",
];

impl Node {
    /// The message for the first request of a stream.
    pub(crate) fn to_proto(&self) -> pb::Node {
        pb::Node {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            metadata: (!self.metadata.is_empty()).then(|| structure(&self.metadata)),
            locality: self.locality.as_ref().map(|locality| pb::Locality {
                region: locality.region.to_string(),
                zone: locality.zone.to_string(),
                sub_zone: locality.sub_zone.to_string(),
            }),
            user_agent_name: env!("CARGO_PKG_NAME").to_owned(),
            user_agent_version_type: Some(pb::node::UserAgentVersionType::UserAgentVersion(
                env!("CARGO_PKG_VERSION").to_owned(),
            )),
            client_features: CLIENT_FEATURES.map(str::to_owned).to_vec(),
            ..pb::Node::default()
        }
    }
}

fn structure(map: &Map<String, Value>) -> protobuf::Struct {
    let fields = map.iter().map(|(key, value)| (key.clone(), proto_value(value))).collect();
    protobuf::Struct { fields }
}

// Recursion is bounded by serde_json, which refuses more than 128 levels.
fn proto_value(value: &Value) -> protobuf::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(protobuf::ListValue {
            values: values.iter().map(proto_value).collect(),
        }),
        Value::Object(map) => Kind::StructValue(structure(map)),
    };
    protobuf::Value { kind: Some(kind) }
}
