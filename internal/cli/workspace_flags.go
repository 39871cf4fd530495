package cli

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// creation is a workspace to be, as flags say it.
type creation struct {
	api.WorkspaceSpec
	set                []string
	hbaFile, identFile string
}

func (in *creation) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&in.Name, "name", "", "name of the workspace")
	f.StringVar(&in.Size, "size", "", "what it needs of a host (default of a managed one: "+topology.DefaultSize+")")
	f.IntVar(&in.Postgres, "postgres", 0, "major version (default: the newest that a host has)")
	f.StringVar(&in.Host, "host", "", "host to run on (default: any with room for it; see smartdr hosts)")
	addTuning(cmd, &in.set, &in.hbaFile, &in.identFile)
	f.BoolVar(&in.Init.NoChecksums, "no-checksums", false, "no checksums of pages")
	f.IntVar(&in.Init.SegmentSizeMB, "wal-segment-size", 0, "of WAL, in MB (default 16)")
	f.StringVar(&in.Init.Locale, "locale", "", "locale (default C.UTF-8)")
	f.StringVar(&in.Init.ICULocale, "icu-locale", "", "sort by ICU, with this locale")
	addSourceFlags(cmd, &in.Connection, &in.PasswordFile, &in.PasswordEnv)
}

// addTuning adds the flags that creating and changing a workspace share.
func addTuning(cmd *cobra.Command, set *[]string, hbaFile, identFile *string) {
	f := cmd.Flags()
	f.StringArrayVar(set, "set", nil, "a setting of PostgreSQL, as work_mem=64MB; may be repeated; never a secret")
	f.StringVar(hbaFile, "hba-file", "", "file with lines of pg_hba.conf, which come before those of the group's firewall")
	f.StringVar(identFile, "ident-file", "", "file with lines of pg_ident.conf")
}

// addSourceFlags adds the flags that say how an existing server is reached.
func addSourceFlags(cmd *cobra.Command, connection, passwordFile, passwordEnv *string) {
	f := cmd.Flags()
	f.StringVar(connection, "connection", "", "connection string without a password, as seen from the region's workers")
	f.StringVar(passwordFile, "password-file", "", "file on the workers that holds the password alone")
	f.StringVar(passwordEnv, "password-env", "", "variable in the workers' environment that holds the password")
}

func (in creation) spec(cmd *cobra.Command) (spec api.WorkspaceSpec, err error) {
	if in.Name == "" {
		return spec, usage(cmd, "--name is missing")
	}
	spec = in.WorkspaceSpec
	if !spec.Adopted() && spec.Size == "" {
		spec.Size = topology.DefaultSize
	}
	if spec.Settings, err = assignments(cmd, in.set); err != nil {
		return spec, err
	}
	if spec.HBA, err = rulesOf(in.hbaFile); err != nil {
		return spec, err
	}
	spec.Ident, err = rulesOf(in.identFile)
	return spec, err
}

// assignments reads name=value.
func assignments(cmd *cobra.Command, set []string) (map[string]string, error) {
	var out map[string]string
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return nil, usage(cmd, "--set %s is not name=value", strings.SplitN(s, "=", 2)[0])
		}
		if _, twice := out[name]; twice {
			return nil, usage(cmd, "--set %s is there twice", name)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// rulesOf reads the lines of a file that are neither empty nor comments.
func rulesOf(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read rules", err)
	}
	rules := []string{}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			rules = append(rules, line)
		}
	}
	return rules, nil
}

// alteration is a change of a workspace, as flags say it.
type alteration struct {
	api.WorkspaceChange
	set                []string
	hbaFile, identFile string
	source             topology.Source
}

func (in *alteration) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&in.Size, "size", "", "what it needs of a host")
	addTuning(cmd, &in.set, &in.hbaFile, &in.identFile)
	f.StringSliceVar(&in.Reset, "reset", nil, "back to what its size says, or PostgreSQL's default; may be repeated")
	f.BoolVar(&in.Restart, "restart", false, "restart the server now, if something waits for it")
	addSourceFlags(cmd, &in.source.ConnString, &in.source.PasswordFile, &in.source.PasswordEnv)
}

func (in alteration) request(cmd *cobra.Command, name string) (req api.WorkspaceChange, err error) {
	req = in.WorkspaceChange
	req.Workspace = name
	if req.Set, err = assignments(cmd, in.set); err != nil {
		return req, err
	}
	for _, file := range []struct {
		path  string
		lines **[]string
	}{{in.hbaFile, &req.HBA}, {in.identFile, &req.Ident}} {
		if rules, err := rulesOf(file.path); err != nil {
			return req, err
		} else if rules != nil {
			*file.lines = &rules
		}
	}
	if in.source != (topology.Source{}) {
		req.Source = &in.source
	}
	return req, nil
}
