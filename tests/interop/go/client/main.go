// A grpc-go client under xDS, steered as xds_client.py is: its argument is a target, each line of
// standard input a command, each line of standard output its result as JSON.
//
//	calls N    N unary calls: {"versions": {version: count}, "errors": [text]}
//	csds       the client's own status: [{"type", "name", "version", "status", "error"}]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	csdspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	_ "google.golang.org/grpc/xds"
	"google.golang.org/grpc/xds/csds"
	"google.golang.org/protobuf/encoding/protowire"
)

// Longer than any call takes; without it a call to a broken mesh would wait for ever.
const deadline = 20 * time.Second

// The field `version` of mesh.echo.v1.EchoReply.
const versionField = 2

// Messages as bytes, which need no generated code.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = raw{}

func version(reply []byte) (string, error) {
	for len(reply) > 0 {
		number, kind, length := protowire.ConsumeTag(reply)
		if length < 0 {
			return "", protowire.ParseError(length)
		}
		reply = reply[length:]
		if number == versionField && kind == protowire.BytesType {
			text, length := protowire.ConsumeString(reply)
			return text, protowire.ParseError(min(length, 0))
		}
		length = protowire.ConsumeFieldValue(number, kind, reply)
		if length < 0 {
			return "", protowire.ParseError(length)
		}
		reply = reply[length:]
	}
	return "", nil
}

func call(connection *grpc.ClientConn) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var request, reply []byte
	err := connection.Invoke(ctx, "/mesh.echo.v1.Echo/Unary", &request, &reply,
		grpc.ForceCodecV2(raw{}))
	if err != nil {
		return "", err
	}
	return version(reply)
}

func calls(connection *grpc.ClientConn, count int) any {
	versions, errors := map[string]int{}, []string{}
	for range count {
		if answered, err := call(connection); err != nil {
			errors = append(errors, err.Error())
		} else {
			versions[answered]++
		}
	}
	return map[string]any{"versions": versions, "errors": errors}
}

func status(server *csds.ClientStatusDiscoveryServer) (any, error) {
	response, err := server.FetchClientStatus(context.Background(), &csdspb.ClientStatusRequest{})
	if err != nil {
		return nil, err
	}
	entries := []map[string]string{}
	for _, config := range response.Config {
		for _, entry := range config.GenericXdsConfigs {
			entries = append(entries, map[string]string{
				"type":    entry.TypeUrl[strings.LastIndex(entry.TypeUrl, ".")+1:],
				"name":    entry.Name,
				"version": entry.VersionInfo,
				"status":  entry.ClientStatus.String(),
				"error":   entry.ErrorState.GetDetails(),
			})
		}
	}
	return entries, nil
}

func run(target string) error {
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	server, err := csds.NewClientStatusDiscoveryServer()
	if err != nil {
		return err
	}
	defer server.Close()
	output := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var result any
		count := 0
		if _, err := fmt.Sscanf(lines.Text(), "calls %d", &count); err == nil {
			result = calls(connection, count)
		} else if result, err = status(server); err != nil {
			return err
		}
		if err := output.Encode(result); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: client TARGET")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
