package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/wal"
)

// Move is the end of one server's time as the writer.
type Move struct {
	Timeline wal.Timeline // that it wrote
	// Planned moves lose nothing. Others may lose what lies after Fork.
	Planned bool
	Fork    wal.LSN   // end of the last record that was recovered; of an unplanned one
	Cut     time.Time // when the server was lost; of an unplanned one
}

// Lost are acknowledged commits that an unplanned move left behind.
type Lost struct {
	Move    Move
	Commits []Commit // by acknowledgement time
	Loss    time.Duration
}

// Account says what a database holds of what was acknowledged over several moves.
type Account struct {
	Report
	Lost []Lost // by unplanned move, in the order given
}

// VerifyMoves compares the database behind conn with the commits that a roaming load acknowledged: those of the server that writes
// now, and of servers that were left by planned moves, must all be there; of a server that was lost those before the fork. What a
// server acknowledges that is in no move and that does not write now breaks the promise of one writer.
func VerifyMoves(ctx context.Context, conn *pgx.Conn, commits []Commit, moves []Move) (Account, error) {
	now, err := timelineOf(ctx, conn)
	if err != nil {
		return Account{}, fmt.Errorf("verify the ledger: %w", err)
	}
	there, err := transfers(ctx, conn)
	if err != nil {
		return Account{}, err
	}
	a := judgeMoves(commits, there, moves, now)
	return a, a.judgeBalance(ctx, conn)
}

func judgeMoves(commits []Commit, there map[string]bool, moves []Move, now wal.Timeline) Account {
	a := Account{Report: Report{Acknowledged: len(commits)}}
	byMove := make([]Lost, len(moves))
	for _, c := range commits {
		i := slices.IndexFunc(moves, func(m Move) bool { return m.Timeline == c.Timeline })
		switch {
		case i < 0 && c.Timeline != now:
			a.Broken = append(a.Broken, fmt.Sprintf("%s was acknowledged by %s on timeline %d, which nobody gave the right to write", c.ID, c.Server, c.Timeline))
		case i < 0 || moves[i].Planned:
			a.judge(c, there[c.ID], unknownEnd)
		default:
			a.judge(c, there[c.ID], moves[i].Fork)
			if !there[c.ID] {
				byMove[i].Commits = append(byMove[i].Commits, c)
			}
		}
	}
	for i, m := range moves {
		if !m.Planned {
			a.Lost = append(a.Lost, byMove[i].settle(m))
		}
	}
	return a
}

func (l Lost) settle(m Move) Lost {
	l.Move = m
	slices.SortStableFunc(l.Commits, func(a, b Commit) int { return a.At.Compare(b.At) })
	if len(l.Commits) > 0 {
		l.Loss = max(0, m.Cut.Sub(l.Commits[0].At))
	}
	return l
}

// OutsideOf returns the lost commits that a tail which ends at the given position does not hold: none, once the tail is complete.
func (l Lost) OutsideOf(end wal.LSN) (missing []Commit) {
	for _, c := range l.Commits {
		if c.After > end && (c.Before >= end || !c.vague()) {
			missing = append(missing, c)
		}
	}
	return missing
}

// vague reports whether a commit's record may end well before After: nobody was told where it ends, or the server had flushed whole
// pages, the last of which may end within a record whose rest never came.
func (c Commit) vague() bool { return c.After == unknownEnd || c.After%walPage == 0 }

// walPage is the size of a page of WAL: servers flush by pages while nobody waits for a commit.
const walPage = 8192

// Gap is the time without a writer as clients saw it.
type Gap struct {
	From, To wal.Timeline
	Last     time.Time // acknowledgement of the old server's last commit
	First    time.Time // acknowledgement of the new server's first one
}

// Length of the gap. It is negative when two servers acknowledged at the same time, which no planned move does.
func (g Gap) Length() time.Duration { return g.First.Sub(g.Last) }

// Gaps returns the clients' gap at each change of the writer, in the order of first acknowledgements.
func Gaps(commits []Commit) (gaps []Gap) {
	first, last := map[wal.Timeline]time.Time{}, map[wal.Timeline]time.Time{}
	var order []wal.Timeline
	for _, c := range commits { // by acknowledgement time
		if _, seen := first[c.Timeline]; !seen {
			first[c.Timeline] = c.At
			order = append(order, c.Timeline)
		}
		last[c.Timeline] = c.At
	}
	for i := 1; i < len(order); i++ {
		from, to := order[i-1], order[i]
		gaps = append(gaps, Gap{From: from, To: to, Last: last[from], First: first[to]})
	}
	return gaps
}
