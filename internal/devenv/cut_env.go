package devenv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Cuts are the lines between the primary region and everything else. The primary's worker reaches all by lines of its own; the
// others, the CLI among them, reach the primary's bucket by Outside.
type Cuts struct {
	Other    *Cut // from the primary's worker to the secondary's bucket
	Own      *Cut // from the primary's worker to the primary's bucket
	Temporal *Cut // from the primary's worker to Temporal
	Outside  *Cut // from everybody else to the primary's bucket
}

// all are the lines that there are.
func (c *Cuts) all() (all []*Cut) {
	for _, cut := range []*Cut{c.Other, c.Own, c.Temporal, c.Outside} {
		if cut != nil {
			all = append(all, cut)
		}
	}
	return all
}

// Isolate cuts the primary region off from the rest of the world. What is in it still reaches its own bucket.
func (c *Cuts) Isolate(line Line) {
	for _, cut := range []*Cut{c.Outside, c.Other, c.Temporal} {
		cut.Set(line)
	}
}

// Heal makes all lines whole.
func (c *Cuts) Heal() {
	for _, cut := range c.all() {
		cut.Set(Whole)
	}
}

func (c *Cuts) close() (err error) {
	for _, cut := range c.all() {
		err = errors.Join(err, cut.Close())
	}
	return err
}

// startCuts opens the lines of an Env that has them.
func (e *Env) startCuts() (err error) {
	if !e.opts.Cuts {
		return nil
	}
	e.Cuts = &Cuts{}
	start := func(target string) (cut *Cut) {
		if err == nil {
			cut, err = StartCut(target)
		}
		return cut
	}
	e.Cuts.Other = start(e.Regions[Secondary].Gateway.Addr())
	e.Cuts.Own = start(e.Regions[Primary].Gateway.Addr())
	e.Cuts.Temporal = start(e.Temporal.Addr())
	e.Cuts.Outside = start(e.Regions[Primary].Gateway.Addr())
	return err
}

// writeConfig writes smartdr.yaml, and one of its own for the primary's workers where the lines can be cut.
func (e *Env) writeConfig() error {
	text := e.yaml()
	if e.Cuts == nil {
		return os.WriteFile(e.ConfigPath(), []byte(text), 0o644)
	}
	own, other, temporal := e.Regions[Primary].Gateway.Addr(), e.Regions[Secondary].Gateway.Addr(), e.Temporal.Addr()
	inside := strings.NewReplacer(own, e.Cuts.Own.Addr(), other, e.Cuts.Other.Addr(), temporal, e.Cuts.Temporal.Addr()).Replace(text)
	path := filepath.Join(e.Dir, "smartdr-"+Primary+".yaml")
	if err := os.WriteFile(path, []byte(inside), 0o644); err != nil {
		return err
	}
	e.Regions[Primary].config = path
	return os.WriteFile(e.ConfigPath(), []byte(strings.ReplaceAll(text, own, e.Cuts.Outside.Addr())), 0o644)
}
