package sshclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// fakeServer behaves as no real sshd does on demand.
type fakeServer struct {
	accept ssh.PublicKey // the key to accept; any when nil
	open   bool          // let everybody in without a key
	cut    bool          // close the connection instead of answering the key
	files  sftp.Handlers // what its SFTP subsystem does
}

func serveFake(t *testing.T, f fakeServer) Target {
	t.Helper()
	_, host := newKey(t, "ed25519")
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go f.serve(conn, host)
		}
	}()
	return Target{Name: "fake", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "u", HostKeys: []ssh.PublicKey{host.PublicKey()}}
}

func (f fakeServer) serve(conn net.Conn, host ssh.Signer) {
	config := &ssh.ServerConfig{NoClientAuth: f.open}
	config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if f.cut {
			conn.Close()
		}
		if f.accept != nil && !bytes.Equal(key.Marshal(), f.accept.Marshal()) {
			return nil, errors.New("refused")
		}
		return &ssh.Permissions{}, nil
	}
	config.AddHostKey(host)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for open := range channels {
		channel, requests, err := open.Accept()
		if err != nil {
			return
		}
		go f.session(channel, requests)
	}
}

func (f fakeServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	for r := range requests {
		r.Reply(r.Type == "subsystem", nil)
		if r.Type == "subsystem" {
			go func() {
				sftp.NewRequestServer(channel, f.files).Serve()
				channel.Close()
			}()
		}
	}
}

// proxy forwards connections to a port until it is frozen or cut.
type proxy struct {
	port   int
	frozen chan struct{} // close it to stop forwarding, in silence
	conns  chan net.Conn
}

func startProxy(t *testing.T, to int) *proxy {
	t.Helper()
	l := listen(t)
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, frozen: make(chan struct{}), conns: make(chan net.Conn, 10)}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to})
			if err != nil {
				near.Close()
				return
			}
			t.Cleanup(func() { near.Close(); far.Close() })
			p.conns <- near
			go p.forward(near, far)
			go p.forward(far, near)
		}
	}()
	return p
}

func (p *proxy) forward(to io.WriteCloser, from io.Reader) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-p.frozen:
			return
		default:
		}
		if err != nil {
			to.Close()
			return
		}
		to.Write(buffer[:n])
	}
}

// cut closes the client's side of the connection made last.
func (p *proxy) cut() { (<-p.conns).Close() }
