package missing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// objectFormat is the format of the documents.
	objectFormat = 1
	// partSize is how much of an object lies in memory, in bytes.
	partSize = 8 << 20
)

// Object is a document that names the parts of what is too large for one object: a set, a report or an undo record. It is written last, so that
// what it names is whole.
type Object struct {
	Format        int       `json:"format"`
	Kind          Kind      `json:"kind"`
	SystemManaged string    `json:"systemManaged,omitempty"` // name of the system-managed database
	Database      string    `json:"database"`
	Lineage       string    `json:"lineage"`
	Fork          wal.LSN   `json:"fork"`
	Tip           wal.LSN   `json:"tip"`
	MadeAt        time.Time `json:"madeAt"`
	Parts         []Part    `json:"parts"`

	// Of a set. One without parts is of a database that is not there at the tip, and Notes say so.
	Commits int64    `json:"commits,omitempty"` // commit records between fork and tip, of the whole server
	Notes   []string `json:"notes,omitempty"`
	Refused *Refusal `json:"refused,omitempty"` // it has no parts, since the database could not be compared
	// Of a report.
	Applied bool     `json:"applied,omitempty"` // it tells of a merge
	Summary *Summary `json:"summary,omitempty"`
	// Of an undo record.
	XID     uint64 `json:"xid,omitempty"`
	Changes int64  `json:"changes,omitempty"`
}

// Part is a piece of an object.
type Part struct {
	Key    string `json:"key"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const corruptHint = "Compare again: it is made anew."

// ObjectWriter writes an object, part by part. What was written counts when Publish has returned.
type ObjectWriter struct {
	ctx   context.Context
	store objectstore.Store
	key   string
	buf   bytes.Buffer
	parts []Part
}

// CreateObject begins to write an object.
func CreateObject(ctx context.Context, store objectstore.Store, key string) *ObjectWriter {
	return &ObjectWriter{ctx: ctx, store: store, key: key, parts: []Part{}}
}

func (w *ObjectWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		some := b[:min(len(b), partSize-w.buf.Len())]
		w.buf.Write(some)
		b = b[len(some):]
		if w.buf.Len() == partSize {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush stores a part. Its key has its digest, so that two who write the same object at a time never mix.
func (w *ObjectWriter) flush() error {
	if w.buf.Len() == 0 {
		return nil
	}
	sum := sha256.Sum256(w.buf.Bytes())
	p := Part{Size: int64(w.buf.Len()), SHA256: hex.EncodeToString(sum[:])}
	p.Key = fmt.Sprintf("%s/%06d-%s", strings.TrimSuffix(w.key, ".json"), len(w.parts), p.SHA256)
	if _, err := w.store.Put(w.ctx, p.Key, w.buf.Bytes(), objectstore.PutOptions{}); err != nil {
		return err
	}
	w.parts = append(w.parts, p)
	w.buf.Reset()
	return nil
}

// Close stores what is left; Publish makes it count.
func (w *ObjectWriter) Close() error { return w.flush() }

// Publish writes the document. Format and Parts are filled in.
func (w *ObjectWriter) Publish(ctx context.Context, o Object) error {
	if err := w.flush(); err != nil {
		return err
	}
	o.Format, o.Parts = objectFormat, w.parts
	return putDocument(ctx, w.store, w.key, o)
}

func putDocument(ctx context.Context, store objectstore.Store, key string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.New(fault.Invalid, "write "+key, err)
	}
	_, err = store.Put(ctx, key, append(b, '\n'), objectstore.PutOptions{})
	return err
}

// ReadObject reads the document of an object; fault.Missing when there is none, fault.Corrupt when it is damaged.
func ReadObject(ctx context.Context, store objectstore.Store, key string) (o Object, err error) {
	b, _, err := store.Get(ctx, key)
	if err != nil {
		return o, err
	}
	return o, decodeDocument(key, b, &o, func() int { return o.Format })
}

func decodeDocument(key string, b []byte, into any, format func() int) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fault.New(fault.Corrupt, "read "+key, err).WithHint(corruptHint)
	}
	if f := format(); f != objectFormat {
		return fault.Newf(fault.Invalid, "read "+key, "it has format %d, and this version reads %d", f, objectFormat).
			WithHint("Use the version of smartdr that wrote it, or a newer one.")
	}
	return nil
}

// OpenObject opens an object for reading from its beginning, part by part; each is verified.
func OpenObject(ctx context.Context, store objectstore.Store, key string) (Object, io.ReadCloser, error) {
	o, err := ReadObject(ctx, store, key)
	if err != nil {
		return o, nil, err
	}
	return o, &objectReader{ctx: ctx, store: store, parts: o.Parts}, nil
}

type objectReader struct {
	ctx   context.Context
	store objectstore.Store
	parts []Part
	part  bytes.Reader
}

func (r *objectReader) Read(b []byte) (int, error) {
	for r.part.Len() == 0 {
		if len(r.parts) == 0 {
			return 0, io.EOF
		}
		content, err := readPart(r.ctx, r.store, r.parts[0])
		if err != nil {
			return 0, err
		}
		r.part.Reset(content)
		r.parts = r.parts[1:]
	}
	return r.part.Read(b)
}

func readPart(ctx context.Context, store objectstore.Store, p Part) ([]byte, error) {
	b, _, err := store.Get(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, fault.Newf(fault.Corrupt, "read "+p.Key, "its content is not what was written").WithHint(corruptHint)
	}
	return b, nil
}

// Close ends reading.
func (r *objectReader) Close() error { return nil }

// CopyObject copies an object to another bucket, its document last.
func CopyObject(ctx context.Context, from, to objectstore.Store, key string) error {
	o, err := ReadObject(ctx, from, key)
	if err != nil {
		return err
	}
	for _, p := range o.Parts {
		b, err := readPart(ctx, from, p)
		if err != nil {
			return err
		}
		if _, err := to.Put(ctx, p.Key, b, objectstore.PutOptions{}); err != nil {
			return err
		}
	}
	return putDocument(ctx, to, key, o)
}

// Describe adds to a report what came of it.
func Describe(ctx context.Context, store objectstore.Store, key string, s Summary) error {
	o, err := ReadObject(ctx, store, key)
	if err != nil {
		return err
	}
	o.Summary = &s
	return putDocument(ctx, store, key, o)
}
