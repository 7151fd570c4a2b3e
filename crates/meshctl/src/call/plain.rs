use bytes::{Bytes, BytesMut};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use mesh_tower::{Channel, Mesh, Record};
use tower::ServiceExt as _;

use super::{Handling, Keep, MAX_KEPT_BYTES, failure};
use crate::answer::{Answer, Failure};
use crate::command::RequestArguments;
use crate::error::Error;

/// A plain HTTP request and the channel it goes through.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    channel: Channel,
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    handling: Handling,
}

impl Caller {
    pub(super) fn new(
        mesh: &Mesh,
        arguments: &RequestArguments,
        data: Option<&str>,
        handling: Handling,
    ) -> Result<Self, Error> {
        let channel = Channel::new(mesh, &arguments.target())
            .map_err(|error| Error::usage("cannot use this URL").because(error))?;
        let default = if data.is_some() { Method::POST } else { Method::GET };
        let mut uri = arguments.url.clone();
        let mut headers = arguments.headers.clone();
        // The target stays that of the URL: this chooses another virtual host there, as with curl.
        if let Some(at) = headers.iter().position(|(name, _)| name == header::HOST) {
            uri = with_authority(uri, headers.remove(at).1)?;
        }
        let method = arguments.method.clone().unwrap_or(default);
        let body = data.unwrap_or_default().to_owned().into();
        Ok(Self { channel, method, uri, headers, body, handling })
    }

    pub(super) async fn call(&self) -> Answer {
        let record = Record::new();
        let sent = self.channel.clone().oneshot(self.request(&record)).await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return failure::answer(&error, failure::way(&record)),
        };
        let (head, mut body) = response.into_parts();
        let mut answer = Answer {
            status: head.status,
            version: Some(head.version),
            headers: head.headers,
            ..Answer::default()
        };
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    let Some(data) = frame.data_ref() else { continue };
                    if self.handling.keep == Keep::Nothing {
                        continue;
                    }
                    if kept.len() + data.len() > MAX_KEPT_BYTES {
                        answer.failure = Some(too_large());
                        break;
                    }
                    kept.extend_from_slice(data);
                }
                Err(error) => {
                    answer.failure = Some(failure::failed(&*error));
                    break;
                }
            }
        }
        answer.body = kept.freeze();
        answer.way = failure::way(&record);
        answer
    }

    fn request(&self, record: &Record) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        *request.extensions_mut() = self.handling.extensions(record);
        request
    }
}

fn with_authority(uri: Uri, host: HeaderValue) -> Result<Uri, Error> {
    let invalid = || Error::usage("the host header names no host");
    let authority = Authority::try_from(host.as_bytes()).map_err(|e| invalid().because(e))?;
    let mut parts = uri.into_parts();
    parts.authority = Some(authority);
    Uri::from_parts(parts).map_err(|error| invalid().because(error))
}

fn too_large() -> Failure {
    let text = format!("the body is longer than {MAX_KEPT_BYTES} bytes");
    Failure { kind: "body".to_owned(), text }
}
