package missing

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
)

const opScan = "scan WAL"

// Scan reads what was committed between fork and tip.
func Scan(ctx context.Context, in ScanInput) (*Changes, error) {
	return nil, fault.Newf(fault.Invalid, opScan, "not there yet")
}
