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
	ended  uint32 // how many transactions did so that changed rows
}

// deed is what was done to one row version, or to some that lie side by side.
type deed struct {
	run  run
	what uint32 // twice the place of the file in nodes, and one more when they were removed
}

// keep keeps what an open transaction did.
func (w *work) keep(r wal.Record, c wal.RowChange) error {
	list := w.open[c.XID]
	err := w.each(r, c, func(d deed) { list = extend(list, d) })
	w.open[c.XID] = list
	return err
}

// extend adds a deed, or lets one of the last two grow: an update of many rows fills one page with them and empties another.
func extend(list []deed, d deed) []deed {
	for i := len(list) - 1; i >= max(0, len(list)-2); i-- {
		if j, ok := join(list[i].run, d.run); ok && list[i].what == d.what {
			list[i].run = j
			return list
		}
	}
	return append(list, d)
}

// end settles what a transaction did.
func (w *work) end(xid uint32, committed bool) {
	list, ok := w.open[xid]
	if !ok {
		return
	}
	delete(w.open, xid)
	if w.ended++; committed {
		for _, d := range list {
			w.settle(d, xid, w.ended)
		}
	}
}

// settle counts what a transaction did that committed. A place that was made free by one may be filled and freed again by others: the one that
// removed what was there at the fork has the lowest rank, since the place was not free before its end, and 0 if that was before the fork.
func (w *work) settle(d deed, xid, rank uint32) {
	n := w.nodes[d.what/2]
	t := w.tables[n]
	if t == nil {
		t = &Touched{}
		w.tables[n] = t
	}
	if d.what%2 == 0 {
		t.New.add(owned{run: d.run})
	} else {
		t.Old.add(owned{d.run, xid, rank})
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
