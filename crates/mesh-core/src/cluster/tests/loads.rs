//! Loads that lie side by side against a count of what is under way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;

use crate::cluster::loads::MANY;
use crate::cluster::{Choice, ClusterState, EndpointState, Picked};
use crate::dialect::Dialect;
use crate::resource::{ClusterLoadAssignment, Entry, LbPolicy};
use crate::testing::cluster;

#[derive(Clone, Debug)]
enum Step {
    Update(Range<u16>),
    Pick(u64),
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (few, many) = (MANY as u16 - 4, MANY as u16 + 40);
    prop_oneof![
        1 => (0..700_u16, few..many).prop_map(|(start, count)| Step::Update(start..start + count)),
        1 => (0..700_u16, 3 * MANY as u16..4 * MANY as u16)
            .prop_map(|(start, count)| Step::Update(start..start + count)),
        20 => any::<u64>().prop_map(Step::Pick),
        10 => any::<usize>().prop_map(Step::End),
    ]
}

fn assignment(range: Range<u16>) -> Entry<ClusterLoadAssignment> {
    let addresses = range.map(|at| SocketAddr::from(([127, 0, 0, 1], 1 + at)));
    Entry::of(ClusterLoadAssignment::of_addresses("c", addresses))
}

fn built(range: Range<u16>) -> ClusterState<()> {
    let mut spec = cluster("c");
    spec.lb_policy = LbPolicy::LeastRequest { choice_count: 2 };
    ClusterState::build(spec.into(), (assignment(range), None), None, &())
}

fn assert_counted(state: &ClusterState<()>, under_way: &[Picked<()>]) {
    let mut counts: HashMap<*const EndpointState<()>, u32> = HashMap::new();
    for picked in under_way {
        *counts.entry(std::ptr::from_ref::<EndpointState<()>>(picked)).or_default() += 1;
    }
    // Those that left as well.
    for picked in under_way {
        assert_eq!(picked.load(), counts[&std::ptr::from_ref::<EndpointState<()>>(picked)]);
    }
    let tables = state.tables();
    for index in 0..tables.usable.len() {
        let endpoint = tables.usable.get(index);
        let count = counts.get(&Arc::as_ptr(endpoint)).copied().unwrap_or_default();
        assert_eq!((tables.usable.load(index), endpoint.load()), (count, count), "{endpoint:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn loads_of_many_are_those_of_each(
        first in 1..800_u16,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let state = built(0..first);
        let mut under_way = Vec::new();
        for step in steps {
            match step {
                Step::Update(range) => drop(state.update((assignment(range), None), &())),
                Step::End(at) if !under_way.is_empty() => {
                    under_way.swap_remove(at % under_way.len());
                }
                Step::End(_) => {}
                Step::Pick(random) => {
                    let tables = state.tables();
                    let long = state.pick(&Choice::new(Dialect::Http), random).unwrap().address();
                    let picked = state.pick_plain(&tables, Dialect::Http, random).unwrap();
                    prop_assert_eq!(picked.address(), long);
                    under_way.push(picked);
                }
            }
            assert_counted(&state, &under_way);
        }
        under_way.clear();
        assert_counted(&state, &under_way);
        prop_assert!(state.tables().all().all(|endpoint| endpoint.load() == 0));
    }
}

#[test]
fn places_of_endpoints_that_left_are_taken_again() {
    let count = MANY as u16 + 1;
    let state = built(0..count);
    for start in 1..200 {
        state.update((assignment(start..start + count), None), &());
    }
    let tables = state.tables();
    assert!(tables.usable.is_far());
    let dense = tables.membership.dense.as_ref().unwrap();
    let kept = (0..usize::from(count)).filter(|number| dense.get(*number).is_some()).count();
    assert_eq!(kept, usize::from(count));
}
