package api

import (
	"fmt"
	"slices"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func validName(what, name string) error {
	if name == "" {
		return fault.Newf(fault.Invalid, opSpec, "the %s has no name", what)
	}
	return topology.CheckName(what, name)
}

func field(path string, err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{Path: path, Err: err}
}

func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks what can be known without asking anybody. Errors are fault.Invalid, inside a FieldError.
func (s GroupSpec) Validate() error {
	return firstOf(
		func() error { return field("$.name", validName("group", s.Name)) },
		func() error { return field("$.primary", validName("primary region", s.Primary)) },
		func() error { return s.validateSecondary() },
		func() error { return s.validateDatabases() },
		func() error { return s.validateFirewall() },
		func() error { return field("$.sequenceGap", topology.CheckSequenceGap(s.SequenceGap)) },
		func() error { return s.validateWorkspaces() },
	)
}

func (s GroupSpec) validateSecondary() error {
	switch {
	case s.Secondary == "":
		return nil
	case s.Secondary == s.Primary:
		return field("$.secondary", sameRegion(s.Primary))
	case len(s.Workspaces) == 0:
		return field("$.secondary", fault.Newf(fault.Invalid, opSpec, "a secondary region is named, and no workspace that could be replicated").
			WithHint("Name a server under workspaces, or leave out secondary and configure replication when there is one."))
	case s.SmartDR != nil && !*s.SmartDR:
		return field("$.secondary", fault.Newf(fault.Invalid, opSpec, "a secondary region is named, and smartDR is turned off").
			WithHint("Without the option nothing is replicated: leave out smartDR: false, or secondary."))
	}
	return field("$.secondary", validName("secondary region", s.Secondary))
}

func sameRegion(region string) error {
	return fault.Newf(fault.Invalid, opSpec, "%s is both the primary and the secondary region", region).
		WithHint("Disaster recovery needs a second region that does not fail with the first. `smartdr regions` lists them.")
}

func (s GroupSpec) validateDatabases() error {
	if len(s.Databases) > 0 && s.Secondary == "" {
		return field("$.databases", fault.Newf(fault.Invalid, opSpec, "databases to replicate are named, and no secondary region").
			WithHint("Add secondary, or leave databases to `smartdr configure`."))
	}
	return field("$.databases", validDatabases(s.Databases))
}

func validDatabases(names []string) error {
	for i, name := range names {
		if name == "" {
			return fault.Newf(fault.Invalid, opSpec, "a database has no name")
		}
		if slices.Contains(names[:i], name) {
			return fault.Newf(fault.Invalid, opSpec, "database %q is named twice", name)
		}
	}
	return nil
}

func (s GroupSpec) validateFirewall() error {
	if s.Firewall == nil {
		return nil
	}
	if w := s.Firewall.Word; w != "" && w != allowAll {
		return field("$.firewall", fault.Newf(fault.Invalid, opSpec, "firewall %q is neither a list of CIDR ranges nor %s", w, allowAll).
			WithHint("Write it as [10.0.0.0/8, 192.0.2.7], or as %s.", allowAll))
	}
	for i, r := range s.Firewall.Ranges {
		if _, err := topology.ParseRange(r); err != nil {
			return field(fmt.Sprintf("$.firewall[%d]", i), err)
		}
	}
	return nil
}

func (s GroupSpec) validateWorkspaces() error {
	for i, w := range s.Workspaces {
		at := fmt.Sprintf("$.workspaces[%d]", i)
		same := func(o WorkspaceSpec) bool { return o.Name == w.Name }
		if slices.ContainsFunc(s.Workspaces[:i], same) {
			return field(at+".name", fault.Newf(fault.Invalid, opSpec, "workspace %q is there twice", w.Name))
		}
		if err := w.validate(at); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks what can be known without asking anybody. Errors are fault.Invalid, inside a FieldError.
func (w WorkspaceSpec) Validate() error { return w.validate("$") }

func (w WorkspaceSpec) validate(at string) error {
	kind := w.validateManaged
	if w.Adopted() {
		kind = w.validateAdopted
	}
	return firstOf(
		func() error { return field(at+".name", validName("workspace", w.Name)) },
		func() error { return field(at+".size", validSize(w.Size)) },
		func() error { return kind(at) },
	)
}

func validSource(s *topology.Source) error {
	if s == nil {
		return nil
	}
	_, err := dsn.Parse(*s)
	return err
}

func validSize(size string) error {
	if size == "" {
		return nil
	}
	_, err := topology.ParseSize(size)
	return err
}

// validateAdopted also refuses what only a server can have that SmartDR makes.
func (w WorkspaceSpec) validateAdopted(at string) error {
	source := w.Source()
	if err := validSource(&source); err != nil {
		return field(at+".connection", err)
	}
	for _, only := range []struct {
		name string
		set  bool
	}{
		{"postgres", w.Postgres != 0}, {"host", w.Host != ""}, {"settings", len(w.Settings) > 0}, {"hba", len(w.HBA) > 0},
		{"ident", len(w.Ident) > 0}, {"init", w.Init != InitSpec{}},
	} {
		if only.set {
			return field(at+"."+only.name, fault.Newf(fault.Invalid, opSpec, "workspace %s has a connection, so it is there already: %s is for servers that SmartDR makes", w.Name, only.name).
				WithHint("Leave out %s, or the connection.", only.name))
		}
	}
	return nil
}

func (w WorkspaceSpec) validateManaged(at string) error {
	if w.Size == "" {
		return field(at+".name", fault.Newf(fault.Invalid, opSpec, "workspace %s has neither a connection nor a size", w.Name).
			WithHint("With a connection an existing server is adopted, with a size (%s, or as 6GiB/2) SmartDR makes one.", topology.DefaultSize))
	}
	return firstOf(
		func() error { return field(at+".postgres", validMajor(w.Postgres)) },
		func() error { return field(at+".host", validHost(w.Host)) },
		func() error { return validSettings(at+".settings", w.Settings) },
		func() error { return validRules(at+".hba", "pg_hba.conf", w.HBA) },
		func() error { return validRules(at+".ident", "pg_ident.conf", w.Ident) },
		func() error { return w.Init.validate(at + ".init") },
	)
}

func validHost(name string) error {
	if name == "" {
		return nil
	}
	return topology.CheckName("host", name)
}

// The major versions of PostgreSQL that SmartDR works with.
const oldestMajor, newestMajor = 15, 18

func validMajor(major int) error {
	if major == 0 || major >= oldestMajor && major <= newestMajor {
		return nil
	}
	return fault.Newf(fault.Invalid, opSpec, "there is no managed PostgreSQL %d", major).
		WithHint("Choose one from %d to %d that a host has: `smartdr hosts` lists them.", oldestMajor, newestMajor)
}

// validate checks what initdb would refuse (the manual, initdb: --wal-segsize is a power of 2 between 1 and 1024).
func (i InitSpec) validate(at string) error {
	if n := i.SegmentSizeMB; n != 0 && (n < 1 || n > 1024 || n&(n-1) != 0) {
		return field(at+".segmentSizeMB", fault.Newf(fault.Invalid, opSpec, "%d MB is no size of WAL segments", n).
			WithHint("Use a power of 2 from 1 to 1024."))
	}
	return nil
}
