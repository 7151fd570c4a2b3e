"""grpcio's client of targets, steered as ours is (`tests/src/bin/client.rs`); its argument is the
folder of the generated stubs.

    open TARGET     a channel
    close TARGET    its end
    call TARGET     one call through it; `text` is why it failed
"""

import json
import sys
import time

import grpc

# Longer than the 15 s after which a resource does not exist.
DEADLINE_S = 25


def main():
    sys.path.insert(0, sys.argv[1])
    from mesh.echo.v1 import echo_pb2, echo_pb2_grpc

    channels = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command, target = line.split()
        start, text = time.monotonic(), None
        if command == "open":
            channels[target] = grpc.insecure_channel(f"xds:///{target}")
            # As our channels do, without waiting for a call.
            channels[target].subscribe(lambda _: None, try_to_connect=True)
        elif command == "close":
            channels.pop(target).close()
        else:
            stub = echo_pb2_grpc.EchoStub(channels[target])
            try:
                stub.Unary(echo_pb2.EchoRequest(), timeout=DEADLINE_S)
            except grpc.RpcError as error:
                text = f"{error.code()}: {error.details()}"
        result = {"ok": text is None, "text": text, "seconds": time.monotonic() - start}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
