package retention_test

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// leftovers is how many objects the worker is killed among that removes them.
const leftovers = 6000

// killed fills a bucket with contents of inventories that no document names, and kills all workers while one removes them. The round that was begun
// goes on in a new process, to the same end.
func (l *live) killed() {
	l.Helper()
	dir := l.litter(devenv.Secondary)
	run, done, err := l.start(l.Context(), devenv.Secondary)
	must(l.T, err)
	defer done()
	devtest.Until(l.T, "the first of many objects to be removed", func() bool { return len(l.files(dir)) <= leftovers })
	var kills errgroup.Group
	for _, region := range regions {
		kills.Go(l.env.Regions[region].Worker.Kill)
	}
	must(l.T, kills.Wait())
	left := len(l.files(dir))
	l.Logf("killed with %d of %d objects left", left, leftovers)
	if left < 2 {
		l.Error("the workers were killed after all was done: this shows nothing")
	}
	for _, region := range regions {
		must(l.T, l.env.Regions[region].StartWorker(l.Context(), l.env.Temporal))
	}
	var swept topology.Swept
	must(l.T, run.Get(l.Context(), &swept))
	if gone := swept.Gone[topology.SweptOther].Objects; gone == 0 || gone > int64(left) {
		l.Errorf("the second process says that it removed %d of %d objects", gone, left)
	}
	if files := l.files(dir); len(files) > 1 {
		l.Errorf("%d are left, want the one that is named", len(files))
	}
}

// litter puts objects into a bucket, and returns the folder that they are in.
func (l *live) litter(region string) string {
	l.Helper()
	const prefix = "groups/" + liveGroup + "/workspaces/" + liveSpace + "/inventory/"
	var puts errgroup.Group
	puts.SetLimit(16)
	for n := range leftovers {
		puts.Go(func() error {
			_, err := l.stores[region].Put(l.Context(), fmt.Sprintf("%s%08d-%064x.json.zst", prefix, 1, n), []byte("x"), objectstore.PutOptions{})
			return err
		})
	}
	must(l.T, puts.Wait())
	found, err := filepath.Glob(filepath.Join(l.env.Regions[region].Gateway.DataDir(), "*", objectstore.Root, prefix))
	must(l.T, err)
	if len(found) == 0 {
		found, err = filepath.Glob(filepath.Join(l.env.Regions[region].Gateway.DataDir(), objectstore.Root, prefix))
		must(l.T, err)
	}
	if len(found) != 1 {
		l.Fatalf("the bucket's files are in %v", found)
	}
	return found[0]
}

func (l *live) files(dir string) []os.DirEntry {
	l.Helper()
	all, err := os.ReadDir(dir)
	must(l.T, err)
	return all
}
