package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const (
	opSwitchover = "switchover"
	opFailback   = "failback"
)

// SwitchoverRequest asks to move a group to its other region without losing anything.
type SwitchoverRequest struct {
	Group string `json:"group"`
	To    string `json:"to,omitempty"` // region; default: the one that does not serve now
	// MaxGap is the longest time without a writer, as "30s" (default).
	MaxGap string `json:"maxGap,omitempty"`
	// Home asks for a failback: to the primary region, and what served the group elsewhere is taken down.
	Home bool `json:"home,omitempty"`
	// Force moves it although what an old server in that region wrote last was not brought home, since that is gone for good.
	Force bool `json:"force,omitempty"`
}

func (req SwitchoverRequest) op() string {
	if req.Home {
		return opFailback
	}
	return opSwitchover
}

func (req SwitchoverRequest) kind() string {
	if req.Home {
		return workflows.FailbackType
	}
	return workflows.SwitchoverType
}

// SwitchoverPreview says what a switchover or failback would do.
type SwitchoverPreview struct {
	Group      string                `json:"group"`
	Kind       string                `json:"kind"` // "Switchover" or "Failback"
	From       string                `json:"from"`
	To         string                `json:"to"`
	MaxGap     time.Duration         `json:"maxGap"` // in nanoseconds
	ReadAt     time.Time             `json:"readAt"`
	Workspaces []SwitchoverWorkspace `json:"workspaces"`
	Steps      []string              `json:"steps"`              // what happens, in order, in sentences
	Warnings   []string              `json:"warnings,omitempty"` // what should be known before
	// GoesOn is the operation that is gone on with: it has claimed the epoch and has not brought up everything.
	GoesOn string `json:"goesOn,omitempty"`
}

// SwitchoverWorkspace is one workspace's share of it.
type SwitchoverWorkspace struct {
	Workspace  string             `json:"workspace"`
	Kind       topology.SiteKind  `json:"kind"` // of the server that serves now
	LagSeconds float64            `json:"lagSeconds"`
	LagBytes   int64              `json:"lagBytes"`
	MeasuredAt time.Time          `json:"measuredAt,omitzero"`
	Bytes      int64              `json:"bytes"`              // of the files to restore; 0 when that is not known
	Endpoint   *topology.Endpoint `json:"endpoint,omitempty"` // that is kept for it; nil when none is
	Standby    bool               `json:"standby,omitempty"`  // a server there follows already
}

// PreviewSwitchover says what would happen, and refuses what cannot be done as things stand. It changes nothing.
func (s *Service) PreviewSwitchover(ctx context.Context, req SwitchoverRequest) (SwitchoverPreview, error) {
	gap, err := workflows.ParseGap(req.op(), req.MaxGap)
	if err != nil {
		return SwitchoverPreview{}, err
	}
	st, err := s.Status(ctx, req.Group)
	if err != nil {
		return SwitchoverPreview{}, err
	}
	last, err := s.unfinished(ctx, st.Group, req)
	if err != nil {
		return SwitchoverPreview{}, err
	}
	if last != nil {
		return previewGoingOn(st, *last, gap), nil
	}
	to, err := s.switchTarget(st.Group, req)
	if err == nil {
		err = s.notHeld(ctx, st.Group)
	}
	if err == nil {
		err = cameBack(st.Group)
	}
	if err != nil {
		return SwitchoverPreview{}, about(req.op(), err)
	}
	return previewSwitchover(st, req, to, gap), nil
}

// previewGoingOn says what is left of a move that has claimed.
func previewGoingOn(st topology.GroupStatus, last topology.Operation, gap time.Duration) SwitchoverPreview {
	return SwitchoverPreview{
		Group: last.Group, Kind: last.Kind, From: last.From, To: last.To, MaxGap: gap, ReadAt: st.ReadAt, GoesOn: last.ID,
		Steps: []string{
			fmt.Sprintf("%s %s goes on: it has claimed epoch %d, and what does not serve in %s yet is brought up there, to where %s ended.", last.Kind, last.ID, last.Epoch, last.To, last.From),
			fmt.Sprintf("Then the servers that it has left in %s are ended, and replication runs from %s to %s.", last.From, last.To, last.From),
		},
	}
}

// about makes a refusal of the failover's checks one of another operation.
func about(op string, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Op != opFailover {
		return err
	}
	e := *f
	e.Op = op
	e.Hint = strings.TrimSuffix(e.Hint, "; or leave that workspace behind with --force.")
	return &e
}

func (s *Service) switchTarget(g topology.Group, req SwitchoverRequest) (string, error) {
	if !req.Home {
		return s.target(g, req.To)
	}
	if g.Replication != nil && g.Active == g.Primary {
		return "", fault.Newf(fault.Invalid, opFailback, "group %s is at home: it is served from %s, its primary region", g.Name, g.Primary).
			WithHint("To move it to %s: smartdr switchover --group %s", g.Secondary, g.Name)
	}
	return s.target(g, g.Primary)
}

// previewSwitchover derives what would happen. It does no I/O.
func previewSwitchover(st topology.GroupStatus, req SwitchoverRequest, to string, gap time.Duration) SwitchoverPreview {
	p := SwitchoverPreview{Group: st.Group.Name, Kind: req.kind(), From: st.Group.Active, To: to, MaxGap: gap, ReadAt: st.ReadAt}
	for i := range st.Group.Workspaces {
		w := &st.Group.Workspaces[i]
		if !w.Recoverable() {
			continue
		}
		p.Workspaces = append(p.Workspaces, switchoverWorkspace(st, w, to))
	}
	p.Steps, p.Warnings = p.steps(), p.warnings(st)
	if req.Force {
		p.Warnings = append(p.Warnings, p.givenUp(st)...)
	}
	return p
}

func switchoverWorkspace(st topology.GroupStatus, w *topology.Workspace, to string) SwitchoverWorkspace {
	out := SwitchoverWorkspace{Workspace: w.Name, Kind: w.Sites[st.Group.Active].Kind}
	if kept, ok := w.Reservations[to]; ok {
		out.Endpoint = &kept.Endpoint
	}
	if standby, ok := w.Standbys[to]; ok {
		out.Standby, out.Endpoint = true, &standby.Endpoint
	}
	ws := workspaceStatus(st, w.Name)
	if ws == nil {
		return out
	}
	if ws.Snapshot != nil {
		out.Bytes = ws.Snapshot.TotalBytes
	}
	if ws.WAL == nil {
		return out
	}
	for _, c := range ws.WAL.Cursors {
		if c.Region == to {
			out.LagSeconds, out.LagBytes, out.MeasuredAt = c.LagSeconds, c.LagBytes, ws.WAL.MeasuredAt
		}
	}
	return out
}

func (p SwitchoverPreview) steps() []string {
	adopted, managed := 0, 0
	for _, w := range p.Workspaces {
		if w.Kind == topology.Adopted {
			adopted++
		} else {
			managed++
		}
	}
	steps := []string{
		fmt.Sprintf("While %s serves, servers are made in %s and follow until they are less than a second behind.", p.From, p.To),
		fmt.Sprintf("The clients of %s are disconnected and its servers are fenced: nobody writes for a moment, at most %s. If it takes longer, everything goes back to where it is now.", p.From, p.MaxGap),
		fmt.Sprintf("%s serves, with everything that was committed. Clients with the multi-host string find it by themselves.", p.To),
	}
	if managed > 0 && p.Kind == workflows.FailbackType {
		steps = append(steps, fmt.Sprintf("The servers in %s are removed once all they wrote is in both buckets; what they were reached by refuses connections.", p.From))
	} else if managed > 0 {
		steps = append(steps, fmt.Sprintf("The servers in %s are stopped; their files stay, so that the way back moves only what has changed.", p.From))
	}
	if adopted > 0 {
		steps = append(steps, fmt.Sprintf("Servers in %s that were adopted stay as they are, fenced: SmartDR does not stop them.", p.From))
	}
	return append(steps, fmt.Sprintf("Replication runs from %s to %s.", p.To, p.From))
}

// slowLag is how far a bucket may be behind before the way there is worth a warning: it catches up while serving.
const slowLag = time.Minute

func (p SwitchoverPreview) warnings(st topology.GroupStatus) (all []string) {
	if pr := st.Protection; pr != nil && !pr.Protected {
		all = append(all, fmt.Sprintf("The group is not protected now: %s", cmp.Or(pr.Reason, "why is not known")))
	}
	for _, w := range p.Workspaces {
		if time.Duration(w.LagSeconds*float64(time.Second)) > slowLag {
			all = append(all, fmt.Sprintf("The bucket of %s is %s behind workspace %s: it has to catch up first.", p.To, time.Duration(w.LagSeconds*float64(time.Second)).Round(time.Second), w.Workspace))
		}
		if w.Endpoint == nil {
			all = append(all, fmt.Sprintf("No address is kept for workspace %s in %s: clients cannot know the new one yet.", w.Workspace, p.To))
		}
	}
	for _, ws := range st.Workspaces {
		for _, t := range ws.Tails {
			if !t.Complete {
				all = append(all, fmt.Sprintf("What the server of lineage %s of workspace %s wrote last has not all been brought home%s.", t.Lineage, ws.Workspace, because(t.Error)))
			}
		}
	}
	return all
}

// givenUp says what force gives up: the tails of servers in the region that the group goes to.
func (p SwitchoverPreview) givenUp(st topology.GroupStatus) (all []string) {
	tails := map[string]topology.Tail{}
	for _, ws := range st.Workspaces {
		for _, t := range ws.Tails {
			tails[t.Lineage] = t
		}
	}
	for _, left := range st.Group.LeftLineages() {
		if t := tails[left.Lineage.ID]; left.Lineage.Region == p.To && !t.Complete {
			all = append(all, fmt.Sprintf("--force gives up what workspace %s's old server in %s wrote after the fork and no bucket has (lineage %s)%s: it is not waited for, and nobody may ever bring it home.",
				left.Workspace, p.To, left.Lineage.ID, because(t.Error)))
		}
	}
	if len(all) == 0 {
		all = append(all, fmt.Sprintf("--force gives up nothing as things stand: all that old servers in %s wrote is in a bucket.", p.To))
	}
	return all
}

// StartSwitchover starts a switchover or a failback, and does not wait for it.
func (s *Service) StartSwitchover(ctx context.Context, req SwitchoverRequest) (Started, error) {
	p, err := s.PreviewSwitchover(ctx, req)
	if err != nil {
		return Started{}, err
	}
	if p.GoesOn != "" {
		return s.goOn(ctx, topology.Operation{ID: p.GoesOn, Kind: p.Kind, Group: p.Group, To: p.To})
	}
	summary := fmt.Sprintf("%s of %s from %s to %s", req.op(), p.Group, p.From, p.To)
	id, in := workflows.SwitchoverID(p.Group), any(workflows.SwitchoverInput{Group: p.Group, To: p.To, MaxGap: req.MaxGap, Force: req.Force})
	if req.Home {
		id, in = workflows.FailbackID(p.Group), workflows.FailbackInput{Group: p.Group, MaxGap: req.MaxGap, Force: req.Force}
	}
	run, err := s.start(ctx, id, p.Kind, summary, in)
	if err != nil {
		return Started{}, err
	}
	return Started{Group: p.Group, Operation: run.GetRunID(), Workflow: run.GetID(), Run: run.GetRunID()}, nil
}
