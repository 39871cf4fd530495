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
)

// pack is one that is being filled.
type pack struct {
	to      targets
	body    []byte
	entries []Entry
}

func newPack(to targets, body []byte) *pack {
	return &pack{to: to, body: append(body[:0], packMagic...)}
}

func (p *pack) add(h Hash, compressed []byte, raw int) {
	p.entries = append(p.entries, Entry{Hash: h, Offset: uint32(len(p.body)), Size: uint32(len(compressed)), Raw: uint32(raw)})
	p.body = append(p.body, compressed...)
}
