package objectstore_test

import (
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// The gateway runs on the same machine, so these say what client and server reach together.
func BenchmarkPut(b *testing.B) {
	s := devtest.Store(b)
	for _, size := range []int{1 << 10, 1 << 20, 16 << 20} {
		body := make([]byte, size)
		_, _ = rand.Read(body) // never fails
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			var n atomic.Int64
			b.SetBytes(int64(size))
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					key := fmt.Sprintf("%d/%d-%d", size, b.N, n.Add(1))
					if _, err := s.Put(b.Context(), key, body, objectstore.PutOptions{IfAbsent: true}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkGetRange(b *testing.B) {
	s := devtest.Store(b)
	if _, err := s.Put(b.Context(), "k", make([]byte, 64<<20), objectstore.PutOptions{}); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int64{64 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(size)
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.GetRange(b.Context(), "k", 12345, size); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
