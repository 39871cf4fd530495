package devtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
)

// End stops everything in e and fails the test for what lives on. A test that failed shows the end of every log, since the folder
// is removed with it.
func End(t *testing.T, e *devenv.Env) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
	for _, left := range leftovers(e.Dir) {
		t.Errorf("left behind: %s", left)
	}
	if t.Failed() {
		showLogs(t, e.Dir)
	}
}

// leftovers are the processes that live on. One that is killed takes a moment to be gone.
func leftovers(dir string) (found []string) {
	for until := time.Now().Add(Patience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if found = devenv.Leftovers(dir); len(found) == 0 {
			return nil
		}
	}
	return found
}

func showLogs(t *testing.T, dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".log") && !strings.Contains(path, "temporal") {
			b, _ := os.ReadFile(path)
			t.Logf("%s ends with:\n%s", path, b[max(0, len(b)-3000):])
		}
		return nil
	})
}
