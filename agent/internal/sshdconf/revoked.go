package sshdconf

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/ssh"
)

// maxRevoked is how much of a list of revoked keys is looked at.
const maxRevoked = 4 << 20

// checkRevoked looks the keys up in the file of RevokedKeys. sshd takes every key for revoked while it cannot
// read that file.
func (s Settings) checkRevoked(subject Subject) []Finding {
	if s.none("revokedkeys") {
		return nil
	}
	name := s.first("revokedkeys")
	data, err := readBounded(name, maxRevoked)
	if err != nil {
		return []Finding{{Code: CodeRevoked, Message: fmt.Sprintf("sshd refuses every key, since it cannot read RevokedKeys: %v", err), Fix: "restore " + quote(name)}}
	}
	if bytes.HasPrefix(data, []byte("SSHKRL\n")) {
		return []Finding{{Code: CodeRevoked, Weight: Notes, Message: fmt.Sprintf("%s is a key revocation list in binary form, which only sshd reads", name)}}
	}
	var findings []Finding
	for _, key := range subject.Keys {
		if listed(data, key.Blob()) {
			findings = append(findings, Finding{Code: CodeRevoked, Message: fmt.Sprintf("%s lists the key %s", name, key.Fingerprint()), Fix: "rotate to a new key"})
		}
	}
	return findings
}

func readBounded(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}

// listed reports whether one of the lines holds the key.
func listed(lines, blob []byte) bool {
	for line := range bytes.Lines(lines) {
		key, _, _, _, err := ssh.ParseAuthorizedKey(line)
		if err == nil && bytes.Equal(key.Marshal(), blob) {
			return true
		}
	}
	return false
}
