"""A grpcio server of mesh.echo.v1.Echo, with reflection."""

from concurrent import futures

import grpc
from grpc_reflection.v1alpha import reflection


def start(name):
    """Listens on a free port of the loopback interface; returns the server and the port."""
    from mesh.echo.v1 import echo_pb2, echo_pb2_grpc

    def reply(request, context, index=0, received=1):
        headers = [
            echo_pb2.Header(name=key, value=value if isinstance(value, str) else repr(value))
            for key, value in context.invocation_metadata()
        ]
        return echo_pb2.EchoReply(
            name=name,
            version="python",
            message=request.message,
            index=index,
            received=received,
            headers=headers,
        )

    class Echo(echo_pb2_grpc.EchoServicer):
        def Unary(self, request, context):
            metadata = dict(context.invocation_metadata())
            if "x-echo-grpc-status" in metadata:
                wanted = int(metadata["x-echo-grpc-status"])
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[wanted], "as asked")
            return reply(request, context)

        def ServerStream(self, request, context):
            for index in range(request.count or 1):
                yield reply(request, context, index)

    server = grpc.server(futures.ThreadPoolExecutor(8))
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    services = [echo_pb2.DESCRIPTOR.services_by_name["Echo"].full_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(services, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
