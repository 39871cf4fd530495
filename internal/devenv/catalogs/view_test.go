package catalogs

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// A server is read as it is without the view that SmartDR makes, also when that is made while the server is read, and left with it.
func TestTheViewThatAppearsMeanwhileIsNotSeen(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{})
	conn, err := p.Open(t.Context(), "postgres")
	devtest.Check(t, err)
	defer conn.Close(context.Background()) //nolint:errcheck // only read from
	seen := func(c *pgx.Conn) (n int) {
		t.Helper()
		devtest.Check(t, c.QueryRow(t.Context(), "select (select count(*) from pg_namespace where nspname = 'smartdr') + (select count(*) from pg_class where relname = 'databases')").Scan(&n))
		return n
	}
	for _, there := range []bool{false, true} { // first it appears meanwhile
		devtest.Check(t, withoutView(t.Context(), conn, func(conn *pgx.Conn) error {
			if n := seen(conn); n != 0 {
				t.Errorf("%d rows of it are seen", n)
			}
			if !there {
				devtest.Check(t, p.Exec(t.Context(), "postgres", "create schema smartdr", "create view smartdr.databases as select 1"))
			}
			if n := seen(conn); n != 0 {
				t.Errorf("%d rows of it are seen since it was made", n)
			}
			return nil
		}))
		if n := seen(conn); n != 2 {
			t.Errorf("of it is left: %d", n)
		}
	}
}
