//! The filter that refuses what is more at once than latencies allow:
//! `envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency`.

use super::message::Admission;
use super::{Context, Request, Verdict};
use crate::exchange::Reply;
use crate::resource::AdaptiveConcurrency;

/// What an answer of this filter says of its cause.
const REACHED: &str = "reached_concurrency_limit";

pub(super) fn request(
    filter: &AdaptiveConcurrency,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    match filter.admit(context.now) {
        Some(admitted) => {
            let before = request.admitted.take().map(Box::new);
            let (since, step) = (context.now, context.step);
            request.admitted = Some(Admission { since, step, active: Some(admitted), before });
            Verdict::Continue
        }
        None => {
            let reply = Reply::new(filter.limit_exceeded_status, REACHED);
            Verdict::Reply(Box::new(reply.with_text("reached concurrency limit")))
        }
    }
}

pub(super) fn response(filter: &AdaptiveConcurrency, context: &Context<'_>) {
    // An answer to what never came past here says nothing of whoever is behind.
    if let Some(since) = context.admitted.and_then(|admitted| admitted.since(context.step)) {
        filter.record(since, context.now, context.random);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant, SystemTime};

    use http::{HeaderMap, HeaderName, Method, StatusCode};

    use super::super::step::Step;
    use super::super::{Chain, Response};
    use super::*;
    use crate::authz::Authorizer;
    use crate::dialect::Dialect;
    use crate::resource::{
        Condition, GradientConfig, HeaderMatcher, MinRtt, Rbac, RbacAction, RbacPolicy, RbacRules,
        Rule, ValueMatch,
    };

    const RTT: Duration = Duration::from_millis(10);
    const WINDOW: Duration = Duration::from_millis(100);

    fn made() -> Arc<AdaptiveConcurrency> {
        Arc::new(AdaptiveConcurrency::new(GradientConfig::new(WINDOW, MinRtt::Fixed(RTT))))
    }

    fn at(now: Instant) -> Context<'static> {
        Context::new(now, SystemTime::UNIX_EPOCH, 0, Dialect::Http)
    }

    /// A request, and its answer after so long. Whether it went on.
    fn ask(chain: &Chain, now: Instant, bad: bool, latency: Duration) -> bool {
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        if bad {
            headers.insert("x-bad", "1".parse().unwrap());
        }
        let mut request = Request::new(&mut method, "h", "/", &mut headers);
        let verdict = chain.request(0, &mut request, &at(now));
        let mut context = at(now + latency);
        context.admitted = request.admitted.as_ref();
        let mut headers = HeaderMap::new();
        chain.response(&mut Response::new(StatusCode::OK, &mut headers), &context);
        matches!(verdict, Verdict::Continue)
    }

    #[test]
    fn only_answers_to_what_was_let_through_are_measured() {
        let bad = HeaderMatcher::new(HeaderName::from_static("x-bad"), ValueMatch::Present(true));
        let policy = RbacPolicy {
            permissions: vec![Rule::Is(Condition::Header(bad))],
            principals: vec![Rule::Any],
        };
        let deny = Rbac::new(RbacRules::new(RbacAction::Deny, [("p", policy)]));
        let made =
            || Arc::new(AdaptiveConcurrency::new(GradientConfig::new(WINDOW, MinRtt::Fixed(RTT))));
        let filters = [made(), made()];
        let [first, second] = filters.clone().map(Step::AdaptiveConcurrency);
        let deny = Step::Rbac(Arc::new(Authorizer::new(&deny).unwrap()));
        let chain = Chain::new([first, deny, second]);
        let limits = || filters.each_ref().map(|filter| filter.limit());

        let mut now = Instant::now();
        assert!(ask(&chain, now, false, 5 * RTT));
        assert_eq!(limits(), [3, 3]);
        now += WINDOW;
        // Slow, by one sample alone: half of 3, and its root, is less than the least.
        (0..50).for_each(|_| assert!(!ask(&chain, now, true, Duration::ZERO)));
        assert_eq!(limits(), [3, 3]);
        now += WINDOW;
        assert!(ask(&chain, now, false, RTT));
        // The denials count before the filter that denies, and not behind it.
        assert_eq!(limits(), [8, 3]);
        now += WINDOW;
        assert!(ask(&chain, now, false, RTT));
        assert_eq!(limits()[1], 5);
    }

    #[test]
    fn each_is_counted_until_it_is_given_back() {
        let filter = made();
        let chain = Chain::new([filter.clone(), filter.clone()].map(Step::AdaptiveConcurrency));
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        let mut request = Request::new(&mut method, "h", "/", &mut headers);
        assert!(matches!(chain.request(0, &mut request, &at(Instant::now())), Verdict::Continue));
        let mut admitted = request.admitted.take().unwrap();
        let held: Vec<_> = admitted.take().collect();
        assert_eq!((held.len(), filter.under_way()), (2, 2));
        drop(held);
        assert_eq!(filter.under_way(), 0);
        assert_eq!(admitted.take().count(), 0);
    }
}
