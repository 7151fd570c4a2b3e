//! From TLS contexts, as xDS has them, to settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::resource::{
    CertificateSource, CommonTlsContext, DataSource, DownstreamTlsContext, Name, ProviderInstance,
    RootSource as Source, Secret, TlsCertificate, UpstreamTlsContext,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use tokio::runtime::Handle;

use super::{ClientTls, RootSource, ServerTls};
use crate::provider::files;
use crate::{CertificateProvider, FileWatcher, Identity, LoadError, Trust};

/// The certificates that TLS contexts name: instances of the bootstrap's `certificate_providers`,
/// and secrets.
///
/// A context whose names are not all known gives no settings, and so no connections: there is no
/// going on with less.
#[derive(Clone, Debug)]
pub struct Providers {
    crypto: Arc<CryptoProvider>,
    instances: BTreeMap<Name, CertificateProvider>,
    secrets: BTreeMap<Name, CertificateProvider>,
    runtime: Option<Handle>,
}

/// How often files that a context names are looked at; it has no word for that.
const FILES_INTERVAL: Duration = Duration::from_secs(60);

impl Providers {
    /// Nothing by name yet.
    pub fn new(crypto: Arc<CryptoProvider>) -> Self {
        Self { crypto, instances: BTreeMap::new(), secrets: BTreeMap::new(), runtime: None }
    }

    /// Has the files that contexts name watched on that runtime, once a minute. Without one they are
    /// read once.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Adds an instance of the bootstrap's `certificate_providers`.
    #[must_use]
    pub fn with_instance(mut self, name: impl Into<Name>, provider: CertificateProvider) -> Self {
        self.instances.insert(name.into(), provider);
        self
    }

    /// Adds what stands for a secret that contexts ask for by SDS; sidecars of Istio are told
    /// `default` for their certificate and `ROOTCA` for the roots.
    #[must_use]
    pub fn with_secret(mut self, name: impl Into<Name>, provider: CertificateProvider) -> Self {
        self.secrets.insert(name.into(), provider);
        self
    }

    /// What an SDS resource holds: a certificate with its key, or authorities with the names that
    /// certificates of theirs must have. Put into a
    /// [replaceable](CertificateProvider::replaceable) one, it reaches connections that are
    /// made from then on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_secret(&self, secret: &Secret) -> Result<CertificateProvider, LoadError> {
        match secret {
            Secret::TlsCertificate(given) => self.certificate(given),
            Secret::Validation(validation) => {
                let roots = match self.roots(&validation.roots)? {
                    RootSource::Provider(provider) => provider,
                    RootSource::System => CertificateProvider::system(self.crypto.clone()),
                };
                Ok(roots.with_san_matchers(validation.san_matchers.clone()))
            }
            other => Err(LoadError::new(format!("{other:?} is not supported"))),
        }
    }

    /// How a client speaks TLS by this context. The certificate must have a name that the context
    /// asks for; with `auto_sni_san_validation` it must be for the
    /// [name asked for](Self::server_name) instead, and with `auto_san_validation` besides; if the
    /// context asks for nothing, any certificate of its authorities will do (gRFC A29).
    ///
    /// # Errors
    /// When the context names what is not known or cannot be read, or does not say whom to believe.
    pub fn client(&self, context: &UpstreamTlsContext) -> Result<ClientTls, LoadError> {
        let common = &context.common;
        let validation = common.validation.as_ref().ok_or_else(|| {
            LoadError::new("the TLS context does not say which authorities to believe")
        })?;
        let mut made = ClientTls::new(self.roots(&validation.roots)?)
            .with_versions(common.minimum_version, common.maximum_version)
            .with_alpn(alpn(common));
        if !context.auto_sni_san_validation {
            let matchers = validation.san_matchers.clone();
            made = match context.auto_san_validation {
                true => made.with_further_san_matchers(matchers),
                false => made.with_san_matchers(matchers),
            };
        }
        if let Some(source) = common.identities.first() {
            made = made.with_identity(self.identity(source)?);
        }
        Ok(made)
    }

    /// How a server speaks TLS by this context.
    ///
    /// # Errors
    /// When the context names what is not known or cannot be read, or has no certificate.
    pub fn server(&self, context: &DownstreamTlsContext) -> Result<ServerTls, LoadError> {
        let common = &context.common;
        let source = common.identities.first();
        let source = source.ok_or_else(|| LoadError::new("the TLS context has no certificate"))?;
        let mut made = ServerTls::new(self.identity(source)?)
            .with_versions(common.minimum_version, common.maximum_version)
            .with_alpn(alpn(common));
        match &common.validation {
            Some(validation) => {
                let roots = self.roots(&validation.roots)?;
                made = made
                    .with_client_roots(roots, context.require_client_certificate)
                    .with_san_matchers(validation.san_matchers.clone());
            }
            None if context.require_client_certificate => {
                let text = "the TLS context wants certificates of clients and believes none";
                return Err(LoadError::new(text));
            }
            None => {}
        }
        Ok(made)
    }

    /// The name that a client asks for (SNI, gRFC A101): the endpoint's host name where the context
    /// says so and there is one, else that of the context, else none, for which its address stands.
    ///
    /// # Errors
    /// When it is no name.
    pub fn server_name(
        context: &UpstreamTlsContext,
        hostname: Option<&str>,
        address: IpAddr,
    ) -> Result<ServerName<'static>, LoadError> {
        let hostname = hostname.filter(|name| context.auto_host_sni && !name.is_empty());
        match hostname.or(context.sni.as_deref()) {
            None => Ok(ServerName::IpAddress(address.into())),
            Some(name) => ServerName::try_from(name.to_owned()).map_err(|error| {
                LoadError::because(format!("{name:?} cannot be asked for"), error)
            }),
        }
    }

    fn identity(&self, source: &CertificateSource) -> Result<CertificateProvider, LoadError> {
        match source {
            CertificateSource::Provider(instance) => self.instance(instance),
            CertificateSource::Secret(name) => self.secret(name),
            CertificateSource::Inline(given) => self.certificate(given),
            other => Err(LoadError::new(format!("a certificate from {other:?} is not supported"))),
        }
    }

    fn roots(&self, source: &Source) -> Result<RootSource, LoadError> {
        Ok(RootSource::Provider(match source {
            Source::Provider(instance) => self.instance(instance)?,
            Source::Secret(name) => self.secret(name)?,
            Source::System => return Ok(RootSource::System),
            Source::Inline(DataSource::File(path)) if self.runtime.is_some() => {
                self.watched(FileWatcher::new().with_ca(&**path))
            }
            Source::Inline(given) => {
                let trust = Trust::from_pem(&read(given)?, &self.crypto)?;
                CertificateProvider::fixed(None, Some(trust), self.crypto.clone())
            }
            other => {
                return Err(LoadError::new(format!(
                    "authorities from {other:?} are not supported"
                )));
            }
        }))
    }

    fn instance(&self, instance: &ProviderInstance) -> Result<CertificateProvider, LoadError> {
        let name = &instance.instance_name;
        self.instances.get(name).cloned().ok_or_else(|| {
            LoadError::new(format!("certificate provider {name:?} is not in the bootstrap"))
        })
    }

    fn secret(&self, name: &Name) -> Result<CertificateProvider, LoadError> {
        let found = self.secrets.get(name).cloned();
        found.ok_or_else(|| LoadError::new(format!("secret {name:?} is not known")))
    }

    fn watched(&self, files: FileWatcher) -> CertificateProvider {
        match &self.runtime {
            Some(runtime) => {
                let files = files.with_refresh_interval(FILES_INTERVAL);
                CertificateProvider::file_watcher(files, self.crypto.clone(), runtime)
            }
            None => CertificateProvider::from_files(files, self.crypto.clone()),
        }
    }

    /// What is told in place.
    fn certificate(&self, given: &TlsCertificate) -> Result<CertificateProvider, LoadError> {
        if let (DataSource::File(chain), DataSource::File(key)) =
            (&given.certificate_chain, &given.private_key)
            && self.runtime.is_some()
        {
            return Ok(self.watched(FileWatcher::new().with_identity(&**chain, &**key)));
        }
        let (chain, key) = (read(&given.certificate_chain)?, read(&given.private_key)?);
        let identity = Identity::from_pem(&chain, &key, &self.crypto)?;
        Ok(CertificateProvider::fixed(Some(identity), None, self.crypto.clone()))
    }
}

fn alpn(context: &CommonTlsContext) -> Vec<Vec<u8>> {
    context.alpn_protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

fn read(source: &DataSource) -> Result<Vec<u8>, LoadError> {
    match source {
        DataSource::Inline(bytes) => Ok(bytes.to_vec()),
        DataSource::File(path) => files::read((**path).as_ref()),
        other => Err(LoadError::new(format!("{other:?} is not supported"))),
    }
}
