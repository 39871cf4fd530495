package metadata

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/topology"
)

func TestDrift(t *testing.T) {
	adopted := topology.Workspace{Name: "main", Sites: map[string]topology.Site{"east": {Kind: topology.Adopted}}}
	g := topology.Group{Primary: "east", Replication: &topology.Replication{Databases: []string{"app", "other/shop"}}}
	m := Metadata{
		ServerVersion: 180000, FilesKnown: true, HBAKnown: true,
		Settings:     append(setting("shared_buffers", "32GB", "ssl", "on", "ssl_cert_file", "/etc/db.crt", "ssl_key_file", "server.key", "archive_mode", "on", "work_mem", "5MB"), Setting{Name: "port", Value: "5432", Source: "default"}),
		FileSettings: append(lines(InFile, "work_mem", "5MB"), FileSetting{Name: "myapp.key", Kind: InFile, Redacted: true}, FileSetting{Name: "archive_command", Kind: InFile, Redacted: true}),
		HBA:          []HBARule{{Type: "host", Databases: []string{"all"}, Users: []string{"all"}, Address: "all", Method: "ldap", Redacted: true}, {Type: "host", Databases: []string{"all"}, Users: []string{"all"}, Address: "all", Method: "md5"}},
		Databases:    []Database{{Name: "app", Provider: "i", CollationActual: "1.1"}, {Name: "shop", Provider: "b"}, {Name: "postgres", Provider: "b"}, {Name: "template0", Template: true}},
		Extensions:   []Extension{{"app", "postgis", "3"}}, Unlogged: []Unlogged{{"app", 2}},
		Pipelines: Pipelines{Subscriptions: []Subscription{{Database: "app", Name: "s", Enabled: true}}, Slots: []LogicalSlot{{Name: "cdc"}}},
	}
	host := Host{Major: 18, MemoryBytes: 8 << 30, Extensions: libraries("plpgsql"), ICUVersions: []string{"2.2"}, FreeBytes: 1}
	var got []string
	for _, i := range Drift(g, adopted, m, host) {
		if i.Workspace != "main" || i.Text == "" {
			t.Errorf("%+v", i)
		}
		got = append(got, fmt.Sprintf("%s %s: %s -> %s", i.Kind, i.Name, i.Primary, i.Secondary))
	}
	want := []string{
		"setting archive_mode: on -> off", "setting shared_buffers: 32GB -> 2048MB", "setting ssl: on -> off", "setting myapp.key: not captured -> as in the snapshot",
		"access rule host all all all ldap:  -> ", "extension postgis:  -> ",
		"collation database app:  -> ", "database shop: there -> absent", "unlogged tables app: 2 tables -> empty",
		"subscription app.s: runs -> runs once its position was compared", "slot cdc: there -> absent",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	managed := adopted
	managed.Sites = map[string]topology.Site{"east": {Kind: topology.Managed}}
	if items := Drift(g, managed, m, host); slices.ContainsFunc(items, func(i topology.DriftItem) bool { return i.Kind == "access rule" }) {
		t.Errorf("the catalog's rules are not the captured ones: %v", items)
	}
	if items := Drift(topology.Group{Primary: "east"}, adopted, Metadata{ServerVersion: 180000, FilesKnown: true, HBAKnown: true, Settings: setting("work_mem", "5MB")}, host); len(items) > 0 {
		t.Errorf("nothing drifts: %v", items)
	}
}
