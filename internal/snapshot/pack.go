package snapshot

// targets is a set of a writer's targets, by number: bit i stands for the i-th.
type targets uint8

func (t targets) has(i int) bool { return t&(1<<i) != 0 }

// Class groups chunks into packs by when a restore wants them.
type Class uint8

const (
	// Essential chunks are what a server reads before it serves anybody: everything outside the databases' folders,
	// and small files. They fill packs of their own, so that they can be fetched first and with few requests.
	Essential Class = iota
	// Bulk is everything else.
	Bulk
	// difference packs hold deltas of both: together they are small, and an older program that meets their index reads none of it.
	difference
)

// pack is one that is being filled.
type pack struct {
	to      targets
	body    []byte
	entries []Entry
	records []byte // page fingerprints of whole chunks
}

func newPack(to targets, body []byte) *pack {
	return &pack{to: to, body: append(body[:0], packMagic...)}
}

// add appends the stored form of a chunk; where it lies is filled into e here.
func (p *pack) add(e Entry, stored []byte) {
	e.Offset, e.Size = uint32(len(p.body)), uint32(len(stored))
	p.entries = append(p.entries, e)
	p.body = append(p.body, stored...)
}

// Sealed is a pack that is complete: its objects and its name.
type Sealed struct {
	ID          string
	Body, Index []byte
	Pages       []byte // nil when it holds only deltas, or came from an old one
}

// seal closes a pack with pages of so many bytes.
func (p *pack) seal(page int) Sealed {
	s := Sealed{Body: p.body, Index: encodeIndex(p.entries)}
	s.ID = packID(s.Index)
	if len(p.records) > 0 {
		s.Pages = sealPages(p.records, page)
	}
	return s
}

// Len returns how many bytes the pack's objects have.
func (s Sealed) Len() int64 { return int64(len(s.Body) + len(s.Index) + len(s.Pages)) }
