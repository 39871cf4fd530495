package readiness

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// item is a ReadinessItem in the making.
type item = topology.ReadinessItem

func ok(check, format string, args ...any) item {
	return item{Check: check, State: topology.ReadinessOK, Text: fmt.Sprintf(format, args...)}
}

func warning(todo, check, format string, args ...any) item {
	return item{Check: check, State: topology.ReadinessWarning, Text: fmt.Sprintf(format, args...), Todo: todo}
}

func blocking(todo, check, format string, args ...any) item {
	i := warning(todo, check, format, args...)
	i.State = topology.ReadinessBlocking
	return i
}

// unknown is a check that could not be made.
func unknown(check string, err error) item {
	todo := cmp.Or(fault.HintOf(err), "Put right what is in the way, and check again.")
	return warning(todo, check, "It could not be checked: %s.", strings.TrimSuffix(err.Error(), "."))
}

// judge says of each check how it stands, first those of the group, then those of each workspace.
func judge(f Facts) []item {
	switch {
	case f.Group.State == topology.GroupTerminated:
		return []item{blocking("Nothing is to be done: what is in the buckets stays.", "replication", "The group is terminated: there is nothing to fail over.")}
	case f.To == "":
		return []item{blocking(fmt.Sprintf("Choose a second region: smartdr configure --group %s --secondary REGION", f.Group.Name),
			"replication", "The group is not replicated: there is nothing to fail over to.")}
	}
	items := slices.Concat(judgeBuckets(f), []item{
		judgeDocuments(f), judgeOperation(f), judgeWorker(f), judgeCapacity(f), judgeTemporal(f), judgeClock(f), judgeTried(f),
	})
	items = append(items, judgeLeftBehind(f)...)
	for i := range f.Workspaces {
		for _, it := range judgeWorkspace(f, &f.Workspaces[i]) {
			it.Workspace = f.Workspaces[i].Name
			items = append(items, it)
		}
	}
	return items
}

// judgeBuckets tells wrong keys, which somebody must correct, from a bucket that does not answer, which may pass. A failover
// needs the other region's bucket alone.
func judgeBuckets(f Facts) []item {
	var items []item
	for _, region := range slices.Sorted(maps.Keys(f.Buckets)) {
		b := f.Buckets[region]
		i := judgeBucket(f, region, b)
		if region != f.To && i.State == topology.ReadinessBlocking {
			i.State = topology.ReadinessWarning
			i.Text += " A failover goes without it."
		}
		items = append(items, i)
	}
	return items
}

func judgeBucket(f Facts, region string, b Bucket) item {
	err, doing := b.Err, "read"
	if fault.Is(err, fault.Missing) {
		err = nil // it answers; judgeDocuments says what it lacks
	}
	if err == nil && b.Wrote.Err != nil {
		err, doing = b.Wrote.Err, "written to"
	}
	switch {
	case fault.Is(err, fault.Invalid):
		return blocking(cmp.Or(fault.HintOf(err), "Correct the keys or the bucket's name in smartdr.yaml."),
			"bucket", "The bucket of %s answers, and may not be %s from %s with these keys: %s.", region, doing, f.here(), err)
	case fault.Is(err, fault.Full):
		return blocking(fault.HintOf(err), "bucket", "The bucket of %s takes nothing more: %s.", region, err)
	case fault.Is(err, fault.Corrupt):
		return blocking(fault.HintOf(err), "bucket", "What the bucket of %s holds of the group is damaged: %s.", region, err)
	case err != nil:
		return blocking(cmp.Or(fault.HintOf(err), "See whether the object store of that region answers at all."),
			"bucket", "The bucket of %s does not answer: %s.", region, err)
	}
	return f.judgeAccess(region, b)
}

// judgeAccess says where the keys are known to work from. What counts is the region that a failover goes to.
func (f Facts) judgeAccess(region string, b Bucket) item {
	text := fmt.Sprintf("The bucket of %s was read from %s", region, f.here())
	if b.Wrote.Asked {
		text = fmt.Sprintf("The bucket of %s was read and written from %s", region, f.here())
	}
	if hosts := f.fresh(); region == f.To && len(hosts) > 0 {
		return ok("bucket", "%s, and written by host %s %s ago.", text, hosts[0].Name, age(f.Now.Sub(hosts[0].AnnouncedAt)))
	}
	return ok("bucket", "%s.", text)
}

func (f Facts) here() string { return cmp.Or(f.From, "here") }

// judgeDocuments compares what the two buckets know of the group: a failover decides by the other region's alone.
func judgeDocuments(f Facts) item {
	const check = "catalog"
	there := f.Buckets[f.To]
	if fault.Is(there.Err, fault.Missing) {
		return blocking("See why the worker's log says that it is not copied.", check, "The bucket of %s does not know the group.", f.To)
	}
	if there.Err != nil {
		return unknown(check, there.Err)
	}
	if there.Revision < f.Group.Revision || there.Epoch < f.Group.Epoch {
		return warning("It is copied every half minute while a worker runs; if this stays, the worker's log says why.",
			check, "The bucket of %s has revision %d and epoch %d of the group, and the newest are %d and %d.",
			f.To, there.Revision, there.Epoch, f.Group.Revision, f.Group.Epoch)
	}
	return ok(check, "The bucket of %s knows revision %d and epoch %d, the newest.", f.To, there.Revision, there.Epoch)
}

func judgeOperation(f Facts) item {
	const check = "operation"
	if op := f.Group.Operation; op != nil {
		return warning("Wait until it is over, or see: smartdr operations --group "+f.Group.Name,
			check, "%s %s has held the group for %s: another one is refused meanwhile.", op.Kind, op.ID, age(f.Now.Sub(op.StartedAt)))
	}
	return ok(check, "No operation holds the group.")
}

func judgeTemporal(f Facts) item {
	const check = "temporal"
	switch {
	case !f.Temporal.Asked:
		return warning("Check again from where Temporal is configured.", check, "It was not asked whether Temporal answers.")
	case f.Temporal.Err != nil:
		return blocking("Start it, or a fresh one outside of both regions: everything a failover needs is in the bucket.",
			check, "Temporal does not answer: %s.", f.Temporal.Err)
	}
	return ok(check, "Temporal answers.")
}

// restores are the kinds of operation that bring a server up from a bucket.
var restores = []string{"Failover", "Drill", "Restore", "Branch", "Switchover", "Failback"}

// triedWithin is how long a successful restore says something about the next one: versions, packages and keys change.
const triedWithin = 90 * 24 * time.Hour

func judgeTried(f Facts) item {
	const check = "last restore"
	const todo = "Try it before it is needed: fail over a group made for the purpose, or this one on a day that you choose."
	if f.OpsErr != nil {
		return unknown(check, f.OpsErr)
	}
	for _, op := range f.Operations {
		if !slices.Contains(restores, op.Kind) || op.State != topology.OperationCompleted {
			continue
		}
		since := f.Now.Sub(op.EndedAt)
		if since > triedWithin {
			return warning(todo, check, "The last one that completed was %s %s, %s ago.", op.Kind, op.ID, age(since))
		}
		return ok(check, "%s %s completed %s ago, in %s.", op.Kind, op.ID, age(since), age(op.EndedAt.Sub(op.StartedAt)))
	}
	return warning(todo, check, "Nothing was ever restored from these buckets: that it works is known only in parts.")
}

// age writes a length of time as people say it.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// bytes writes a size in binary units.
func bytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
