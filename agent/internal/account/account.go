// Package account looks up a user of the machine the way the machine's own programs do.
//
// It asks the name service switch through getent, so that users of LDAP, SSSD or systemd-homed are found although this
// program is not linked against the C library. It promises that "no such user" is told apart from "could not find out",
// and does not promise that what the name service answers makes sense: a home may not exist.
package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// ErrUnknown is wrapped by the error for a name that the machine certainly has no user for. Any other error says nothing about
// whether the user exists.
var ErrUnknown = errors.New("no such user")

// An Account is an entry of the user database.
type Account struct {
	Name     string
	UID, GID int
	Home     string // absolute and clean
	Shell    string // "" when the database names none
}

// timeout bounds a look-up whose context has no earlier deadline: a directory server may be down.
const timeout = 10 * time.Second

// Lookup finds the account with exactly this name. It blocks until the name service answers, at most for ten seconds. Where getent is
// missing it reads /etc/passwd.
func Lookup(ctx context.Context, name string) (Account, error) {
	return source{
		getent: []string{"/usr/bin/getent", "/bin/getent", "/usr/sbin/getent"},
		passwd: "/etc/passwd",
	}.lookup(ctx, name)
}

// A source is where accounts come from.
type source struct {
	getent []string // candidates for the program, by absolute path
	passwd string
}

func (s source) lookup(ctx context.Context, name string) (Account, error) {
	if err := validate(name); err != nil {
		return Account{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	line, err := s.line(ctx, name)
	if err != nil {
		return Account{}, fmt.Errorf("looking up user %q: %w", name, err)
	}
	a, err := parse(line)
	if err == nil && a.Name != name {
		// getent takes a number for a uid, and some directories answer in another case; sshd would know the user by neither.
		err = fmt.Errorf("%w: the name service calls it %q", ErrUnknown, a.Name)
	}
	if err != nil {
		return Account{}, fmt.Errorf("looking up user %q: %w", name, err)
	}
	return a, nil
}

// line returns the user's entry in passwd format.
func (s source) line(ctx context.Context, name string) (string, error) {
	for _, program := range s.getent {
		line, err := ask(ctx, program, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return line, err
		}
	}
	text, err := os.ReadFile(s.passwd)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name+":") {
			return line, nil
		}
	}
	return "", ErrUnknown
}

// maxName bounds a user name, as the kernel's LOGIN_NAME_MAX does.
const maxName = 256

// validate refuses what cannot be a user name or could be read as something else on the way to the name service.
func validate(name string) error {
	if name == "" || len(name) > maxName || name[0] == '-' || name == "." || name == ".." {
		return fmt.Errorf("%q is not a user name", name)
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == 0xfffd || strings.ContainsRune(":/,", r) {
			return fmt.Errorf("%q is not a user name: it holds %q", name, r)
		}
	}
	return nil
}

// parse reads a line of passwd.
func parse(line string) (Account, error) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(fields) != 7 || strings.Contains(line[:len(line)-1], "\n") {
		return Account{}, fmt.Errorf("the user database answers %.200q, which is not an entry", line)
	}
	a := Account{Name: fields[0], Home: fields[5], Shell: fields[6]}
	for i, id := range []*int{&a.UID, &a.GID} {
		n, err := strconv.ParseUint(fields[2+i], 10, 32)
		if err != nil || n == 1<<32-1 {
			return Account{}, fmt.Errorf("the user database has the id %.40q for %q", fields[2+i], a.Name)
		}
		*id = int(n)
	}
	if !path.IsAbs(a.Home) {
		return Account{}, fmt.Errorf("the user database has the home %.200q for %q, which is not absolute", a.Home, a.Name)
	}
	a.Home = path.Clean(a.Home)
	return a, nil
}
