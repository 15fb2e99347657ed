package sshdconf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/rotatessh/rotatessh/agent/internal/account"
)

// checkModes follows OpenSSH's safe_path: under StrictModes the file and every folder above it, up to the home or
// to /, must belong to root or the user and be writable by nobody else. Links on the way are followed first, as
// sshd does. Of a file that is not there yet, the folders that are there count.
func (o owners) checkModes(file string, a account.Account) []Finding {
	path, found, err := existing(file)
	if err != nil {
		return []Finding{{Code: CodeModes, Message: fmt.Sprintf("the way to %s cannot be followed: %v", file, err)}}
	}
	home, err := filepath.EvalSymlinks(a.Home)
	if err != nil {
		home = ""
	}
	findings := o.checkOne(path, !found, a)
	for !(path == "/" || path == home && !found) {
		path, found = filepath.Dir(path), false
		findings = append(findings, o.checkOne(path, true, a)...)
	}
	return findings
}

// owners is whom sshd trusts to write the file beside root and the user.
type owners struct {
	// group is a group of the user alone, which Debian's sshd trusts; -1 for none.
	group int
}

// existing is the file with the links on the way followed or, if it is not there, its nearest folder that is.
func existing(file string) (path string, found bool, err error) {
	path, err = filepath.EvalSymlinks(file)
	if err == nil {
		return path, true, nil
	}
	for errors.Is(err, fs.ErrNotExist) && file != "/" {
		file = filepath.Dir(file)
		path, err = filepath.EvalSymlinks(file)
	}
	return path, false, err
}

func (o owners) checkOne(path string, folder bool, a account.Account) []Finding {
	info, err := os.Lstat(path)
	if err != nil {
		return []Finding{{Code: CodeModes, Message: fmt.Sprintf("%s cannot be examined: %v", path, err)}}
	}
	var findings []Finding
	add := func(fix, format string, args ...any) {
		findings = append(findings, Finding{Code: CodeModes, Message: fmt.Sprintf(format, args...), Fix: fix})
	}
	if !folder && !info.Mode().IsRegular() {
		add("", "%s is not a regular file", path)
	}
	uid, gid := ids(info)
	if uid != 0 && uid != a.UID {
		add(fmt.Sprintf("chown %s %s", a.Name, quote(path)), "%s belongs to uid %d, neither to root nor to %s", path, uid, a.Name)
	}
	mode := info.Mode().Perm()
	if mode&0o002 != 0 || mode&0o020 != 0 && gid != o.group {
		add("chmod go-w "+quote(path), "%s may be written by others than its owner (mode %04o)", path, mode)
	}
	return findings
}

func ids(info fs.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return -1, -1
}

// checkReadable finds what keeps the user, as whom sshd opens the file, from reading it. Access control lists
// beyond the mode are not looked at. gids are the user's groups.
func checkReadable(file string, a account.Account, gids []int) []Finding {
	path, found, err := existing(file)
	if err != nil || a.UID == 0 {
		return nil // checkModes tells about the former; root reads everything
	}
	for ; path != "/"; path, found = filepath.Dir(path), false {
		info, err := os.Lstat(path)
		if err != nil {
			return nil
		}
		need, verb := fs.FileMode(0o1), "pass through"
		if found {
			need, verb = 0o4, "read"
		}
		if !permits(info, need, a.UID, gids) {
			return []Finding{{
				Code:    CodeUnreadable,
				Message: fmt.Sprintf("sshd reads keys as %s, who may not %s %s (mode %04o)", a.Name, verb, path, info.Mode().Perm()),
				Fix:     fmt.Sprintf("give %s the right to %s %s", a.Name, verb, quote(path)),
			}}
		}
	}
	return nil
}

// permits is the kernel's rule for mode bits: the first class that fits decides.
func permits(info fs.FileInfo, need fs.FileMode, uid int, gids []int) bool {
	owner, group := ids(info)
	mode := info.Mode().Perm()
	switch {
	case owner == uid:
		return mode&(need<<6) != 0
	case slices.Contains(gids, group):
		return mode&(need<<3) != 0
	default:
		return mode&need != 0
	}
}
