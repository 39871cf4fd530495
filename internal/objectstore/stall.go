package objectstore

import (
	"bytes"
	"context"
	"errors"
	"time"
)

var errStalled = errors.New("no progress")

// watch ends a request that makes no progress. A deadline for the whole request would have to be right for
// a 1 KiB document and for a 64 MiB pack on a slow line at once.
type watch struct {
	ctx    context.Context
	after  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func (s *S3) watch(ctx context.Context) *watch {
	w := &watch{after: s.cfg.Stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(w.after, func() { w.cancel(errStalled) })
	return w
}

// moved says that bytes went by.
func (w *watch) moved() { w.timer.Reset(w.after) }

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// watchedReader is a request's body. The transport takes the next piece when the last one is on its way. It has no
// WriteTo, which would hand over the whole body at once.
type watchedReader struct {
	r *bytes.Reader
	w *watch
}

func (r *watchedReader) Read(b []byte) (int, error) {
	r.w.moved()
	return r.r.Read(b)
}

func (r *watchedReader) Seek(offset int64, whence int) (int64, error) {
	return r.r.Seek(offset, whence)
}
