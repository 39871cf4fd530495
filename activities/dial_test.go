package activities

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dialFrom connects from an address of this host, of which 127.0.0.0/8 has plenty.
func dialFrom(addr string) func(context.Context, string, string) (net.Conn, error) {
	from := netip.MustParseAddr(addr)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 5 * time.Second}
	return d.DialContext
}
