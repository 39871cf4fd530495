package topology

import "time"

const (
	// AliveWithin is how recently a shipper must have measured for its region to count as alive: it announces every 2 s.
	AliveWithin = 15 * time.Second
	// SettlesWithin is how soon a server that was just brought up announces what it has shipped. Until then silence says nothing of it, and a
	// failover that is ordered again, as by a script that retries, must not go back to where the first came from.
	SettlesWithin = time.Minute
)

// BeganServing is when the server of a workspace was brought up from a bucket; the zero time for one that was not.
func (w *Workspace) BeganServing() time.Time {
	if l := w.CurrentLineage(); l != nil && l.Parent != nil {
		return l.CreatedAt
	}
	return time.Time{}
}
