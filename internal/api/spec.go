package api

import (
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// GroupSpec asks for a workspace group: what group.yaml says.
type GroupSpec struct {
	Name      string        `yaml:"name" json:"name"`
	Primary   string        `yaml:"primary" json:"primary"`                         // region
	Secondary string        `yaml:"secondary,omitempty" json:"secondary,omitempty"` // region; replication is configured too when it is set
	Databases []string      `yaml:"databases,omitempty" json:"databases,omitempty"` // to replicate: "name" or "workspace/name"; empty means all
	SmartDR   *bool         `yaml:"smartDR,omitempty" json:"smartDR,omitempty"`     // the option "SmartDR and database branching"; default true
	Firewall  *FirewallSpec `yaml:"firewall,omitempty" json:"firewall,omitempty"`
	// SequenceGap is by how many values a failover moves sequences ahead; default topology.DefaultSequenceGap, 0: not at all.
	SequenceGap *int64          `yaml:"sequenceGap,omitempty" json:"sequenceGap,omitempty"`
	Workspaces  []WorkspaceSpec `yaml:"workspaces" json:"workspaces"`
}

// WorkspaceSpec is one server: one with a connection is there and is adopted, one without is made and run by SmartDR.
type WorkspaceSpec struct {
	Name string `yaml:"name" json:"name"`

	// Of an adopted one. With neither password field set, libpq's own places hold.
	Connection   string `yaml:"connection,omitempty" json:"connection,omitempty"`     // URL or keyword/value form, without a password
	PasswordFile string `yaml:"passwordFile,omitempty" json:"passwordFile,omitempty"` // on the workers of the primary region
	PasswordEnv  string `yaml:"passwordEnv,omitempty" json:"passwordEnv,omitempty"`   // in the environment of those workers

	// Size is what it needs of a host: of an adopted one, after a failover.
	Size string `yaml:"size,omitempty" json:"size,omitempty"`

	// The rest is of managed ones.
	Postgres int               `yaml:"postgres,omitempty" json:"postgres,omitempty"` // major version; default: the newest that a host has
	Host     string            `yaml:"host,omitempty" json:"host,omitempty"`         // default: any with room for it
	Settings map[string]string `yaml:"settings,omitempty" json:"settings,omitempty"` // of PostgreSQL; none may be a secret
	HBA      []string          `yaml:"hba,omitempty" json:"hba,omitempty"`           // lines of pg_hba.conf, before those of the firewall
	Ident    []string          `yaml:"ident,omitempty" json:"ident,omitempty"`       // lines of pg_ident.conf
	Init     InitSpec          `yaml:"init,omitempty" json:"init,omitzero"`
}

// InitSpec holds the choices of initdb, which cannot be changed later.
type InitSpec struct {
	NoChecksums   bool   `yaml:"noChecksums,omitempty" json:"noChecksums,omitempty"`     // of pages; they are on by default
	SegmentSizeMB int    `yaml:"segmentSizeMB,omitempty" json:"segmentSizeMB,omitempty"` // of WAL; default 16
	Locale        string `yaml:"locale,omitempty" json:"locale,omitempty"`               // default C.UTF-8
	ICULocale     string `yaml:"icuLocale,omitempty" json:"icuLocale,omitempty"`         // sorts by ICU when it is set
}

// FirewallSpec is a list of CIDR ranges, or the word allowAll.
type FirewallSpec struct {
	Ranges []string `json:"ranges,omitempty"`
	Word   string   `json:"word,omitempty"`
}

const allowAll = "allowAll"

// UnmarshalYAML reads [10.0.0.0/8, ...] or a word.
func (f *FirewallSpec) UnmarshalYAML(read func(any) error) error {
	*f = FirewallSpec{Ranges: []string{}}
	if read(&f.Ranges) == nil {
		return nil
	}
	*f = FirewallSpec{}
	return read(&f.Word)
}

func (f *FirewallSpec) firewall() *topology.Firewall {
	switch {
	case f == nil:
		return nil
	case f.Word == allowAll:
		return &topology.Firewall{Ranges: []string{}, AllowAll: true}
	}
	return &topology.Firewall{Ranges: f.Ranges}
}

// Source returns how a worker reaches the server.
func (w WorkspaceSpec) Source() topology.Source {
	return topology.Source{ConnString: w.Connection, PasswordFile: w.PasswordFile, PasswordEnv: w.PasswordEnv}
}

// Adopted reports whether the server is there already.
func (w WorkspaceSpec) Adopted() bool {
	return w.Connection != "" || w.PasswordFile != "" || w.PasswordEnv != ""
}

func (w WorkspaceSpec) input() workflows.WorkspaceInput {
	in := workflows.WorkspaceInput{
		Name: w.Name, Kind: topology.Managed, Size: w.Size, Postgres: w.Postgres, Host: w.Host,
		Settings: w.Settings, HBA: w.HBA, Ident: w.Ident, Init: workflows.InitInput(w.Init),
	}
	if w.Adopted() {
		in.Kind, in.Source = topology.Adopted, w.Source()
	}
	return in
}

func (s GroupSpec) input() workflows.CreateGroupInput {
	in := workflows.CreateGroupInput{Name: s.Name, Primary: s.Primary, SmartDR: s.SmartDR, Firewall: s.Firewall.firewall(), SequenceGap: s.SequenceGap}
	for _, w := range s.Workspaces {
		in.Workspaces = append(in.Workspaces, w.input())
	}
	return in
}
