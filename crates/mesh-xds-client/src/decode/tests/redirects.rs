use http::StatusCode;
use mesh_core::ResourceType::RouteConfiguration;
use mesh_core::resource::Action;
use serde_json::json;

use super::written::{findings, forwarding, refused, typed};
use crate::decode::Value;

#[test]
fn policies_of_internal_redirects_are_read_and_checked() {
    let of = |policy| forwarding(&json!({"internal_redirect_policy": policy}));
    let field = "virtual_hosts[0].routes[0].route.internal_redirect_policy";
    let stranger = typed("envoy.extensions.filters.http.cors.v3.Cors", &json!({}));
    let stranger = json!({"predicates": [{"name": "p", "typed_config": stranger}]});
    let at = format!("{field}.predicates[0].typed_config");
    refused(RouteConfiguration, &of(stranger), &at, "is not supported here");
    let host = json!({"response_headers_to_copy": ["host"]});
    let at = format!("{field}.response_headers_to_copy[0]");
    refused(RouteConfiguration, &of(host), &at, "may not be copied");
    let policy =
        json!({"redirect_response_codes": [307, 200], "response_headers_to_copy": ["x-a"]});
    let made = findings(RouteConfiguration, &of(policy), &[]);
    let Value::RouteConfiguration(made) = made else { panic!("no routes") };
    let Action::Forward(forward) = &made.virtual_hosts[0].routes[0].action else { panic!() };
    let made = forward.internal_redirect.as_ref().unwrap();
    assert_eq!(made.redirect_response_codes, [StatusCode::TEMPORARY_REDIRECT]);
    assert_eq!((made.max_internal_redirects, made.response_headers_to_copy.len()), (1, 1));
}
