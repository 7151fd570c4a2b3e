//! Which kinds there are, in which group, and what is done with each.

use crate::suggest::{nearest, nearest_within};

/// What is done with a document, by its `apiVersion` and `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    ServiceEntry,
    WorkloadEntry,
    VirtualService,
    DestinationRule,
    KubernetesService,
    /// `kind: List`: its `items` are documents.
    List,
    /// Part of the mesh's configuration, without effect so far.
    NotYet,
    /// Something other tools read; no effect here by nature.
    NoEffect,
}

/// The part of `apiVersion` before the slash, if it is one we know.
struct ApiGroup {
    name: &'static str,
    versions: &'static [&'static str],
    kinds: &'static [(&'static str, Known)],
}

/// What a document is, or why that cannot be told and what was probably meant.
pub(crate) fn lookup(api_version: &str, kind: &str) -> Result<Known, (Fault, Option<String>)> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(known) = GROUPS.iter().find(|known| known.name == group) else {
        return unknown_group(group, version, kind);
    };
    if !known.versions.contains(&version) {
        let newest = known.versions[0];
        let fix = if group.is_empty() {
            group_of(kind).map(|group| format!("did you mean \"{group}\"?"))
        } else {
            Some(format!("did you mean \"{group}/{newest}\"?"))
        };
        return Err((Fault::ApiVersion, fix));
    }
    match known.kinds.iter().find(|(name, _)| *name == kind) {
        Some((_, known)) => Ok(*known),
        // The core group has kinds that matter to nobody here; the mesh's groups are closed.
        None if group.is_empty() => match nearest(kind, ["Service", "List"]) {
            Some(near) => Err((Fault::Kind, Some(format!("did you mean \"{near}\"?")))),
            None => match group_of(kind) {
                Some(group) => Err((Fault::ApiVersion, Some(format!("did you mean \"{group}\"?")))),
                None => Ok(Known::NoEffect),
            },
        },
        None => {
            let names = known.kinds.iter().map(|(name, _)| *name);
            let fix = nearest(kind, names).map(|near| format!("did you mean \"{near}\"?"));
            Err((Fault::Kind, fix))
        }
    }
}

/// Which of the two fields is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    ApiVersion,
    Kind,
}

fn unknown_group(group: &str, version: &str, kind: &str) -> Result<Known, (Fault, Option<String>)> {
    if let Some((_, replacement)) = RETIRED.iter().find(|(name, _)| *name == group) {
        return Err((Fault::ApiVersion, Some((*replacement).to_owned())));
    }
    let near = nearest_within(GROUP_SLIPS, group, GROUPS.iter().map(|known| known.name));
    let ours = group.ends_with("istio.io") || group_of(kind).is_some();
    if !ours && near.is_none() {
        return Ok(Known::NoEffect);
    }
    let meant = group_of(kind).or_else(|| near.map(|near| format!("{near}/{version}")));
    Err((Fault::ApiVersion, meant.map(|meant| format!("did you mean \"{meant}\"?"))))
}

/// The `apiVersion` of a kind of the mesh's groups.
fn group_of(kind: &str) -> Option<String> {
    let group = GROUPS
        .iter()
        .filter(|group| group.name.ends_with("istio.io"))
        .find(|group| group.kinds.iter().any(|(name, _)| *name == kind))?;
    Some(format!("{}/{}", group.name, group.versions[0]))
}

const GROUPS: &[ApiGroup] = &[
    ApiGroup {
        name: "networking.istio.io",
        versions: &["v1", "v1beta1", "v1alpha3"],
        kinds: &[
            ("ServiceEntry", Known::ServiceEntry),
            ("WorkloadEntry", Known::WorkloadEntry),
            ("VirtualService", Known::VirtualService),
            ("DestinationRule", Known::DestinationRule),
            ("Gateway", Known::NotYet),
            ("Sidecar", Known::NotYet),
            ("WorkloadGroup", Known::NotYet),
            ("EnvoyFilter", Known::NotYet),
            ("ProxyConfig", Known::NotYet),
        ],
    },
    ApiGroup {
        name: "security.istio.io",
        versions: &["v1", "v1beta1"],
        kinds: &[
            ("PeerAuthentication", Known::NotYet),
            ("RequestAuthentication", Known::NotYet),
            ("AuthorizationPolicy", Known::NotYet),
        ],
    },
    ApiGroup {
        name: "telemetry.istio.io",
        versions: &["v1", "v1alpha1"],
        kinds: &[("Telemetry", Known::NotYet)],
    },
    ApiGroup {
        name: "extensions.istio.io",
        versions: &["v1alpha1"],
        kinds: &[("WasmPlugin", Known::NotYet), ("TrafficExtension", Known::NotYet)],
    },
    ApiGroup {
        name: "install.istio.io",
        versions: &["v1alpha1"],
        kinds: &[("IstioOperator", Known::NoEffect)],
    },
    ApiGroup {
        name: "gateway.networking.k8s.io",
        versions: &["v1", "v1beta1", "v1alpha2", "v1alpha3"],
        kinds: &[
            ("Gateway", Known::NotYet),
            ("GatewayClass", Known::NotYet),
            ("HTTPRoute", Known::NotYet),
            ("GRPCRoute", Known::NotYet),
            ("TCPRoute", Known::NotYet),
            ("TLSRoute", Known::NotYet),
            ("UDPRoute", Known::NotYet),
            ("ReferenceGrant", Known::NotYet),
            ("BackendTLSPolicy", Known::NotYet),
        ],
    },
    ApiGroup {
        name: "",
        versions: &["v1"],
        kinds: &[
            ("Service", Known::KubernetesService),
            ("List", Known::List),
            ("Endpoints", Known::NotYet),
            ("ServiceAccount", Known::NoEffect),
        ],
    },
    ApiGroup {
        name: "discovery.k8s.io",
        versions: &["v1", "v1beta1"],
        kinds: &[("EndpointSlice", Known::NotYet)],
    },
];

/// A slip of the pen, and no more: `networking.k8s.io` is a group of its own, five letters away from
/// `networking.istio.io`.
const GROUP_SLIPS: usize = 2;

/// Groups that Istio no longer has, with what took their place.
const RETIRED: &[(&str, &str)] = &[
    (
        "authentication.istio.io",
        "write a PeerAuthentication or RequestAuthentication of security.istio.io/v1",
    ),
    (
        "auth.istio.io",
        "write a PeerAuthentication or RequestAuthentication of security.istio.io/v1",
    ),
    ("rbac.istio.io", "write an AuthorizationPolicy of security.istio.io/v1"),
    ("config.istio.io", "the Mixer API is gone; its functions are in Telemetry and EnvoyFilter"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_group_names_the_right_one() {
        let (fault, fix) = lookup("net.istio.io/v1alpha3", "DestinationRule").unwrap_err();
        assert_eq!(fault, Fault::ApiVersion);
        assert_eq!(fix.unwrap(), "did you mean \"networking.istio.io/v1\"?");
        assert!(lookup("v1", "VirtualService").is_err());
        assert!(lookup("networking.istio.io/v2", "VirtualService").is_err());
        assert!(lookup("auth.istio.io/v1alpha1", "Policy").is_err());
    }

    #[test]
    fn a_mistyped_kind_names_the_nearest() {
        let (fault, fix) = lookup("networking.istio.io/v1", "VirtualServce").unwrap_err();
        assert_eq!(
            (fault, fix.unwrap().as_str()),
            (Fault::Kind, "did you mean \"VirtualService\"?")
        );
    }

    #[test]
    fn other_tools_kinds_have_no_effect() {
        assert_eq!(lookup("apps/v1", "Deployment"), Ok(Known::NoEffect));
        assert_eq!(lookup("v1", "Namespace"), Ok(Known::NoEffect));
        assert_eq!(lookup("v1", "ServiceAccount"), Ok(Known::NoEffect));
        assert_eq!(lookup("cert-manager.io/v1", "Certificate"), Ok(Known::NoEffect));
        for (group, kind) in [
            ("networking.k8s.io", "NetworkPolicy"),
            ("networking.gke.io", "ManagedCertificate"),
            ("security.openshift.io", "SecurityContextConstraints"),
        ] {
            assert_eq!(lookup(&format!("{group}/v1"), kind), Ok(Known::NoEffect), "{group}");
        }
    }

    #[test]
    fn a_slip_in_a_group_names_the_right_one() {
        let (_, fix) = lookup("networking.itsio.oi/v1", "VirtualService").unwrap_err();
        assert_eq!(fix.unwrap(), "did you mean \"networking.istio.io/v1\"?");
        let (_, fix) = lookup("securty.istio.io/v1", "Whatever").unwrap_err();
        assert_eq!(fix.unwrap(), "did you mean \"security.istio.io/v1\"?");
    }

    #[test]
    fn endpoints_of_kubernetes_are_not_passed_over() {
        assert_eq!(lookup("v1", "Endpoints"), Ok(Known::NotYet));
        assert_eq!(lookup("discovery.k8s.io/v1", "EndpointSlice"), Ok(Known::NotYet));
    }
}
