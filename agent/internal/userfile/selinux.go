package userfile

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// A policy finds the SELinux label that the machine's policy has for a path, as restorecon would. It is asked only about what we
// create: for an existing file its own label is carried over. The zero policy is the machine's.
type policy struct {
	kernel string // "/sys/fs/selinux" when empty
	config string // "/etc/selinux" when empty
}

// label sets the policy's label for path on the open file. Without SELinux, and where the policy has nothing to say but its catch-all,
// the kernel's own choice stays.
func (p policy) label(h handle, path string, kind uint32) error {
	context, err := p.find(path, kind)
	if err != nil || context == "" {
		return err
	}
	err = again(func() error { return unix.Fsetxattr(h.fd, "security.selinux", append([]byte(context), 0), 0) })
	if err != nil {
		return fmt.Errorf("labelling as %s: %w", context, err)
	}
	return nil
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// find returns the context for path, or "" for none.
func (p policy) find(path string, kind uint32) (string, error) {
	if _, err := os.Stat(filepath.Join(or(p.kernel, "/sys/fs/selinux"), "enforce")); err != nil {
		return "", nil //nolint:nilerr // the kernel has no SELinux
	}
	name, err := p.name()
	if err != nil {
		return "", err
	}
	base := filepath.Join(or(p.config, "/etc/selinux"), name, "contexts", "files", "file_contexts")
	path = substitute(path, base+".subs", base+".subs_dist")
	var best spec
	for _, suffix := range []string{"", ".homedirs", ".local"} {
		if err := eachLine(base+suffix, func(line string) { best.improve(line, path, kind) }); err != nil {
			return "", err
		}
	}
	if best.catchAll || best.context == "<<none>>" {
		return "", nil
	}
	return best.context, nil
}

// name reads which policy is installed.
func (p policy) name() (name string, err error) {
	name = "targeted"
	err = eachLine(filepath.Join(or(p.config, "/etc/selinux"), "config"), func(line string) {
		if v, ok := strings.CutPrefix(line, "SELINUXTYPE="); ok {
			name = strings.TrimSpace(v)
		}
	})
	return name, err
}

// A spec is a line of file_contexts that matches. The last one wins, except that one without special characters beats one with.
type spec struct {
	context         string
	exact, catchAll bool
}

func (s *spec) improve(line, path string, kind uint32) {
	fields := strings.Fields(line)
	if len(fields) < 2 || len(fields) == 3 && !ofKind(fields[1], kind) {
		return
	}
	pattern := fields[0]
	literal, exact := literalPrefix(pattern)
	if !strings.HasPrefix(path, strings.TrimSuffix(literal, "/")) || s.exact && !exact {
		return
	}
	if !exact {
		// A pattern that Go's regular expressions cannot read is one about other paths: those with look-around do not concern homes.
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil || !re.MatchString(path) {
			return
		}
	} else if literal != path {
		return
	}
	*s = spec{context: fields[len(fields)-1], exact: exact, catchAll: pattern == "/.*"}
}

// literalPrefix returns what every match of the pattern begins with, and whether that is all of it.
func literalPrefix(pattern string) (prefix string, exact bool) {
	var b []byte
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			i++
			if i < len(pattern) {
				b = append(b, pattern[i])
			}
		case '?', '*', '{':
			return string(b[:max(len(b)-1, 0)]), false
		case '|':
			return "", false
		case '.', '^', '$', '+', '[', '(':
			return string(b), false
		default:
			b = append(b, c)
		}
	}
	return string(b), true
}

func ofKind(field string, kind uint32) bool {
	return field == "--" && kind == unix.S_IFREG || field == "-d" && kind == unix.S_IFDIR
}

// substitute replaces a leading alias, such as /var/home for /home, by what the policy knows it as.
func substitute(path string, files ...string) string {
	found := path
	for _, file := range files {
		_ = eachLine(file, func(line string) {
			fields := strings.Fields(line)
			if len(fields) == 2 && found == path && strings.HasPrefix(path+"/", fields[0]+"/") {
				found = fields[1] + strings.TrimPrefix(path, fields[0])
			}
		})
	}
	return found
}

// eachLine calls f for each line that is not empty or a comment. A missing file has none.
func eachLine(file string, f func(line string)) error {
	r, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		if line := strings.TrimSpace(scan.Text()); line != "" && line[0] != '#' {
			f(line)
		}
	}
	return scan.Err()
}
