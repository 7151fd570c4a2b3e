//! Typed values from a [`Node`] tree.
//!
//! Follows proto3 JSON where it and serde differ: a null is an absent field, and a field may be
//! spelled in snake case. Unknown fields are noted and skipped, whatever the type says.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::node::{Entry, Node, Position, Value, camel_case};
use super::trace::{NOT_YET, Trace, UnknownField, Visited};
use crate::field_path::{FieldPath, Segment};
use crate::suggest::nearest;

/// The outcome of decoding one document.
#[derive(Debug)]
pub(crate) struct Decoded<T> {
    /// Absent when nothing could be made of it even with the bad fields left out.
    pub(crate) value: Option<T>,
    pub(crate) unknown: Vec<UnknownField>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) not_yet: Vec<(FieldPath, Position)>,
    /// Filled only when something is wrong, to tell where misplaced fields belong.
    pub(crate) visited: Vec<Visited>,
}

/// Decodes `node`, going on after a bad value as if its field were absent, so that one reading
/// reports all of them.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node) -> Decoded<T> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut pruned: Option<Node> = None;
    loop {
        let tree = pruned.as_ref().unwrap_or(node);
        let trace = Trace::default();
        let outcome = T::deserialize(Decoder { node: tree, trace: &trace });
        let (unknown, not_yet, _) = trace.finish();
        let value = match outcome {
            Ok(value) => Some(value),
            Err(mut fault) => {
                fault.locate(FieldPath::default, tree.at);
                let path = fault.path().clone();
                faults.push(fault);
                let next = pruned.get_or_insert_with(|| node.clone());
                if faults.len() < MAX_FAULTS && next.remove(&path) {
                    continue;
                }
                None
            }
        };
        let visited = if unknown.is_empty() && faults.is_empty() {
            Vec::new()
        } else {
            let trace = Trace::with_schema(true);
            // The value is known already; this pass is for what it walks through.
            let _ =
                T::deserialize(Decoder { node: pruned.as_ref().unwrap_or(node), trace: &trace });
            trace.finish().2
        };
        return Decoded { value, unknown, faults, not_yet, visited };
    }
}

/// Bad values reported for one document before giving up on it. A guess: a page of them helps
/// nobody, and each costs a pass.
const MAX_FAULTS: usize = 16;

/// A value that its field cannot take.
#[derive(Debug)]
pub(crate) struct Fault(Box<FaultParts>);

#[derive(Debug)]
struct FaultParts {
    text: String,
    fix: Option<String>,
    wants_list: bool,
    place: Option<(FieldPath, Position)>,
}

impl Fault {
    fn new(text: String) -> Self {
        Self(Box::new(FaultParts { text, fix: None, wants_list: false, place: None }))
    }

    fn with_fix(mut self, fix: Option<String>) -> Self {
        self.0.fix = fix;
        self
    }

    /// Sets the place, unless a deeper level has.
    fn locate(&mut self, path: impl FnOnce() -> FieldPath, at: Position) {
        self.0.place.get_or_insert_with(|| (path(), at));
    }

    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn fix(&self) -> Option<&str> {
        self.0.fix.as_deref()
    }

    /// Whether there should have been a list.
    pub(crate) fn wants_list(&self) -> bool {
        self.0.wants_list
    }

    pub(crate) fn path(&self) -> &FieldPath {
        &self.0.place.as_ref().expect("located before it leaves this module").0
    }

    pub(crate) fn at(&self) -> Position {
        self.0.place.as_ref().expect("located before it leaves this module").1
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let fix = nearest(variant, expected.iter().copied());
        Self::new(format!("{variant:?} is not one of {}", expected.join(", ")))
            .with_fix(fix.map(|name| format!("did you mean {name:?}?")))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("{unexpected} is out of range: expected {expected}"))
    }
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
    trace: &'a Trace,
}

impl Decoder<'_> {
    fn expected(&self, what: &str) -> Fault {
        Fault::new(format!("expected {what}, found {}", self.node))
    }

    fn string(&self) -> Result<&str, Fault> {
        let fix = match &self.node.value {
            Value::String(text) => return Ok(text),
            // `yes`, `on` and `y` are booleans too, so what was written is not known here.
            Value::Bool(_) => Some("put it in quotes".to_owned()),
            Value::Integer(value) => Some(format!("quote it: \"{value}\"")),
            Value::Float(value) => Some(format!("quote it: \"{value}\"")),
            _ => None,
        };
        Err(self.expected("a string").with_fix(fix))
    }

    fn integer(&self) -> Result<i128, Fault> {
        match self.node.value {
            Value::Integer(value) => Ok(value),
            _ => Err(self.expected("a whole number")),
        }
    }
}

macro_rules! integers {
    ($($deserialize:ident $visit:ident $type:ty),*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let value = self.integer()?;
            match <$type>::try_from(value) {
                Ok(value) => visitor.$visit(value),
                Err(_) if value < 0 => Err(Fault::new(format!("{value} must not be negative"))),
                Err(_) => Err(Fault::new(format!("{value} is greater than {}", <$type>::MAX))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match i64::try_from(*value) {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    integers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            #[expect(clippy::cast_precision_loss, reason = "percentages and factors are small")]
            Value::Integer(value) => visitor.visit_f64(value as f64),
            Value::Float(value) => visitor.visit_f64(value),
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.string()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == NOT_YET {
            self.trace.not_yet(self.node.at);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Sequence(items) => {
                visitor.visit_seq(Items { items: items.iter().enumerate(), trace: self.trace })
            }
            _ => {
                let mut fault = self.expected("a list");
                fault.0.wants_list = true;
                Err(fault)
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Mapping(entries) => visitor.visit_map(Fields {
                entries: entries.iter(),
                fields: None,
                value: None,
                trace: self.trace,
            }),
            _ => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.trace.visit(fields);
        match &self.node.value {
            Value::Mapping(entries) => visitor.visit_map(Fields {
                entries: entries.iter(),
                fields: Some(fields),
                value: None,
                trace: self.trace,
            }),
            _ => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // Enums here are declared in the order of their proto numbers, which proto3 JSON accepts.
        let name = match self.node.value {
            Value::Integer(number) => usize::try_from(number)
                .ok()
                .and_then(|number| variants.get(number).copied())
                .ok_or_else(|| self.expected(&format!("one of {}", variants.join(", "))))?,
            _ => self.string()?,
        };
        visitor.visit_enum(StrDeserializer::<Fault>::new(name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    trace: &'a Trace,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        descend(self.trace, Segment::Index(index), node, seed).map(Some)
    }
}

/// The entries of a mapping: of a struct when `fields` is set, else of a map with free keys.
struct Fields<'a> {
    entries: std::slice::Iter<'a, Entry>,
    fields: Option<&'static [&'static str]>,
    value: Option<(Segment, &'a Node)>,
    trace: &'a Trace,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        for entry in self.entries.by_ref() {
            let Some(fields) = self.fields else {
                self.value = Some((Segment::Key(entry.key.clone().into()), &entry.value));
                return seed.deserialize(entry.key.as_str().into_deserializer()).map(Some);
            };
            match known(fields, &entry.key) {
                Some(_) if entry.value.is_null() => {}
                Some(field) => {
                    self.value = Some((Segment::Key(field.into()), &entry.value));
                    return seed.deserialize(field.into_deserializer()).map(Some);
                }
                None => self.trace.unknown(&entry.key, entry.at, fields),
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (segment, node) = self.value.take().expect("serde asks for a value after its key");
        descend(self.trace, segment, node, seed)
    }
}

fn known(fields: &'static [&'static str], key: &str) -> Option<&'static str> {
    let find = |key: &str| fields.iter().copied().find(|field| *field == key);
    find(key).or_else(|| key.contains('_').then(|| find(&camel_case(key))).flatten())
}

fn descend<'de, T: DeserializeSeed<'de>>(
    trace: &Trace,
    segment: Segment,
    node: &Node,
    seed: T,
) -> Result<T::Value, Fault> {
    trace.within(segment, || {
        seed.deserialize(Decoder { node, trace }).map_err(|mut fault| {
            fault.locate(|| trace.path(), node.at);
            fault
        })
    })
}
