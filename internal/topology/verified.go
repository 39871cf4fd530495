package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Verified is what the last check of a region's bucket found (catalog document verify/<region>.json in that bucket).
type Verified struct {
	Format      int       `json:"format"`
	Group       string    `json:"group"`
	Region      string    `json:"region"`
	Epoch       Epoch     `json:"epoch"`
	Read        string    `json:"read"`           // VerifyNone, VerifySample or VerifyAll
	Seed        uint64    `json:"seed,omitempty"` // of the sample
	StartedAt   time.Time `json:"startedAt"`
	EndedAt     time.Time `json:"endedAt"`
	Objects     int       `json:"objects"` // that the bucket holds of the group
	Bytes       int64     `json:"bytes"`
	ReadObjects int       `json:"readObjects"` // whose content was read back
	ReadBytes   int64     `json:"readBytes"`
	Lost        []Lost    `json:"lost"`     // what cannot be restored from this bucket because of the findings
	Findings    []Finding `json:"findings"` // the worst first
	More        int       `json:"more,omitempty"`
	Notes       []string  `json:"notes,omitempty"` // in sentences: what could not be looked at
	Error       string    `json:"error,omitempty"` // why the bucket could not be checked; the rest is empty then
	Hint        string    `json:"hint,omitempty"`
}

// How much of the contents a check reads back.
const (
	VerifyNone   = "none"   // lists, small documents and headers
	VerifySample = "sample" // what is newest, and a hundredth of the rest
	VerifyAll    = "all"
)

// FindingKind is what is wrong with an object.
type FindingKind string

// The kinds of findings.
const (
	FindingMissing      FindingKind = "missing"      // it ought to be there
	FindingAltered      FindingKind = "altered"      // it is not what was written
	FindingInconsistent FindingKind = "inconsistent" // it is whole, and contradicts another one
	FindingOrphaned     FindingKind = "orphaned"     // nothing refers to it
	FindingUnknown      FindingKind = "unknown"      // it is not of a layout that this version knows
)

// Severity says what a finding costs.
type Severity string

// The severities, the worst first.
const (
	SeverityLost    Severity = "lost"    // something cannot be restored from this bucket as it is
	SeverityDamaged Severity = "damaged" // everything can be restored, from what else there is
	SeverityNote    Severity = "note"    // it costs storage or time
)

// Finding is one thing that is wrong in a bucket.
type Finding struct {
	Kind        FindingKind `json:"kind"`
	Severity    Severity    `json:"severity"`
	Workspace   string      `json:"workspace,omitempty"`
	Key         string      `json:"key"`              // of the object; where a stretch of WAL is missing, what its key would be
	What        string      `json:"what"`             // in a sentence
	Consequence []string    `json:"consequence"`      // in sentences: what cannot be restored because of it, or that nothing is lost
	Repair      string      `json:"repair,omitempty"` // in a sentence: what puts it right
}

// Lost is something that cannot be restored from a bucket.
type Lost struct {
	Workspace string    `json:"workspace,omitempty"`
	Of        string    `json:"of"` // LossWindow and so on
	Name      string    `json:"name,omitempty"`
	Lineage   string    `json:"lineage,omitempty"`
	From      wal.LSN   `json:"from,omitempty"`
	To        wal.LSN   `json:"to,omitempty"`
	FromTime  time.Time `json:"fromTime,omitzero"`
	ToTime    time.Time `json:"toTime,omitzero"`
	Text      string    `json:"text"` // all of it in a sentence
}

// What a Lost is of.
const (
	LossGroup         = "group" // all of it, from this bucket alone
	LossWindow        = "window"
	LossBranch        = "branch"
	LossSystemManaged = "system-managed"
)

// Summary is the account with no more than so many losses and findings, for where there is little room.
func (v Verified) Summary(most int) Verified {
	if n := len(v.Findings) - most; n > 0 {
		v.Findings, v.More = v.Findings[:most], v.More+n
	}
	v.Lost = v.Lost[:min(len(v.Lost), most)]
	return v
}

// Broken reports whether something that was restorable is not any more.
func (v Verified) Broken() bool { return len(v.Lost) > 0 }
