package estate

import (
	"context"
	"sync"
	"time"
)

// question is where the writer is, asked of SmartDR as rarely as an application would.
type question struct {
	mu      sync.Mutex
	answer  string
	at      time.Time
	changed int // how often another answer than before was needed
}

// askEvery is the least time between two questions, of all of a workspace's sessions.
const askEvery = 500 * time.Millisecond

func (q *question) url(ctx context.Context, s *Space) (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.answer != "" {
		return q.answer, nil
	}
	return q.answer, q.ask(ctx, s)
}

// again asks unless somebody did a moment ago. That SmartDR does not know it yet is no error of the client's.
func (q *question) again(ctx context.Context, s *Space) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.at) < askEvery {
		return nil
	}
	before := q.answer
	err := q.ask(ctx, s)
	if err == nil && before != "" && q.answer != before {
		q.changed++
	}
	return err
}

func (q *question) ask(ctx context.Context, s *Space) error {
	var c struct{ MultiHost string }
	err := s.estate.Env.SmartDRJSON(ctx, &c, "connect", "--group", Group, "--workspace", s.Name, "--user", User, "--database", Database, "--multi-host")
	q.at = time.Now()
	if err != nil {
		return err
	}
	q.answer = c.MultiHost
	return nil
}

// URL returns the multi-host connection string that the clients use now, and how often they needed another one than before.
func (s *Space) URL() (url string, changed int) {
	s.asked.mu.Lock()
	defer s.asked.mu.Unlock()
	return s.asked.answer, s.asked.changed
}
