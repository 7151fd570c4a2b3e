//! Indexes against naive models, and conditions case by case.

mod conditions;
mod differential;
mod hash;
mod hosts;
mod mirrors;
mod paths;
mod redirect;
mod rewrites;
mod table;
mod trees;
