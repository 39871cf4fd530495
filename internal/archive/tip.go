package archive

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Tip is the end of a lineage's unbroken path in one bucket, and how to go on from there.
type Tip struct {
	Position   wal.Position
	RecordEnd  wal.LSN   // end of the last complete record at or before Position; 0 when there is none yet
	LastCommit Commit    // last one at or before RecordEnd
	Latest     *Latest   // bounds the times of commits on the path; nil when unknown
	AsOf       time.Time // everything that the server had flushed by then is included; zero when unknown
	State      []byte    // SHA-256 midstate at Position
	Digest     Sum       // the digest there
	// Beyond is where the next object starts when there is one behind a hole, else 0.
	Beyond    wal.LSN
	Line      Line
	Chain     Chain
	Histories map[wal.Timeline][]byte // history files as they are stored
}

// Point returns the tip as a recovery point.
func (t Tip) Point(lineage string) topology.RecoveryPoint {
	return topology.RecoveryPoint{Lineage: lineage, At: t.Position, RecordEnd: t.RecordEnd, LastCommit: t.LastCommit.Time, AsOf: t.AsOf}
}

// Tip finds the end of the lineage's unbroken path from its first byte on, by keys, and verifies the object there.
// The whole path is verified when it is read: restore.FetchWAL.
func (a *Archive) Tip(ctx context.Context, lineage topology.Lineage) (Tip, error) {
	return a.TipFrom(ctx, lineage, lineage.Start.LSN)
}

// TipFrom is Tip for a path that begins at from.
func (a *Archive) TipFrom(ctx context.Context, lineage topology.Lineage, from wal.LSN) (Tip, error) {
	for attempt := 0; ; attempt++ {
		t, err := a.tip(ctx, lineage, from)
		// An object that was listed and is gone was merged meanwhile: the next list has what it became.
		if !fault.Is(err, fault.Missing) || attempt == 3 {
			return t, err
		}
	}
}

func (a *Archive) tip(ctx context.Context, lineage topology.Lineage, from wal.LSN) (Tip, error) {
	inv, err := a.List(ctx)
	if err != nil {
		return Tip{}, err
	}
	line, err := inv.Line(lineage.Start.Timeline)
	if err != nil {
		return Tip{}, err
	}
	c := Path(inv.Entries, line, from)
	t := Tip{Position: c.End, Beyond: c.Beyond, Line: line, Chain: c, Histories: inv.Histories}
	if len(c.Steps) == 0 {
		d := NewDigest()
		t.State, t.Digest, t.AsOf = d.State(), d.Sum(), lineage.CreatedAt
		return t, nil
	}
	return a.tipOf(ctx, t, lineage.SegmentSize)
}

// tipOf fills in what the last object of t's chain says.
func (a *Archive) tipOf(ctx context.Context, t Tip, size wal.SegmentSize) (Tip, error) {
	last := t.Chain.Steps[len(t.Chain.Steps)-1]
	s, err := a.Get(ctx, last.Entry)
	if err != nil {
		return Tip{}, err
	}
	d, err := s.DigestAt(last.Use.End)
	if err != nil {
		return Tip{}, err
	}
	t.State, t.Digest = d.State(), d.Sum()
	t.RecordEnd, t.LastCommit, t.Latest, t.AsOf = s.Header.RecordEnd, s.Header.LastCommit, s.Header.Latest, s.Header.AsOf
	if last.Use.End < s.Header.End {
		t.atSwitch(s, last.Use, size)
	}
	return t, nil
}

// atSwitch corrects what the header says for a segment of which only the bytes before a timeline's end are used. A
// timeline ends where its last record does.
func (t *Tip) atSwitch(s *Segment, use wal.Range, size wal.SegmentSize) {
	t.RecordEnd = use.End
	if t.LastCommit.LSN <= use.End {
		return
	}
	t.LastCommit = Commit{}
	sc := wal.NewScanner(size)
	// An error ends the scan early; then the last commit stays unknown.
	_ = sc.Feed(s.Header.Start, s.Raw[:use.End-s.Header.Start], func(r wal.Record) {
		if r.Commit != nil {
			t.LastCommit = Commit{r.End, r.Commit.Time}
		}
	})
}

// Read hands over the bytes of a chain from a position on, in order and in pieces.
func (a *Archive) Read(ctx context.Context, c Chain, from wal.LSN, take func(at wal.LSN, b []byte)) error {
	for _, step := range c.Steps {
		if step.Use.End <= from {
			continue
		}
		s, err := a.Get(ctx, step.Entry)
		if err != nil {
			return err
		}
		at := max(from, step.Use.Start)
		take(at, s.Raw[at-s.Header.Start:step.Use.End-s.Header.Start])
	}
	return nil
}

// DigestAt returns the digest of the path up to l, which must lie on the chain.
func (a *Archive) DigestAt(ctx context.Context, c Chain, l wal.LSN) (*Digest, error) {
	for _, step := range c.Steps {
		if step.Use.Contains(l) {
			s, err := a.Get(ctx, step.Entry)
			if err != nil {
				return nil, err
			}
			return s.DigestAt(l)
		}
	}
	return nil, fault.Newf(fault.Missing, "digest of the path", "%s is not on it", l)
}
