package topology

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"

	"github.com/google/uuid"

	"github.com/smartdr/smartdr/internal/fault"
)

var lineagePattern = regexp.MustCompile(`^([0-9]{4,18})-[0-9a-f]{8}$`)

// NewGroupID returns a random UUID.
func NewGroupID() string { return uuid.NewString() }

// NewLineageID returns an ID for a lineage that is written under epoch: at least 4 decimal digits, a hyphen, 8 random
// hexadecimal digits. Two workspaces of one epoch keep their lineages apart by the workspace's own keys.
func NewLineageID(epoch Epoch) string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%04d-%s", epoch, hex.EncodeToString(b[:]))
}

// ParseLineageID returns the epoch in a lineage ID, or a fault.Invalid error.
func ParseLineageID(id string) (Epoch, error) {
	m := lineagePattern.FindStringSubmatch(id)
	if m == nil {
		return 0, fault.Newf(fault.Invalid, "read lineage id", "%q is not an epoch of at least 4 digits, a hyphen and 8 hexadecimal digits", id)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n < 1 {
		return 0, fault.Newf(fault.Invalid, "read lineage id", "%q holds no epoch above zero", id)
	}
	return Epoch(n), nil
}
