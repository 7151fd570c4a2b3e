//! SPIFFE bundle maps (SPIFFE Trust Domain and Bundle, §4; gRFC A87).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use crate::{LoadError, TrustDomain};

type Bundle = (TrustDomain, Vec<CertificateDer<'static>>);

/// The certificates for each trust domain. Any fault makes the whole map invalid: with part of it
/// gone, who is trusted would depend on which part was at fault.
pub(super) fn read(json: &[u8]) -> Result<Vec<Bundle>, LoadError> {
    let map: Value = serde_json::from_slice(json)
        .map_err(|error| LoadError::because("the bundle map is not JSON", error))?;
    let domains = map.get("trust_domains").and_then(Value::as_object);
    let domains = domains.ok_or_else(|| LoadError::new("trust_domains is not an object"))?;
    domains.iter().map(|(name, value)| bundle(name, value)).collect()
}

fn bundle(name: &str, value: &Value) -> Result<Bundle, LoadError> {
    let domain: TrustDomain = name
        .parse()
        .map_err(|error| LoadError::because(format!("{name:?} is no trust domain"), error))?;
    let wrong = |text: &str| LoadError::new(format!("trust_domains[{name:?}]{text}"));
    let keys = value.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| wrong(".keys is not an array"))?;
    let mut certificates = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let wrong = |text: &str| wrong(&format!(".keys[{index}]{text}"));
        let key = key.as_object().ok_or_else(|| wrong(" is not an object"))?;
        match text(key, "use") {
            Some("x509-svid") => certificates.push(certificate(key).map_err(|text| wrong(&text))?),
            // Keys for JWTs, and what may come.
            Some(_) => {}
            None => return Err(wrong(".use is not a string")),
        }
    }
    Ok((domain, certificates))
}

fn certificate(key: &Map<String, Value>) -> Result<CertificateDer<'static>, String> {
    if !matches!(text(key, "kty"), Some("RSA" | "EC")) {
        return Err(".kty is neither RSA nor EC".to_owned());
    }
    let chain = key.get("x5c").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let [Value::String(certificate)] = chain else {
        return Err(".x5c is not an array of one string".to_owned());
    };
    let bytes = STANDARD.decode(certificate).map_err(|_| ".x5c[0] is not base64".to_owned())?;
    Ok(bytes.into())
}

fn text<'a>(key: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    key.get(field)?.as_str()
}
