package preflight_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/preflight"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestWhatStandsAroundAServer(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{Settings: map[string]string{"allow_in_place_tablespaces": "on"}})
	run(t, p, []string{`select pg_create_physical_replication_slot('_cnpg_a')`, `create tablespace inside location ''`})
	src := topology.Source{ConnString: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", pooler(t, p.Addr())), PasswordFile: p.PasswordFile}
	r := check(t, src, options)
	if len(r.Problems) > 0 || !cmp.Equal(codes(r.Warnings), []string{"pooler", "managed", "in-place-tablespace"}) {
		t.Errorf("problems %v, warnings %v", r.Problems, r.Warnings)
	}
}

func TestAManagedServiceCannotBeAdopted(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{})
	run(t, p, []string{`create role rds_superuser`})
	if err := p.WriteHBA("host all all 127.0.0.1/32 scram-sha-256\n"); err != nil { // as RDS does, it lets nobody replicate
		t.Fatal(err)
	}
	run(t, p, []string{`select pg_reload_conf()`})
	devtest.Until(t, "the refusal", func() bool {
		r := check(t, p.RemoteSource("postgres"), options)
		return slices.ContainsFunc(r.Problems, func(f preflight.Finding) bool {
			return f.Code == "replication-connection" && cmp.Equal(f.Todo, "Amazon RDS gives no physical replication to the outside: such a server cannot be adopted.")
		})
	})
}

func TestAnIdleSlotTimeoutShouldBeKnown(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		if major < 18 {
			t.Skip("PostgreSQL 18 brought idle_replication_slot_timeout")
		}
		p := devtest.Postgres(t, devenv.PostgresOptions{Major: major, Settings: map[string]string{"idle_replication_slot_timeout": "1d"}})
		if r := check(t, p.RemoteSource("postgres"), options); !cmp.Equal(codes(r.Warnings), []string{"idle-slot"}) {
			t.Errorf("warnings %v", r.Warnings)
		}
	})
}

// pooler stands before a server and gives clients another process number than the server's, as PgBouncer does.
func pooler(t *testing.T, server string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				return
			}
			go func() { _, _ = io.Copy(backend, client); _ = backend.Close() }()
			go func() { renumber(client, backend); _ = client.Close() }()
		}
	}()
	return l.Addr().String()
}

// renumber copies the server's messages (a letter, and a length that counts itself) and changes BackendKeyData.
func renumber(to io.Writer, from io.Reader) {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		if head[0] == 'K' {
			binary.BigEndian.PutUint32(body, 4711)
		}
		if _, err := to.Write(append(head, body...)); err != nil {
			return
		}
	}
}
