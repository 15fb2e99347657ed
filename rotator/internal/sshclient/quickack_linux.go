package sshclient

import (
	"net"
	"syscall"
)

// QuickAck makes a TCP connection acknowledge at once what is read from it. sshd leaves Nagle's algorithm on until a
// command starts (OpenSSH's ssh_packet_set_interactive): it holds its answer to the channel request back until the
// end of the log-in is acknowledged, and the kernel delays that by 40 ms in the hope of data to send along. Another
// kind of connection is returned as it is.
func QuickAck(c net.Conn) net.Conn {
	tcp, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return quickAck{c, raw}
}

type quickAck struct {
	net.Conn
	raw syscall.RawConn
}

// Read sets the option anew each time, since the kernel takes it back (tcp(7)). It only saves time, so that a
// failure to set it is no error.
func (q quickAck) Read(p []byte) (int, error) {
	n, err := q.Conn.Read(p)
	_ = q.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
	return n, err
}
