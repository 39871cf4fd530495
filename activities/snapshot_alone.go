package activities

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
)

// askAlone is how often it is looked whether another snapshot of the same server has ended.
const askAlone = time.Second

// sessionThatWaits makes sure that the server ends the session soon after its host is lost, and not before. Settings that this major does not have
// are left out.
const sessionThatWaits = `select set_config(s.name, v.setting, false) from pg_settings s join (values
	('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), ('idle_session_timeout', '0')) v (name, setting) using (name)`

// alone waits until nobody else takes a snapshot of the workspace, and keeps others waiting until the session that it returns is closed. The one that the
// schedule wants and one that somebody asks for are taken by different activities, on whatever host of the region: what they have in common is
// the server, which forgets the lock together with the session. Two at the same time would do no harm but to cost twice as much.
func (s *Source) alone(ctx context.Context, in SourceInput, sub subject, p *pulse) (session *pgx.Conn, waited bool, err error) {
	conn, err := postgres.Open(ctx, sub.source)
	if err != nil {
		return nil, false, err
	}
	if _, err := conn.Exec(ctx, sessionThatWaits); err != nil {
		hangUp(ctx, conn)
		return nil, false, err
	}
	for {
		var ours bool
		err := conn.QueryRow(ctx, "select pg_try_advisory_lock(hashtextextended('smartdr snapshot ' || $1, 0))", in.Group+"/"+in.Workspace).Scan(&ours)
		if err != nil {
			hangUp(ctx, conn)
			return nil, waited, err
		}
		if ours {
			return conn, waited, nil
		}
		waited = true
		p.say("waits until another snapshot of workspace " + in.Workspace + " is taken")
		select {
		case <-time.After(askAlone):
		case <-ctx.Done():
			hangUp(ctx, conn)
			return nil, waited, ctx.Err()
		}
	}
}

func hangUp(ctx context.Context, conn *pgx.Conn) {
	_ = conn.Close(context.WithoutCancel(ctx)) // the server ends what is lost by itself
}
