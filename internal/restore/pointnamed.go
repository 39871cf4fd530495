package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// ErrNotFound is in the tree of errors about transactions and restore points that are not on the way; ErrTooEarly is too, since an
// older snapshot may lead to them.
var ErrNotFound = errors.New("it is not there")

const (
	// lookBack is how many bytes of WAL are looked through first, from the end of the way back: what is asked for is mostly recent.
	lookBack = 16 << 20
	// lookBackMost is what that grows to, so that the file at the start of each stretch, which is read twice, does not matter.
	lookBackMost = 1 << 30
	// namesShown is how many restore points a hint lists.
	namesShown = 10
)

// NamedPoint is a restore point that the WAL holds.
type NamedPoint struct {
	Name string    `json:"name"`
	At   wal.LSN   `json:"at"` // end of its record: what is restored when it is chosen
	Time time.Time `json:"time"`
}

// named is a look for the newest end of a transaction, or the newest restore point of a name, from the end of the way back.
type named struct {
	choice   PointChoice
	walk     walk
	from, to wal.LSN // of the stretch that is looked through: records that end behind from, and at or before to
	begins   wal.LSN // first record that was met there
	at       wal.LSN // what was found, or 0
	stretch  seen
	seen     seen // in the stretches before
}

// seen is what a hint tells of what was looked through.
type seen struct {
	points      []NamedPoint
	first, last ended
	open        bool // the transaction was met there, and its end was not
}

// ended is a transaction that ended.
type ended struct {
	xid  uint32
	time time.Time
}

// notFound is the error of a look that found nothing.
type notFound struct {
	err      *fault.Error
	from, to wal.LSN // records that end there were looked at
	seen     seen
}

func (n *notFound) Error() string        { return n.err.Error() }
func (n *notFound) Unwrap() error        { return n.err }
func (n *notFound) Is(target error) bool { return target == ErrNotFound || target == ErrTooEarly }

// findNamed returns the end of the record that choice means.
func findNamed(ctx context.Context, w walk, choice PointChoice) (wal.LSN, error) {
	n := &named{choice: choice, walk: w}
	n.walk.visit = n.visit
	end, err := n.whole(ctx)
	if err != nil {
		return 0, err
	}
	var before *notFound
	low, high := max(choice.Consistent, 1)-1, end
	if errors.As(choice.Searched, &before) {
		end, n.seen = before.to, before.seen
		high = min(high, before.from-1)
	}
	for size := wal.LSN(lookBack); high > low; size = min(size<<2, lookBackMost) {
		n.from, n.to = max(low, w.size.Start(high-min(high, size))), high
		if err := n.look(ctx); err != nil || n.at != 0 {
			return n.at, err
		}
		n.seen.before(n.stretch)
		high = n.from
	}
	return 0, n.missing(low+1, end)
}

// whole lists the way and returns its end.
func (n *named) whole(ctx context.Context) (wal.LSN, error) {
	err := n.walk.again(func() error {
		for i := range n.walk.legs {
			if err := n.walk.list(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n.walk.end(), nil
}

// look looks through one stretch. It begins earlier and earlier until it has met all records that end in it: one may be long.
func (n *named) look(ctx context.Context) error {
	for extra := wal.LSN(0); ; extra = max(extra<<4, 1<<20) {
		n.walk.from, n.walk.to = n.from-min(n.from, extra), n.to
		err := n.walk.run(ctx, func() { n.begins, n.at, n.stretch = 0, 0, seen{} })
		if err != nil || n.walk.from <= n.walk.legs[0].From.LSN || n.begins != 0 && n.begins <= n.from {
			return err
		}
	}
}

func (n *named) visit(_ int, _ archive.Line, r wal.Record) error {
	if n.begins == 0 {
		n.begins = r.Start
	}
	if r.End <= n.from {
		return nil
	}
	if r.Restore != nil {
		n.stretch.points = append(n.stretch.points, NamedPoint{r.Restore.Name, r.End, r.Restore.Time})
	}
	e, ends := r.Ending()
	switch {
	case n.choice.Name != "" && r.Restore != nil && r.Restore.Name == n.choice.Name,
		n.choice.XID != 0 && ends && slices.Contains(e.XIDs, n.choice.XID):
		n.at = r.End
	case ends && len(e.XIDs) > 0:
		n.stretch.ending(ended{e.XIDs[len(e.XIDs)-1], e.Time})
	case n.choice.XID != 0 && r.XID == n.choice.XID:
		n.stretch.open = true
	}
	return nil
}

func (s *seen) ending(e ended) {
	if s.first.xid == 0 {
		s.first = e
	}
	s.last = e
}

// before adds what was seen in the stretch before.
func (s *seen) before(older seen) {
	s.points = append(older.points, s.points...)
	if older.first.xid != 0 {
		s.first = older.first
	}
	if s.last.xid == 0 {
		s.last = older.last
	}
	s.open = s.open || older.open
}

func (n *named) missing(from, to wal.LSN) error {
	what, hint := fmt.Sprintf("transaction %d did not end", n.choice.XID), n.seen.transactions(to)
	if n.choice.Name != "" {
		what, hint = fmt.Sprintf("there is no restore point %q", n.choice.Name), n.seen.names(n.choice.Name)
	}
	err := fault.Newf(fault.Invalid, opPoint, "%s between %s and %s", what, from, to).WithHint("%s", hint)
	return &notFound{err, from, to, n.seen}
}

func (s *seen) transactions(end wal.LSN) string {
	var hint string
	if s.open {
		hint = fmt.Sprintf("It wrote there, and had not ended at %s. ", end)
	}
	if s.first.xid == 0 {
		return hint + "No transaction with a number ended there."
	}
	return hint + fmt.Sprintf("The first one that ended there is %d at %s, the last one %d at %s.",
		s.first.xid, s.first.time.UTC().Format(time.RFC3339Nano), s.last.xid, s.last.time.UTC().Format(time.RFC3339Nano))
}

// names lists the restore points, those that are spelled like the wanted one first.
func (s *seen) names(wanted string) string {
	points := newestByName(s.points)
	if len(points) == 0 {
		return "There is none at all: SELECT pg_create_restore_point('name') makes one."
	}
	slices.SortStableFunc(points, func(a, b NamedPoint) int { return distance(wanted, a.Name) - distance(wanted, b.Name) })
	var list []string
	for _, p := range points[:min(len(points), namesShown)] {
		list = append(list, fmt.Sprintf("%q of %s at %s", p.Name, p.Time.UTC().Format(time.RFC3339), p.At))
	}
	if n := len(points) - len(list); n > 0 {
		list = append(list, fmt.Sprintf("and %d more", n))
	}
	return "There are " + strings.Join(list, ", ") + "."
}

// newestByName keeps of several points with one name the newest, newest first.
func newestByName(points []NamedPoint) (out []NamedPoint) {
	met := map[string]bool{}
	for _, p := range slices.Backward(points) {
		if !met[p.Name] {
			met[p.Name] = true
			out = append(out, p)
		}
	}
	return out
}

// distance is how many letters must be put in, left out or replaced to make one name of another (Levenshtein).
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := diagonal
			if x[i] != y[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
