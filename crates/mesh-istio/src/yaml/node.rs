//! A YAML tree that knows where each part stands.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::field_path::{FieldPath, Segment};

/// Line and column, from 1; both 0 for objects that were never text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Position,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    pub(crate) fn field(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Where `path` stands; for a field that is absent, the nearest part of it that is there.
    pub(crate) fn locate(&self, path: &FieldPath) -> Position {
        let (mut node, mut at) = (self, self.at);
        for segment in path.segments() {
            let next = match (segment, &node.value) {
                (Segment::Key(key), Value::Mapping(entries)) => entries
                    .iter()
                    .find(|entry| entry.key == *key || camel_case(&entry.key) == *key)
                    .map(|entry| (&entry.value, entry.at)),
                (Segment::Index(index), Value::Sequence(items)) => {
                    items.get(*index).map(|item| (item, item.at))
                }
                _ => None,
            };
            match next {
                Some(found) => (node, at) = found,
                None => break,
            }
        }
        at
    }

    /// Takes out the field at `path`, or the nearest field above it when `path` ends in a list:
    /// taking one item would shift the numbers of those after it.
    pub(crate) fn remove(&mut self, path: &FieldPath) -> bool {
        let depth = path.segments().iter().rposition(|s| matches!(s, Segment::Key(_)));
        let Some(depth) = depth else { return false };
        let (above, last) = (&path.segments()[..depth], &path.segments()[depth]);
        let mut node = self;
        for segment in above {
            let next = match (segment, &mut node.value) {
                (Segment::Key(key), Value::Mapping(entries)) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *key || camel_case(&entry.key) == *key)
                    .map(|entry| &mut entry.value),
                (Segment::Index(index), Value::Sequence(items)) => items.get_mut(*index),
                _ => None,
            };
            match next {
                Some(found) => node = found,
                None => return false,
            }
        }
        let (Segment::Key(key), Value::Mapping(entries)) = (last, &mut node.value) else {
            return false;
        };
        let before = entries.len();
        entries.retain(|entry| entry.key != *key && camel_case(&entry.key) != *key);
        entries.len() < before
    }

    /// Moves the whole tree down by `lines`: documents are parsed apart, each from line 1.
    pub(crate) fn shift(&mut self, lines: u32) {
        self.at.line += lines;
        match &mut self.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Mapping(entries) => {
                for entry in entries {
                    entry.at.line += lines;
                    entry.value.shift(lines);
                }
            }
            _ => {}
        }
    }
}

/// What a value is, for "expected …, found …".
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("nothing"),
            Value::Bool(value) => write!(f, "the boolean {value}"),
            Value::Integer(value) => write!(f, "the number {value}"),
            Value::Float(value) => write!(f, "the number {value}"),
            Value::String(text) if text.len() > 60 => f.write_str("a long string"),
            Value::String(text) => write!(f, "the string {text:?}"),
            Value::Sequence(_) => f.write_str("a list"),
            Value::Mapping(_) => f.write_str("a mapping"),
        }
    }
}

/// `per_try_timeout` → `perTryTimeout`: proto3 JSON readers accept both spellings.
pub(crate) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.extend(c.to_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

impl From<serde_json::Value> for Node {
    fn from(json: serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => match number.as_i128() {
                Some(integer) => Value::Integer(integer),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::String(text),
            serde_json::Value::Array(items) => {
                Value::Sequence(items.into_iter().map(Node::from).collect())
            }
            serde_json::Value::Object(fields) => Value::Mapping(
                fields
                    .into_iter()
                    .map(|(key, value)| Entry { key, at: Position::default(), value: value.into() })
                    .collect(),
            ),
        };
        Self { value, at: Position::default() }
    }
}

/// The untyped value as serde-saphyr gives it, with spans around the parts.
pub(super) struct Parsed(Value);

impl From<Spanned<Parsed>> for Node {
    fn from(spanned: Spanned<Parsed>) -> Self {
        Self { at: position(&spanned.referenced), value: spanned.value.0 }
    }
}

pub(super) fn position(location: &serde_saphyr::Location) -> Position {
    // Locations are held as 32-bit numbers; only the accessors widen them.
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: narrow(location.line()), column: narrow(location.column()) }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Parsed)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Parsed>>()? {
            items.push(item.into());
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Spanned<Parsed>>()? {
            let at = position(&key.referenced);
            entries.push(Entry { key: key.value, at, value: value.into() });
        }
        Ok(Value::Mapping(entries))
    }
}
