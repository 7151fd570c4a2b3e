//! Metadata: what configuration, filters and the control plane say beside the standard fields.

use std::collections::BTreeMap;

use super::{Name, StringMatcher};

/// `envoy.config.core.v3.Metadata`: fields by the name of the filter or party they belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// `filter_metadata`.
    pub fields: BTreeMap<Name, Struct>,
}

/// `google.protobuf.Struct`.
pub type Struct = BTreeMap<Name, Value>;

/// `google.protobuf.Value`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Null.
    Null,
    /// A number.
    Number(f64),
    /// A string.
    String(Name),
    /// A boolean.
    Bool(bool),
    /// An object.
    Struct(Struct),
    /// A list.
    List(Vec<Value>),
}

impl Metadata {
    /// The value at a path of keys below a filter's name; `None` when there is none.
    pub fn get<'k>(&self, filter: &str, path: impl IntoIterator<Item = &'k str>) -> Option<&Value> {
        let mut path = path.into_iter();
        let mut value = self.fields.get(filter)?.get(path.next()?)?;
        for key in path {
            let Value::Struct(inner) = value else { return None };
            value = inner.get(key)?;
        }
        Some(value)
    }
}

/// `envoy.type.matcher.v3.MetadataMatcher`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MetadataMatcher {
    /// The filter's name.
    pub filter: Name,
    /// The keys below it, at least one.
    pub path: Vec<Name>,
    /// What the value must be.
    pub value: ValueMatcher,
    /// Whether the result is turned round.
    pub invert: bool,
}

impl MetadataMatcher {
    /// A condition on the value at `path` below `filter`.
    pub fn new(filter: impl Into<Name>, path: Vec<Name>, value: ValueMatcher) -> Self {
        Self { filter: filter.into(), path, value, invert: false }
    }

    /// Whether `metadata` matches. A missing value matches nothing, not even null.
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let value = metadata.get(&self.filter, self.path.iter().map(|key| &**key));
        value.is_some_and(|value| self.value.matches(value)) != self.invert
    }
}

/// `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ValueMatcher {
    /// Null.
    Null,
    /// A number of exactly this value.
    Exact(f64),
    /// A number from the first up to and without the second.
    Range(f64, f64),
    /// A string.
    String(StringMatcher),
    /// This boolean.
    Bool(bool),
    /// Whether there is a value: `true` takes any, `false` none.
    Present(bool),
    /// A list with at least one element that matches.
    ListOneOf(Box<ValueMatcher>),
    /// Any of these.
    Or(Vec<ValueMatcher>),
}

impl ValueMatcher {
    /// Whether `value` matches.
    pub fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Exact(want), Value::Number(number)) => number == want,
            (Self::Range(start, end), Value::Number(number)) => start <= number && number < end,
            (Self::String(matcher), Value::String(text)) => matcher.matches(text),
            (Self::Bool(want), Value::Bool(value)) => value == want,
            (Self::Present(present), _) => *present,
            (Self::ListOneOf(one), Value::List(values)) => {
                values.iter().any(|value| one.matches(value))
            }
            (Self::Or(any), value) => any.iter().any(|one| one.matches(value)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_by_path_and_matches_them() {
        let inner = Struct::from([("k".into(), Value::List(vec![Value::Number(2.0)]))]);
        let outer = Struct::from([("a".into(), Value::Struct(inner))]);
        let metadata = Metadata { fields: BTreeMap::from([("f".into(), outer)]) };
        let one = ValueMatcher::ListOneOf(Box::new(ValueMatcher::Range(1.0, 3.0)));
        let matcher = MetadataMatcher::new("f", vec!["a".into(), "k".into()], one);
        assert!(matcher.matches(&metadata));
        assert!(!matcher.matches(&Metadata::default()));
        let missing = MetadataMatcher::new("f", vec!["b".into()], ValueMatcher::Null);
        assert!(!missing.matches(&metadata));
        let inverted = MetadataMatcher { invert: true, ..missing };
        assert!(inverted.matches(&metadata));
    }
}
