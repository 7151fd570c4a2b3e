//! Verification: a chain to a root of the peer's trust domain, and a name that is wanted.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use mesh_core::resource::SubjectAltNameMatcher;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::X509Certificate;

use super::{TrustNow, not_good, not_yet, refused};
use crate::{CertificateProvider, LoadError, SubjectNames, Trust};

/// The names one of which a server must have.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// The one that is connected to.
    Host,
    /// Any that these match.
    Names(Arc<[SubjectAltNameMatcher]>),
    /// The one that is connected to, and any that these match.
    HostAndNames(Arc<[SubjectAltNameMatcher]>),
}

#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: TrustNow,
    pub(super) identity: Option<CertificateProvider>,
    pub(super) expected: Expected,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    /// rustls goes on without a certificate when there is none to show. Here, and not where it is
    /// asked for, a handshake can be ended.
    fn check_own_identity(&self, now: UnixTime) -> Result<(), Error> {
        let Some(provider) = &self.identity else { return Ok(()) };
        let Some(identity) = provider.identity() else {
            let why = provider.status().identity_error;
            return Err(refused(not_yet("there is no certificate of ours yet", why)));
        };
        if identity.not_after() <= UNIX_EPOCH + Duration::from_secs(now.as_secs()) {
            return Err(refused(LoadError::new("our own certificate has expired")));
        }
        Ok(())
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_own_identity(now)?;
        let (trust, further) = self.trust.get()?;
        let names = names(end_entity, &trust)?;
        let roots = trust.roots_for(&names).map_err(not_good)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            roots.store(),
            intermediates,
            now,
            self.algorithms.all,
        )?;
        match &self.expected {
            Expected::Host => verify_server_name(&parsed, server_name)?,
            Expected::Names(matchers) => check_names(&names, [matchers, &further])?,
            Expected::HostAndNames(matchers) => {
                verify_server_name(&parsed, server_name)?;
                check_names(&names, [matchers, &further])?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) trust: TrustNow,
    pub(super) is_required: bool,
    pub(super) matchers: Arc<[SubjectAltNameMatcher]>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    /// None: roots may change between the handshakes for which this is asked once.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (trust, further) = self.trust.get()?;
        let names = names(end_entity, &trust)?;
        let roots = trust.roots_for(&names).map_err(not_good)?;
        let verified = roots.clients().verify_client_cert(end_entity, intermediates, now)?;
        check_names(&names, [&self.matchers, &further])?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The names of a leaf, after the rules of X.509-SVIDs where those hold.
fn names(leaf: &CertificateDer<'_>, trust: &Trust) -> Result<SubjectNames, Error> {
    let names = SubjectNames::of(leaf).map_err(not_good)?;
    if trust.is_spiffe() {
        check_svid_usage(leaf).map_err(not_good)?;
    }
    Ok(names)
}

/// X.509-SVID §4.3: a leaf signs neither certificates nor revocation lists.
fn check_svid_usage(leaf: &CertificateDer<'_>) -> Result<(), LoadError> {
    let unreadable = |text: String| LoadError::because("the certificate cannot be read", text);
    let (_, parsed): (_, X509Certificate<'_>) =
        x509_parser::parse_x509_certificate(leaf).map_err(|error| unreadable(error.to_string()))?;
    let usage = parsed.key_usage().map_err(|error| unreadable(error.to_string()))?;
    let signs =
        |usage: &x509_parser::extensions::KeyUsage| usage.key_cert_sign() || usage.crl_sign();
    match usage {
        Some(usage) if signs(usage.value) => {
            Err(LoadError::new("the certificate may sign others, which no SVID may"))
        }
        _ => Ok(()),
    }
}

/// Of a context and of the secret that it names, the matchers count together, as in Envoy.
fn check_names(names: &SubjectNames, matchers: [&[SubjectAltNameMatcher]; 2]) -> Result<(), Error> {
    let mut asked = matchers.iter().filter(|matchers| !matchers.is_empty()).peekable();
    if asked.peek().is_none() || asked.any(|matchers| names.matches(matchers)) {
        return Ok(());
    }
    let wanted = matchers.into_iter().flatten().map(|matcher| matcher.value.to_string());
    let wanted: Vec<String> = wanted.collect();
    Err(not_good(LoadError::new(format!(
        "the certificate has none of the names that are wanted ({}); it has {names}",
        wanted.join(", ")
    ))))
}
