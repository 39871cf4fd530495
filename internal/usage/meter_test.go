package usage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/usage"
)

// witness stands between a client and a real object store, and counts what goes through by itself.
type witness struct {
	*httptest.Server
	mu   sync.Mutex
	seen topology.Requests
	fail int // how many of the next requests are answered with 503
}

func newWitness(t *testing.T, endpoint string) *witness {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			w.answered(r)
			return nil
		},
	}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.refuses(r) {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

// refuses counts the request.
func (w *witness) refuses(r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch list := r.URL.Query().Has("list-type"); {
	case r.Method == http.MethodGet && list:
		w.seen.Lists++
	case r.Method == http.MethodGet:
		w.seen.Gets++
	case r.Method == http.MethodPut:
		w.seen.Puts++
	case r.Method == http.MethodHead:
		w.seen.Heads++
	default:
		w.seen.Deletes++
	}
	if w.fail == 0 {
		return false
	}
	w.fail--
	w.seen.Errors++
	return true
}

// answered counts the bodies of what went well.
func (w *witness) answered(r *http.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	req := r.Request
	switch {
	case r.StatusCode >= 300:
	case req.Method == http.MethodPut:
		n := req.ContentLength
		if plain, err := strconv.ParseInt(req.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64); err == nil {
			n = plain
		}
		w.seen.BytesOut += n
	case req.Method == http.MethodGet && !req.URL.Query().Has("list-type"):
		w.seen.BytesIn += r.ContentLength
	}
}

func (w *witness) requests() topology.Requests {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// watched is a real store, counted by a meter and by a witness.
func watched(t *testing.T) (objectstore.Store, *usage.Meter, *witness) {
	t.Helper()
	cfg := devtest.Gateway(t).S3Config()
	w, m := newWitness(t, cfg.Endpoint), &usage.Meter{}
	cfg.Endpoint = w.URL
	s, err := objectstore.Open(t.Context(), cfg, func(s objectstore.Store) objectstore.Store { return m.Store("west", s) })
	if err != nil {
		t.Fatal(err)
	}
	return s, m, w
}

// work does a bit of everything for a group, and has some of it fail.
func work(ctx context.Context, s objectstore.Store, group string) error {
	prefix := "groups/" + group + "/"
	var errs []error
	want := func(kind fault.Kind, err error) {
		if !fault.Is(err, kind) {
			errs = append(errs, fmt.Errorf("got %w, want %s", err, kind))
		}
	}
	for i := range 3 {
		_, err := s.Put(ctx, fmt.Sprintf("%sobject%d", prefix, i), make([]byte, 1000*(i+1)), objectstore.PutOptions{IfAbsent: true})
		errs = append(errs, err)
	}
	_, err := s.Put(ctx, prefix+"object0", []byte("other"), objectstore.PutOptions{IfAbsent: true})
	want(fault.Conflict, err)
	_, _, err = s.Get(ctx, prefix+"object2")
	errs = append(errs, err)
	_, err = s.GetRange(ctx, prefix+"object1", 100, 50)
	errs = append(errs, err)
	_, _, err = s.Get(ctx, prefix+"nothing")
	want(fault.Missing, err)
	_, err = s.Head(ctx, prefix+"object0")
	errs = append(errs, err)
	for _, err := range s.List(ctx, prefix, "") {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.Delete(ctx, prefix+"object0", prefix+"object1"))...)
}

func TestTheMeterCountsWhatAWitnessSees(t *testing.T) {
	s, m, w := watched(t)
	if err := work(t.Context(), s, "prod"); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.fail = 2
	w.mu.Unlock()
	if _, err := s.Put(t.Context(), "groups/prod/again", []byte("at the third attempt"), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	got := m.Totals("prod")["west"]
	if diff := cmp.Diff(w.requests(), got); diff != "" {
		t.Errorf("the meter differs from the witness (-witness +meter):\n%s", diff)
	}
	if got.Puts < 7 || got.Errors != 2 || got.BytesOut != 6020 || got.BytesIn != 3050 {
		t.Errorf("got %+v", got)
	}
}

func TestEachGroupIsCountedApart(t *testing.T) {
	s, m, w := watched(t)
	for _, group := range []string{"prod", "test"} {
		if err := work(t.Context(), s, group); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), "hosts/w1.json", []byte("12345"), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, err := range s.List(t.Context(), "groups/", "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"", "prod", "test"}, m.Groups()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(m.Totals("prod"), m.Totals("test")); diff != "" {
		t.Errorf("the same work was counted differently:\n%s", diff)
	}
	if diff := cmp.Diff(topology.Requests{Puts: 1, Lists: 1, BytesOut: 5}, m.Totals("")["west"]); diff != "" {
		t.Error(diff)
	}
	sum := m.Totals("prod")["west"].Plus(m.Totals("test")["west"]).Plus(m.Totals("")["west"])
	if diff := cmp.Diff(w.requests(), sum); diff != "" {
		t.Errorf("the groups together differ from the witness:\n%s", diff)
	}
}

func TestWhatIsTakenIsTakenOnce(t *testing.T) {
	s, m, w := watched(t)
	var sum topology.Requests
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		for ctx.Err() == nil {
			sum = sum.Plus(m.Take("prod")["west"])
		}
	})
	if err := work(t.Context(), s, "prod"); err != nil {
		t.Error(err)
	}
	cancel()
	wg.Wait()
	sum = sum.Plus(m.Take("prod")["west"])
	if diff := cmp.Diff(w.requests(), sum); diff != "" {
		t.Errorf("what was taken differs from the witness:\n%s", diff)
	}
	if left := m.Take("prod"); len(left) != 0 {
		t.Errorf("taken twice: %v", left)
	}
}

func TestListAddsUpByKind(t *testing.T) {
	s, _, _ := watched(t)
	for key, n := range map[string]int{
		"group.json": 10, "epochs/00000001.json": 20, "workspaces/main/metadata.json": 30, "workspaces/main/progress/wal.json": 40,
		"workspaces/main/wal/0001-00000001/00000001/0-1.seg": 100, "workspaces/main/wal/0001-00000001/00000002.history": 5,
		"workspaces/main/packs/a.pack": 1000, "workspaces/side/packs/a.idx": 50, "workspaces/side/snapshots/x/manifest": 7,
	} {
		if _, err := s.Put(t.Context(), "groups/prod/"+key, make([]byte, n), objectstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), "groups/prod2/group.json", make([]byte, 999), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0).UTC()
	got, err := usage.List(t.Context(), s, "west", "prod", 0, now)
	if err != nil {
		t.Fatal(err)
	}
	want := topology.Stored{Region: "west", ListedAt: now, Kinds: map[string]topology.StoredKind{
		topology.StoredCatalog: {Objects: 4, Bytes: 100}, topology.StoredWAL: {Objects: 2, Bytes: 105}, topology.StoredSnapshots: {Objects: 3, Bytes: 1057},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	some, err := usage.List(t.Context(), s, "west", "prod", 5, now)
	if err != nil || !some.Partial || some.Sum().Objects != 5 {
		t.Errorf("at most 5: %+v, %v", some, err)
	}
	all, err := usage.List(t.Context(), s, "west", "prod", 9, now)
	if err != nil || all.Partial {
		t.Errorf("exactly 9: %+v, %v", all, err)
	}
}
