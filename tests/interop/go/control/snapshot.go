package main

import (
	"fmt"
	"net"
	"strconv"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const target, routes = "greeter:9080", "routes"

var typeNames = []string{"Listener", "RouteConfiguration", "Cluster", "ClusterLoadAssignment"}

var ads = &core.ConfigSource{
	ResourceApiVersion:    core.ApiVersion_V3,
	ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
}

// The configuration after so many changes, each of which changes a resource of every type: the
// number is a header of every answer, and the route is to the cluster of that number.
func snapshot(number, clusters int, backend *net.TCPAddr) (*cache.Snapshot, error) {
	made := map[resource.Type][]types.Resource{
		resource.ListenerType: {api(number)},
		resource.RouteType:    {configuration(number, clusters)},
	}
	for each := range clusters {
		name := clusterName(each)
		made[resource.ClusterType] = append(made[resource.ClusterType], &cluster.Cluster{
			Name:                 name,
			ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
			EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: ads},
			ConnectTimeout:       durationpb.New(time.Duration(1000+changes(number, each, clusters)) * time.Millisecond),
		})
		made[resource.EndpointType] = append(made[resource.EndpointType],
			assignment(name, changes(number, each, clusters), backend))
	}
	return cache.NewSnapshot(strconv.Itoa(number), made)
}

func clusterName(each int) string { return fmt.Sprintf("cluster-%d", each) }

// How often one cluster of all has been changed.
func changes(number, each, clusters int) int {
	return (number + clusters - 1 - each) / clusters
}

func api(number int) *listener.Listener {
	httpManager := &manager.HttpConnectionManager{
		StatPrefix: strconv.Itoa(number),
		RouteSpecifier: &manager.HttpConnectionManager_Rds{
			Rds: &manager.Rds{ConfigSource: ads, RouteConfigName: routes},
		},
		HttpFilters: []*manager.HttpFilter{{
			Name:       "router",
			ConfigType: &manager.HttpFilter_TypedConfig{TypedConfig: pack(&router.Router{})},
		}},
	}
	return &listener.Listener{
		Name:        target,
		ApiListener: &listener.ApiListener{ApiListener: pack(httpManager)},
	}
}

// All clusters in a route each, so that a client wants them all; the first is taken.
func configuration(number, clusters int) *route.RouteConfiguration {
	header := &core.HeaderValueOption{
		Header: &core.HeaderValue{Key: "x-number", Value: strconv.Itoa(number)},
	}
	all := []*route.Route{to("/", clusterName(number%clusters))}
	for each := range clusters {
		all = append(all, to(fmt.Sprintf("/%d/", each), clusterName(each)))
	}
	return &route.RouteConfiguration{
		Name:                 routes,
		ResponseHeadersToAdd: []*core.HeaderValueOption{header},
		VirtualHosts: []*route.VirtualHost{{
			Name: "all", Domains: []string{"*"}, Routes: all,
		}},
	}
}

func to(prefix, name string) *route.Route {
	action := &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: name}}
	return &route.Route{
		Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: prefix}},
		Action: &route.Route_Route{Route: action},
	}
}

func assignment(name string, weight int, backend *net.TCPAddr) *endpoint.ClusterLoadAssignment {
	socket := &core.SocketAddress{
		Address:       backend.IP.String(),
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(backend.Port)},
	}
	address := &core.Address{Address: &core.Address_SocketAddress{SocketAddress: socket}}
	return &endpoint.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpoint.LocalityLbEndpoints{{
			LoadBalancingWeight: wrapperspb.UInt32(1),
			LbEndpoints: []*endpoint.LbEndpoint{{
				LoadBalancingWeight: wrapperspb.UInt32(uint32(1 + weight)),
				HostIdentifier: &endpoint.LbEndpoint_Endpoint{
					Endpoint: &endpoint.Endpoint{Address: address},
				},
			}},
		}},
	}
}

// These are all of ours, and packing them cannot fail.
func pack(message proto.Message) *anypb.Any {
	packed, err := anypb.New(message)
	if err != nil {
		panic(err)
	}
	return packed
}
