//! The descriptor set of the xDS messages that are decoded from and written to JSON.
//!
//! `envoy-types` carries the descriptors of everything Envoy has. What we read of it is a tenth:
//! the messages named here and all that they hold. Comments and options go as well, for nobody
//! reads them at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use prost::Message as _;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use protox::Compiler;

/// Where the set goes, from the root of the repository.
pub(crate) const PATH: &str = "crates/mesh-pb/src/generated/xds.bin";

/// Messages that `envoy-types` lacks.
const OURS: (&str, &[&str]) = (
    "crates/mesh-pb/proto",
    &[
        "udpa/type/v1/typed_struct.proto",
        "xds/data/orca/v3/orca_load_report.proto",
        "xds/service/orca/v3/orca.proto",
        "xds/type/v3/typed_struct.proto",
    ],
);

/// Messages in use, by the beginning of their full names: what they hold comes along, what may
/// stand in an `Any` has to be named.
const ROOTS: &[&str] = &[
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.common.mutation_rules.",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.config.rbac.v3.",
    "envoy.config.route.v3.",
    "envoy.extensions.access_loggers.file.",
    "envoy.extensions.access_loggers.stream.",
    "envoy.extensions.clusters.aggregate.",
    "envoy.extensions.common.matching.",
    "envoy.extensions.early_data.",
    "envoy.extensions.filters.common.fault.",
    "envoy.extensions.filters.common.matcher.action.",
    "envoy.extensions.filters.http.adaptive_concurrency.",
    "envoy.extensions.filters.http.admission_control.",
    "envoy.extensions.filters.http.buffer.",
    "envoy.extensions.filters.http.cors.",
    "envoy.extensions.filters.http.csrf.",
    "envoy.extensions.filters.http.ext_authz.",
    "envoy.extensions.filters.http.fault.",
    "envoy.extensions.filters.http.grpc_stats.",
    "envoy.extensions.filters.http.header_mutation.",
    "envoy.extensions.filters.http.jwt_authn.",
    "envoy.extensions.filters.http.local_ratelimit.",
    "envoy.extensions.filters.http.lua.",
    "envoy.extensions.filters.http.ratelimit.",
    "envoy.extensions.filters.http.rbac.",
    "envoy.extensions.filters.http.router.",
    "envoy.extensions.filters.http.set_metadata.",
    "envoy.extensions.filters.http.stateful_session.",
    "envoy.extensions.filters.listener.http_inspector.",
    "envoy.extensions.filters.listener.original_dst.",
    "envoy.extensions.filters.listener.tls_inspector.",
    "envoy.extensions.filters.network.http_connection_manager.",
    "envoy.extensions.filters.network.rbac.",
    "envoy.extensions.filters.network.tcp_proxy.",
    "envoy.extensions.formatter.",
    "envoy.extensions.http.early_header_mutation.header_mutation.",
    "envoy.extensions.http.original_ip_detection.",
    "envoy.extensions.http.stateful_session.",
    "envoy.extensions.internal_redirect.",
    "envoy.extensions.load_balancing_policies.",
    "envoy.extensions.matching.common_inputs.",
    "envoy.extensions.matching.input_matchers.",
    "envoy.extensions.path.",
    "envoy.extensions.rate_limit_descriptors.",
    "envoy.extensions.rbac.",
    "envoy.extensions.retry.",
    "envoy.extensions.router.cluster_specifiers.matcher.",
    "envoy.extensions.transport_sockets.internal_upstream.",
    "envoy.extensions.transport_sockets.raw_buffer.",
    "envoy.extensions.transport_sockets.tls.v3.",
    "envoy.extensions.upstreams.http.v3.",
    "envoy.service.discovery.v3.Resource",
    "envoy.type.matcher.v3.",
    "google.protobuf.Any",
    "google.protobuf.BoolValue",
    "google.protobuf.BytesValue",
    "google.protobuf.DoubleValue",
    "google.protobuf.Duration",
    "google.protobuf.Empty",
    "google.protobuf.FloatValue",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.ListValue",
    "google.protobuf.StringValue",
    "google.protobuf.Struct",
    "google.protobuf.Timestamp",
    "google.protobuf.UInt32Value",
    "google.protobuf.UInt64Value",
    "google.protobuf.Value",
    "udpa.type.",
    "xds.data.orca.",
    "xds.service.orca.",
    "xds.type.",
];

/// The set, encoded.
pub(crate) fn generate(root: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let theirs = fs::read(envoy_types(root)?.join("src/generated/types.bin"))?;
    // Reading drops the options that validation rules are written in: they are extensions.
    let mut set = FileDescriptorSet::decode(theirs.as_slice())?;
    let mut compiler = Compiler::new([root.join(OURS.0)])?;
    compiler.include_imports(false).open_files(OURS.1)?;
    set.file.extend(compiler.file_descriptor_set().file);

    let index = Index::new(&set);
    for prefix in ROOTS {
        if !index.types.keys().any(|name| name.starts_with(prefix)) {
            return Err(format!("nothing is named {prefix}").into());
        }
    }
    let wanted = index.closure();
    let mut file: Vec<_> = set.file.iter().filter_map(|file| prune(file, &wanted)).collect();
    depend(&mut file, &index);
    Ok(FileDescriptorSet { file: sorted(file) }.encode_to_vec())
}

/// The folder of the `envoy-types` package that the workspace is built with.
fn envoy_types(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let told = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()?;
    if !told.status.success() {
        return Err(String::from_utf8_lossy(&told.stderr).into_owned().into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&told.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or("the workspace does not use envoy-types")?;
    Ok(Path::new(manifest).parent().ok_or("a manifest without a folder")?.to_owned())
}

/// Every message and enum by its full name.
struct Index {
    types: BTreeMap<String, Entry>,
}

struct Entry {
    file: String,
    /// Full names of what it holds, and of the message around it.
    needs: Vec<String>,
}

impl Index {
    fn new(set: &FileDescriptorSet) -> Self {
        let mut index = Self { types: BTreeMap::new() };
        for file in &set.file {
            for message in &file.message_type {
                index.message(file, file.package(), None, message);
            }
            for r#enum in &file.enum_type {
                index.insert(file, format!("{}.{}", file.package(), r#enum.name()), Vec::new());
            }
        }
        index
    }

    fn message(
        &mut self,
        file: &FileDescriptorProto,
        scope: &str,
        around: Option<&str>,
        message: &DescriptorProto,
    ) {
        let name = format!("{scope}.{}", message.name());
        let mut needs: Vec<String> = message.field.iter().filter_map(type_of).collect();
        needs.extend(around.map(str::to_owned));
        for inner in &message.nested_type {
            self.message(file, &name, Some(&name), inner);
        }
        for inner in &message.enum_type {
            self.insert(file, format!("{name}.{}", inner.name()), vec![name.clone()]);
        }
        self.insert(file, name, needs);
    }

    fn insert(&mut self, file: &FileDescriptorProto, name: String, needs: Vec<String>) {
        self.types.insert(name, Entry { file: file.name().to_owned(), needs });
    }

    /// The roots and all that they need.
    fn closure(&self) -> BTreeSet<&str> {
        let is_root = |name: &&String| ROOTS.iter().any(|prefix| name.starts_with(prefix));
        let mut left: Vec<&str> = self.types.keys().filter(is_root).map(String::as_str).collect();
        let mut wanted = BTreeSet::new();
        while let Some(name) = left.pop() {
            if wanted.insert(name) {
                left.extend(self.types[name].needs.iter().map(String::as_str));
            }
        }
        wanted
    }
}

/// The full name of a field's message or enum.
fn type_of(field: &FieldDescriptorProto) -> Option<String> {
    let name = field.type_name().strip_prefix('.')?;
    Some(name.to_owned())
}

/// What is wanted of a file; `None` when nothing is.
fn prune(file: &FileDescriptorProto, wanted: &BTreeSet<&str>) -> Option<FileDescriptorProto> {
    let package = file.package();
    let mut kept = FileDescriptorProto {
        name: file.name.clone(),
        package: file.package.clone(),
        syntax: file.syntax.clone(),
        message_type: messages(&file.message_type, package, wanted),
        enum_type: file.enum_type.clone(),
        ..FileDescriptorProto::default()
    };
    kept.enum_type.retain(|kept| wanted.contains(format!("{package}.{}", kept.name()).as_str()));
    for kept in &mut kept.enum_type {
        bare_enum(kept);
    }
    (!kept.message_type.is_empty() || !kept.enum_type.is_empty()).then_some(kept)
}

fn messages(all: &[DescriptorProto], scope: &str, wanted: &BTreeSet<&str>) -> Vec<DescriptorProto> {
    let mut kept = Vec::new();
    for message in all {
        let name = format!("{scope}.{}", message.name());
        if !wanted.contains(name.as_str()) {
            continue;
        }
        let mut bare = DescriptorProto {
            name: message.name.clone(),
            field: message.field.clone(),
            oneof_decl: message.oneof_decl.clone(),
            nested_type: messages(&message.nested_type, &name, wanted),
            enum_type: message.enum_type.clone(),
            // Of the options only that of map entries says how a message is read.
            options: message.options.clone().filter(|options| options.map_entry()),
            ..DescriptorProto::default()
        };
        bare.enum_type.retain(|kept| wanted.contains(format!("{name}.{}", kept.name()).as_str()));
        for kept in &mut bare.enum_type {
            bare_enum(kept);
        }
        for field in &mut bare.field {
            field.options = None;
            // Always what follows from the name.
            field.json_name = None;
        }
        for oneof in &mut bare.oneof_decl {
            oneof.options = None;
        }
        kept.push(bare);
    }
    kept
}

fn bare_enum(kept: &mut prost_types::EnumDescriptorProto) {
    for value in &mut kept.value {
        value.options = None;
    }
    kept.options = kept.options.take().filter(|options| options.allow_alias());
}

/// Gives each file the imports it still needs.
fn depend(files: &mut [FileDescriptorProto], index: &Index) {
    for file in files {
        let mut needed = BTreeSet::new();
        let mut left: Vec<&DescriptorProto> = file.message_type.iter().collect();
        while let Some(message) = left.pop() {
            let named = message.field.iter().filter_map(type_of);
            needed.extend(named.map(|name| index.types[&name].file.clone()));
            left.extend(&message.nested_type);
        }
        needed.remove(file.name());
        file.dependency = needed.into_iter().collect();
    }
}

/// Imports before what imports them, else by name.
fn sorted(files: Vec<FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    let mut left: BTreeMap<String, FileDescriptorProto> =
        files.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    let mut sorted = Vec::with_capacity(left.len());
    while let Some(name) = left.keys().next().cloned() {
        place(&name, &mut left, &mut sorted);
    }
    sorted
}

fn place(
    name: &str,
    left: &mut BTreeMap<String, FileDescriptorProto>,
    sorted: &mut Vec<FileDescriptorProto>,
) {
    // Imports have no cycles, and what is no longer here has been placed.
    if let Some(file) = left.remove(name) {
        for import in &file.dependency {
            place(import, left, sorted);
        }
        sorted.push(file);
    }
}
