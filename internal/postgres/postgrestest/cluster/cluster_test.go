package cluster_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/cluster"
)

// TestClustersAreTheirOwn makes two clusters of one template: each starts, says that it is another one than the other, and has what was chosen.
func TestClustersAreTheirOwn(t *testing.T) {
	t.Parallel()
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		t.Parallel()
		seen := map[string]bool{}
		for range 2 {
			s := postgrestest.NewServer(t, bin)
			postgrestest.Check(t, cluster.Init(t.Context(), s, postgres.InitOptions{Checksums: true, SegmentSize: 1 << 20}))
			postgrestest.Check(t, s.Start(t.Context()))
			id := postgrestest.Query(t, s, "postgres", "select system_identifier from pg_control_system()")
			c, err := s.ControlData(t.Context())
			postgrestest.Check(t, err)
			if seen[id] || id != c.SystemID || !c.Checksums || c.SegmentSize != 1<<20 {
				t.Errorf("the server says that it is %s, as of %v, and pg_control says %+v", id, seen, c)
			}
			seen[id] = true
			postgrestest.Exec(t, s, "postgres", "create table t as select 1; checkpoint")
			postgrestest.Check(t, s.Kill(t.Context()))
			postgrestest.Check(t, s.Start(t.Context())) // recovers from its own WAL
		}
	})
}

// TestOnlyIntoAnEmptyFolder has the same words for what is in the way as the server's own Init.
func TestOnlyIntoAnEmptyFolder(t *testing.T) {
	t.Parallel()
	s := postgrestest.NewServer(t, postgrestest.Installations(t)[0])
	postgrestest.Check(t, os.Mkdir(s.DataDir, 0o700))
	postgrestest.Check(t, os.WriteFile(filepath.Join(s.DataDir, "mine"), nil, 0o600))
	if err := cluster.Init(t.Context(), s, postgres.InitOptions{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("into a folder with a file: %v", err)
	}
}
