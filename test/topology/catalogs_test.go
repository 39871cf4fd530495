package topology_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/catalogs"
	"github.com/smartdr/smartdr/internal/postgres"
)

// take reads a whole server, but for the ledger's rows, which have a judge of their own.
func take(t *testing.T, s *postgres.Server, leftOut []string) catalogs.Inventory {
	t.Helper()
	v, err := catalogs.Take(t.Context(), s, leftOut, []string{"accounts", "transfers", "postings"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func open(t *testing.T, s *postgres.Server, database string) *pgx.Conn {
	t.Helper()
	conn, err := s.Open(t.Context(), database)
	if err != nil {
		t.Fatalf("connect to database %s: %v", database, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // nothing hangs on a clean goodbye
	return conn
}

// expect fails the test for every difference that no documented beginning covers, and for every one of those that covers none.
func expect(t *testing.T, name string, found []string, documented ...string) {
	t.Helper()
	covered := map[string]bool{}
	for _, d := range found {
		i := slices.IndexFunc(documented, func(prefix string) bool { return strings.HasPrefix(d, prefix) })
		if i < 0 {
			t.Errorf("%s: %s", name, d)
			continue
		}
		covered[documented[i]] = true
	}
	for _, d := range documented {
		if !covered[d] {
			t.Errorf("%s: documented as different, and it is not: %s", name, d)
		}
	}
}
