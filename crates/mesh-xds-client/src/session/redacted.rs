//! Secrets without what must not be told.

use mesh_pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use mesh_pb::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use prost::Message as _;

/// What stands in place of a key, as in Envoy.
const REDACTED: &[u8] = b"[redacted]";

/// A Secret, encoded, without private keys and what else opens something. Names of files stay.
pub(super) fn redacted(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut secret = Secret::decode(bytes).ok()?;
    match &mut secret.r#type {
        Some(Type::TlsCertificate(certificate)) => {
            let hidden = [&mut certificate.private_key, &mut certificate.password];
            hidden.into_iter().flatten().for_each(hide);
        }
        Some(Type::ValidationContext(_)) => {}
        // Not of use here, and so not accepted.
        _ => return None,
    }
    Some(secret.encode_to_vec())
}

fn hide(source: &mut DataSource) {
    if let Some(Specifier::InlineBytes(_) | Specifier::InlineString(_)) = source.specifier {
        source.specifier = Some(Specifier::InlineBytes(REDACTED.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use mesh_pb::envoy::extensions::transport_sockets::tls::v3::TlsCertificate;

    use super::*;

    fn source(specifier: Specifier) -> Option<DataSource> {
        Some(DataSource { specifier: Some(specifier), ..Default::default() })
    }

    #[test]
    fn secrets_are_shown_without_their_keys() {
        let certificate = TlsCertificate {
            certificate_chain: source(Specifier::InlineString("chain".to_owned())),
            private_key: source(Specifier::InlineString("key".to_owned())),
            ..Default::default()
        };
        let mut secret =
            Secret { name: "a".to_owned(), r#type: Some(Type::TlsCertificate(certificate)) };
        let shown = redacted(&secret.encode_to_vec()).unwrap();
        let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type else { panic!() };
        certificate.private_key = source(Specifier::InlineBytes(REDACTED.to_vec()));
        assert_eq!(Secret::decode(&shown[..]).unwrap(), secret);
        let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type else { panic!() };
        certificate.private_key = source(Specifier::Filename("/key.pem".to_owned()));
        let same = secret.encode_to_vec();
        assert_eq!(redacted(&same), Some(same));
    }
}
