// Package preflight looks at a server before it is replicated, and says in sentences what stands in the way and what
// an operator should know.
package preflight

import (
	"context"
	"errors"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
)

// Options are what the server will be used for.
type Options struct {
	SlotName  string // of our physical slot; it may be there already
	AppName   string // application_name of our connections
	Only      bool   // Databases alone are to be replicated, which may be none on this server; else all are
	Databases []string
}

// Report is what was found.
type Report struct {
	Facts    Facts     `json:"facts"`
	Problems []Finding `json:"problems,omitempty"` // replication cannot work until they are gone
	Warnings []Finding `json:"warnings,omitempty"` // it works, and something about it should be known
}

// Finding is one sentence, and what to do.
type Finding struct {
	Code string `json:"code"` // stable, as "wal-level"
	Text string `json:"text"`
	Todo string `json:"todo,omitempty"`
}

func (f Finding) String() string { return strings.TrimSpace(f.Text + " " + f.Todo) }

// Check connects to a source and looks. What is wrong with the source is in the report; an error means that looking failed
// for another reason, as when ctx ended.
func Check(ctx context.Context, src topology.Source, opts Options) (Report, error) {
	var r Report
	conn, err := postgres.Open(ctx, src)
	if err != nil {
		return r, r.noConnection(ctx, "connect", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
	if r.Facts, err = gather(ctx, conn, opts); err != nil {
		return r, err
	}
	r.Problems, r.Warnings = judge(r.Facts, opts)
	if len(r.Problems) > 0 {
		return r, nil // they explain a refused replication connection better than its error does
	}
	return r, r.checkReplication(ctx, src, opts)
}

// checkReplication opens a real replication connection: access rules, poolers and managed services refuse these alone.
func (r *Report) checkReplication(ctx context.Context, src topology.Source, opts Options) error {
	conn, err := replication.Connect(ctx, src, opts.AppName)
	if err != nil {
		return r.noConnection(ctx, "replication-connection", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
	sys, err := conn.IdentifySystem(ctx)
	if err != nil {
		return r.noConnection(ctx, "replication-connection", err)
	}
	r.Facts.SystemID = sys.ID
	return nil
}

// noConnection turns a refused connection into a problem. It returns what is nobody's fault but the caller's: that ctx ended.
func (r *Report) noConnection(ctx context.Context, code string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	f := Finding{Code: code, Text: sentence(err.Error()), Todo: fault.HintOf(err)}
	if code == "replication-connection" {
		f.Text = "The server refuses a replication connection: " + f.Text
		if r.Facts.Pooled {
			f.Todo = "The connection goes through a pooler: name the server itself in the connection string."
		}
		if r.Facts.Service != "" {
			f.Todo = r.Facts.Service + " gives no physical replication to the outside: such a server cannot be adopted."
		}
	}
	r.Problems = append(r.Problems, f)
	return nil
}

func sentence(s string) string {
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// Err returns nil without problems, else one fault.Invalid error that holds them all; its hint is what to do about the first.
func (r Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	var texts, todos []string
	for _, p := range r.Problems {
		texts = append(texts, p.Text)
		if p.Todo != "" {
			todos = append(todos, p.Todo)
		}
	}
	return fault.New(fault.Invalid, "look at the server", errors.New(strings.Join(texts, " "))).WithHint("%s", strings.Join(todos, " "))
}
