package acceptance

import (
	"bytes"
	"net"
	"strings"
	"sync"
)

// maxGreeting is how much of a connection's beginning is kept: more than the 255 bytes of the longest
// identification line, and of what sshd may say instead of one.
const maxGreeting = 512

// greetingConn keeps the first bytes that it reads. sshd turns a client away before the handshake, when it
// is overloaded (MaxStartups) or punishes the address (PerSourcePenalties), with a line of plain text that
// x/crypto/ssh drops.
type greetingConn struct {
	net.Conn
	mu   sync.Mutex // the handshake reads from a goroutine of its own
	head []byte
}

// Read implements net.Conn.
func (c *greetingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := maxGreeting - len(c.head); room > 0 {
		c.head = append(c.head, p[:min(n, room)]...)
	}
	return n, err
}

// banner is the identification line, without its end; empty if none has come yet.
func (c *greetingConn) banner() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(c.head) {
		if bytes.HasPrefix(line, []byte("SSH-")) && bytes.HasSuffix(line, []byte("\n")) {
			return printable(line)
		}
	}
	return ""
}

// refusal is what came instead of an identification line.
func (c *greetingConn) refusal() string {
	if c.banner() != "" {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return printable(c.head)
}

// printable keeps foreign bytes from doing harm in logs.
func printable(line []byte) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, strings.TrimRight(string(line), "\r\n"))
	return text[:min(len(text), 255)]
}
