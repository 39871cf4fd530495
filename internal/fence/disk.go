package fence

import (
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// OnDisk fences a server that is down, so that its next start is fenced.
func OnDisk(_ *postgres.Server, _ Options) error {
	return fault.Newf(fault.Invalid, "fence server", "not there yet")
}
