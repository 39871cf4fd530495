package fence_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// proxy stands between a client and a server, counts the client's messages, and holds them back or cuts all connections at one.
type proxy struct {
	net.Listener
	to   string
	mu   sync.Mutex
	seen int
	cut  int                   // messages that come through before everything is cut; 0: never
	hold map[int]chan struct{} // messages that wait: by number
	all  []net.Conn
}

func newProxy(t testing.TB, w world, cut int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	postgrestest.Check(t, err)
	p := &proxy{Listener: l, to: fmt.Sprintf("127.0.0.1:%d", w.server.Port), cut: cut, hold: map[int]chan struct{}{}}
	go p.accept()
	t.Cleanup(func() { _ = l.Close(); p.end() })
	return p
}

func (p *proxy) source() topology.Source {
	return topology.Source{ConnString: p.as("smartdr")}
}

func (p *proxy) as(role string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=shop sslmode=disable", p.Addr().(*net.TCPAddr).Port, role)
}

func (p *proxy) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.all {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		c, err := p.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.all = append(p.all, c, s)
		p.mu.Unlock()
		go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
		go func() { p.forward(c, s); _ = s.Close() }()
	}
}

// forward passes on message by message: the first has no type.
func (p *proxy) forward(c, s net.Conn) {
	for head := 4; ; head = 5 {
		b := make([]byte, head)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		rest := make([]byte, int(binary.BigEndian.Uint32(b[head-4:]))-4)
		if _, err := io.ReadFull(c, rest); err != nil {
			return
		}
		if !p.pass() {
			p.end()
			return
		}
		if _, err := s.Write(append(b, rest...)); err != nil {
			return
		}
	}
}

// pass counts a message, waits where it is held, and reports whether it goes on.
func (p *proxy) pass() bool {
	p.mu.Lock()
	p.seen++
	hold, ok := p.hold[p.seen], p.cut == 0 || p.seen <= p.cut
	p.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return ok
}
