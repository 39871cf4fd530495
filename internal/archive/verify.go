package archive

import (
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// Verifier follows a path segment by segment and checks that each continues the one before: same WAL, no gap. It needs
// no second look at the bytes, since a decoded segment's own digest is proven: segments can be decoded in parallel and
// verified in order. The zero value trusts the first segment's midstate.
type Verifier struct {
	begun bool
	at    wal.LSN
	sum   Sum
}

// NewVerifier returns a verifier that wants the path's digest at a position to be sum.
func NewVerifier(at wal.LSN, sum Sum) *Verifier { return &Verifier{true, at, sum} }

// Next takes the path's next segment, already decoded, and the bytes of it that the path uses, and returns those bytes.
// Errors are fault.Missing for a gap and fault.Corrupt for a segment that does not continue the path.
func (v *Verifier) Next(s *Segment, use wal.Range) ([]byte, error) {
	r := s.Header.Range()
	if use.Start < r.Start || use.End > r.End || use.Start >= use.End {
		return nil, fault.Newf(fault.Invalid, "verify chain", "%s is not in %s", use, r)
	}
	if v.begun && use.Start != v.at {
		return nil, fault.Newf(fault.Missing, "verify chain", "a gap from %s to %s", v.at, use.Start)
	}
	before, err := s.sumAt(use.Start)
	if err != nil {
		return nil, err
	}
	if v.begun && before != v.sum {
		return nil, fault.Newf(fault.Corrupt, "verify chain", "segment %s of timeline %d does not continue the path at %s: its digest there is %s, the path's %s",
			r, s.Header.Timeline, use.Start, before, v.sum)
	}
	if v.sum, err = s.sumAt(use.End); err != nil {
		return nil, err
	}
	v.begun, v.at = true, use.End
	return s.Raw[use.Start-r.Start : use.End-r.Start], nil
}

// At returns where the path stands, and its digest there.
func (v *Verifier) At() (wal.LSN, Sum) { return v.at, v.sum }

// sumAt is DigestAt's sum, without hashing where the header knows it.
func (s *Segment) sumAt(l wal.LSN) (Sum, error) {
	if l == s.Header.End {
		return s.Header.Digest, nil
	}
	d, err := s.DigestAt(l)
	if err != nil {
		return Sum{}, err
	}
	return d.Sum(), nil
}
