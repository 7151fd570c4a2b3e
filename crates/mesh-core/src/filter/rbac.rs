//! The filter that asks who may do what: `envoy.extensions.filters.http.rbac.v3.RBAC`.

use http::StatusCode;

use super::{Context, Request, Verdict};
use crate::authz::{Authorizer, Decision};
use crate::dialect::Dialect;
use crate::exchange::Reply;

pub(super) fn request(
    authorizer: &Authorizer,
    request: &mut Request<'_>,
    context: &Context<'_>,
) -> Verdict {
    let metadata = request.noted.as_deref().unwrap_or(&request.origin.metadata);
    let route = context.names.route_metadata;
    let outcome = authorizer.decide(&request.head(), metadata, route, context.dialect);
    if let Some(noted) = request.noted.as_deref_mut() {
        outcome.note(noted);
    }
    match outcome.denial() {
        None => Verdict::Continue,
        Some(denial) => Verdict::Reply(Box::new(refusal(denial, context.dialect))),
    }
}

#[cold]
fn refusal(denial: Decision<'_>, dialect: Dialect) -> Reply {
    let text = match dialect {
        Dialect::Http => "RBAC: access denied",
        // What gRPC's own filter says (gRFC A41).
        Dialect::Grpc => "Unauthorized RPC rejected",
    };
    Reply::new(StatusCode::FORBIDDEN, denial.details()).with_text(text)
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use http::{HeaderMap, Method};

    use super::*;
    use crate::resource::{
        Condition, Metadata, Rbac, RbacAction, RbacPolicy, RbacRules, Rule, StringMatcher,
    };

    fn deny(path: &str) -> RbacRules {
        let path = Rule::Is(Condition::UrlPath(StringMatcher::exact(path)));
        let policy = RbacPolicy { permissions: vec![path], principals: vec![Rule::Any] };
        RbacRules::new(RbacAction::Deny, [("no admin", policy)])
    }

    fn run(
        config: &Rbac,
        path: &str,
        dialect: Dialect,
        noted: &mut Option<Box<Metadata>>,
    ) -> Verdict {
        let (mut method, mut headers) = (Method::GET, HeaderMap::new());
        let mut asked = Request::new(&mut method, "a", path, &mut headers);
        asked.noted = noted.take();
        let context = Context::new(Instant::now(), SystemTime::UNIX_EPOCH, 0, dialect);
        let verdict = request(&Authorizer::new(config).unwrap(), &mut asked, &context);
        *noted = asked.noted;
        verdict
    }

    #[test]
    fn denied_requests_are_answered_here_in_the_words_of_the_dialect() {
        let config = Rbac::new(deny("/admin"));
        let texts =
            [(Dialect::Http, "RBAC: access denied"), (Dialect::Grpc, "Unauthorized RPC rejected")];
        for (dialect, text) in texts {
            assert!(matches!(run(&config, "/a", dialect, &mut None), Verdict::Continue));
            let Verdict::Reply(reply) = run(&config, "/admin?x", dialect, &mut None) else {
                panic!("it passed")
            };
            assert_eq!(reply.status, StatusCode::FORBIDDEN);
            assert_eq!(reply.body, text);
            assert_eq!(reply.details, "rbac_access_denied_matched_policy[no_admin]");
            assert_eq!(reply.grpc_status, None, "PERMISSION_DENIED follows from the status");
            assert!(reply.flags.is_empty());
        }
    }

    #[test]
    fn decisions_are_noted_where_somebody_listens() {
        let mut config = Rbac::default();
        config.shadow_rules = Some(deny("/admin"));
        let mut noted = Some(Box::default());
        let passed = run(&config, "/admin", Dialect::Http, &mut noted);
        let noted: Metadata = *noted.unwrap();
        assert!(matches!(passed, Verdict::Continue));
        assert!(noted.get("envoy.filters.http.rbac", ["shadow_engine_result"]).is_some());
    }
}
