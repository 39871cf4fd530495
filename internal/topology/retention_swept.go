package topology

import "time"

// Swept is what one round of retention did to a region's bucket, or would have done (catalog document retention/<region>.json in that bucket).
type Swept struct {
	Format        int                   `json:"format"`
	Group         string                `json:"group"`
	Region        string                `json:"region"`
	Epoch         Epoch                 `json:"epoch"`
	At            time.Time             `json:"at"`
	WindowMinutes int                   `json:"windowMinutes"`
	DryRun        bool                  `json:"dryRun,omitempty"`
	Gone          map[string]StoredKind `json:"gone"`            // by kind: SweptSnapshots and so on
	Later         StoredKind            `json:"later"`           // packs that nothing needs, and that go in a later round
	Kept          map[string]StoredKind `json:"kept"`            // by kind
	Anew          StoredKind            `json:"anew,omitzero"`   // packs of which little was needed: written anew with that. Bytes are what goes with the old ones
	Dropped       []string              `json:"dropped"`         // system-managed databases whose time is over
	Workspaces    []SweptWorkspace      `json:"workspaces"`      // in the group's order
	Error         string                `json:"error,omitempty"` // why it ended early
	Hint          string                `json:"hint,omitempty"`
}

// Nothing reports whether the bucket holds nothing more of the group's data, now or in a later round.
func (s Swept) Nothing() bool {
	for _, kind := range []string{SweptManifests, SweptWAL, SweptPacks, SweptOther} {
		if s.Kept[kind].Objects > 0 {
			return false
		}
	}
	return s.Later.Objects == 0
}

// Kinds of what retention removes and keeps.
const (
	SweptManifests = "manifests"
	SweptWAL       = "wal"
	SweptPacks     = "packs"
	SweptOther     = "other"
)

// SweptWorkspace is what is left of one workspace.
type SweptWorkspace struct {
	Workspace string    `json:"workspace"`
	From      time.Time `json:"from,omitzero"`      // the first moment that can be restored of what serves
	Snapshot  string    `json:"snapshot,omitempty"` // that leads there
	Unknown   []string  `json:"unknown,omitempty"`  // objects that are not SmartDR's, or of a newer one: they stay
	Notes     []string  `json:"notes,omitempty"`    // in sentences: what stays although it may not be needed, and why
}

// Add counts objects.
func (k StoredKind) Add(bytes int64) StoredKind {
	return StoredKind{Objects: k.Objects + 1, Bytes: k.Bytes + bytes}
}
