package missing

import (
	"fmt"
	"os"
)

// bagRows is how many old row versions of a table are in memory at a time, at some 50 bytes for each. More are compared in parts.
var bagRows = uint64(2_000_000)

// maxParts keeps few files open.
const maxParts = 256

// parted compares a table in parts, by what rows hold: the same row is in the same part on both sides.
func (c *comparison) parted(whole sides, n int) error {
	old, err := c.part(whole.old, "old", n, c.same)
	if err != nil {
		return err
	}
	made, err := c.part(whole.new, "new", n, c.news)
	if err != nil {
		return err
	}
	for i := range n {
		err := c.compare(sides{
			old: func(visit func(*row) error) error { return readRows(old[i], visit) },
			new: func(visit func(*row) error) error { return readRows(made[i], visit) },
		})
		if err != nil {
			return err
		}
		for _, path := range []string{old[i], made[i]} {
			if err := os.Remove(path); err != nil {
				return fileError(err)
			}
		}
	}
	return nil
}

// part writes one side's rows into files.
func (c *comparison) part(read func(visit func(*row) error) error, side string, n int, places []int) ([]string, error) {
	paths, all := make([]string, n), make([]*rowWriter, n)
	for i := range all {
		paths[i] = rowsFile(c.t.in.Dir, c.t.plan.fork.Database.OID, c.root()) + fmt.Sprintf(".%s-%d", side, i)
		w, err := newRowWriter(paths[i])
		if err != nil {
			return nil, err
		}
		defer w.abandon()
		all[i] = w
	}
	err := read(func(r *row) error { return all[c.bag.hash(r.Values, places)[1]%uint64(n)].write(r) })
	for _, w := range all {
		if err == nil {
			err = w.close()
		}
	}
	return paths, err
}
