package missing

import (
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// work is what transactions did to rows: of those that are open as a list, of those that committed by place.
type work struct {
	tables map[Node]*Touched // of those that committed
	nodes  []Node
	index  map[Node]uint32 // place in nodes
	open   map[uint32][]deed
}

// deed is what was done to one row version, or to some that lie side by side.
type deed struct {
	run  run
	what uint32 // twice the place of the file in nodes, and one more when they were removed
}

// keep keeps what an open transaction did.
func (w *work) keep(r wal.Record, c wal.RowChange) error {
	list := w.open[c.XID]
	err := w.each(r, c, func(d deed) {
		if n := len(list); n > 0 && list[n-1].what == d.what {
			if j, ok := join(list[n-1].run, d.run); ok {
				list[n-1].run = j
				return
			}
		}
		list = append(list, d)
	})
	w.open[c.XID] = list
	return err
}

// end settles what a transaction did.
func (w *work) end(xid uint32, committed bool) {
	if committed {
		for _, d := range w.open[xid] {
			w.settle(d)
		}
	}
	delete(w.open, xid)
}

// settle counts what a transaction did that committed.
func (w *work) settle(d deed) {
	n := w.nodes[d.what/2]
	t := w.tables[n]
	if t == nil {
		t = &Touched{}
		w.tables[n] = t
	}
	if d.what%2 == 0 {
		t.New.add(d.run)
	} else {
		t.Old.add(d.run)
	}
}

// each hands over what a record says.
func (w *work) each(r wal.Record, c wal.RowChange, do func(deed)) error {
	i, ok := w.index[c.Node]
	if !ok {
		i = uint32(len(w.nodes))
		w.index[c.Node], w.nodes = i, append(w.nodes, c.Node)
	}
	for side, rows := range [2]wal.Rows{c.New, c.Old} {
		for o := range rows.Offsets() {
			if o == 0 || o >= maxOffsets {
				return fault.Newf(fault.Corrupt, opScan, "the record at %s names row version %d of a page", r.Start, o)
			}
			do(deed{newRun(rows.Block, o, o), 2*i + uint32(side)})
		}
	}
	return nil
}
