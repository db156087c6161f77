//! Nodes that die, owners that are away, certificates that are not good any more. All of these wait most of the time, for
//! leases to be over and for files to be looked at, so they do it side by side; one that fails says so with its name.

use std::thread;

use crate::{identity, placement, web};

type Test = (&'static str, fn());

const TESTS: [Test; 8] = [
    ("a CA is replaced", identity::a_ca_that_is_replaced_is_taken_up_without_dropping_the_mesh),
    (
        "a placed service is operated",
        placement::a_placed_service_is_stopped_started_read_and_modified_from_where_it_was_placed,
    ),
    ("a log is followed", placement::a_log_is_followed_from_the_owner_to_wherever_the_service_runs),
    ("a node dies", placement::a_service_whose_node_dies_runs_elsewhere_and_never_twice),
    ("a node sleeps", placement::a_node_that_slept_through_its_lease_says_nothing_more),
    ("a stop is not heard", placement::a_stop_that_is_not_heard_is_told_again),
    ("a web", web::the_services_of_a_web_reach_each_other_wherever_they_run),
    ("copies", web::copies_run_on_nodes_of_their_own_and_a_link_leads_to_one_that_runs),
];

#[test]
fn what_has_to_go_on_does_whoever_is_away() {
    let running = TESTS.map(|(name, test)| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(test);
        (name, thread.unwrap())
    });
    let failed = running.into_iter().filter_map(|(name, thread)| thread.join().err().map(|_| name));
    let failed: Vec<&str> = failed.collect();
    assert!(failed.is_empty(), "{failed:?}");
}
