use super::*;
use crate::model::Model;

fn findings(text: &str) -> Vec<Diagnostic> {
    findings_with(text, &Options::default())
}

fn findings_with(text: &str, options: &Options) -> Vec<Diagnostic> {
    Model::read(&[Source::new("mesh.yaml", text)], options).diagnostics
}

fn errors(text: &str) -> Vec<Diagnostic> {
    findings(text).into_iter().filter(Diagnostic::is_error).collect()
}

/// (line, column, field, fix) of the only error.
fn error(text: &str) -> (u32, u32, String, String) {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}\n{text}");
    let error = errors.remove(0);
    (error.line, error.column, error.field, error.fix.unwrap_or_default())
}

const RULE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: reviews
        subset: v1
      weight: 75
    - destination:
        host: reviews
        subset: v2
      weight: 25
";

const SUBSETS: &str = "\
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{port: 80}]}
";

#[test]
fn a_good_set_has_no_findings() {
    assert!(findings(&format!("{RULE}{SUBSETS}")).is_empty());
}

#[test]
fn a_mistyped_field_names_the_nearest() {
    let (line, column, field, fix) = error(&RULE.replace("weight: 25", "weigth: 25"));
    assert_eq!((line, column, field.as_str()), (16, 7, "spec.http[0].route[1].weigth"));
    assert_eq!(fix, "did you mean `spec.http[0].route[1].weight`?");
}

#[test]
fn weight_inside_destination_is_told_where_it_belongs() {
    let text = RULE.replace("      weight: 75", "        weight: 75");
    let (line, column, field, fix) = error(&text);
    assert_eq!((line, column), (12, 9));
    assert_eq!(field, "spec.http[0].route[0].destination.weight");
    assert_eq!(fix, "did you mean `spec.http[0].route[0].weight`?");
}

#[test]
fn a_match_that_swallowed_its_route_is_told_so() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n\
                spec:\n  hosts: [a]\n  http:\n  - match:\n      route:\n\
                \x20     - destination: {host: a}\n";
    let found = errors(text);
    let swallowed = &found[0];
    assert_eq!((swallowed.line, swallowed.field.as_str()), (8, "spec.http[0].match"));
    assert_eq!(swallowed.fix.as_deref(), Some("`route` belongs at `spec.http[0].route`"));
}

#[test]
fn a_policy_beside_the_spec_is_told_where_it_belongs() {
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\n\
                spec:\n  host: a\ntrafficPolicy:\n  loadBalancer: {simple: RANDOM}\n";
    let (line, _, field, fix) = error(text);
    assert_eq!((line, field.as_str()), (6, "trafficPolicy"));
    assert_eq!(fix, "did you mean `spec.trafficPolicy`?");
}

#[test]
fn bad_values_are_errors_at_their_place() {
    let with = |old: &str, new: &str| error(&RULE.replace(old, new));
    for (old, new, field, fix) in [
        ("weight: 25", "weight: many", "spec.http[0].route[1].weight", ""),
        ("weight: 25", "weight: -25", "spec.http[0].route[1].weight", ""),
        ("weight: 25", "weight: 2.5", "spec.http[0].route[1].weight", ""),
        ("subset: v2", "subset: 2", "spec.http[0].route[1].destination.subset", "quote it: \"2\""),
        (
            "subset: v2",
            "port: {number: 70000}",
            "spec.http[0].route[1].destination.port.number",
            "",
        ),
        ("hosts: [reviews]", "hosts: [re views]", "spec.hosts[0]", ""),
        ("hosts: [reviews]", "hosts: ['*']", "spec.hosts[0]", ""),
        ("  - route:", "  - timeout: soon\n    route:", "spec.http[0].timeout", ""),
        ("  - route:", "  - timeout: 0.5ms\n    route:", "spec.http[0].timeout", ""),
        (
            "  - route:",
            "  - retries: {attempts: -1}\n    route:",
            "spec.http[0].retries.attempts",
            "",
        ),
        (
            "  - route:",
            "  - retries: {attempts: 1, retryOn: 'reset,6xx'}\n    route:",
            "spec.http[0].retries.retryOn",
            "did you mean \"5xx\"?",
        ),
        (
            "  - route:",
            "  - match: [{uri: {regex: '('}}]\n    route:",
            "spec.http[0].match[0].uri.regex",
            "",
        ),
        (
            "  - route:",
            "  - match: [{uri: {exact: /a, prefix: /b}}]\n    route:",
            "spec.http[0].match[0].uri",
            "",
        ),
        ("v1\nkind", "v2\nkind", "apiVersion", "did you mean \"networking.istio.io/v1\"?"),
        (
            "kind: VirtualService",
            "kind: VirtualServices",
            "kind",
            "did you mean \"VirtualService\"?",
        ),
        ("  name: reviews\n", "  name: ''\n", "metadata.name", ""),
    ] {
        let (line, column, found, fixed) = with(old, new);
        assert_eq!((found.as_str(), fixed.as_str()), (field, fix), "{new}");
        assert!(line > 0 && column > 0);
    }
}

#[test]
fn mistyped_enum_values_name_the_nearest() {
    let text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\n\
                spec:\n  host: a\n  trafficPolicy:\n    loadBalancer: {simple: ROUND_ROBBIN}\n";
    let (line, column, field, fix) = error(text);
    assert_eq!((line, column, field.as_str()), (7, 28, "spec.trafficPolicy.loadBalancer.simple"));
    assert_eq!(fix, "did you mean \"ROUND_ROBIN\"?");
}

#[test]
fn all_faults_of_a_document_are_told_at_once() {
    let text = RULE.replace("weight: 75", "weight: x").replace("subset: v2", "subsett: v2");
    let text = text.replace("  http:", "  gatewayss: []\n  http:");
    let fields: Vec<_> = errors(&text).into_iter().map(|d| (d.line, d.field)).collect();
    assert_eq!(
        fields,
        [
            (7, "spec.gatewayss".to_owned()),
            (13, "spec.http[0].route[0].weight".to_owned()),
            (16, "spec.http[0].route[1].destination.subsett".to_owned()),
        ]
    );
}

#[test]
fn a_missing_subset_is_an_error_and_a_missing_host_a_warning() {
    let text = format!("{RULE}{SUBSETS}").replace("subset: v2", "subset: v3");
    let (line, _, field, fix) = error(&text);
    assert_eq!((line, field.as_str()), (15, "spec.http[0].route[1].destination.subset"));
    assert_eq!(fix, "did you mean \"v1\"?");
    let found = findings(RULE);
    assert!(found.iter().all(|d| d.level == Level::Warning && d.code == Some("IST0101")));
    assert_eq!(found.len(), 2);
}

#[test]
fn a_field_that_is_only_misplaced_is_not_also_missing() {
    let twice = RULE.replace("      weight: ", "        weight: ");
    let fields: Vec<_> = errors(&twice).into_iter().map(|error| error.field).collect();
    assert_eq!(
        fields,
        ["spec.http[0].route[0].destination.weight", "spec.http[0].route[1].destination.weight",]
    );
    assert_eq!(error(&RULE.replace("http:", "htpp:")).2, "spec.htpp");
}

#[test]
fn weights_of_several_destinations_must_not_all_be_zero() {
    let text = RULE.replace("      weight: 75\n", "").replace("weight: 25", "weight: 0");
    assert_eq!(error(&text).2, "spec.http[0].route");
}

#[test]
fn subsets_are_defined_once() {
    let text = SUBSETS.replace("name: v2", "name: v1");
    assert_eq!(error(&text).2, "spec.subsets[1].name");
}

#[test]
fn what_is_known_and_has_no_effect_yet_is_a_warning_with_its_place() {
    let text = RULE.replace("  - route:", "  - match: [{statPrefix: x}]\n    route:");
    let found = findings(&format!("{text}{SUBSETS}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].level, found[0].line), (Level::Warning, 8));
    assert_eq!(found[0].field, "spec.http[0].match[0].statPrefix");
    assert!(found[0].text.contains("not yet honoured"));
    let gateway = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\n";
    assert_eq!(findings(gateway)[0].level, Level::Warning);
}

#[test]
fn other_tools_objects_are_accepted_in_silence() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n\
                apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {x: {y: z}}\n";
    assert!(findings(text).is_empty());
}

#[test]
fn a_lenient_reader_warns_of_unknown_fields_and_keeps_the_object() {
    let text = format!("{RULE}{SUBSETS}").replace("  http:", "  extra: 1\n  http:");
    assert_eq!(error(&text).2, "spec.extra");
    let options = Options::default().with_lenient(true);
    let checked = Model::read(&[Source::new("mesh.yaml", text)], &options);
    assert!(checked.is_valid());
    assert_eq!(checked.diagnostics[0].level, Level::Warning);
    let host = "reviews.default.svc.cluster.local";
    assert_eq!(checked.model.virtual_services().all(host).count(), 1);
}

#[test]
fn a_broken_file_is_an_error_with_its_line() {
    let found = errors(&format!("{RULE}---\nkind: [\n"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].file, "mesh.yaml");
    assert!(found[0].line >= 18, "{found:?}");
    for text in ["just text\n", "- a\n- b\n", "kind: Service\n", "apiVersion: v1\n"] {
        assert_eq!(errors(text).len(), 1, "{text}");
    }
}

#[test]
fn lists_json_and_snake_case_are_read() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
         "metadata": {"name": "a"}, "spec": {"hosts": ["a"], "export_to": ["."], "http": [
            {"retries": {"attempts": 1, "per_try_timeout": "1s", "retry_on": "5xx"},
             "route": [{"destination": {"host": "a"}}], "timeout": null}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
         "spec": {"ports": [{"port": "80"}]}}
    ]}"#;
    let (line, _, field, _) = error(json);
    assert_eq!((line, field.as_str()), (7, "spec.ports[0].port"));
    assert!(errors(&json.replace("\"80\"", "80")).is_empty());
}

#[test]
fn the_last_of_several_objects_of_one_name_counts() {
    let twice = format!("{RULE}{SUBSETS}---\n{}", RULE.replace("75", "10"));
    let checked = Model::read(&[Source::new("mesh.yaml", twice)], &Options::default());
    assert!(checked.is_valid());
    assert_eq!(checked.diagnostics.len(), 1);
    assert_eq!((checked.diagnostics[0].line, checked.diagnostics[0].level), (4, Level::Warning));
    let rules: Vec<_> =
        checked.model.virtual_services().all("reviews.default.svc.cluster.local").collect();
    assert_eq!(rules[0].spec.http[0].route[0].weight, 10);
}

#[test]
fn objects_given_as_json_values_need_no_name_and_have_no_line() {
    let object = serde_json::json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {},
        "spec": {"hosts": ["a.b"], "http": [{"route": [{"destination": {"host": ""}}]}]},
    });
    let parsed = Parsed::from_json(object, &Options::default());
    let errors: Vec<_> = parsed.diagnostics().iter().filter(|d| d.is_error()).collect();
    assert_eq!((errors.len(), errors[0].line), (1, 0));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

    #[test]
    fn reading_never_panics(text in "\\PC{0,200}") {
        findings(&text);
    }

    /// Cutting, doubling or replacing a piece of a good file gives findings, never a panic.
    #[test]
    fn damaged_files_never_panic(
        start in 0..RULE.len(),
        length in 0..40_usize,
        with in "[ \\n\\-:{}\\[\\]\"'&*|>#a-z0-9]{0,12}",
    ) {
        let end = (start + length).min(RULE.len());
        let text = format!("{}{with}{}", &RULE[..start], &RULE[end..]);
        for finding in findings(&text) {
            assert!(finding.line > 0 && !finding.text.is_empty());
        }
    }
}

#[test]
fn a_list_without_items_is_an_error() {
    let list = |rest: &str| errors(&format!("apiVersion: v1\nkind: List\n{rest}\n"));
    assert!(list("items: []").is_empty() && list("items:").is_empty());
    for wrong in ["item: []", "items: {kind: Service}", "metadata: {}"] {
        assert_eq!(list(wrong).len(), 1, "{wrong}");
    }
}

/// Field, code, text and fix of the warnings.
fn warnings(text: &str) -> Vec<(String, String, String)> {
    let told = |found: Diagnostic| (found.field, found.text, found.fix.unwrap_or_default());
    let found = findings(text).into_iter().filter(|found| found.level == Level::Warning);
    found.map(told).collect()
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let entry = "\
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.default.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http}]
  endpoints: [{address: 127.0.0.11, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: V2}}]}
";
    let host = "\"reviews.default.svc.cluster.local\"";
    let subset = (
        "spec.subsets[1].labels".to_owned(),
        format!("no endpoint of {host} has the labels of \"v2\""),
        String::new(),
    );
    assert_eq!(warnings(&format!("{RULE}{entry}")), std::slice::from_ref(&subset));

    let port = RULE.replacen("subset: v1", "subset: v1\n        port: {number: 9999}", 1);
    let path = "spec.http[0].route[0].destination";
    let told = (
        format!("{path}.port.number"),
        format!("{host} has no port 9999"),
        "its ports: 80".to_owned(),
    );
    assert_eq!(warnings(&format!("{port}{entry}")), [told, subset.clone()]);

    let typo = RULE.replacen("host: reviews\n        subset: v1", "host: reviws", 1);
    let told = (
        format!("{path}.host"),
        "no service has the host \"reviws.default.svc.cluster.local\"".to_owned(),
        format!("did you mean {host}?"),
    );
    assert_eq!(warnings(&format!("{typo}{entry}")), [told, subset.clone()]);

    let second = RULE.replacen("name: reviews", "name: other", 1);
    let told = (
        "spec.hosts[0]".to_owned(),
        format!(
            "the VirtualService default/reviews is for {host} already: this one has no effect on it"
        ),
        String::new(),
    );
    assert_eq!(warnings(&format!("{RULE}{entry}---\n{second}")), [subset, told]);
}

#[test]
fn what_a_broken_object_defines_is_not_asked_for_again() {
    let broken = SUBSETS.replacen("host: reviews", "host: reviews\n  hots: x", 1);
    let fixes: Vec<_> = errors(&format!("{RULE}{broken}")).into_iter().map(|e| e.fix).collect();
    let mend =
        "mend the DestinationRule default/reviews first, which does not count while it has errors";
    assert_eq!(fixes[..2], [Some(mend.to_owned()), Some(mend.to_owned())]);
}
