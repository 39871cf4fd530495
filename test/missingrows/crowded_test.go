package missingrows_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// TestACopyThatLetsNobodyIn compares with a copy that replays to the fork and lets nobody in there, since a transaction with many subtransactions was open
// from its snapshot on: it is promoted where it is read, and a second one is made.
func TestACopyThatLetsNobodyIn(t *testing.T) {
	if os.Getenv(postgrestest.FullVariable) == "" {
		t.Skip("only with " + postgrestest.FullVariable)
	}
	w := newWorld(t)
	w.crowded = true
	w.waitBehind(w.loseRegion())
	w.checkFound(w.missing(nil))
	log, err := os.ReadFile(filepath.Join(w.Env.Dir, "regions", devenv.Secondary, "worker.log"))
	if err != nil || !bytes.Contains(log, []byte("the copy lets nobody in")) {
		t.Errorf("the copy was read where it stood: %v", err)
	}
}
