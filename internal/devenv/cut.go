package devenv

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Line is what a Cut does with what goes over it.
type Line int

const (
	// Whole lines pass everything on.
	Whole Line = iota
	// Refusing lines end connections and refuse new ones, as a host does where nothing listens any more.
	Refusing
	// Swallowing lines take connections and bytes and never answer, as a network does that has lost its other half.
	Swallowing
)

// Cut is a TCP line to a server that can be cut, slowed down and healed.
type Cut struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	line  Line
	delay time.Duration // of every piece, in either direction
	wake  chan struct{} // closed when the line changes
	open  map[net.Conn]bool
	ended bool
}

// StartCut opens a whole line to a server, on a free port of this host.
func StartCut(target string) (*Cut, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Cut{listener: l, target: target, wake: make(chan struct{}), open: map[net.Conn]bool{}}
	go c.serve()
	return c, nil
}

// Addr returns host and port to connect to instead of the server's.
func (c *Cut) Addr() string { return c.listener.Addr().String() }

// Set changes the line. Connections that were open while it refused or swallowed do not come back: what was lost of them nobody
// would repeat.
func (c *Cut) Set(line Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if line == c.line {
		return
	}
	heal := line == Whole
	c.line = line
	close(c.wake)
	c.wake = make(chan struct{})
	if line == Refusing || heal {
		c.endAll()
	}
}

// Slow delays every piece of up to 32 KiB by d, in either direction. 0 ends that.
func (c *Cut) Slow(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

// Close ends the line for good.
func (c *Cut) Close() error {
	c.mu.Lock()
	c.ended = true
	c.endAll()
	close(c.wake)
	c.wake = make(chan struct{})
	c.mu.Unlock()
	return c.listener.Close()
}

// endAll must be called with mu held.
func (c *Cut) endAll() {
	for conn := range c.open {
		_ = conn.Close() // it is to break
	}
}

func (c *Cut) serve() {
	for {
		conn, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go c.carry(conn)
		}
	}
}

// carry passes on one connection until either side ends it. One that begins while the line swallows waits for the line to heal, and
// is then ended: to the client it never got through.
func (c *Cut) carry(client net.Conn) {
	if !c.admit(client) {
		_ = client.Close()
		return
	}
	defer c.leave(client)
	if line, wake := c.state(); line == Swallowing {
		go func() { _, _ = io.Copy(io.Discard, client) }()
		<-wake
		return
	}
	server, err := net.DialTimeout("tcp", c.target, 5*time.Second)
	if err != nil {
		return
	}
	if !c.admit(server) {
		_ = server.Close()
		return
	}
	defer c.leave(server)
	done := make(chan struct{}, 2)
	go func() { c.pass(server, client); done <- struct{}{} }()
	go func() { c.pass(client, server); done <- struct{}{} }()
	<-done
}

func (c *Cut) admit(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.line == Refusing {
		return false
	}
	c.open[conn] = true
	return true
}

func (c *Cut) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	_ = conn.Close()
}

func (c *Cut) state() (Line, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line, c.wake
}

// pass copies from one connection to the other, while the line is whole.
func (c *Cut) pass(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !c.deliver(to, b[:n]) || err != nil {
			return
		}
	}
}

// deliver writes one piece, and reports whether the connection goes on. What a swallowing line has taken is gone.
func (c *Cut) deliver(to net.Conn, b []byte) bool {
	c.mu.Lock()
	line, wake, delay := c.line, c.wake, c.delay
	c.mu.Unlock()
	if line != Whole {
		<-wake
		return false
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	_, err := to.Write(b)
	return err == nil
}
