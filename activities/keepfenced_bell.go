package activities

import "sync"

// bell wakes somebody up. Ringing twice is as good as once. The zero value is ready.
type bell struct {
	once sync.Once
	c    chan struct{}
}

func (b *bell) rung() <-chan struct{} {
	b.once.Do(func() { b.c = make(chan struct{}, 1) })
	return b.c
}

func (b *bell) ring() {
	b.rung()
	select {
	case b.c <- struct{}{}:
	default:
	}
}
