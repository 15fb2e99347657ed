package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/user"
	"strings"
)

// LockedError says that sshd lets nobody log in to the account that runs the demo.
type LockedError struct{ Account string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("account %q is locked, and sshd refuses log-ins to a locked account", e.Account)
}

// loginAccount is the account as which the controllers log in: the one that runs the demo, since an sshd that
// does not run as root can serve no other.
func loginAccount() (string, error) {
	who, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("finding out who is running the demo: %w", err)
	}
	shadow, err := os.ReadFile("/etc/shadow")
	if err == nil && locked(shadow, who.Username) {
		return "", &LockedError{Account: who.Username}
	}
	// Where this process may not read the file, its sshd may not either, and cannot refuse for it.
	return who.Username, nil
}

// locked reports whether the account's password begins with "!", by which sshd on Linux knows a locked account
// when it does not ask PAM. "*" is an account without a password, and is let in with a key.
func locked(shadow []byte, name string) bool {
	for lines := bufio.NewScanner(bytes.NewReader(shadow)); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), name+":"); found {
			return strings.HasPrefix(rest, "!")
		}
	}
	return false
}
