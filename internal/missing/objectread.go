package missing

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// LineWriter writes JSON values, one per line, compressed: reports (first a Header, then each Change) and undo records (first
// an Undo, then each Change).
type LineWriter struct {
	z   *zstd.Encoder
	enc *json.Encoder
}

// NewLineWriter begins to write.
func NewLineWriter(w io.Writer) (*LineWriter, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	l := &LineWriter{z: z, enc: json.NewEncoder(z)}
	l.enc.SetEscapeHTML(false)
	return l, nil
}

// Write adds a line.
func (l *LineWriter) Write(v any) error { return l.enc.Encode(v) }

// Close ends the lines; what lies below stays open.
func (l *LineWriter) Close() error { return l.z.Close() }

// lines reads what a LineWriter wrote.
type lines struct {
	key string
	z   *zstd.Decoder
	dec *json.Decoder
}

func openLines(ctx context.Context, store objectstore.Store, key string) (*lines, error) {
	_, r, err := OpenObject(ctx, store, key)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fault.New(fault.Corrupt, "read "+key, err)
	}
	return &lines{key, z, json.NewDecoder(bufio.NewReaderSize(z, 1<<16))}, nil
}

// next reads a line, and returns io.EOF behind the last one.
func (l *lines) next(into any) error {
	err := l.dec.Decode(into)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err // of the store, or of a part that is damaged
	}
	return fault.New(fault.Corrupt, "read "+l.key, err).WithHint(corruptHint)
}

func (l *lines) close() { l.z.Close() }

// ReadReport reads a report: the header that Merge gave for it, and each change, as they are asked for. The changes are read anew each time they
// are gone through.
func ReadReport(ctx context.Context, store objectstore.Store, key string) (h Header, changes iter.Seq2[Change, error], err error) {
	changes, err = readLines(ctx, store, key, &h)
	return h, changes, err
}

// ReadUndo reads an undo record. Its changes are read as they are asked for, and anew each time.
func ReadUndo(ctx context.Context, store objectstore.Store, key string) (u Undo, err error) {
	u.Changes, err = readLines(ctx, store, key, &u)
	return u, err
}

// WriteUndo writes an undo record: its changes are gone through once.
func WriteUndo(l *LineWriter, u Undo) error {
	if err := l.Write(u); err != nil || u.Changes == nil {
		return err
	}
	for c, err := range u.Changes {
		if err == nil {
			err = l.Write(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readLines reads the first line of an object, and returns what goes through those behind it.
func readLines(ctx context.Context, store objectstore.Store, key string, first any) (iter.Seq2[Change, error], error) {
	l, err := openLines(ctx, store, key)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := cut(key, l.next(first)); err != nil {
		return nil, err
	}
	return func(yield func(Change, error) bool) {
		l, err := openLines(ctx, store, key)
		if err == nil {
			defer l.close()
			err = cut(key, l.next(&struct{}{}))
		}
		for err == nil {
			var c Change
			if err = l.next(&c); err == nil && !yield(c, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(Change{}, err)
		}
	}, nil
}

// cut makes damage of an end that comes too early.
func cut(key string, err error) error {
	if errors.Is(err, io.EOF) {
		return fault.Newf(fault.Corrupt, "read "+key, "it is empty").WithHint(corruptHint)
	}
	return err
}

// Decisions are what a person chose, by the name of the system-managed database.
type Decisions struct {
	Format    int                   `json:"format"`
	Databases map[string][]Decision `json:"databases"`
}

// PutDecisions stores decisions, and returns their key: the same for the same decisions.
func PutDecisions(ctx context.Context, store objectstore.Store, group, workspace string, all map[string][]Decision) (string, error) {
	b, err := json.Marshal(Decisions{objectFormat, all})
	if err != nil {
		return "", fault.New(fault.Invalid, "keep decisions", err)
	}
	sum := sha256.Sum256(b)
	key := Prefix(group, workspace) + "decisions-" + hex.EncodeToString(sum[:]) + ".json"
	_, err = store.Put(ctx, key, b, objectstore.PutOptions{})
	return key, err
}

// ReadDecisions reads the decisions about a group that lie at a key.
func ReadDecisions(ctx context.Context, store objectstore.Store, group, key string) (map[string][]Decision, error) {
	workspace, name, _ := strings.Cut(strings.TrimPrefix(key, "groups/"+group+"/workspaces/"), "/missing/")
	if k, known := ParseKey(name); !known || k.Kind != DecisionsObject || Prefix(group, workspace)+name != key {
		return nil, fault.Newf(fault.Invalid, "read decisions", "%q is no key of decisions about group %s", key, group)
	}
	b, _, err := store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); !strings.Contains(name, hex.EncodeToString(sum[:])) {
		return nil, fault.Newf(fault.Corrupt, "read "+key, "its content is not what was written").WithHint("Give the decisions again.")
	}
	var d Decisions
	return d.Databases, decodeDocument(key, b, &d, func() int { return d.Format })
}
