//! What answers tell of the load of their endpoints (ORCA, gRFC A51).

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use mesh_core::cluster::LoadReport;
use mesh_pb::orca::OrcaLoadReport;
use prost::Message as _;
use serde_json::Value;

const BINARY: &str = "endpoint-load-metrics-bin";
const TEXT: &str = "endpoint-load-metrics";

/// The report in headers or trailers; `None` where there is none that can be read.
#[inline(never)]
pub(super) fn reported(headers: &HeaderMap) -> Option<LoadReport> {
    if let Some(value) = headers.get(BINARY) {
        return binary(value.to_str().ok()?);
    }
    let value = headers.get(TEXT)?.to_str().ok()?;
    match value.split_once(' ')? {
        ("BIN", rest) => binary(rest),
        ("JSON", rest) => json(rest),
        ("TEXT", rest) => text(rest),
        _ => None,
    }
}

/// Padded or not: gRPC's binary headers need not be.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn binary(encoded: &str) -> Option<LoadReport> {
    let bytes = BASE64.decode(encoded.trim()).ok()?;
    Some(load_report(OrcaLoadReport::decode(bytes.as_slice()).ok()?))
}

/// What a message says.
pub(crate) fn load_report(told: OrcaLoadReport) -> LoadReport {
    let mut made = LoadReport::default();
    made.application_utilization = told.application_utilization;
    made.cpu_utilization = told.cpu_utilization;
    made.mem_utilization = told.mem_utilization;
    made.rps_fractional = told.rps_fractional;
    made.eps = told.eps;
    made.request_cost = told.request_cost;
    made.utilization = told.utilization;
    made.named_metrics = told.named_metrics;
    made
}

/// `name=value` pairs with commas in between; none counts when one cannot be read.
fn text(pairs: &str) -> Option<LoadReport> {
    let mut made = LoadReport::default();
    for pair in pairs.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        set(&mut made, name.trim(), value.trim().parse().ok()?)?;
    }
    Some(made)
}

fn json(object: &str) -> Option<LoadReport> {
    let mut made = LoadReport::default();
    for (name, value) in serde_json::from_str::<HashMap<String, Value>>(object).ok()? {
        // Proto3 JSON has names in either form.
        let name = snake_case(&name);
        match &value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    set(&mut made, &format!("{name}.{key}"), value.as_f64()?)?;
                }
            }
            value => set(&mut made, &name, value.as_f64()?)?,
        }
    }
    Some(made)
}

fn snake_case(name: &str) -> String {
    let mut made = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            made.push('_');
        }
        made.push(letter.to_ascii_lowercase());
    }
    made
}

/// `None` when there is no such metric, or the value is no number.
fn set(report: &mut LoadReport, name: &str, value: f64) -> Option<()> {
    if !value.is_finite() {
        return None;
    }
    match name.split_once('.') {
        None => {
            *match name {
                "application_utilization" => &mut report.application_utilization,
                "cpu_utilization" => &mut report.cpu_utilization,
                "mem_utilization" => &mut report.mem_utilization,
                "rps_fractional" => &mut report.rps_fractional,
                "eps" => &mut report.eps,
                _ => return None,
            } = value;
        }
        Some((map, key)) => {
            let map = match map {
                "request_cost" => &mut report.request_cost,
                "utilization" => &mut report.utilization,
                "named_metrics" => &mut report.named_metrics,
                _ => return None,
            };
            map.insert(key.to_owned(), value);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(name: &'static str, value: &str) -> Option<LoadReport> {
        reported(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
    }

    #[test]
    fn all_forms_say_the_same() {
        let mut told = OrcaLoadReport::default();
        (told.rps_fractional, told.cpu_utilization) = (10.0, 0.5);
        told.named_metrics.insert("queue".to_owned(), 3.0);
        let encoded = BASE64.encode(told.encode_to_vec());
        let expected = of(BINARY, &encoded).unwrap();
        assert_eq!((expected.rps_fractional, expected.named_metrics["queue"]), (10.0, 3.0));
        assert_eq!(of(BINARY, encoded.trim_end_matches('=')).as_ref(), Some(&expected));
        assert_eq!(of(TEXT, &format!("BIN {encoded}")).as_ref(), Some(&expected));
        let text = "TEXT rps_fractional=10, cpu_utilization=0.5,named_metrics.queue=3";
        assert_eq!(of(TEXT, text).as_ref(), Some(&expected));
        let json =
            r#"JSON {"rpsFractional": 10, "cpu_utilization": 0.5, "named_metrics": {"queue": 3}}"#;
        assert_eq!(of(TEXT, json).as_ref(), Some(&expected));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for value in [
            "",
            "TEXT",
            "TEXT a",
            "TEXT a=1",
            "TEXT eps=nan",
            "JSON [",
            "JSON {\"eps\": \"x\"}",
            "XML <a/>",
            "BIN ###",
        ] {
            assert_eq!(of(TEXT, value), None, "{value}");
        }
        assert_eq!(of(BINARY, "/w"), None);
        assert_eq!(
            reported(&HeaderMap::from_iter([(
                TEXT.parse().unwrap(),
                HeaderValue::from_bytes(b"\xff").unwrap()
            )])),
            None
        );
    }
}
