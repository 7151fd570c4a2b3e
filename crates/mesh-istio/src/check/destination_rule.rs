//! DestinationRule by itself.

use super::selection::{consistent_hash, outlier_detection, retry_budget, warmup};
use super::{duration, labels, names, not_negative, port};
use crate::field_path::FieldPath;
use crate::kind::{
    ConnectionPool, DestinationRule, H2UpgradePolicy, LoadBalancer, SimpleLoadBalancer, Tls,
    TlsMode, TrafficPolicy,
};
use crate::read::Report;

pub(crate) fn destination_rule(spec: &DestinationRule, report: &mut Report<'_>) {
    let path = FieldPath::spec();
    if let Some(fault) = names::wildcard_domain(&spec.host) {
        report.error(&path.key("host"), fault);
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(policy, &path.key("trafficPolicy"), report);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = path.key("subsets").index(index);
        if !names::is_label(&subset.name) {
            let text = format!("{:?} is not a subset name", subset.name);
            report.error(&path.key("name"), text);
        } else if spec.subsets[..index].iter().any(|other| other.name == subset.name) {
            let text = format!("subset {:?} is defined twice", subset.name);
            report.error(&path.key("name"), text);
        }
        labels(&subset.labels, &path.key("labels"), report);
        if subset.labels.is_empty() {
            report.warning(&path, "a subset without labels holds every endpoint");
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, &path.key("trafficPolicy"), report);
        }
    }
}

fn traffic_policy(policy: &TrafficPolicy, path: &FieldPath, report: &mut Report<'_>) {
    let parts = (&policy.load_balancer, &policy.connection_pool);
    let others = policy.outlier_detection.is_some()
        || policy.tls.is_some()
        || policy.tunnel.is_some()
        || policy.proxy_protocol.is_some()
        || policy.retry_budget.is_some()
        || !policy.port_level_settings.is_empty();
    if matches!(parts, (None, None)) && !others {
        report.error(path, "a traffic policy needs at least one setting");
    }
    settings(parts.0.as_ref(), parts.1.as_ref(), path, report);
    if let Some(detection) = &policy.outlier_detection {
        outlier_detection(detection, &path.key("outlierDetection"), report);
    }
    if let Some(budget) = &policy.retry_budget {
        retry_budget(budget, &path.key("retryBudget"), report);
    }
    if let Some(settings) = &policy.tls {
        tls(settings, &path.key("tls"), report);
    }
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let path = path.key("portLevelSettings").index(index);
        match settings.port {
            Some(selector) => port(selector.number, &path.key("port").key("number"), report),
            None => {
                report.error(&path, "port is required");
            }
        }
        let pool = settings.connection_pool.as_ref();
        self::settings(settings.load_balancer.as_ref(), pool, &path, report);
        if let Some(detection) = &settings.outlier_detection {
            outlier_detection(detection, &path.key("outlierDetection"), report);
        }
        if let Some(settings) = &settings.tls {
            tls(settings, &path.key("tls"), report);
        }
    }
}

fn settings(
    balancer: Option<&LoadBalancer>,
    pool: Option<&ConnectionPool>,
    path: &FieldPath,
    report: &mut Report<'_>,
) {
    if let Some(balancer) = balancer {
        self::balancer(balancer, &path.key("loadBalancer"), report);
    }
    match balancer.and_then(|balancer| balancer.simple) {
        Some(SimpleLoadBalancer::LeastConn) => {
            let path = path.key("loadBalancer").key("simple");
            report.warning(&path, "LEAST_CONN is deprecated").fix =
                Some("write LEAST_REQUEST".to_owned());
        }
        Some(SimpleLoadBalancer::Passthrough) => {
            let path = path.key("loadBalancer").key("simple");
            report.warning(&path, "PASSTHROUGH is not yet honoured: the default is used");
        }
        _ => {}
    }
    let Some(ConnectionPool { tcp, http }) = pool else { return };
    let path = path.key("connectionPool");
    if tcp.is_none() && http.is_none() {
        report.error(&path, "a connection pool needs tcp or http settings");
    }
    if let Some(tcp) = tcp {
        let path = path.key("tcp");
        not_negative(tcp.max_connections, &path.key("maxConnections"), report);
        duration(tcp.connect_timeout, &path.key("connectTimeout"), report);
        duration(tcp.max_connection_duration, &path.key("maxConnectionDuration"), report);
        duration(tcp.idle_timeout, &path.key("idleTimeout"), report);
        if let Some(keepalive) = &tcp.tcp_keepalive {
            let path = path.key("tcpKeepalive");
            duration(keepalive.time, &path.key("time"), report);
            duration(keepalive.interval, &path.key("interval"), report);
        }
    }
    if let Some(http) = http {
        let path = path.key("http");
        for (field, value) in [
            ("http1MaxPendingRequests", http.http1_max_pending_requests),
            ("http2MaxRequests", http.http2_max_requests),
            ("maxRequestsPerConnection", http.max_requests_per_connection),
            ("maxRetries", http.max_retries),
            ("maxConcurrentStreams", http.max_concurrent_streams),
        ] {
            not_negative(value, &path.key(field), report);
        }
        duration(http.idle_timeout, &path.key("idleTimeout"), report);
        if http.use_client_protocol && http.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
            let text = "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other";
            report.error(&path.key("useClientProtocol"), text);
        }
        if let Some(settings) = &http.http2_keep_alive {
            let path = path.key("http2KeepAlive");
            duration(settings.interval, &path.key("interval"), report);
            duration(settings.timeout, &path.key("timeout"), report);
        }
    }
}

fn balancer(balancer: &LoadBalancer, path: &FieldPath, report: &mut Report<'_>) {
    if let Some(hash) = &balancer.consistent_hash {
        if balancer.simple.is_some() {
            report
                .error(&path.key("consistentHash"), "consistentHash and simple exclude each other");
        }
        consistent_hash(hash, &path.key("consistentHash"), report);
    }
    if let Some(warmup) = &balancer.warmup {
        self::warmup(warmup, &path.key("warmup"), report);
    }
    duration(balancer.warmup_duration_secs, &path.key("warmupDurationSecs"), report);
    if balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some() {
        let text = "zoneAwareLbSetting and localityLbSetting exclude each other";
        report.error(&path.key("zoneAwareLbSetting"), text);
    }
}

fn tls(tls: &Tls, path: &FieldPath, report: &mut Report<'_>) {
    let by_name = !tls.credential_name.is_empty();
    if tls.is_wanted() {
        // All three fail closed.
        for (field, is_set, why) in [
            (
                "credentialName",
                by_name,
                "is a secret that the control plane must be given: without it no connection is made",
            ),
            ("caCrl", !tls.ca_crl.is_empty(), "proxyless clients refuse revocation lists"),
            (
                "insecureSkipVerify",
                tls.insecure_skip_verify == Some(true),
                "proxyless clients make no connection where nobody is verified",
            ),
        ] {
            if is_set {
                report.warning(&path.key(field), why);
            }
        }
    }
    let own_files = [
        ("clientCertificate", &tls.client_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
        ("caCrl", &tls.ca_crl),
    ];
    if tls.insecure_skip_verify == Some(true)
        && (matches!(tls.mode, TlsMode::Simple) && by_name
            || matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual)
                && (!tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty()))
    {
        let text = "nothing is verified, yet it is said what to verify with";
        report.error(&path.key("insecureSkipVerify"), text);
    }
    if by_name && matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual) {
        for (field, _) in own_files.iter().filter(|(_, value)| !value.is_empty()) {
            report
                .error(&path.key(*field), format!("{field} and credentialName exclude each other"));
        }
    } else if tls.mode == TlsMode::Mutual {
        for (field, _) in own_files[..2].iter().filter(|(_, value)| value.is_empty()) {
            report.error(&path.key(*field), format!("MUTUAL needs {field} or credentialName"));
        }
    }
}
