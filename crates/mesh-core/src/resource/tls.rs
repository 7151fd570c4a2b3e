//! TLS contexts: who we are to a peer, and whom we take it for.
//!
//! What is said here is valid. Certificates come from `mesh-identity`, and connections from
//! `mesh-tower`.

use std::fmt;
use std::sync::Arc;

use super::{Endpoint, Name, StringMatcher, Struct};

/// How bytes reach an endpoint (`envoy.config.core.v3.TransportSocket`).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum TransportSocket {
    /// In plain text (`envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer`).
    #[default]
    RawBuffer,
    /// Over TLS.
    Tls(Arc<UpstreamTlsContext>),
}

/// `envoy.config.cluster.v3.Cluster.TransportSocketMatch`: another transport for some endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSocketMatch {
    /// The name, as reported.
    pub name: Name,
    /// What an endpoint's metadata must hold under [`TRANSPORT_SOCKET_MATCH`]; nothing for any.
    pub criteria: Struct,
    /// How bytes reach such an endpoint.
    pub socket: TransportSocket,
}

/// The filter name of an endpoint's metadata that [`TransportSocketMatch`] looks at.
pub const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";

impl TransportSocketMatch {
    /// Whether it is meant for `endpoint`: every value asked for is there and the same.
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        let metadata = endpoint.metadata.as_ref();
        let given = metadata.and_then(|metadata| metadata.fields.get(TRANSPORT_SOCKET_MATCH));
        let mut criteria = self.criteria.iter();
        criteria.all(|(key, value)| given.is_some_and(|given| given.get(key) == Some(value)))
    }
}

/// `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamTlsContext {
    /// What both sides share. Without a [validation](CommonTlsContext::validation) nobody could
    /// verify whom the bytes go to, and no connection is made.
    pub common: CommonTlsContext,
    /// The name asked for (SNI), at most 255 bytes; `None` when unset.
    pub sni: Option<Name>,
    /// Whether the endpoint's hostname is asked for instead, where it has one (gRFC A101).
    pub auto_host_sni: bool,
    /// Whether the certificate must be for the name asked for, in place of the matchers.
    pub auto_sni_san_validation: bool,
    /// Whether it must be for that name as well as what the matchers ask for, as
    /// `UpstreamHttpProtocolOptions.auto_san_validation` has it.
    pub auto_san_validation: bool,
}

/// `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownstreamTlsContext {
    /// What both sides share. [Identities](CommonTlsContext::identities) are never empty; without
    /// a [validation](CommonTlsContext::validation) clients are not asked for a certificate.
    pub common: CommonTlsContext,
    /// Whether a client without a certificate is refused; there is a validation then.
    pub require_client_certificate: bool,
    /// Whether a client that asks for no name (SNI) is refused.
    pub require_sni: bool,
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommonTlsContext {
    /// Where our certificates come from; one at most for a client.
    pub identities: Vec<CertificateSource>,
    /// Whom we believe; `None` for everybody.
    pub validation: Option<CertificateValidation>,
    /// `alpn_protocols`, the most preferred first; empty when the HTTP version decides.
    pub alpn_protocols: Vec<Name>,
    /// The oldest version of TLS; `None` for the default.
    pub minimum_version: Option<TlsVersion>,
    /// The newest version of TLS; `None` for the default.
    pub maximum_version: Option<TlsVersion>,
}

impl CommonTlsContext {
    /// As istiod tells those that have a certificate provider of that instance name: its certificate
    /// `default`, its roots `ROOTCA`, and a peer with one of these names; with any name, as long as
    /// its certificate is of these roots, when there are none.
    pub fn of_provider(instance: &str, peers: &[&str]) -> Self {
        let of = |certificate: &str| ProviderInstance {
            instance_name: instance.into(),
            certificate_name: certificate.into(),
        };
        let mut validation = CertificateValidation::new(RootSource::Provider(of("ROOTCA")));
        let matcher = |name: &&str| SubjectAltNameMatcher {
            kind: SanKind::Any,
            value: StringMatcher::exact(*name),
        };
        validation.san_matchers = peers.iter().map(matcher).collect();
        Self {
            identities: vec![CertificateSource::Provider(of("default"))],
            validation: Some(validation),
            ..Self::default()
        }
    }

    /// The names of the [secrets](Secret) that it refers to.
    pub fn secrets(&self) -> impl Iterator<Item = &Name> {
        let own = self.identities.iter().filter_map(|source| match source {
            CertificateSource::Secret(name) => Some(name),
            _ => None,
        });
        own.chain(self.validation.as_ref().and_then(|validation| match &validation.roots {
            RootSource::Secret(name) => Some(name),
            _ => None,
        }))
    }
}

/// A version of TLS. Older ones than these are never spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Where a certificate and its key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateSource {
    /// A certificate provider of the bootstrap.
    Provider(ProviderInstance),
    /// A [`Secret`] of that name (SDS). Istio's sidecars are told `default`.
    Secret(Name),
    /// Told in place.
    Inline(Arc<TlsCertificate>),
}

/// Where the certificates of the authorities we believe come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootSource {
    /// A certificate provider of the bootstrap.
    Provider(ProviderInstance),
    /// A [`Secret`] of that name (SDS). Istio's sidecars are told `ROOTCA`.
    Secret(Name),
    /// Those of the operating system (gRFC A82). For clients alone.
    System,
    /// Told in place.
    Inline(DataSource),
}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateProviderPluginInstance`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProviderInstance {
    /// The key among the bootstrap's `certificate_providers`.
    pub instance_name: Name,
    /// Which of its certificates; often empty.
    pub certificate_name: Name,
}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateValidation {
    /// The authorities.
    pub roots: RootSource,
    /// The names of which the certificate must have one; empty for any.
    pub san_matchers: Vec<SubjectAltNameMatcher>,
}

impl CertificateValidation {
    /// Whoever has a certificate of those authorities.
    pub fn new(roots: RootSource) -> Self {
        Self { roots, san_matchers: Vec::new() }
    }
}

/// `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectAltNameMatcher {
    /// Which names are looked at.
    pub kind: SanKind,
    /// What one of them must be. A DNS name compared exactly also meets a certificate's wildcard
    /// for its first label.
    pub value: StringMatcher,
}

/// A kind of subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SanKind {
    /// Any of the others (`match_subject_alt_names`).
    Any,
    /// A DNS name.
    Dns,
    /// A URI.
    Uri,
    /// An email address.
    Email,
    /// An IP address, in its canonical text.
    IpAddress,
}

/// `envoy.extensions.transport_sockets.tls.v3.Secret`: an SDS resource.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Secret {
    /// `tls_certificate`.
    TlsCertificate(Arc<TlsCertificate>),
    /// `validation_context`.
    Validation(Arc<CertificateValidation>),
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCertificate {
    /// The certificate, then those that lead to an authority, as PEM.
    pub certificate_chain: DataSource,
    /// Its key, as PEM.
    pub private_key: DataSource,
}

/// `envoy.config.core.v3.DataSource`, but for variables of the environment: a control plane shall
/// not read an application's.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataSource {
    /// The content of that file.
    File(Name),
    /// These bytes; never shown, since they may be a key.
    Inline(Arc<[u8]>),
}

impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Metadata, Value};

    #[test]
    fn endpoints_match_by_all_values_asked_for() {
        let value = |text: &str| Value::String(text.into());
        let found = TransportSocketMatch {
            name: "tls".into(),
            criteria: Struct::from([("mode".into(), value("istio"))]),
            socket: TransportSocket::RawBuffer,
        };
        let mut endpoint = Endpoint::new(([127, 0, 0, 1], 1).into());
        assert!(!found.matches(&endpoint));
        let with = |mode: &str| {
            let fields = Struct::from([("mode".into(), value(mode)), ("a".into(), value("b"))]);
            let fields = [(TRANSPORT_SOCKET_MATCH.into(), fields)].into();
            Some(Arc::new(Metadata { fields }))
        };
        endpoint.metadata = with("istio");
        assert!(found.matches(&endpoint));
        endpoint.metadata = with("disabled");
        assert!(!found.matches(&endpoint));
        let any = TransportSocketMatch { criteria: Struct::new(), ..found };
        assert!(any.matches(&endpoint));
    }

    #[test]
    fn keys_are_not_shown() {
        let key = DataSource::Inline(b"secret".as_slice().into());
        assert_eq!(format!("{key:?}"), "Inline(6 bytes)");
    }
}
