package restore

import "context"

type fetch struct{ FetchWAL }

func newFetch(f FetchWAL) *fetch { return &fetch{f} }

func (f *fetch) run(ctx context.Context) (FetchedWAL, error) { panic("not there yet") }
