package activities

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/usage"
)

// countingWorker is a worker of a world's region: its stores are counted, its accounts are not.
type countingWorker struct {
	meter  *usage.Meter
	books  *bookkeeper
	stores map[string]objectstore.Store
}

func (w *world) worker(host string) *countingWorker {
	site := w.Site
	site.Host = host
	c := &countingWorker{meter: &usage.Meter{}, stores: map[string]objectstore.Store{}}
	for region, s := range w.Stores {
		c.stores[region] = c.meter.Store(region, s)
	}
	c.books = newBookkeeper(site, c.meter)
	return c
}

// put stores n objects of 100 bytes of group prod.
func (c *countingWorker) put(t *testing.T, region string, n int) {
	t.Helper()
	for range n {
		_, err := c.stores[region].Put(t.Context(), "groups/prod/x", make([]byte, 100), objectstore.PutOptions{})
		check(t, err)
	}
}

func (w *world) account(t *testing.T, host string) topology.Usage {
	t.Helper()
	all, silent := w.Catalog.Usage(t.Context(), "prod", []string{"east", "west"})
	if len(silent) != 0 {
		t.Fatalf("silent: %v", silent)
	}
	for _, u := range all {
		if u.Host == host {
			return u
		}
	}
	return topology.Usage{}
}

func TestAnAccountOutlivesItsWorkerAndItsBucketsSilence(t *testing.T) {
	w := newWorld(t)
	first := w.worker("h1")
	first.put(t, "west", 3)
	first.put(t, "east", 2)
	first.books.addAll(t.Context())
	first.put(t, "west", 1)
	revive := w.faults["west"].Add(objectstore.Rule{Dead: true})
	first.books.addAll(t.Context())
	first.put(t, "east", 1)
	revive()
	first.books.addAll(t.Context())
	first.books.addAll(t.Context()) // nothing new
	first.put(t, "west", 50)        // and it is killed: these are lost

	second := w.worker("h1")
	second.put(t, "west", 5)
	second.books.addAll(t.Context())
	other := w.worker("h2")
	other.put(t, "west", 1)
	other.books.addAll(t.Context())

	got := w.account(t, "h1")
	want := map[string]topology.Requests{"west": {Puts: 9, BytesOut: 900}, "east": {Puts: 3, BytesOut: 300}}
	for region, r := range want {
		if diff := cmp.Diff(r, got.Buckets[region].Total); diff != "" {
			t.Errorf("%s, -want +got:\n%s", region, diff)
		}
		if diff := cmp.Diff(r, got.Buckets[region].Months[topology.Month(time.Now())]); diff != "" {
			t.Errorf("%s, this month, -want +got:\n%s", region, diff)
		}
	}
	if got.Region != "west" || got.Since.IsZero() || w.account(t, "h2").Buckets["west"].Total.Puts != 1 {
		t.Errorf("got %+v", got)
	}
}

// An addition that arrived although nobody heard so is not made again, also when more was counted meanwhile.
func TestALostAnswerCountsNothingTwice(t *testing.T) {
	w := newWorld(t)
	c := w.worker("h1")
	c.put(t, "west", 3)
	w.faults["west"].Add(objectstore.Rule{Ops: objectstore.OpPut, LoseAck: true, Times: 1})
	if err := c.books.add(t.Context(), "prod"); err == nil {
		t.Fatal("the answer was not lost")
	}
	c.put(t, "west", 4)
	check(t, c.books.add(t.Context(), "prod"))
	if got := w.account(t, "h1").Buckets["west"].Total.Puts; got != 7 {
		t.Errorf("7 requests were counted as %d", got)
	}
}

// What keeping the accounts costs is in the accounts, and does not make them grow by itself.
func TestAnIdleWorkerWritesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.worker("h1")
	c.books.site.Catalog = w.process()
	c.books.site.Catalog.Stores = c.stores
	c.put(t, "west", 1)
	for range 5 {
		c.books.addAll(t.Context())
	}
	was := c.meter.Totals("prod")["west"]
	for range 5 {
		c.books.addAll(t.Context())
	}
	if diff := cmp.Diff(was, c.meter.Totals("prod")["west"]); diff != "" {
		t.Errorf("an idle worker asked for\n%s", diff)
	}
	if was.Puts > 3 {
		t.Errorf("%d PUTs for one addition", was.Puts)
	}
}

func TestAWorkerThatIsToldToStopAddsWhatItHas(t *testing.T) {
	w := newWorld(t)
	c := w.worker("h1")
	stop := KeepCounting(c.books.site, c.meter)
	c.put(t, "west", 2)
	stop()
	if got := w.account(t, "h1").Buckets["west"].Total.Puts; got != 2 {
		t.Errorf("counted %d of 2", got)
	}
}

func TestStoredIsListedOncePerHour(t *testing.T) {
	w := newWorld(t)
	c := w.worker("h1")
	site := w.Site
	site.Stores = c.stores
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	control := &Control{Site: site}
	env.RegisterActivity(control)
	measure := func() (r MeasureStoredResult) {
		t.Helper()
		v, err := env.ExecuteActivity(control.MeasureStored, ReadGroupInput{Group: "prod"})
		check(t, err)
		check(t, v.Get(&r))
		return r
	}
	first := measure()
	if len(first.Stored) != 2 || first.Stored[1].Region != "west" || first.Stored[1].Sum().Objects == 0 {
		t.Fatalf("got %+v", first)
	}
	lists := c.meter.Totals("prod")["west"].Lists
	c.put(t, "west", 1)
	if diff := cmp.Diff(first, measure()); diff != "" {
		t.Errorf("listed again within the hour:\n%s", diff)
	}
	old := first.Stored
	for i := range old {
		old[i].ListedAt = old[i].ListedAt.Add(-2 * time.Hour)
	}
	check(t, w.Catalog.PutStored(t.Context(), "prod", 1, old))
	if again := measure(); again.Stored[1].Sum().Objects != first.Stored[1].Sum().Objects+2 || c.meter.Totals("prod")["west"].Lists != lists+1 {
		t.Errorf("an old listing was not replaced: %+v", again)
	}
}

func TestTheResultOfACheckIsSummedUp(t *testing.T) {
	r := topology.Readiness{State: topology.ReadinessBlocking}
	for range 15 {
		r.Items = append(r.Items, topology.ReadinessItem{State: topology.ReadinessWarning}, topology.ReadinessItem{State: topology.ReadinessOK})
	}
	r.Items = append(r.Items, topology.ReadinessItem{Check: "last", State: topology.ReadinessBlocking})
	s := summary(r)
	if len(s.Items) != summaryItems || s.More != 4 || s.Items[0].Check != "last" || s.State != topology.ReadinessBlocking {
		t.Errorf("got %+v", s)
	}
}

func TestCheckReadinessAnnouncesWhatItFound(t *testing.T) {
	w := newWorld(t)
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	control := &Control{Site: w.Site}
	env.RegisterActivity(control)
	_, err := env.ExecuteActivity(control.CheckReadiness, ReadGroupInput{Group: "prod"})
	check(t, err)
	got, err := w.Catalog.Readiness(t.Context(), "prod")
	check(t, err)
	if got.State != topology.ReadinessBlocking || got.To != "west" || time.Since(got.CheckedAt) > time.Minute || len(got.Items) < 10 {
		t.Errorf("announced %+v", got)
	}
}
