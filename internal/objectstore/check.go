package objectstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// MarkerKey is the object, right under Root, that says that a place in a bucket is SmartDR's.
const MarkerKey = "store.json"

// Marker is what MarkerKey holds. It is written once. Two stores with the same ID are the same place.
type Marker struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
}

const markerFormat = 1

// Check verifies that s, a store whose keys begin after Root, answers, may be written, and takes conditional writes, and
// returns its marker, which it writes on the first visit. What a person must change is fault.Invalid with a hint.
func Check(ctx context.Context, s Store) (Marker, error) {
	if err := checkConditions(ctx, s); err != nil {
		return Marker{}, err
	}
	m, err := readMarker(ctx, s)
	if !fault.Is(err, fault.Missing) {
		return m, err
	}
	m = Marker{Format: markerFormat, ID: rand.Text(), CreatedAt: time.Now().UTC()}
	b, err := json.Marshal(m)
	if err != nil {
		return Marker{}, err
	}
	if _, err := s.Put(ctx, MarkerKey, b, PutOptions{IfAbsent: true}); fault.Is(err, fault.Conflict) {
		return readMarker(ctx, s)
	} else if err != nil {
		return Marker{}, err
	}
	return m, nil
}

func readMarker(ctx context.Context, s Store) (Marker, error) {
	b, _, err := s.Get(ctx, MarkerKey)
	if err != nil {
		return Marker{}, err
	}
	var m Marker
	if err := json.Unmarshal(b, &m); err != nil {
		return Marker{}, fault.Newf(fault.Invalid, "read "+MarkerKey, "it is not SmartDR's: %w", err).WithHint("choose another bucket or prefix")
	}
	if m.Format != markerFormat {
		return Marker{}, fault.Newf(fault.Invalid, "read "+MarkerKey, "the bucket is of format %d, and this version knows %d", m.Format, markerFormat).
			WithHint("use a newer smartdr, or another bucket or prefix")
	}
	return m, nil
}

// checkConditions tries every condition with an object of its own, and removes it.
func checkConditions(ctx context.Context, s Store) (err error) {
	key := "check/" + rand.Text()
	first, err := s.Put(ctx, key, []byte("1"), PutOptions{IfAbsent: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Delete(context.WithoutCancel(ctx), key)) }()
	if _, err := s.Put(ctx, key, []byte("2"), PutOptions{IfAbsent: true}); !fault.Is(err, fault.Conflict) {
		return ignored("If-None-Match", err)
	}
	if _, err := s.Put(ctx, key, []byte("22"), PutOptions{IfMatch: first.ETag}); err != nil {
		return err
	}
	if _, err := s.Put(ctx, key, []byte("333"), PutOptions{IfMatch: first.ETag}); !fault.Is(err, fault.Conflict) {
		return ignored("If-Match", err)
	}
	return nil
}

func ignored(header string, err error) error {
	if err != nil {
		return err
	}
	return fault.Newf(fault.Invalid, "check the bucket", "it ignores %s, so that nothing would keep two regions from writing at once", header).
		WithHint("use an object store with conditional writes: Amazon S3, MinIO, Ceph, versitygw")
}
