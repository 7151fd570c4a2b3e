//! Indexes against naive models, and conditions case by case.

mod conditions;
mod hosts;
mod paths;
mod table;
