package estate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/devenv"
)

// Finder finds the server of a workspace that takes writes, as an application does that was given a multi-host connection string
// once. Only when that leads nowhere it asks SmartDR for a new one. It is safe for concurrent use.
type Finder struct {
	Env                              *devenv.Env
	Group, Workspace, User, Database string
	Password                         string

	mu      sync.Mutex
	url     string
	asked   time.Time
	changed int // how often a string with other hosts than before was needed
}

// askEvery is the least time between two questions, of all of an application's sessions.
const askEvery = 500 * time.Millisecond

// Connect connects to the server that takes writes.
func (f *Finder) Connect(ctx context.Context) (*pgx.Conn, error) {
	url, err := f.first(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := devenv.Connect(ctx, url, f.Password)
	if err != nil {
		return nil, errors.Join(err, f.again(ctx))
	}
	return conn, nil
}

// Serving connects to the side that SmartDR says serves, and to no other: an adopted server that comes back takes writes until its
// region's worker has fenced it, and a multi-host string may lead there.
func (f *Finder) Serving(ctx context.Context) (*pgx.Conn, error) {
	var c struct{ URL string }
	err := f.Env.SmartDRJSON(ctx, &c, "connect", "--group", f.Group, "--workspace", f.Workspace, "--user", f.User, "--database", f.Database)
	if err != nil {
		return nil, err
	}
	return devenv.Connect(ctx, c.URL, f.Password)
}

// URL returns the connection string that is used now, and how often one with other hosts than before was needed. In which order they stand is
// no change: the one that serves comes first.
func (f *Finder) URL() (url string, changed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.url, f.changed
}

func (f *Finder) first(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.url != "" {
		return f.url, nil
	}
	return f.url, f.ask(ctx)
}

// again asks unless somebody did a moment ago.
func (f *Finder) again(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.asked) < askEvery {
		return nil
	}
	before := f.url
	err := f.ask(ctx)
	if err != nil {
		return err
	}
	was, err := hosts(before)
	is, errNow := hosts(f.url)
	if !slices.Equal(was, is) {
		f.changed++
	}
	return errors.Join(err, errNow)
}

// hosts returns where a connection string leads, in one order.
func hosts(url string) ([]string, error) {
	c, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	all := []string{fmt.Sprintf("%s:%d", c.Host, c.Port)}
	for _, f := range c.Fallbacks {
		all = append(all, fmt.Sprintf("%s:%d", f.Host, f.Port))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (f *Finder) ask(ctx context.Context) error {
	var c struct{ MultiHost string }
	err := f.Env.SmartDRJSON(ctx, &c, "connect", "--group", f.Group, "--workspace", f.Workspace, "--user", f.User, "--database", f.Database, "--multi-host")
	f.asked = time.Now()
	if err == nil {
		f.url = c.MultiHost
	}
	return err
}
