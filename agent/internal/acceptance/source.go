package acceptance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// sources hands out loopback addresses to ask from.
//
// OpenSSH 9.8 and later hold every connection that ends without a log-in against its source address
// (PerSourcePenalties): five seconds each, and from fifteen together on nobody gets in from there for a
// while. A handful of questions in a row would so lock out local tools that come from 127.0.0.1. All of
// 127.0.0.0/8 is this machine: with another of its addresses each time, no penalty ever grows.
type sources struct {
	next      atomic.Uint32
	unwelcome atomic.Bool // sshd hangs up on them
}

func newSources() *sources {
	s := &sources{}
	// An agent that is started again and again does not begin at the same address each time.
	s.next.Store(rand.Uint32())
	return s
}

// take is an address never used by other programs. Neighbours differ in the second byte, so that they stay
// apart also where sshd lumps addresses together (PerSourceNetBlockSize) down to /16.
func (s *sources) take() netip.Addr {
	n := s.next.Add(1)
	return netip.AddrFrom4([4]byte{127, byte(1 + n%254), 83, 72})
}

// own is an address to ask from, if the peer is on IPv4 loopback.
func (s *sources) own(address string) (netip.Addr, bool) {
	if s.unwelcome.Load() || !onLoopback(address) {
		return netip.Addr{}, false
	}
	return s.take(), true
}

// patience is how long an address of our own is tried: loopback connects at once, unless a packet filter drops
// what does not come from 127.0.0.1.
const patience = time.Second

// dialFrom connects to address from source.
func dialFrom(ctx context.Context, source netip.Addr, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
	return dialer.DialContext(ctx, "tcp", address)
}

// dial connects to address from wherever the system likes.
func dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w at %s", ErrNotListening, address)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to sshd: %w", err)
	}
	return conn, nil
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().Is4() && ip.IsLoopback()
}

// sourceOf is the address that sshd sees.
func sourceOf(conn net.Conn) string {
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		return local.AddrPort().Addr().Unmap().String()
	}
	return ""
}
