package api

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

const opConnect = "connect"

// ConnectionStrings returns how clients connect to the side that serves, and to whichever serves.
func (s *Service) ConnectionStrings(ctx context.Context, req ConnectionRequest) (Connection, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return Connection{}, err
	}
	return connection(g, req)
}

// connection builds the strings from what the catalog says of a group. It does no I/O.
func connection(g topology.Group, req ConnectionRequest) (Connection, error) {
	w, err := pickWorkspace(g, req.Workspace)
	if err != nil {
		return Connection{}, err
	}
	active := hostsOf(w.Sites[g.Active])
	if len(active) == 0 {
		return Connection{}, fault.Newf(fault.Missing, opConnect, "workspace %s has no endpoint in %s", w.Name, g.Active).
			WithHint("`smartdr group show %s` says what is known of the group.", g.Name)
	}
	all, sides := slices.Clone(active), 1
	if other := hostsOf(w.Sites[g.Other(g.Active)]); len(other) > 0 && g.Other(g.Active) != g.Active {
		all, sides = append(all, other...), 2
	}
	database := req.Database
	if database == "" {
		database = databaseOf(w.Sites[g.Active])
	}
	c := Connection{Group: g.Name, Workspace: w.Name, Region: g.Active, Sides: sides}
	c.URL = connURL(active, req.User, database, len(active) > 1)
	c.MultiHost = connURL(all, req.User, database, true)
	return c, nil
}

func pickWorkspace(g topology.Group, name string) (*topology.Workspace, error) {
	if name == "" && len(g.Workspaces) == 1 {
		return &g.Workspaces[0], nil
	}
	var names []string
	for _, w := range g.Workspaces {
		names = append(names, w.Name)
	}
	if name == "" {
		return nil, fault.Newf(fault.Invalid, opConnect, "group %s has %d workspaces", g.Name, len(names)).
			WithHint("Name one with --workspace: %s.", strings.Join(names, ", "))
	}
	if w := g.Workspace(name); w != nil {
		return w, nil
	}
	return nil, fault.Newf(fault.Missing, opConnect, "group %s has no workspace %q", g.Name, name).
		WithHint("It has: %s.", strings.Join(names, ", "))
}

// hostsOf returns where clients connect: the endpoint, or the hosts of an adopted server's own connection string.
func hostsOf(s topology.Site) []topology.HostPort {
	if len(s.Endpoint.Hosts) > 0 || s.Source.ConnString == "" {
		return s.Endpoint.Hosts
	}
	p, err := dsn.Parse(s.Source)
	if err != nil {
		return nil
	}
	return p.Hosts
}

func databaseOf(s topology.Site) string {
	p, err := dsn.Parse(s.Source)
	if err != nil || p.Database == "" {
		return "postgres"
	}
	return p.Database
}

// connURL writes libpq's URI form, which allows several hosts (the manual, "Connection URIs"). Socket folders are
// percent-encoded there.
func connURL(hosts []topology.HostPort, user, database string, writable bool) string {
	var b strings.Builder
	b.WriteString("postgresql://")
	if user != "" {
		b.WriteString(escape(user) + "@")
	}
	for i, h := range hosts {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(hostPort(h))
	}
	b.WriteString("/" + escape(database))
	if writable {
		b.WriteString("?target_session_attrs=read-write")
	}
	return b.String()
}

func hostPort(h topology.HostPort) string {
	port := strconv.Itoa(h.Port)
	if strings.HasPrefix(h.Host, "/") {
		return escape(h.Host) + ":" + port
	}
	return net.JoinHostPort(h.Host, port)
}

// escape percent-encodes; libpq does not read a plus sign as a space.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
