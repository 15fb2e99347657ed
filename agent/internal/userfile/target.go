package userfile

import (
	"path/filepath"
	"strings"
)

// MaxSize is the largest file that is read or written. It holds 10,000 lines of RSA-4096 keys twice over.
const MaxSize = 16 << 20

// A Target is a file that belongs to a user, and who that user is.
type Target struct {
	User     string // for messages
	UID, GID int    // owner of what is created, and besides root the only accepted owner of what exists
	Home     string // absolute
	Path     string // absolute: below Home, or elsewhere such as /etc/ssh/authorized_keys.d/alice
}

// validate refuses paths that could mean something else than they seem to.
func (t Target) validate() error {
	for _, p := range []string{t.Home, t.Path} {
		if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) {
			return refuse(BadTarget, p)
		}
	}
	if t.Path != filepath.Clean(t.Path) || t.Path == "/" || t.UID < 0 || t.GID < 0 {
		return refuse(BadTarget, t.Path)
	}
	return nil
}

// belowHome returns the file's path from the home, or false when it lies elsewhere. A home of "/", as some system users have,
// holds the whole system: what lies below it is not thereby the user's.
func (t Target) belowHome() (string, bool) {
	home := filepath.Clean(t.Home)
	if home == "/" {
		return "", false
	}
	return strings.CutPrefix(t.Path, home+"/")
}
