package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/wal"
)

// Half of the database is as pgbench's accounts: short rows, much padding. The other half is text of a few thousand
// words with numbers and times between. Sizes are those of rows with their share of the index, in bytes.
const (
	accountBytes = 152
	docBytes     = 860
)

const schema = `create table accounts (aid bigint, bid int, abalance int, filler char(84));
create table docs (id bigint, created timestamptz, author uuid, amount numeric(12,2), title text, body text);
create table probe (id bigint generated always as identity, at timestamptz default clock_timestamp())`

func (p *place) fill(ctx context.Context, sizeMB int64) error {
	if err := p.exec(ctx, strings.Split(schema, ";")...); err != nil {
		return err
	}
	accounts := sizeMB * mega / 2 / accountBytes
	if err := p.exec(ctx, fmt.Sprintf("insert into accounts select i, i %% 1000, 0, '' from generate_series(1, %d) i", accounts)); err != nil {
		return err
	}
	if err := p.fillDocs(ctx, int(sizeMB*mega/2/docBytes)); err != nil {
		return err
	}
	return p.exec(ctx, "alter table accounts add primary key (aid)", "alter table docs add primary key (id)", "vacuum freeze analyze", "checkpoint")
}

func (p *place) fillDocs(ctx context.Context, rows int) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	w := newWriter()
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"docs"}, []string{"id", "created", "author", "amount", "title", "body"},
		pgx.CopyFromSlice(rows, func(i int) ([]any, error) { return w.doc(i), nil }))
	return err
}

// writer invents rows, the same ones each time.
type writer struct {
	rnd   *rand.Rand
	zipf  *rand.Zipf
	words []string
}

func newWriter() *writer {
	w := &writer{rnd: rand.New(rand.NewPCG(1, 2))}
	for range 4000 {
		b := make([]byte, 2+w.rnd.IntN(9))
		for i := range b {
			b[i] = byte('a' + w.rnd.IntN(26))
		}
		w.words = append(w.words, string(b))
	}
	w.zipf = rand.NewZipf(w.rnd, 1.1, 4, uint64(len(w.words)-1))
	return w
}

func (w *writer) doc(i int) []any {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], w.rnd.Uint64())
	binary.BigEndian.PutUint64(id[8:], w.rnd.Uint64())
	created := time.Unix(1700000000+int64(i)*7, 0).UTC()
	amount := fmt.Sprintf("%d.%02d", w.rnd.IntN(100000), w.rnd.IntN(100))
	return []any{int64(i), created, id, amount, w.text(5), w.text(20 + w.rnd.IntN(200))}
}

func (w *writer) text(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(w.words[w.zipf.Uint64()])
		b.WriteByte(' ')
	}
	return b.String()
}

// scatter updates single rows all over the accounts: one for each hundredth page of the table.
func (p *place) scatter(ctx context.Context, run int) error {
	return p.exec(ctx,
		fmt.Sprintf(`with pages as (select pg_relation_size('accounts') / 8192 / 100 n), rows as (select max(aid) m from accounts)
			update accounts set abalance = abalance + 1 where aid in
			(select 1 + (hashint8extended(i, %d) & 9223372036854775807) %% m from pages, rows, generate_series(1, n) i)`, run),
		"checkpoint")
}

// changes are the pages that were changed since a moment, in bytes.
type changes struct{ raw, compressed int64 }

// changedPages finds the pages of all relations of a data directory that were changed after l: each page begins with the LSN of its last
// change (bufpage.h, PageHeaderData.pd_lsn: two 32-bit numbers, the high one first, in the machine's byte order).
func changedPages(dataDir string, l wal.LSN) (c changes, err error) {
	var out counter
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return c, err
	}
	for _, dir := range []string{"base", "global"} {
		err := filepath.WalkDir(filepath.Join(dataDir, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || d.Name()[0] < '0' || d.Name()[0] > '9' {
				return err
			}
			n, err := changedIn(path, l, z)
			c.raw += n
			return err
		})
		if err != nil {
			return c, err
		}
	}
	err = z.Close()
	c.compressed = int64(out)
	return c, err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// changedIn writes the changed pages of one file to out.
func changedIn(path string, l wal.LSN, out io.Writer) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 8192)
	for {
		if _, err := io.ReadFull(f, page); err == io.EOF || err == io.ErrUnexpectedEOF {
			return n, nil
		} else if err != nil {
			return 0, err
		}
		at := wal.LSN(binary.NativeEndian.Uint32(page))<<32 | wal.LSN(binary.NativeEndian.Uint32(page[4:]))
		if at <= l {
			continue
		}
		n += int64(len(page))
		if _, err := out.Write(page); err != nil {
			return 0, err
		}
	}
}
