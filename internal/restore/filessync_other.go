//go:build !linux

package restore

import (
	"errors"
	"os"

	"github.com/smartdr/smartdr/internal/snapshot"
)

const (
	noFollow = 0
	noWait   = 0
)

// cloneRange is for file systems that share blocks, of which none is known here.
var cloneRange = func(_, _ *os.File, _, _ int64) error { return errors.ErrUnsupported }

func startWriteback(*os.File, int64, int64) {}

// sync makes everything restored durable, file by file.
func (p *place) sync(m *snapshot.Manifest) error {
	for i := range m.Files {
		f := &m.Files[i]
		if f.Path == controlPath {
			continue
		}
		file, err := os.Open(p.path(f.Path))
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return syncFolder(p.data)
}
