use super::*;

/// What is decided of the outcome alone after that many retries.
fn decide_after(
    policy: &RetryPolicy,
    outcome: Outcome,
    retries: u32,
    dialect: Dialect,
) -> RetryDecision {
    let state = RetryState { retries, waits: retries };
    state.decide(policy, &Ended::unanswered(outcome, SystemTime::UNIX_EPOCH), dialect, 0)
}

fn status(code: u16) -> Outcome {
    let status = StatusCode::from_u16(code).unwrap();
    Outcome::Response { status, grpc_status: None, rate_limited: false }
}

fn grpc(code: u16) -> Outcome {
    let grpc_status = Some(code);
    Outcome::Response { status: StatusCode::OK, grpc_status, rate_limited: false }
}

/// Which outcomes each `retry_on` word takes in the HTTP dialect (Envoy, measured).
#[test]
fn each_word_takes_its_outcomes() {
    let sent = Outcome::Reset { sent: true };
    let unsent = Outcome::Reset { sent: false };
    let all = [
        status(200),
        status(409),
        status(500),
        status(503),
        grpc(14),
        grpc(13),
        sent,
        unsent,
        Outcome::Refused,
        Outcome::ConnectFailure,
        Outcome::PerTryTimeout,
    ];
    let broken = [sent, unsent, Outcome::Refused, Outcome::ConnectFailure, Outcome::PerTryTimeout];
    let table: &[(&str, &[Outcome])] = &[
        ("5xx", &[&[status(500), status(503)][..], &broken].concat()),
        ("gateway-error", &[&[status(503)][..], &broken].concat()),
        ("reset", &broken),
        ("reset-before-request", &[unsent, Outcome::ConnectFailure]),
        ("connect-failure", &[Outcome::ConnectFailure]),
        ("refused-stream", &[Outcome::Refused]),
        ("retriable-4xx", &[status(409)]),
        ("unavailable", &[grpc(14)]),
        ("internal", &[grpc(13)]),
    ];
    for (word, want) in table {
        let policy = RetryPolicy::new(RetryConditions::of_name(word).unwrap());
        for outcome in all {
            let got = is_retriable(&policy, outcome, Dialect::Http);
            assert_eq!(got, want.contains(&outcome), "{word} with {outcome:?}");
        }
    }
}

#[test]
fn grpc_counts_broken_attempts_as_unavailable() {
    let policy = RetryPolicy::new(RetryConditions::UNAVAILABLE);
    let broken = Outcome::Reset { sent: true };
    assert!(is_retriable(&policy, broken, Dialect::Grpc));
    assert!(!is_retriable(&policy, broken, Dialect::Http));
}

#[test]
fn stops_after_num_retries_and_grpc_after_five_attempts() {
    let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
    policy.num_retries = 9;
    let decide = |retries, dialect| decide_after(&policy, status(503), retries, dialect);
    assert_eq!(decide(8, Dialect::Http), RetryDecision::After(Duration::ZERO));
    assert_eq!(decide(9, Dialect::Http), RetryDecision::Exhausted);
    assert_eq!(decide(3, Dialect::Grpc), RetryDecision::Done, "gRPC knows no 5xx");
    policy.conditions = RetryConditions::UNAVAILABLE;
    let decide = |retries| decide_after(&policy, grpc(14), retries, Dialect::Grpc);
    assert_eq!(decide(3), RetryDecision::After(Duration::from_millis(160)));
    assert_eq!(decide(4), RetryDecision::Exhausted);
}

/// Envoy looks at nothing else once an answer says that it was limited.
#[test]
fn rate_limited_answers_are_retried_only_where_that_is_asked_for() {
    let mut policy = RetryPolicy::new(
        RetryConditions::FIVE_XX
            | RetryConditions::RETRIABLE_STATUS_CODES
            | RetryConditions::UNAVAILABLE,
    );
    policy.retriable_status_codes = vec![StatusCode::SERVICE_UNAVAILABLE];
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let limited = Outcome::Response { status, grpc_status: Some(14), rate_limited: true };
    assert!(!is_retriable(&policy, limited, Dialect::Http));
    assert!(is_retriable(&policy, limited, Dialect::Grpc));
    policy.conditions = RetryConditions::ENVOY_RATELIMITED;
    assert!(is_retriable(&policy, limited, Dialect::Http));
    assert!(!is_retriable(&policy, limited, Dialect::Grpc));
}

#[test]
fn what_is_dropped_here_is_never_retried() {
    let every = RetryConditions::of_list("5xx,reset,connect-failure,unavailable,gateway-error");
    let policy = RetryPolicy::new(every);
    for dialect in [Dialect::Http, Dialect::Grpc] {
        assert!(!is_retriable(&policy, Outcome::Dropped, dialect));
        assert!(!is_retriable(&policy, Outcome::Local, dialect));
    }
}

fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let one = |(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    };
    list.iter().map(one).collect()
}

fn after(policy: &RetryPolicy, answer: &HeaderMap, dialect: Dialect) -> RetryDecision {
    let ended = Ended::answered(StatusCode::OK, answer, SystemTime::UNIX_EPOCH);
    RetryState::default().decide(policy, &ended, dialect, 0)
}

#[test]
fn answers_with_a_listed_header_are_retried_in_http() {
    use crate::resource::ValueMatch;
    let mut policy = RetryPolicy::new(RetryConditions::RETRIABLE_HEADERS);
    let name = http::HeaderName::from_static("x-again");
    policy.retriable_headers = vec![HeaderMatcher::new(name, ValueMatch::Present(true))];
    let (again, other) = (headers(&[("x-again", "")]), headers(&[("x-other", "")]));
    let limited = headers(&[("x-again", ""), ("x-envoy-ratelimited", "true")]);
    assert_eq!(after(&policy, &again, Dialect::Http), RetryDecision::After(Duration::ZERO));
    assert_eq!(after(&policy, &other, Dialect::Http), RetryDecision::Done);
    assert_eq!(after(&policy, &limited, Dialect::Http), RetryDecision::Done);
    assert_eq!(after(&policy, &again, Dialect::Grpc), RetryDecision::Done);
    policy.conditions = RetryConditions::FIVE_XX;
    assert_eq!(after(&policy, &again, Dialect::Http), RetryDecision::Done);
}

#[test]
fn policy_may_ask_for_headers_of_the_request() {
    use crate::resource::{StringMatcher, ValueMatch};
    let mut policy = RetryPolicy::new(RetryConditions::FIVE_XX);
    let name = http::HeaderName::from_static("x-idempotent");
    let yes = ValueMatch::String(StringMatcher::exact("yes"));
    policy.retriable_request_headers = vec![HeaderMatcher::new(name, yes)];
    let (with, without) = (headers(&[("x-idempotent", "yes")]), HeaderMap::new());
    let takes = |headers, dialect| {
        takes_request(&policy, &Head::of_parts(&Method::GET, "", "a", "/", headers), dialect)
    };
    assert!(takes(&with, Dialect::Http));
    assert!(!takes(&without, Dialect::Http));
    assert!(takes(&without, Dialect::Grpc));
}

#[test]
fn grpc_server_says_when_to_come_back() {
    let policy = RetryPolicy::new(RetryConditions::UNAVAILABLE);
    let pushed = |value| {
        let answer = headers(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", value)]);
        after(&policy, &answer, Dialect::Grpc)
    };
    assert_eq!(pushed("7"), RetryDecision::AfterPushback(Duration::from_millis(7)));
    assert_eq!(pushed("0"), RetryDecision::AfterPushback(Duration::ZERO));
    for junk in ["-1", "soon", "", "99999999999"] {
        assert_eq!(pushed(junk), RetryDecision::Done, "{junk:?}");
    }
    let plain = headers(&[("grpc-status", "14")]);
    let first = RetryDecision::After(Duration::from_millis(20));
    assert_eq!(after(&policy, &plain, Dialect::Grpc), first);
    let fine = headers(&[("grpc-status", "0"), ("grpc-retry-pushback-ms", "7")]);
    assert_eq!(after(&policy, &fine, Dialect::Grpc), RetryDecision::Done);
}

#[test]
fn waits_begin_anew_after_a_pushback() {
    let mut policy = RetryPolicy::new(RetryConditions::UNAVAILABLE);
    policy.num_retries = 4;
    let mut state = RetryState::default();
    let ended = Ended::unanswered(Outcome::Reset { sent: true }, SystemTime::UNIX_EPOCH);
    let mut next = |pushback: bool| {
        let decision = state.decide(&policy, &ended, Dialect::Grpc, 0);
        let pushed = RetryDecision::AfterPushback(Duration::ZERO);
        state.retried(if pushback { pushed } else { decision });
        decision
    };
    let wait = |ms| RetryDecision::After(Duration::from_millis(ms));
    let waits = [next(false), next(true), next(false), next(false), next(false)];
    assert_eq!(waits, [wait(20), wait(40), wait(20), wait(40), RetryDecision::Exhausted]);
}

#[test]
fn only_grpc_answers_state_a_grpc_status() {
    let table = [
        (&[("grpc-status", "5"), ("content-type", "application/grpc+proto")][..], true),
        (&[("grpc-status", "5"), ("content-type", "text/html")], false),
        (&[("grpc-status", "5")], false),
        (&[("content-type", "application/grpc")], false),
    ];
    for (list, want) in table {
        assert_eq!(Outcome::states_grpc(&headers(list)), want, "{list:?}");
    }
}

/// What is settled at once is what a decision would come to as well, and usual answers are.
#[test]
fn settled_answers_are_none_to_retry() {
    let names = ["5xx", "retriable-4xx", "unavailable", "retriable-headers", "envoy-ratelimited"];
    let lists = [vec![], vec![StatusCode::OK], vec![StatusCode::SERVICE_UNAVAILABLE]];
    let answers: [&[(&str, &str)]; 4] =
        [&[], &[("grpc-status", "14")], &[("x-envoy-ratelimited", "1")], &[("again", "yes")]];
    let mut settled = 0;
    for (name, codes) in names.iter().flat_map(|name| lists.iter().map(move |list| (name, list))) {
        let conditions = RetryConditions::of_name(name).unwrap();
        let mut policy = RetryPolicy::new(conditions | RetryConditions::RETRIABLE_STATUS_CODES);
        policy.retriable_status_codes.extend(codes);
        let again = crate::resource::ValueMatch::Present(true);
        policy.retriable_headers =
            vec![HeaderMatcher::new(HeaderName::from_static("again"), again)];
        for (code, answer) in [200, 204, 302, 409, 503].iter().flat_map(|code| {
            answers.iter().map(move |answer| (StatusCode::from_u16(*code).unwrap(), answer))
        }) {
            let pairs = answer.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            let headers: HeaderMap = pairs.collect();
            if is_settled(&policy, code, &headers) {
                settled += 1;
                let ended = Ended::answered(code, &headers, SystemTime::UNIX_EPOCH);
                let decision = RetryState::default().decide(&policy, &ended, Dialect::Http, 0);
                assert_eq!(decision, RetryDecision::Done, "{name} {codes:?} {code} {headers:?}");
            }
        }
    }
    assert_eq!(settled, 55, "of 300");
}
