package metadata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/wal"
)

// publisher is what the other end of a subscription says.
type publisher struct {
	why       string // it could not be asked; empty if it was
	at        wal.LSN
	recovers  bool // it is a standby
	found     bool
	active    bool
	confirmed wal.LSN
	lost      bool // the slot's WAL is gone
}

// libpqOnly are parameters of libpq that the driver would send to the server, which does not know them. None of them decides
// which server is reached.
var libpqOnly = []string{
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "fallback_application_name",
	"gssencmode", "gssdelegation", "gsslib", "replication", "sslcompression", "sslcrl", "sslcrldir", "ssl_min_protocol_version", "ssl_max_protocol_version",
	"requirepeer", "load_balance_hosts", "hostaddr", "scram_client_key", "scram_server_key", "sslkeylogfile", "oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope",
}

// errConninfo stands for every reason why a connection string cannot be read: the reasons quote it.
var errConninfo = errors.New("its connection string cannot be read here")

// publisherConfig reads a subscription's connection string, which may hold a password. Its errors do not quote it.
func publisherConfig(conninfo string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(conninfo)
	if err != nil {
		return nil, errConninfo
	}
	if address := cfg.RuntimeParams["hostaddr"]; address != "" && !strings.Contains(address, ",") {
		cfg.Host = address
	}
	maps.DeleteFunc(cfg.RuntimeParams, func(k, _ string) bool { return slices.Contains(libpqOnly, k) })
	return cfg, nil
}

// askWithin is how long a publisher may take to answer, and askAgain how often a slot that is in use is looked at: the
// sender of a primary that died needs a moment to notice.
const (
	askWithin = 5 * time.Second
	askAgain  = 500 * time.Millisecond
)

// askPublisher reads a subscription's slot at its publisher. conninfo is a secret: nothing that is returned quotes it.
func askPublisher(ctx context.Context, conninfo, slot string) publisher {
	cfg, err := publisherConfig(conninfo)
	if err != nil {
		return publisher{why: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return publisher{why: refusal(cfg, err)}
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	for {
		p, err := readPublisher(ctx, conn, slot)
		if err != nil {
			return publisher{why: refusal(cfg, err)}
		}
		if !p.active || !pauseUntil(ctx, askAgain) {
			return p
		}
	}
}

// pauseUntil waits, and returns false when there is no time to wait and ask again.
func pauseUntil(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func readPublisher(ctx context.Context, conn *pgx.Conn, slot string) (p publisher, err error) {
	var at, confirmed string
	err = conn.QueryRow(ctx, `select pg_is_in_recovery(), case when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_insert_lsn() end::text`).
		Scan(&p.recovers, &at)
	if err != nil {
		return p, err
	}
	p.at = lsn(at)
	err = conn.QueryRow(ctx, `select active, coalesce(confirmed_flush_lsn, '0/0')::text,
		coalesce(to_jsonb(s) ->> 'wal_status', '') = 'lost' or to_jsonb(s) ->> 'invalidation_reason' is not null
		from pg_replication_slots s where slot_name = $1`, slot).Scan(&p.active, &confirmed, &p.lost)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil
	}
	p.found, p.confirmed = err == nil, lsn(confirmed)
	return p, err
}

// refusal says why a publisher could not be asked, without anything that the driver or the connection string says.
func refusal(cfg *pgx.ConnConfig, err error) string {
	where := fmt.Sprintf("its publisher at %s:%d", cfg.Host, cfg.Port)
	var answer *pgconn.PgError
	switch {
	case errors.As(err, &answer):
		return fmt.Sprintf("%s refuses to answer (SQLSTATE %s)", where, answer.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s did not answer within %s", where, askWithin)
	}
	return where + " cannot be reached from here"
}
