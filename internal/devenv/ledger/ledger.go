// Package ledger is a workload that remembers what the server promised: transfers between accounts, each acknowledged commit
// written down with the WAL positions around it. After a failover it says which promises were kept.
// The demo, the tests and the benchmarks share it.
package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

const (
	accounts       = 100
	initialBalance = 1000
)

// Setup makes the ledger's tables in the database that conn is connected to, owned by conn's role.
// Each transfer is one row of transfers and two of postings, and moves two balances: half a transfer shows.
func Setup(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, fmt.Sprintf(`
		create table accounts (id int primary key, balance bigint not null);
		create table transfers (id text primary key, made_at timestamptz not null default clock_timestamp());
		create table postings (transfer text not null references transfers, account int not null references accounts, amount bigint not null);
		create index on postings (transfer);
		insert into accounts select g, %d from generate_series(1, %d) g;`, initialBalance, accounts))
	if err != nil {
		return fmt.Errorf("set up the ledger: %w", err)
	}
	return nil
}

// transfer moves an amount between two accounts in one transaction. It returns a WAL position at or before the commit
// record; err is the outcome of the commit as the client saw it.
func transfer(ctx context.Context, conn *pgx.Conn, id string, from, to, amount int) (before string, err error) {
	if from > to { // one order for all, so that no two transfers deadlock
		from, to, amount = to, from, -amount
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit there is nothing to roll back, and the commit's error counts
	b := &pgx.Batch{}
	b.Queue(`insert into transfers (id) values ($1)`, id)
	b.Queue(`insert into postings values ($1, $2, $3), ($1, $4, $5)`, id, from, -amount, to, amount)
	b.Queue(`update accounts set balance = balance - $2 where id = $1`, from, amount)
	b.Queue(`update accounts set balance = balance + $2 where id = $1`, to, amount)
	b.Queue(`select pg_current_wal_insert_lsn()::text`).QueryRow(func(r pgx.Row) error { return r.Scan(&before) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return "", err
	}
	return before, tx.Commit(ctx)
}
