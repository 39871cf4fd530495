package archive

import (
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

// Parse reads the key of a segment; false for any other object.
func (a *Archive) Parse(info objectstore.Info) (Entry, bool) { return a.parseKey(info) }

// ParseHistory reads the key of a history file; false for any other object.
func (a *Archive) ParseHistory(key string) (wal.Timeline, bool) { return a.parseHistoryKey(key) }
