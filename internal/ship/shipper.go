package ship

import "context"

type shipper struct{ *WAL }

func newShipper(w *WAL) *shipper { return &shipper{w} }

func (s *shipper) run(ctx context.Context) error { panic("not there yet") }
