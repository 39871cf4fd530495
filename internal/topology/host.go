package topology

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// HostStaleAfter is the age at which a host's announcement no longer shows that its worker is there.
const HostStaleAfter = 3 * time.Minute

// Host is what a worker announces of the machine it runs on, once a minute (catalog document hosts/<name>.json in the
// bucket of its region).
type Host struct {
	Name        string    `json:"name"`
	Region      string    `json:"region"`
	Machine     string    `json:"machine,omitempty"` // ID of the data folder: two machines must not share a name
	AnnouncedAt time.Time `json:"announcedAt"`       // the host's clock
	MemoryBytes int64     `json:"memoryBytes"`       // capacity, as configured or found
	CPUs        float64   `json:"cpus"`              // capacity
	DiskBytes   int64     `json:"diskBytes"`         // free in the data folder
	Advertise   string    `json:"advertise"`         // name or address that clients use
	Placed      []Placed  `json:"placed,omitempty"`
	Programs    []Program `json:"programs,omitempty"`
}

// Fresh reports whether the announcement shows that the host's worker is there.
func (h Host) Fresh(now time.Time) bool { return now.Sub(h.AnnouncedAt) <= HostStaleAfter }

// Placed is a server that has its files on a host.
type Placed struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Branch    string `json:"branch,omitempty"` // of the workspace, whose server it is
	Epoch     Epoch  `json:"epoch"`
	Size      Size   `json:"size,omitzero"`
	Spare     int64  `json:"spare,omitempty"` // bytes of disk that are set free when the workspace is placed here anew
}

// WithoutBranches returns a host as if no branch ran on it.
func (h Host) WithoutBranches() Host {
	h.Placed = slices.DeleteFunc(slices.Clone(h.Placed), func(p Placed) bool { return p.Branch != "" })
	return h
}

// Branches names those that run on the host, with their groups.
func (h Host) Branches() (names []string) {
	for _, p := range h.Placed {
		if p.Branch != "" {
			names = append(names, p.Group+"/"+p.Branch)
		}
	}
	return names
}

// Program is one installation of PostgreSQL on a host.
type Program struct {
	Version int             `json:"version"` // server_version_num
	Facts   json.RawMessage `json:"facts"`   // metadata.Host
}

// Need is what one workspace asks of a host.
type Need struct {
	Group     string // with Workspace: what is placed for it already does not count beside it
	Workspace string
	Size      Size     // zero: only disk is asked for
	DiskBytes int64    // restored files, WAL and what a server needs besides
	Major     int      // of PostgreSQL; 0 for any
	Without   []string // hosts that cannot have it
	Prefer    string   // host that is tried first, since the workspace's address is kept there; may be empty
}

// ParseMemory reads "64GiB" or "512MiB" as bytes. Errors are fault.Invalid.
func ParseMemory(s string) (int64, error) {
	n, ok := parseMemory(s)
	if !ok {
		return 0, fault.Newf(fault.Invalid, "read amount of memory", "%q is none", s).WithHint("Write it as 64GiB or 512MiB.")
	}
	return n, nil
}
