package missing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestRowsOutliveAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows")
	w, err := newRowWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []row{
		{Table: 1, TID: TID{0, 1}, XID: 3, Values: [][]byte{{}, nil, []byte("a")}},
		{Table: 1<<32 - 1, TID: TID{1<<32 - 2, 291}, XID: 1<<32 - 1, Values: [][]byte{bytes.Repeat([]byte{0xff, 0}, 70_000), {}}},
		{Table: 1, Values: [][]byte{{}}},
		{Table: 1, Values: [][]byte{}},
	}
	for i := range want {
		if err := w.write(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has its name before it is complete: %v", err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	var got []row
	err = readRows(path, func(r *row) error {
		c := *r
		c.Values = [][]byte{}
		for _, v := range r.Values {
			c.Values = append(c.Values, bytes.Clone(v))
		}
		got = append(got, c)
		return nil
	})
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("error %v, want -, got +\n%s", err, d)
	}
	stop := errors.New("enough")
	if err := readRows(path, func(*row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestAFullDiskIsToldAsSuch(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	w, err := newRowWriter(filepath.Join(t.TempDir(), "rows"))
	if err != nil {
		t.Fatal(err)
	}
	w.z.Reset(full)
	r := &row{Table: 1, Values: [][]byte{[]byte("a")}}
	if err := errors.Join(w.write(r), w.close()); !fault.Is(err, fault.Full) || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func FuzzReadRows(f *testing.F) {
	f.Add([]byte{1, 0, 1, 3, 2, 0, 2, 'a', 0, 1})
	f.Add([]byte{0, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newRowReader(bytes.NewReader(b))
		for {
			r, err := in.next()
			if err == io.EOF && r != nil {
				t.Fatal("the end came within a row")
			}
			if err != nil {
				return
			}
			if r.Table == 0 || len(r.Values) > len(b) {
				t.Fatalf("%+v came out of %d bytes", r, len(b))
			}
		}
	})
}

func TestABagTellsValuesApart(t *testing.T) {
	rows := [][][]byte{
		{[]byte("a"), []byte("b")}, {[]byte("ab"), {}}, {{}, []byte("ab")}, {nil, []byte("ab")}, {[]byte("ab"), nil}, {nil, nil}, {{}, nil}, {{}, {}},
	}
	b := newBag()
	seen := map[[2]uint64]int{}
	for i, r := range rows {
		h := b.hash(r, []int{0, 1})
		if other, taken := seen[h]; taken {
			t.Errorf("%q and %q are the same", rows[other], r)
		}
		seen[h] = i
	}
	one := b.hash(rows[0], []int{0})
	if one != b.hash([][]byte{[]byte("a"), []byte("other")}, []int{0}) {
		t.Error("a value counts that is not asked for")
	}
	b.add(one)
	b.add(one)
	if got := fmt.Sprint(b.take(one), b.take(one), b.take(one)); got != "true true false" {
		t.Errorf("two were put in, and taken out: %s", got)
	}
}
