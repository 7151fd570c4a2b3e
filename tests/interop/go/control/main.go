// An ADS server made of go-control-plane's snapshot cache, over both protocols.
//
// Arguments: how many clusters there are, and the backend that all lead to. The ready line on
// standard output is {"ready":true,"xds":ADDR}. Each line of standard input is a command, each
// line of standard output its result as JSON:
//
//	each N     N snapshots, each after all of the one before was accepted
//	burst N    N snapshots without waiting, then until all of the last was accepted
//
// The result is {"snapshots", "acks": {type: n}, "nacks": [text], "seconds"}, of all so far.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
)

// Far more than anything here takes; reached only when something hangs.
const deadline = 30 * time.Second

// All nodes are one: whoever asks gets the one snapshot.
type everyone struct{}

func (everyone) ID(*core.Node) string { return "all" }

// What the clients said to what they were sent, by type.
type answers struct {
	sync.Mutex
	changed *sync.Cond
	// The last response sent to a stream, and the last that was answered.
	sent, answered map[key]string
	acks           map[string]int
	nacks          []string
}

type key struct {
	stream   int64
	typeName string
}

func newAnswers() *answers {
	made := &answers{sent: map[key]string{}, answered: map[key]string{}, acks: map[string]int{}}
	made.changed = sync.NewCond(&made.Mutex)
	return made
}

func short(typeURL string) string { return typeURL[strings.LastIndex(typeURL, ".")+1:] }

func (a *answers) said(stream int64, typeURL, nonce, reason string) {
	a.Lock()
	defer a.Unlock()
	if nonce == "" {
		return
	}
	place := key{stream, short(typeURL)}
	if a.answered[place] != nonce {
		a.answered[place] = nonce
		if reason == "" {
			a.acks[place.typeName]++
		} else {
			a.nacks = append(a.nacks, fmt.Sprintf("%s: %s", place.typeName, reason))
		}
	}
	a.changed.Broadcast()
}

func (a *answers) send(stream int64, typeURL, nonce string) {
	a.Lock()
	defer a.Unlock()
	a.sent[key{stream, short(typeURL)}] = nonce
}

func (a *answers) callbacks() server.Callbacks {
	return server.CallbackFuncs{
		StreamRequestFunc: func(stream int64, r *discovery.DiscoveryRequest) error {
			a.said(stream, r.TypeUrl, r.ResponseNonce, r.GetErrorDetail().GetMessage())
			return nil
		},
		StreamResponseFunc: func(_ context.Context, stream int64,
			_ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			a.send(stream, r.TypeUrl, r.Nonce)
		},
		StreamDeltaRequestFunc: func(stream int64, r *discovery.DeltaDiscoveryRequest) error {
			a.said(stream, r.TypeUrl, r.ResponseNonce, r.GetErrorDetail().GetMessage())
			return nil
		},
		StreamDeltaResponseFunc: func(stream int64, _ *discovery.DeltaDiscoveryRequest,
			r *discovery.DeltaDiscoveryResponse) {
			a.send(stream, r.TypeUrl, r.Nonce)
		},
	}
}

// Waits until `before` was followed by an answer in every type, and nothing sent is unanswered.
func (a *answers) settled(before map[string]int) error {
	timer := time.AfterFunc(deadline, a.changed.Broadcast)
	defer timer.Stop()
	end := time.Now().Add(deadline)
	a.Lock()
	defer a.Unlock()
	for !a.settledSince(before) {
		if time.Now().After(end) {
			return fmt.Errorf("not accepted: sent %v, answered %v", a.sent, a.answered)
		}
		a.changed.Wait()
	}
	return nil
}

func (a *answers) settledSince(before map[string]int) bool {
	for _, name := range typeNames {
		if a.acks[name]+len(a.nacks) <= before[name] {
			return false
		}
	}
	for place, nonce := range a.sent {
		if a.answered[place] != nonce {
			return false
		}
	}
	return true
}

func (a *answers) counts() map[string]int {
	a.Lock()
	defer a.Unlock()
	counts := map[string]int{}
	for name, count := range a.acks {
		counts[name] = count
	}
	return counts
}

// The configuration and its changes.
type control struct {
	snapshots cache.SnapshotCache
	answers   *answers
	clusters  int
	backend   *net.TCPAddr
	number    int
}

func (c *control) set() error {
	snapshot, err := snapshot(c.number, c.clusters, c.backend)
	if err != nil {
		return err
	}
	return c.snapshots.SetSnapshot(context.Background(), "all", snapshot)
}

func (c *control) change(count int, each bool) (any, error) {
	start := time.Now()
	before := c.answers.counts()
	for range count {
		if each {
			before = c.answers.counts()
		}
		c.number++
		if err := c.set(); err != nil {
			return nil, err
		}
		if each {
			if err := c.answers.settled(before); err != nil {
				return nil, fmt.Errorf("snapshot %d: %w", c.number, err)
			}
		}
	}
	if err := c.answers.settled(before); err != nil {
		return nil, err
	}
	acks := c.answers.counts()
	c.answers.Lock()
	defer c.answers.Unlock()
	return map[string]any{
		"snapshots": c.number,
		"acks":      acks,
		"nacks":     append([]string{}, c.answers.nacks...),
		"seconds":   time.Since(start).Seconds(),
	}, nil
}

func run(clusters int, backend *net.TCPAddr) error {
	made := &control{
		snapshots: cache.NewSnapshotCache(true, everyone{}, nil),
		answers:   newAnswers(),
		clusters:  clusters,
		backend:   backend,
	}
	if err := made.set(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serving := grpc.NewServer()
	xds := server.NewServer(context.Background(), made.snapshots, made.answers.callbacks())
	discovery.RegisterAggregatedDiscoveryServiceServer(serving, xds)
	go func() { log.Fatal(serving.Serve(listener)) }()

	output := json.NewEncoder(os.Stdout)
	ready := map[string]any{"ready": true, "xds": listener.Addr().String()}
	if err := output.Encode(ready); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var command string
		var count int
		if _, err := fmt.Sscan(lines.Text(), &command, &count); err != nil {
			return err
		}
		result, err := made.change(count, command == "each")
		if err != nil {
			return err
		}
		if err := output.Encode(result); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: control CLUSTERS BACKEND")
	}
	clusters, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	backend, err := net.ResolveTCPAddr("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := run(clusters, backend); err != nil {
		log.Fatal(err)
	}
}
