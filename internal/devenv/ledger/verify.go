package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/wal"
)

// Report says what a database holds of what was acknowledged.
type Report struct {
	Acknowledged int
	Due          int           // acknowledged commits that end at or before the recovery point
	Kept         int           // of all acknowledged commits
	Broken       []string      // promises broken, each a sentence; empty is good
	FirstLost    *Commit       // the earliest acknowledged commit that is not there; nil if all are
	Loss         time.Duration // from FirstLost to the cut; 0 if nothing was lost: the measured RPO
}

// Verify compares the database behind conn with the commits that a load acknowledged. recovered is the end of the last
// record that was recovered, cut the moment at which the old server was lost.
func Verify(ctx context.Context, conn *pgx.Conn, commits []Commit, recovered wal.LSN, cut time.Time) (Report, error) {
	there, err := transfers(ctx, conn)
	if err != nil {
		return Report{}, err
	}
	r := Report{Acknowledged: len(commits)}
	for _, c := range commits {
		r.judge(c, there[c.ID], recovered)
	}
	if r.FirstLost != nil {
		r.Loss = max(0, cut.Sub(r.FirstLost.At))
	}
	return r, r.judgeBalance(ctx, conn)
}

func (r *Report) judge(c Commit, there bool, recovered wal.LSN) {
	due := c.After <= recovered
	if due {
		r.Due++
	}
	if there {
		r.Kept++
	}
	switch {
	case due && !there:
		r.Broken = append(r.Broken, fmt.Sprintf("%s committed by %s and recovery reached %s, but it is not there", c.ID, c.After, recovered))
	case there && c.Before >= recovered:
		r.Broken = append(r.Broken, fmt.Sprintf("%s committed after %s and recovery ended at %s, but it is there", c.ID, c.Before, recovered))
	case !there && (r.FirstLost == nil || c.At.Before(r.FirstLost.At)):
		r.FirstLost = &c
	}
}

// judgeBalance looks for transfers that are half there.
func (r *Report) judgeBalance(ctx context.Context, conn *pgx.Conn) error {
	checks := []struct{ sentence, query string }{
		{"%d transfers do not have two postings that sum to zero",
			`select count(*) from (select t.id from transfers t left join postings p on p.transfer = t.id
			 group by t.id having count(p.*) <> 2 or sum(p.amount) <> 0) x`},
		{"%d postings belong to no transfer",
			`select count(*) from postings p where not exists (select from transfers t where t.id = p.transfer)`},
		{"%d accounts differ from what their postings say",
			fmt.Sprintf(`select count(*) from accounts a where balance <> %d + coalesce((select sum(amount) from postings where account = a.id), 0)`, initialBalance)},
	}
	for _, c := range checks {
		var n int
		if err := conn.QueryRow(ctx, c.query).Scan(&n); err != nil {
			return fmt.Errorf("verify the ledger: %w", err)
		}
		if n > 0 {
			r.Broken = append(r.Broken, fmt.Sprintf(c.sentence, n))
		}
	}
	return nil
}

func transfers(ctx context.Context, conn *pgx.Conn) (map[string]bool, error) {
	rows, err := conn.Query(ctx, `select id from transfers`)
	if err != nil {
		return nil, fmt.Errorf("verify the ledger: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("verify the ledger: %w", err)
	}
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	return there, nil
}
