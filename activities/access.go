package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

const opAccess = "write access rules"

// applyAccess lets in whom the rules name, and nobody else. The server itself says whether it understands them; if it does
// not, it keeps the rules that it had, and the error names the lines.
func applyAccess(ctx context.Context, s *postgres.Server, a metadata.Access) error {
	wrong, err := tryAccess(ctx, s, a)
	if err != nil || len(wrong) == 0 {
		return err
	}
	return notUnderstood(wrong)
}

func notUnderstood(wrong []badRule) error {
	var lines []string
	for _, w := range wrong {
		lines = append(lines, fmt.Sprintf("%q (%s)", w.text, w.Err))
	}
	return fault.Newf(fault.Invalid, opAccess, "the server does not understand %s", strings.Join(lines, ", ")).
		WithHint("Correct these lines; the rules stay as they were until then.")
}

// badRule is a line that a server did not understand.
type badRule struct {
	metadata.BadLine
	text string
}

// tryAccess is applyAccess, and returns the lines that the server does not understand.
func tryAccess(ctx context.Context, s *postgres.Server, a metadata.Access) ([]badRule, error) {
	if err := keepAccess(s); err != nil {
		return nil, err
	}
	if err := s.WriteHBA(a.HBA); err != nil {
		return nil, err
	}
	if err := appendText(s.IdentFile(), a.Ident); err != nil {
		return nil, err
	}
	wrong, err := badRules(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return wrong, putBackAccess(s)
	}
	if err := dropKept(s); err != nil {
		return nil, err
	}
	return nil, follow(ctx, s)
}

// followWithin is how long a server may take to follow new rules. One that finds an error in its settings never says that it
// has read them, and follows the rules all the same.
const followWithin = 3 * time.Second

// follow makes the server read its files, and waits until it has.
func follow(ctx context.Context, s *postgres.Server) error {
	before, err := loadedAt(ctx, s)
	if err != nil {
		return err
	}
	if err := s.Reload(ctx); err != nil {
		return err
	}
	for end := time.Now().Add(followWithin); time.Now().Before(end); pauseFor(ctx, 20*time.Millisecond) {
		after, err := loadedAt(ctx, s)
		if err != nil || after.After(before) {
			return err
		}
	}
	return nil
}

func badRules(ctx context.Context, s *postgres.Server) ([]badRule, error) {
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	lines, err := metadata.BadLines(ctx, conn)
	if err != nil {
		return nil, err
	}
	var wrong []badRule
	for _, l := range lines {
		text, err := lineOf(s, l)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, badRule{l, text})
	}
	return wrong, nil
}

func lineOf(s *postgres.Server, l metadata.BadLine) (string, error) {
	path := s.HBAFile()
	if l.File == "pg_ident.conf" {
		path = s.IdentFile()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.New(fault.Transient, opAccess, err)
	}
	lines := strings.Split(string(b), "\n")
	if l.Line < 1 || l.Line > len(lines) {
		return "", fault.Newf(fault.Transient, opAccess, "%s has no line %d any more", path, l.Line)
	}
	return lines[l.Line-1], nil
}

// keptSuffix marks files that were in force and that nothing was found wrong with, while others are tried.
const keptSuffix = ".kept"

func accessFiles(s *postgres.Server) []string { return []string{s.HBAFile(), s.IdentFile()} }

// keepAccess keeps the files that are in force, unless an attempt that died left some: then those are.
func keepAccess(s *postgres.Server) error {
	for _, path := range accessFiles(s) {
		if _, err := os.Stat(path + keptSuffix); err == nil {
			continue
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = replaceFile(path+keptSuffix, b)
		}
		if err == nil {
			err = s.Own(path + keptSuffix)
		}
		if err != nil {
			return fault.New(diskKind(err), opAccess, err)
		}
	}
	return nil
}

func putBackAccess(s *postgres.Server) error {
	for _, path := range accessFiles(s) {
		if err := os.Rename(path+keptSuffix, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Transient, opAccess, err)
		}
	}
	return nil
}

func dropKept(s *postgres.Server) error {
	for _, path := range accessFiles(s) {
		if err := os.Remove(path + keptSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Transient, opAccess, err)
		}
	}
	return nil
}

// appendText adds to a file that WriteHBA has just written anew.
func appendText(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fault.New(diskKind(err), "write user name maps", err)
	}
	return nil
}

// letIn lets the users of a restored server in again. A rule that this host's PostgreSQL does not understand refuses whom
// it was for, rather than to keep everybody out.
func (t *Target) letIn(ctx context.Context, s *postgres.Server, in RestoreInput, m metadata.Metadata, place metadata.Place) ([]string, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	w := loaded.Group.Workspace(in.Plan.Workspace)
	if w == nil {
		return nil, fault.Newf(fault.Missing, opAccess, "group %s has no workspace %q", in.Group, in.Plan.Workspace)
	}
	a, err := metadata.AccessOf(loaded.Group, *w, m, place)
	if err != nil {
		return nil, err
	}
	wrong, err := tryAccess(ctx, s, a)
	if err != nil || len(wrong) == 0 {
		return ruleNotes(a), err
	}
	if a, err = without(a, wrong); err != nil {
		return nil, err
	}
	return ruleNotes(a), applyAccess(ctx, s, a)
}

func ruleNotes(a metadata.Access) (notes []string) {
	for _, n := range a.Notes {
		notes = append(notes, n.String())
	}
	return notes
}

// without makes rules refuse that the server does not understand, and leaves out user name maps that it does not.
func without(a metadata.Access, wrong []badRule) (metadata.Access, error) {
	for _, w := range wrong {
		if w.File == "pg_ident.conf" {
			a.Ident = strings.Replace(a.Ident, w.text+"\n", "", 1)
			a.Notes = append(a.Notes, metadata.RuleNote{Rule: w.text, Text: fmt.Sprintf("a user name map is not understood here (%s) and was left out", w.Err)})
			continue
		}
		reject, ok := metadata.RejectInstead(w.text)
		if !ok {
			return a, notUnderstood(wrong)
		}
		a.HBA = strings.Replace(a.HBA, w.text+"\n", reject+"\n", 1)
		a.Notes = append(a.Notes, metadata.RuleNote{Rule: w.text, Text: fmt.Sprintf("an access rule is not understood here (%s) and refuses until it is replaced", w.Err)})
	}
	return a, nil
}
