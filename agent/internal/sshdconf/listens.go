package sshdconf

import (
	"net"
	"strings"
)

// Listens reports whether an sshd with these settings listens on the port, as far as they tell. Where it does not,
// they are those of another sshd than the one that is running there.
func (s Settings) Listens(port string) bool {
	addresses := s.lines("listenaddress")
	for _, address := range addresses {
		if _, p, err := net.SplitHostPort(firstWord(address)); err == nil && p == port {
			return true
		}
	}
	return len(addresses) == 0 && s.first("port") == port
}

func firstWord(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}
