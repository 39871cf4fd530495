package devenv

import (
	"context"
	"log/slog"
	"syscall"
	"time"
)

// How often a process is asked whether it is sick, and how many answers in a row must say so.
const (
	askWhetherSick = 2 * time.Second
	sickAnswers    = 3
)

// heal starts the process anew when it is sick, until somebody ends it, or it ends by itself: that is its owner's to see.
func (p *Process) heal(done <-chan struct{}) {
	tick := time.NewTicker(askWhetherSick)
	defer tick.Stop()
	for said := 0; ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		err := p.command.Sick(context.Background()) // never cut off: it bounds itself
		if err == nil {
			said = 0
			continue
		}
		if said++; said < sickAnswers {
			continue
		}
		slog.Warn("started again, for it answers nothing any more", "process", p.command.Name, "error", err)
		if done, said = p.replace(done), 0; done == nil {
			return
		}
	}
}

// replace kills the start of the process that ends with done, and starts it again; it returns the new one's end. Nil when that
// start was ended meanwhile, by somebody who may want it to stay so, or when it cannot be started.
func (p *Process) replace(done <-chan struct{}) <-chan struct{} {
	p.turn.Lock()
	defer p.turn.Unlock()
	select {
	case <-done:
		return nil
	default:
	}
	err := p.end(syscall.SIGKILL, 0)
	if err == nil {
		err = p.launch()
	}
	if err != nil {
		slog.Error("not started again", "process", p.command.Name, "error", err)
		return nil
	}
	return p.Done()
}
