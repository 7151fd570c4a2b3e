//! Kubernetes Service by itself.

use super::{labels, names, port};
use crate::field_path::FieldPath;
use crate::kind::{KubernetesService, ServiceType, TargetPort};
use crate::read::Report;

pub(crate) fn kubernetes_service(spec: &KubernetesService, report: &mut Report<'_>) {
    let path = FieldPath::spec();
    if spec.r#type == ServiceType::ExternalName {
        let text = "services of type ExternalName are not yet honoured";
        report.warning(&path.key("type"), text);
    } else if spec.ports.is_empty() && spec.cluster_ip != "None" {
        report.error(&path.key("ports"), "at least one port is required");
    }
    labels(&spec.selector, &path.key("selector"), report);
    for (index, entry) in spec.ports.iter().enumerate() {
        let path = path.key("ports").index(index);
        let earlier = &spec.ports[..index];
        port(entry.port, &path.key("port"), report);
        if let Some(TargetPort::Number(number)) = entry.target_port {
            port(number, &path.key("targetPort"), report);
        }
        if entry.name.is_empty() {
            if spec.ports.len() > 1 {
                report.error(&path, "with several ports each needs a name");
            }
        } else if !names::is_label(&entry.name) {
            report.error(&path.key("name"), format!("{:?} is not a port name", entry.name));
        } else if earlier.iter().any(|other| other.name == entry.name) {
            // Kubernetes refuses it; here ports are told apart by number.
            report.warning(&path.key("name"), format!("port name {:?} is taken", entry.name));
        }
        if earlier.iter().any(|o| o.port == entry.port && o.protocol() == entry.protocol()) {
            report.error(&path.key("port"), format!("port {} is taken", entry.port));
        }
    }
}
