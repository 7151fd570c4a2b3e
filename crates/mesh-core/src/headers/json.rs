//! JSON as Envoy writes it.

use crate::resource::{Struct, Value};

pub(super) fn json(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => text(out, "null"),
        Value::Number(number) => text(out, &json_number(*number)),
        Value::String(value) => json_string(out, value),
        Value::Bool(value) => text(out, if *value { "true" } else { "false" }),
        Value::Struct(fields) => json_object(out, fields),
        Value::List(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json(out, value);
            }
            out.push(b']');
        }
    }
}

/// As Envoy writes numbers: large ones with an exponent.
fn json_number(number: f64) -> String {
    /// Above it not every whole number is a double.
    const LARGE: f64 = 1e15;
    if number.abs() < LARGE {
        return number.to_string();
    }
    let text = format!("{number:e}");
    if text.contains("e-") { text } else { text.replace('e', "e+") }
}

pub(super) fn json_object(out: &mut Vec<u8>, fields: &Struct) {
    out.push(b'{');
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json_string(out, key);
        out.push(b':');
        json(out, value);
    }
    out.push(b'}');
}

pub(super) fn json_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for character in value.chars() {
        match character {
            '"' => text(out, "\\\""),
            '\\' => text(out, "\\\\"),
            '\n' => text(out, "\\n"),
            '\r' => text(out, "\\r"),
            '\t' => text(out, "\\t"),
            control if control < ' ' => text(out, &format!("\\u{:04x}", control as u32)),
            other => text(out, other.encode_utf8(&mut [0; 4])),
        }
    }
    out.push(b'"');
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
