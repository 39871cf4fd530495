package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
)

// showMissing writes what was found in the form that was asked for.
func (a *app) showMissing(ctx context.Context, s *api.Service, in missingFlags, m api.MissingRows) error {
	switch a.flags.output {
	case outputJSON:
		return a.missingJSON(ctx, s, in.filter, m)
	case outputCSV:
		return a.missingCSV(ctx, s, in.filter, m)
	case outputSQL:
		return a.missingSQL(ctx, s, in.filter, m)
	}
	v, err := a.missingView(ctx, s, in, m)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.Out, render.Missing(v, a.style()))
	return err
}

// missingView reads the examples that a table shows.
func (a *app) missingView(ctx context.Context, s *api.Service, in missingFlags, m api.MissingRows) (render.MissingView, error) {
	v := render.MissingView{MissingRows: m, Filter: in.filter, Examples: map[string][]api.MissingChange{}, Args: in.args(), Plan: in.plan}
	for _, d := range m.Databases {
		if in.examples == 0 || d.Report == "" {
			continue
		}
		c, err := s.MissingChanges(ctx, d, in.filter)
		if err != nil {
			return v, err
		}
		if v.Examples[d.Name], err = render.Examples(c, in.filter, in.examples, m.Merged); err != nil {
			return v, err
		}
	}
	return v, nil
}

// missingJSON writes one object; each change as it is read.
func (a *app) missingJSON(ctx context.Context, s *api.Service, f api.MissingFilter, m api.MissingRows) error {
	head := struct {
		Group     string       `json:"group"`
		Merged    bool         `json:"merged"`
		Missing   int64        `json:"missing"`
		Conflicts int64        `json:"conflicts"`
		Decided   *api.Decided `json:"decided,omitempty"`
		Notes     []string     `json:"notes,omitempty"`
	}{m.Group, m.Merged, m.Missing(), m.Conflicts(), m.Decided, m.Notes}
	w := &jsonWriter{w: a.Out}
	w.open(head, "databases")
	for i, d := range m.Databases {
		c, err := s.MissingChanges(ctx, d, f)
		if err != nil {
			return err
		}
		w.between(i)
		w.open(d, "changes")
		n := 0
		for change, err := range c.Changes {
			if err != nil {
				return err
			}
			w.between(n)
			w.value(change)
			n++
		}
		w.text("]}")
	}
	w.text("]}\n")
	return w.err
}

// jsonWriter writes objects that end in a list which is written as it comes.
type jsonWriter struct {
	w   io.Writer
	err error
}

func (j *jsonWriter) text(s string) {
	if j.err == nil {
		_, j.err = io.WriteString(j.w, s)
	}
}

func (j *jsonWriter) between(n int) {
	if n > 0 {
		j.text(",")
	}
	j.text("\n")
}

// open writes an object's fields, and begins a list as its last one.
func (j *jsonWriter) open(v any, list string) {
	b := j.encode(v)
	if len(b) > 0 {
		j.text(string(b[:len(b)-1]) + ",\"" + list + "\":[")
	}
}

func (j *jsonWriter) value(v any) { j.text(string(j.encode(v))) }

func (j *jsonWriter) encode(v any) []byte {
	b, err := jsonText(v)
	if j.err == nil {
		j.err = err
	}
	return b
}

// jsonText is v as JSON on one line, with < and & as they are.
func jsonText(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

var missingColumns = []string{
	"system_managed", "database", "schema", "table", "op", "class", "applied", "merged", "id", "key", "base", "theirs", "active", "written",
	"transaction", "committed_at", "lsn", "why",
}

// missingCSV writes a line for each change. Rows are JSON objects in it. What is applied was merged, or only would be.
func (a *app) missingCSV(ctx context.Context, s *api.Service, f api.MissingFilter, m api.MissingRows) error {
	w := csv.NewWriter(a.Out)
	if err := w.Write(missingColumns); err != nil {
		return err
	}
	all, err := changesOf(ctx, s, m, f)
	if err != nil {
		return err
	}
	for _, of := range all {
		for c, err := range of.Changes {
			if err != nil {
				return err
			}
			line, err := missingLine(c, m.Merged)
			if err != nil {
				return err
			}
			if err := w.Write(line); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}

func missingLine(c api.MissingChange, merged bool) ([]string, error) {
	line := []string{c.Of, c.Database, c.Schema, c.Table, string(c.Op), string(c.Class), strconv.FormatBool(c.Applied), strconv.FormatBool(c.Applied && merged), c.ID}
	for _, r := range []*api.Row{c.Key, c.Base, c.Theirs, c.Active, c.Written} {
		text := ""
		if r != nil {
			b, err := jsonText(r)
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		line = append(line, text)
	}
	xid, at, lsn := "", "", ""
	if c.Commit != nil {
		xid, at, lsn = fmt.Sprint(c.Transaction()), c.Commit.Time.UTC().Format(time.RFC3339Nano), c.Commit.LSN.String()
	}
	return append(line, xid, at, lsn, c.Why), nil
}

// missingSQL writes a script for the one database that has something missing.
func (a *app) missingSQL(ctx context.Context, s *api.Service, f api.MissingFilter, m api.MissingRows) error {
	var of []api.MissingDatabase
	var names []string
	for _, d := range m.Databases {
		if d.Report != "" && (d.Missing() > 0 || len(m.Databases) == 1) {
			of, names = append(of, d), append(names, d.Name)
		}
	}
	switch len(of) {
	case 0:
		a.advise("Nothing is missing: there is no script to write.")
		return nil
	case 1:
	default:
		return fault.Newf(fault.Invalid, "write SQL", "rows of %s are missing, and a script is of one database", listed(names)).
			WithHint("Name one: smartdr missing-rows %s %s -o sql", m.Group, names[0])
	}
	h, changes, err := s.MissingReport(ctx, of[0])
	if err != nil {
		return err
	}
	a.advise("Nothing was run. Review it, and run it as psql -d %s -v ON_ERROR_STOP=1 -f FILE.", of[0].Database)
	return missing.SQL(a.Out, h, f.Only(changes))
}

// writeFile writes a whole file or none, which only its owner can read. One that is there is replaced only if force says so.
func writeFile(path string, force bool, write func(*os.File) error) (err error) {
	if !force {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		return filled(f, path, write)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if err := filled(f, f.Name(), write); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// filled writes and closes a new file, and takes it away when that fails.
func filled(f *os.File, path string, write func(*os.File) error) error {
	err := write(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		_ = os.Remove(path) // why it could not be written is what counts
	}
	return err
}
