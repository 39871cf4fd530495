package topology

import "time"

// OperationState is where an operation stands.
type OperationState string

const (
	// OperationActive operations are under way.
	OperationActive OperationState = "Active"
	// OperationCompleted operations did what was asked.
	OperationCompleted OperationState = "Completed"
	// OperationFailed operations stopped; Error says why and Hint what to do.
	OperationFailed OperationState = "Failed"
	// OperationCanceled operations were stopped by somebody before they had changed anything for good.
	OperationCanceled OperationState = "Canceled"
	// OperationReverted operations put everything back to where it was, since they could not keep what was asked of them.
	OperationReverted OperationState = "Reverted"
)

// Operation is the account of one failover or other operation (catalog document operations/<id>.json).
type Operation struct {
	ID         string         `json:"id"`
	Kind       string         `json:"kind"` // "Failover", ...
	Group      string         `json:"group"`
	Epoch      Epoch          `json:"epoch"` // the one it claimed; 0 before
	State      OperationState `json:"state"`
	From       string         `json:"from"` // region
	To         string         `json:"to"`   // region
	StartedAt  time.Time      `json:"startedAt"`
	EndedAt    time.Time      `json:"endedAt,omitzero"`
	RecordedAt time.Time      `json:"recordedAt,omitzero"` // last sign of life: a running operation records itself often
	Phases     []Phase        `json:"phases"`
	Workspaces []Recovered    `json:"workspaces,omitempty"`
	Error      string         `json:"error,omitempty"`
	Hint       string         `json:"hint,omitempty"`

	// ClaimedAt is the point of no return: from then on it can be neither canceled nor reverted.
	ClaimedAt time.Time `json:"claimedAt,omitzero"`
	Choice    Choice    `json:"choice,omitzero"`
	Fences    []Fence   `json:"fences,omitempty"` // of the servers that served before, as they stood when the operation ended
	Gap       *Gap      `json:"gap,omitempty"`    // of a switchover or failback
}

// AbandonedAfter is how long an operation must have said nothing before another run may go on with it. A running one
// records itself every 30 s, so that two writes may fail.
const AbandonedAfter = 90 * time.Second

// Running reports whether the operation is under way and has given a sign of life lately.
func (o Operation) Running(now time.Time) bool {
	sign := o.RecordedAt
	if sign.IsZero() {
		sign = o.StartedAt
	}
	return o.State == OperationActive && now.Sub(sign) < AbandonedAfter
}

// Phase is one timed step of an operation.
type Phase struct {
	Name      string    `json:"name"`
	Workspace string    `json:"workspace,omitempty"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Note      string    `json:"note,omitempty"` // one line, as "1.2 GB in 340 files"
	Error     string    `json:"error,omitempty"`
}

// Recovered is what a failover brought back of one workspace.
type Recovered struct {
	Workspace string        `json:"workspace"`
	Point     RecoveryPoint `json:"point"`
	Lineage   string        `json:"lineage"` // the new one
	Endpoint  Endpoint      `json:"endpoint"`
	Databases []string      `json:"databases"`
	Host      string        `json:"host,omitempty"`   // that it was placed on
	Serves    bool          `json:"serves,omitempty"` // clients can use the endpoint
	Error     string        `json:"error,omitempty"`  // why it does not serve; the operation can be resumed for it
	Hint      string        `json:"hint,omitempty"`
	Notes     []string      `json:"notes,omitempty"` // what differs from the primary, and why
	Loss      *Loss         `json:"loss,omitempty"`  // nil when nothing is known of the serving side
	Moved     *Moved        `json:"moved,omitempty"`
}
