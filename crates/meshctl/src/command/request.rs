use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Uri};

/// The request to send, for the commands that send one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RequestArguments {
    /// Where to send it. The authority names the target, as in `http://reviews:9080/reviews/0`.
    #[arg(value_parser = url)]
    pub(crate) url: Uri,

    /// Method; without it GET, or POST when there is a body.
    #[arg(short = 'X', long = "method", value_name = "METHOD")]
    pub(crate) method: Option<Method>,

    /// Adds a header; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "K: V", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl RequestArguments {
    /// The name of the target: the URL's authority, with the port that the URL implies.
    pub(crate) fn target(&self) -> String {
        let host = self.url.host().unwrap_or_default();
        format!("{host}:{}", self.url.port_u16().unwrap_or(80))
    }

    /// The URL's authority alone, for clients that bring their own path.
    pub(crate) fn origin(&self) -> Uri {
        let mut parts = self.url.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Uri::from_parts(parts).expect("a URL stays one with another path")
    }
}

/// The body of a request, for the commands that really send it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BodyArguments {
    /// Body; with --grpc the message as JSON.
    #[arg(short = 'd', long = "data", value_name = "BODY")]
    pub(crate) data: Option<String>,

    /// Calls this method, which is found by server reflection.
    #[arg(long, value_name = "SERVICE/METHOD", value_parser = grpc_method)]
    pub(crate) grpc: Option<GrpcMethod>,

    /// Gives the request up after this time, as in `2s`. Without it the route's timeout counts.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// The name of a gRPC method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrpcMethod {
    pub(crate) service: String,
    pub(crate) method: String,
}

fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http") if uri.authority().is_some() => Ok(uri),
        Some("https") => Err("the mesh adds TLS by itself: use http".to_owned()),
        _ => Err("a URL starts with http:// and a host".to_owned()),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written K: V")?;
    let name = name.trim().parse().map_err(|error| format!("{error}"))?;
    let value = value.trim().parse().map_err(|error| format!("{error}"))?;
    Ok((name, value))
}

/// A length of time, as in `10s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // Less than the timers' resolution could only fail.
    match (MIN_DURATION..=MAX_DURATION).contains(&duration) {
        true => Ok(duration),
        false => Err("between 1ms and 1year".to_owned()),
    }
}

const MIN_DURATION: Duration = Duration::from_millis(1);
/// Clocks cannot count much further than some centuries; nobody waits for a year.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3_600);

fn grpc_method(text: &str) -> Result<GrpcMethod, String> {
    match text.split_once('/') {
        Some((service, method))
            if !service.is_empty() && !method.is_empty() && !method.contains('/') =>
        {
            Ok(GrpcMethod { service: service.to_owned(), method: method.to_owned() })
        }
        _ => Err("a method is written package.Service/Method".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_absolute_urls_only() {
        assert_eq!(url("http://reviews:9080/x").unwrap().authority().unwrap(), "reviews:9080");
        for bad in ["reviews:9080/x", "/x", "https://reviews/", "ftp://reviews/", "http://"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    fn arguments(text: &str) -> RequestArguments {
        RequestArguments { url: url(text).unwrap(), method: None, headers: Vec::new() }
    }

    #[test]
    fn targets_have_the_port_of_the_url() {
        assert_eq!(arguments("http://reviews:9080/x").target(), "reviews:9080");
        assert_eq!(arguments("http://reviews/x").target(), "reviews:80");
        assert_eq!(arguments("http://[::1]:9080/x").target(), "[::1]:9080");
        assert_eq!(arguments("http://reviews:9080/x?y").origin(), "http://reviews:9080/");
    }

    #[test]
    fn splits_headers_at_the_first_colon() {
        let (name, value) = header("X-Time:  12:30 ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-time", "12:30"));
        assert!(header("no colon").is_err());
        assert!(header("bad name: x").is_err());
    }

    #[test]
    fn durations_are_such_as_clocks_can_count() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["0s", "10us", "18446744073709551615s", "10years", "10", ""] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn splits_service_and_method() {
        let method = grpc_method("mesh.echo.v1.Echo/Unary").unwrap();
        assert_eq!((&*method.service, &*method.method), ("mesh.echo.v1.Echo", "Unary"));
        for bad in ["Unary", "/Unary", "Echo/", "/Echo/Unary"] {
            assert!(grpc_method(bad).is_err(), "{bad}");
        }
    }
}
