//! The matcher of a virtual host: a tree of conditions on headers instead of a list of routes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{HeaderMatch, Name, StringMatcher};

/// `xds.type.matcher.v3.Matcher` over request headers. What matches leads to routes of the virtual
/// host, which must match as well.
#[derive(Clone, Debug)]
pub struct RouteTree {
    /// How it branches.
    pub branches: Branches,
    /// What happens when no branch is taken.
    pub on_no_match: Option<Box<OnMatch>>,
}

/// How a tree branches.
#[derive(Clone, Debug)]
pub enum Branches {
    /// The first predicate that holds.
    List(Vec<(Predicate, OnMatch)>),
    /// The value of a header.
    Exact(HeaderMatch, BTreeMap<Name, OnMatch>),
    /// The longest prefix of a header's value; a shorter one when that leads nowhere.
    Prefix(HeaderMatch, BTreeMap<Name, OnMatch>),
}

/// Where a branch leads.
#[derive(Clone, Debug)]
pub enum OnMatch {
    /// To another tree.
    Tree(Box<RouteTree>),
    /// To these routes of the virtual host, by position; the first one that matches wins.
    Routes(Range<u32>),
    /// Nowhere: matching goes on as if the branch were not there (`keep_matching`).
    KeepMatching,
}

/// A condition of a tree.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// A header's value matches; one that is missing does not.
    Single(HeaderMatch, StringMatcher),
    /// Any holds.
    Or(Vec<Predicate>),
    /// All hold.
    And(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}
