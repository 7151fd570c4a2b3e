"""Our gRPC client with a grpcio server, under our control plane."""

import json

import echo_server
import istio
import pytest
from conftest import DEADLINE_S

URL = "http://greeter:9080"


@pytest.fixture
def bootstrap(meshctl, tmp_path, stubs):
    server, port = echo_server.start("greeter")
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "service.yaml").write_text(istio.service({"v1": port}))
    _, ready = meshctl.server("serve", folder)
    path = tmp_path / "bootstrap.json"
    arguments = ["--xds", ready["xds"], "--name", "client", "--out", path]
    meshctl.start("bootstrap", *arguments).wait(DEADLINE_S)
    yield path
    server.stop(grace=None).wait()


def call(meshctl, bootstrap, method, message, *arguments):
    (answer,) = meshctl.run(
        "fetch", URL, "--grpc", f"mesh.echo.v1.Echo/{method}", "-d", json.dumps(message),
        *arguments, bootstrap=bootstrap,
    )  # fmt: skip
    return answer


def test_unary_call_passes(meshctl, bootstrap):
    answer = call(meshctl, bootstrap, "Unary", {"message": "hello"}, "-H", "x-word: value")
    assert (answer["grpc_status"], answer["error"]) == (0, None), answer
    reply = json.loads(answer["body"])
    assert (reply["message"], reply["version"]) == ("hello", "python")
    assert {"name": "x-word", "value": "value"} in reply["headers"]


def test_streamed_replies_pass(meshctl, bootstrap):
    answer = call(meshctl, bootstrap, "ServerStream", {"message": "hello", "count": 20})
    replies = [json.loads(line) for line in answer["body"].splitlines()]
    assert [reply.get("index", 0) for reply in replies] == list(range(20))


@pytest.mark.parametrize("code", range(1, 17))
def test_status_passes(meshctl, bootstrap, code):
    answer = call(meshctl, bootstrap, "Unary", {}, "-H", f"x-echo-grpc-status: {code}")
    assert (answer["grpc_status"], answer["grpc_message"]) == (code, "as asked")
