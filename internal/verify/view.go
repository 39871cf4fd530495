package verify

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// view is a bucket as it was listed at one moment, less what is hidden and with what is put beside it. So the rooms that read buckets say what could
// be restored if it were so. Nothing that is done to a view reaches the bucket.
type view struct {
	under  objectstore.Store
	keys   []objectstore.Info // sorted; shared between views
	hidden map[string]bool
	beside map[string]object // what the bucket lacks
}

// object is one that the bucket lacks. One without content, of which only the key is known, cannot be read.
type object struct {
	info objectstore.Info
	body []byte
}

// list reads all keys with a prefix.
func list(ctx context.Context, s objectstore.Store, prefix string) (*view, error) {
	v := &view{under: s}
	for info, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, info)
	}
	return v, nil
}

// without returns the view less some keys.
func (v *view) without(hidden map[string]bool) *view {
	w := *v
	w.hidden = hidden
	return &w
}

// with returns the view with objects that are not there.
func (v *view) with(beside map[string]object) *view {
	w := *v
	w.beside = beside
	return &w
}

func (v *view) find(key string) (objectstore.Info, bool) {
	if v.hidden[key] {
		return objectstore.Info{}, false
	}
	if o, ok := v.beside[key]; ok {
		return o.info, true
	}
	i, ok := slices.BinarySearchFunc(v.keys, key, func(a objectstore.Info, k string) int { return strings.Compare(a.Key, k) })
	if !ok {
		return objectstore.Info{}, false
	}
	return v.keys[i], true
}

func absent(key string) error { return fault.Newf(fault.Missing, "read object", "no object %s", key) }

func (v *view) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	info, ok := v.find(key)
	if !ok {
		return nil, info, absent(key)
	}
	if o, is := v.beside[key]; is {
		if o.body == nil {
			return nil, info, fault.Newf(fault.Corrupt, "read object", "%s is not there", key)
		}
		return o.body, info, nil
	}
	return v.under.Get(ctx, key)
}

func (v *view) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if _, is := v.beside[key]; is || v.hidden[key] {
		b, _, err := v.Get(ctx, key)
		if err == nil && off+n > int64(len(b)) {
			err = fault.Newf(fault.Corrupt, "read object", "%s ends at %d", key, len(b))
		}
		if err != nil {
			return nil, err
		}
		return b[off : off+n], nil
	}
	if _, ok := v.find(key); !ok {
		return nil, absent(key)
	}
	return v.under.GetRange(ctx, key, off, n)
}

func (v *view) Head(_ context.Context, key string) (objectstore.Info, error) {
	if info, ok := v.find(key); ok {
		return info, nil
	}
	return objectstore.Info{}, absent(key)
}

func (v *view) List(_ context.Context, prefix, after string) iter.Seq2[objectstore.Info, error] {
	all := v.prefixed(prefix)
	for key, o := range v.beside {
		if strings.HasPrefix(key, prefix) {
			all = append(slices.Clip(all), o.info)
		}
	}
	if len(v.beside) > 0 {
		slices.SortFunc(all, func(a, b objectstore.Info) int { return strings.Compare(a.Key, b.Key) })
	}
	return func(yield func(objectstore.Info, error) bool) {
		for _, info := range all {
			if info.Key > after && !v.hidden[info.Key] && !yield(info, nil) {
				return
			}
		}
	}
}

// prefixed returns the listed keys with a prefix.
func (v *view) prefixed(prefix string) []objectstore.Info {
	from, _ := slices.BinarySearchFunc(v.keys, prefix, func(a objectstore.Info, k string) int { return strings.Compare(a.Key, k) })
	to := from
	for to < len(v.keys) && strings.HasPrefix(v.keys[to].Key, prefix) {
		to++
	}
	if len(v.beside) > 0 {
		return slices.Clone(v.keys[from:to])
	}
	return v.keys[from:to]
}

// Put keeps an object beside the bucket.
func (v *view) Put(_ context.Context, key string, body []byte, _ objectstore.PutOptions) (objectstore.Info, error) {
	if v.beside == nil {
		v.beside = map[string]object{}
	}
	info := objectstore.Info{Key: key, Size: int64(len(body))}
	v.beside[key] = object{info, slices.Clone(body)}
	return info, nil
}

// Delete refuses.
func (v *view) Delete(context.Context, ...string) error {
	return fault.Newf(fault.Invalid, "check bucket", "nothing is deleted by a check")
}
