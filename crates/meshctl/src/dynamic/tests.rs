use bytes::Bytes;
use futures_util::stream;
use http::Uri;
use serde_json::{Value, json};
use tonic::client::Grpc;
use tower::ServiceExt as _;

use super::{BytesCodec, Method};
use crate::command::GrpcMethod;
use crate::echo::{Echo, Settings};
use crate::error::{Error, chain};

fn origin() -> Uri {
    Uri::from_static("http://greeter:50051")
}

fn name(service: &str, method: &str) -> GrpcMethod {
    GrpcMethod { service: service.to_owned(), method: method.to_owned() }
}

fn echo() -> Echo {
    Echo::new(Settings::new("greeter")).unwrap()
}

async fn find(method: &str) -> Result<Method, Error> {
    Method::find(echo(), origin(), &name("mesh.echo.v1.Echo", method)).await
}

#[tokio::test]
async fn calls_a_method_known_by_name() {
    let method = find("Bidi").await.unwrap();
    let messages = method.encode(r#"{"message":"a"} {"message":"b","count":2}"#).unwrap();
    let mut replies = Grpc::with_origin(echo(), origin())
        .streaming(tonic::Request::new(stream::iter(messages)), method.path(), BytesCodec)
        .await
        .unwrap()
        .into_inner();
    for expected in ["a", "b"] {
        let reply = replies.message().await.unwrap().unwrap();
        let reply: Value = serde_json::from_str(&method.decode(reply).unwrap()).unwrap();
        assert_eq!(reply["message"], json!(expected));
        assert_eq!(reply["name"], json!("greeter"));
    }
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test]
async fn falls_back_to_the_older_reflection() {
    // A server that knows only the name before v1.
    let old = tower::service_fn(|request: http::Request<tonic::body::Body>| async move {
        if request.uri().path().starts_with("/grpc.reflection.v1.") {
            let response = tonic::Status::unimplemented("unknown service").into_http();
            return Ok(response);
        }
        echo().oneshot(request).await
    });
    let found = Method::find(old, origin(), &name("mesh.echo.v1.Echo", "Unary")).await;
    assert_eq!(found.unwrap().path(), "/mesh.echo.v1.Echo/Unary");
}

#[tokio::test]
async fn tells_what_it_did_not_find() {
    let error = find("Ternary").await.unwrap_err();
    assert_eq!(
        chain(&error),
        "mesh.echo.v1.Echo has no method Ternary; it has Unary, ServerStream, ClientStream, Bidi"
    );
    let error = Method::find(echo(), origin(), &name("other.Service", "Get")).await.unwrap_err();
    assert!(chain(&error).starts_with("reflection of other.Service failed: NotFound"), "{error}");

    let without = tower::service_fn(|_: http::Request<tonic::body::Body>| async {
        let response: http::Response<tonic::body::Body> =
            tonic::Status::unimplemented("unknown service").into_http();
        Ok::<_, std::convert::Infallible>(response)
    });
    let error = Method::find(without, origin(), &name("a.B", "C")).await.unwrap_err();
    assert!(chain(&error).starts_with("the server has no reflection"), "{error}");
}

#[tokio::test]
async fn refuses_bodies_of_another_type() {
    let unary = find("Unary").await.unwrap();
    for bad in ["{", "[]", r#"{"message":1}"#, r#"{"unknown":1}"#, "{}{}", r#"{"message":"a"}x"#] {
        let error = unary.encode(bad).unwrap_err();
        assert_eq!(error.exit_status(), 2, "{bad}");
    }
    assert_eq!(unary.encode("").unwrap(), [Bytes::new()]);
    assert_eq!(find("ClientStream").await.unwrap().encode("{} {} {}").unwrap().len(), 3);
}
