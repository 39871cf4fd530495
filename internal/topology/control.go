package topology

import (
	"fmt"
	"time"
)

// Claimed says who holds an epoch. It is decided in the group's document; catalog documents epochs/<epoch>.json tell it.
type Claimed struct {
	Epoch     Epoch     `json:"epoch"`
	Region    string    `json:"region"` // that serves under it
	Operation string    `json:"operation"`
	Claimant  string    `json:"claimant"`
	At        time.Time `json:"at"`
}

// Seizure is the decision of a person that a bucket decides although the one that did could not be asked. What was decided
// there since, if anything, and what is decided here from now on are never merged.
type Seizure struct {
	At       time.Time `json:"at"`
	By       string    `json:"by,omitempty"`
	From     string    `json:"from"`     // region whose bucket decided before
	Revision int64     `json:"revision"` // the last one that both are known to have had
	Epoch    Epoch     `json:"epoch"`    // no smaller one is claimed here any more: the other side may have claimed those
}

// NewestEpoch returns the newest epoch that the group's document knows to be claimed.
func (g *Group) NewestEpoch() Epoch {
	if g.Claimed == nil {
		return g.Epoch
	}
	return max(g.Epoch, g.Claimed.Epoch)
}

// LagLimit is how old what the other region's bucket lacks may be while a group counts as protected.
const LagLimit = 60 * time.Second

// Protected says whether a group could fail over now to the region that does not serve, as s shows it; Since is not set. It
// returns nil while the group replicates nowhere.
func (s *GroupStatus) Protected() *Protection {
	g := &s.Group
	if g.Replication == nil || g.Secondary == "" || g.State == GroupTerminated {
		return nil
	}
	p := &Protection{Format: 1, Region: g.Other(g.Active), Epoch: g.Epoch}
	p.Reason = s.unprotected(p.Region)
	p.Protected = p.Reason == ""
	return p
}

// InSync reports whether the bucket of the region that does not serve holds all it takes to fail over to it, whoever decides.
func (s *GroupStatus) InSync() bool {
	return s.Group.Replication != nil && s.Group.Secondary != "" && s.lacking(s.Group.Other(s.Group.Active)) == ""
}

func (s *GroupStatus) unprotected(region string) string {
	if why := s.lacking(region); why != "" {
		return why
	}
	if s.Group.Authority != region {
		return fmt.Sprintf("the bucket of region %s does not decide over the group yet: that follows within a minute", region)
	}
	return ""
}

// lacking says what region's bucket lacks for a failover, or "".
func (s *GroupStatus) lacking(region string) string {
	g := &s.Group
	if why := s.Silent[region]; why != "" {
		return fmt.Sprintf("the bucket of region %s does not answer: %s", region, why)
	}
	if newest := g.NewestEpoch(); newest > g.Epoch {
		return fmt.Sprintf("operation %s claimed epoch %d and serves nothing yet", g.Claimed.Operation, newest)
	}
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		if w.State != WorkspaceActive {
			continue // nothing new comes of it
		}
		if why := s.behind(w, region); why != "" {
			return "workspace " + w.Name + ": " + why
		}
	}
	return ""
}

// behind says why region's bucket could not bring a workspace back as it is now, or "".
func (s *GroupStatus) behind(w *Workspace, region string) string {
	if _, there := w.Sites[s.Group.Active]; !there {
		return "the last failover has not brought it back"
	}
	o := Observation{Group: &s.Group, Workspace: w, Now: s.ReadAt}
	for i := range s.Workspaces {
		if s.Workspaces[i].Workspace == w.Name {
			o.WAL, o.Snapshot = s.Workspaces[i].WAL, s.Workspaces[i].Snapshot
		}
	}
	o = o.current()
	if l := w.CurrentLineage(); l == nil || l.Epoch != s.Group.Epoch {
		return fmt.Sprintf("nothing of epoch %d is shipped yet", s.Group.Epoch)
	}
	switch state, why := o.state(region, ""); {
	case state == Pending && why == "":
		return "no snapshot is complete there yet"
	case state != Active:
		return why
	}
	lag := o.lag(region)
	if o.WAL == nil || o.WAL.Cursor(region) == nil {
		return "nothing is shipped there yet"
	}
	if age := time.Duration(lag.Seconds * float64(time.Second)); age > LagLimit {
		return fmt.Sprintf("what was written %s ago is not there yet", age.Round(time.Second))
	}
	return ""
}
