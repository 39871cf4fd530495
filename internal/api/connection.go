package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/activities"
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
	if err == nil {
		err = serving(g, *w)
	}
	if err != nil {
		return Connection{}, err
	}
	here := w.Sites[g.Active]
	all, sides := addresses(g, *w)
	c := Connection{Group: g.Name, Workspace: w.Name, Region: g.Active, User: req.User, Sides: sides}
	if sides == 1 && g.Replication != nil {
		c.Note = fmt.Sprintf("no address is kept for workspace %s in %s, which has no host with a worker and room for it: clients cannot know where it would be after a failover", w.Name, g.Other(g.Active))
	}
	if home := w.Sites[g.Primary]; c.User == "" && home.Kind == topology.Managed {
		c.administered(*w, here)
	}
	database := req.Database
	if database == "" {
		database = databaseOf(here)
	}
	query := protection([]topology.Site{here, w.Sites[g.Other(g.Active)]})
	c.URL = connURL(hostsOf(here), c.User, database, protection([]topology.Site{here}), len(hostsOf(here)) > 1)
	c.MultiHost = connURL(all, c.User, database, query, true)
	return c, nil
}

// addresses returns where a workspace's clients may find its writer: where it serves, and the places that are kept for it.
func addresses(g topology.Group, w topology.Workspace) ([]topology.HostPort, int) {
	sites := maps.Clone(w.Sites)
	for region, site := range sites {
		site.Endpoint.Hosts = hostsOf(site)
		sites[region] = site
	}
	w.Sites = sites
	return g.Addresses(&w)
}

// administered has clients connect as a managed workspace's administrator.
func (c *Connection) administered(w topology.Workspace, here topology.Site) {
	c.User, c.PasswordHost = adminRole, here.Host
	if !failedOver(w) {
		c.PasswordFile = filepath.Join(here.Instance, "admin.password")
		return
	}
	c.NewPassword = fmt.Sprintf(`psql "%s" -c '\password %s'`, strings.ReplaceAll(here.Source.ConnString, "'", ""), adminRole)
}

// failedOver reports whether a workspace's server is another one than that which was made or adopted: its WAL forks off.
func failedOver(w topology.Workspace) bool {
	return slices.ContainsFunc(w.Lineages, func(l topology.Lineage) bool { return l.Parent != nil })
}

// adminRole is the role that every managed server is made with.
const adminRole = activities.AdminRole

// serving refuses to name an address where no server of the workspace is to be expected.
func serving(g topology.Group, w topology.Workspace) error {
	refused := func(format string, args ...any) *fault.Error {
		return fault.Newf(fault.Missing, opConnect, format, args...)
	}
	switch now := Standing(g, w); {
	case g.State == topology.GroupTerminated:
		return refused("group %s is terminated", g.Name)
	case now.State == string(topology.WorkspaceSuspended):
		return refused("workspace %s is suspended: no server of it runs", w.Name).
			WithHint("Start it: smartdr workspace resume %s --group %s", w.Name, g.Name)
	case now.State == string(topology.WorkspacePending):
		return refused("workspace %s is being made%s", w.Name, because(w.Reason)).
			WithHint("`smartdr workspace show %s --group %s` shows how it stands.", w.Name, g.Name)
	case now.State == WorkspaceMissing:
		return refused("workspace %s has not been restored in %s, which serves the group now", w.Name, g.Active).
			WithHint("If the failover has ended, go on with it: smartdr failover --group %s --resume", g.Name)
	case now.State != WorkspaceActive:
		return refused("workspace %s is %s", w.Name, now.State)
	case len(hostsOf(w.Sites[g.Active])) == 0:
		return refused("workspace %s has no endpoint in %s", w.Name, g.Active).
			WithHint("`smartdr group show %s` says what is known of the group.", g.Name)
	}
	return nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func pickWorkspace(g topology.Group, name string) (*topology.Workspace, error) {
	if name != "" {
		return findWorkspace(g, name)
	}
	names := livingNames(g)
	if len(names) == 1 {
		return g.Workspace(names[0]), nil
	}
	if len(names) == 0 {
		return nil, fault.Newf(fault.Missing, opConnect, "group %s has no workspace", g.Name).
			WithHint("Add one: smartdr workspace create --group %s --name NAME --size SIZE", g.Name)
	}
	return nil, fault.Newf(fault.Invalid, opConnect, "group %s has %d workspaces", g.Name, len(names)).
		WithHint("Name one with --workspace: %s.", strings.Join(names, ", "))
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
// percent-encoded there. A connection is protected as the source of a side says it is, and where sides differ as the
// stricter one says: what an operator asked for is never weakened without a word.
func connURL(hosts []topology.HostPort, user, database string, query map[string]string, writable bool) string {
	var b strings.Builder
	b.WriteString("postgresql://")
	if user != "" {
		b.WriteString(escape(user) + "@")
	}
	sep := ""
	for _, h := range hosts {
		b.WriteString(sep + hostPort(h))
		sep = ","
	}
	b.WriteString("/" + escape(database))
	if writable {
		query["target_session_attrs"] = "read-write"
	}
	sep = "?"
	for _, k := range slices.Sorted(maps.Keys(query)) {
		b.WriteString(sep + k + "=" + escape(query[k]))
		sep = "&"
	}
	return b.String()
}

// sslModes are libpq's, from the weakest to the strictest.
var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// unsaid is the mode of a connection string without one.
const unsaid = "prefer"

// protection is what the sides' sources say of how connections are protected; of sslmode the strictest.
func protection(sides []topology.Site) map[string]string {
	query := map[string]string{}
	strictest := -1
	for _, side := range sides {
		said := dsn.Protection(side.Source.ConnString)
		strictest = max(strictest, slices.Index(sslModes, cmp.Or(said["sslmode"], unsaid)))
		maps.Copy(query, said)
	}
	delete(query, "sslmode")
	if strictest >= 0 && sslModes[strictest] != unsaid {
		query["sslmode"] = sslModes[strictest]
	}
	return query
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
