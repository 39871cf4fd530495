// Package objectstoretest says in tests what objectstore.Store promises. Run it over every implementation and decorator.
package objectstoretest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Run tries everything that Store promises. open returns an empty store for each call, which may be a part of a
// larger one.
func Run(t *testing.T, open func(t *testing.T) objectstore.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s objectstore.Store)
	}{
		{"what was put comes back", roundTrip},
		{"a missing object is Missing", missing},
		{"ranges are exact", ranges},
		{"a put replaces the whole object", replace},
		{"IfAbsent keeps what is there", ifAbsent},
		{"IfMatch wants the same content", ifMatch},
		{"one of many IfAbsent writers wins", contendAbsent},
		{"no IfMatch update is lost", contendMatch},
		{"tokens come back", tokens},
		{"lists are in byte order and complete", lists},
		{"lists go beyond a page", longLists},
		{"lists stop when asked", stopList},
		{"deleting is idempotent", deletes},
		{"many are deleted at once", deleteMany},
		{"Sub sees its own keys alone", subs},
		{"a cancelled request ends", cancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func put(t *testing.T, s objectstore.Store, key string, body []byte) objectstore.Info {
	t.Helper()
	i, err := s.Put(t.Context(), key, body, objectstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func wantBody(t *testing.T, s objectstore.Store, key string, want []byte) objectstore.Info {
	t.Helper()
	got, info, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s holds %d bytes that are not the %d expected", key, len(got), len(want))
	}
	return info
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Fatalf("got kind %q of %v, want %q", fault.KindOf(err), err, kind)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = src.Read(b) // never fails
	return b
}

func roundTrip(t *testing.T, s objectstore.Store) {
	for _, n := range []int{0, 1, 4095, 300_000, 9 << 20} {
		key := fmt.Sprintf("groups/a/size-%d.seg", n)
		written := put(t, s, key, random(n))
		read := wantBody(t, s, key, random(n))
		head, err := s.Head(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(read, head); diff != "" {
			t.Errorf("Get and Head disagree:\n%s", diff)
		}
		if read.Key != key || read.Size != int64(n) || read.ETag == "" || read.Modified.IsZero() {
			t.Errorf("Info lacks something: %+v", read)
		}
		if written.ETag != read.ETag || written.Key != key || written.Size != int64(n) {
			t.Errorf("Put said %+v, Get %+v", written, read)
		}
	}
}

func missing(t *testing.T, s objectstore.Store) {
	_, _, err := s.Get(t.Context(), "nowhere/x")
	wantKind(t, err, fault.Missing)
	_, err = s.Head(t.Context(), "nowhere/x")
	wantKind(t, err, fault.Missing)
	_, err = s.GetRange(t.Context(), "nowhere/x", 0, 1)
	wantKind(t, err, fault.Missing)
	for _, err := range s.List(t.Context(), "nowhere/", "") {
		t.Fatalf("an empty list yields something: %v", err)
	}
}

func ranges(t *testing.T, s objectstore.Store) {
	body := random(1000)
	put(t, s, "k", body)
	for _, r := range [][2]int64{{0, 1000}, {0, 1}, {999, 1}, {500, 100}, {0, 0}, {1000, 0}} {
		got, err := s.GetRange(t.Context(), "k", r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, body[r[0]:r[0]+r[1]]) {
			t.Errorf("%d bytes from %d on are wrong", r[1], r[0])
		}
	}
	for _, r := range [][2]int64{{0, 1001}, {999, 2}, {1000, 1}, {5000, 10}} {
		_, err := s.GetRange(t.Context(), "k", r[0], r[1])
		wantKind(t, err, fault.Corrupt)
	}
	_, err := s.GetRange(t.Context(), "k", -1, 5)
	wantKind(t, err, fault.Invalid)
}

func replace(t *testing.T, s objectstore.Store) {
	first := put(t, s, "k", random(5000))
	second := put(t, s, "k", random(10))
	wantBody(t, s, "k", random(10))
	if first.ETag == second.ETag {
		t.Error("the ETag did not change with the content")
	}
}

func ifAbsent(t *testing.T, s objectstore.Store) {
	if _, err := s.Put(t.Context(), "k", []byte("first"), objectstore.PutOptions{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), "k", []byte("second"), objectstore.PutOptions{IfAbsent: true})
	wantKind(t, err, fault.Conflict)
	wantBody(t, s, "k", []byte("first"))
}

func ifMatch(t *testing.T, s objectstore.Store) {
	_, err := s.Put(t.Context(), "k", []byte("0"), objectstore.PutOptions{IfMatch: `"d41d8cd98f00b204e9800998ecf8427e"`})
	wantKind(t, err, fault.Conflict)
	first := put(t, s, "k", []byte("1"))
	second, err := s.Put(t.Context(), "k", []byte("2"), objectstore.PutOptions{IfMatch: first.ETag})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(t.Context(), "k", []byte("3"), objectstore.PutOptions{IfMatch: first.ETag})
	wantKind(t, err, fault.Conflict)
	if read := wantBody(t, s, "k", []byte("2")); read.ETag != second.ETag {
		t.Errorf("Put said ETag %s, Get %s", second.ETag, read.ETag)
	}
	_, err = s.Put(t.Context(), "k", []byte("4"), objectstore.PutOptions{IfMatch: first.ETag, IfAbsent: true})
	wantKind(t, err, fault.Invalid)
}

const (
	writers = 16
	rounds  = 20
)

func contendAbsent(t *testing.T, s objectstore.Store) {
	for round := range rounds {
		key := fmt.Sprintf("epochs/%08d.json", round)
		winners := make(chan int, writers)
		together(func(w int) {
			_, err := s.Put(t.Context(), key, []byte(fmt.Sprint(w)), objectstore.PutOptions{IfAbsent: true})
			if err == nil {
				winners <- w
			} else if !fault.Is(err, fault.Conflict) {
				t.Errorf("writer %d: %v", w, err)
			}
		})
		if len(winners) != 1 {
			t.Fatalf("%s has %d winners", key, len(winners))
		}
		wantBody(t, s, key, []byte(fmt.Sprint(<-winners)))
	}
}

func contendMatch(t *testing.T, s objectstore.Store) {
	put(t, s, "sum", []byte("0"))
	var conflicts atomic.Int64
	together(func(w int) {
		for range 3 {
			for !increment(t, s, "sum") && !t.Failed() {
				conflicts.Add(1)
			}
		}
	})
	// More is possible where answers get lost: an update that arrived, and was built upon before its writer could
	// look, is made again.
	if got := number(t, s, "sum"); got < 3*writers {
		t.Errorf("%d updates came to %d", 3*writers, got)
	}
	t.Logf("%d updates, %d conflicts", 3*writers, conflicts.Load())
}

func number(t *testing.T, s objectstore.Store, key string) (n int) {
	t.Helper()
	b, _, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(b), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// increment reports whether it won.
func increment(t *testing.T, s objectstore.Store, key string) bool {
	b, info, err := s.Get(t.Context(), key)
	if err != nil {
		t.Error(err)
		return false
	}
	var n int
	if _, err := fmt.Sscan(string(b), &n); err != nil {
		t.Error(err)
		return false
	}
	_, err = s.Put(t.Context(), key, []byte(fmt.Sprint(n+1)), objectstore.PutOptions{IfMatch: info.ETag})
	if err != nil && !fault.Is(err, fault.Conflict) {
		t.Error(err)
	}
	return err == nil
}

func together(f func(writer int)) {
	var ready, done sync.WaitGroup
	ready.Add(writers)
	for w := range writers {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			f(w)
		})
	}
	done.Wait()
}

func tokens(t *testing.T, s objectstore.Store) {
	opts := objectstore.PutOptions{IfAbsent: true, Token: "K7QX2"}
	written, err := s.Put(t.Context(), "k", []byte("x"), opts)
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.Head(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	read := wantBody(t, s, "k", []byte("x"))
	if diff := cmp.Diff([]string{"K7QX2", "K7QX2", "K7QX2"}, []string{written.Token, head.Token, read.Token}); diff != "" {
		t.Error(diff)
	}
}

func keysOf(t *testing.T, s objectstore.Store, prefix, after string) []string {
	t.Helper()
	var keys []string
	for i, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, i.Key)
	}
	return keys
}

func lists(t *testing.T, s objectstore.Store) {
	// '-' and '.' sort before '/', and '0' after it: a store that walks folders must not be fooled.
	sorted := []string{"wal/0001-x/a", "wal/0001.history", "wal/0001/a", "wal/0001/b/c", "wal/0001/b0", "wal/00010", "wal/0002/a", "wal/Z", "wal/a"}
	for _, i := range rand.Perm(len(sorted)) {
		put(t, s, sorted[i], []byte(sorted[i]))
	}
	put(t, s, "wax", nil)
	put(t, s, "val", nil)
	for n := range sorted {
		if diff := cmp.Diff(sorted[n+1:], append([]string{}, keysOf(t, s, "wal/", sorted[n])...)); diff != "" {
			t.Errorf("after %s:\n%s", sorted[n], diff)
		}
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"wal/", "", sorted},
		{"wal/0001", "", sorted[:6]},
		{"wal/0001/", "", sorted[2:5]},
		{"wal/0001/", "wal/0001/a0", sorted[3:5]}, // a key that is not there
		{"wal/0001/b", "", sorted[3:5]},
		{"wal/", "wal/zz", nil},
		{"", "", append(append([]string{"val"}, sorted...), "wax")},
	} {
		if diff := cmp.Diff(c.want, keysOf(t, s, c.prefix, c.after)); diff != "" {
			t.Errorf("prefix %q after %q:\n%s", c.prefix, c.after, diff)
		}
	}
	for i, err := range s.List(t.Context(), "wal/", "") {
		if err != nil || i.Size != int64(len(i.Key)) || i.ETag == "" || i.Modified.IsZero() {
			t.Errorf("listed as %+v, %v", i, err)
		}
	}
}

func longLists(t *testing.T, s objectstore.Store) {
	want := make([]string, 2203)
	var wg sync.WaitGroup
	next := make(chan string)
	for range writers {
		wg.Go(func() {
			for k := range next {
				if _, err := s.Put(t.Context(), k, nil, objectstore.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range want {
		want[i] = fmt.Sprintf("l/%06d", i)
		next <- want[i]
	}
	close(next)
	wg.Wait()
	if diff := cmp.Diff(want, keysOf(t, s, "l/", "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[1500:], keysOf(t, s, "l/", want[1499])); diff != "" {
		t.Error(diff)
	}
	if err := s.Delete(t.Context(), want...); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, s, "", ""); len(got) > 0 {
		t.Errorf("%d are left after deleting all", len(got))
	}
}

func stopList(t *testing.T, s objectstore.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprint("k", i), nil)
	}
	n := 0
	for _, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("went on to %d", n)
	}
}

func deletes(t *testing.T, s objectstore.Store) {
	put(t, s, "a/b/c", []byte("x"))
	for range 2 {
		if err := s.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := s.Get(t.Context(), "a/b/c")
	wantKind(t, err, fault.Missing)
	if err := s.Delete(t.Context()); err != nil {
		t.Errorf("deleting nothing: %v", err)
	}
}

func deleteMany(t *testing.T, s objectstore.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprint("k", i), nil)
	}
	if err := s.Delete(t.Context(), "k0", "k3", "never/there", "k4"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"k1", "k2"}, keysOf(t, s, "", "")); diff != "" {
		t.Error(diff)
	}
}

func subs(t *testing.T, s objectstore.Store) {
	in := objectstore.Sub(s, "part/")
	put(t, s, "other", []byte("o"))
	put(t, s, "part/a", []byte("a"))
	if i := put(t, in, "b", []byte("b")); i.Key != "b" {
		t.Errorf("Put says key %q", i.Key)
	}
	if i := wantBody(t, in, "a", []byte("a")); i.Key != "a" {
		t.Errorf("Get says key %q", i.Key)
	}
	if diff := cmp.Diff([]string{"a", "b"}, keysOf(t, in, "", "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b"}, keysOf(t, in, "", "a")); diff != "" {
		t.Error(diff)
	}
	if err := in.Delete(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"other"}, keysOf(t, s, "", "")); diff != "" {
		t.Error(diff)
	}
}

func cancelled(t *testing.T, s objectstore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Get(ctx, "k")
	wantKind(t, err, fault.Transient)
	_, err = s.Put(ctx, "k", nil, objectstore.PutOptions{})
	wantKind(t, err, fault.Transient)
}
