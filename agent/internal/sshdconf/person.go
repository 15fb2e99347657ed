package sshdconf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/account"
)

// person is what the name service says about an account beyond its entry. What it does not say is left out: a
// program that is not root learns nothing from shadow.
type person struct {
	groups []string // names
	gids   []int
	own    int // the primary group, if it has no other member; else -1
	shadow shadow
}

// shadow is an account's entry in the shadow database. Its dates are days since 1970, -1 for none.
type shadow struct {
	known    bool
	locked   bool
	changed  int
	maximum  int
	inactive int
	expires  int
}

func (i *Inspector) person(ctx context.Context, a account.Account) person {
	p := person{gids: []int{a.GID}, own: -1}
	if line, err := run(ctx, i.getent, "initgroups", a.Name); err == nil {
		for word := range strings.FieldsSeq(strings.TrimPrefix(line, a.Name)) {
			if gid, err := strconv.Atoi(word); err == nil && gid != a.GID {
				p.gids = append(p.gids, gid)
			}
		}
	}
	query := []string{"group"}
	for _, gid := range p.gids {
		query = append(query, strconv.Itoa(gid))
	}
	if lines, err := run(ctx, i.getent, query...); err == nil {
		p.readGroups(lines, a)
	}
	if line, err := run(ctx, i.getent, "shadow", a.Name); err == nil {
		p.shadow = parseShadow(line)
	}
	return p
}

// readGroups reads entries of the group database.
func (p *person) readGroups(lines string, a account.Account) {
	for line := range strings.Lines(lines) {
		parts := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(parts) != 4 {
			continue
		}
		p.groups = append(p.groups, parts[0])
		// That no other account has it as primary group is what its name stands for.
		if parts[2] == strconv.Itoa(a.GID) && parts[0] == a.Name && (parts[3] == "" || parts[3] == a.Name) {
			p.own = a.GID
		}
	}
}

// owners is whom this machine's sshd trusts with the file. Upstream it is nobody; Debian and its descendants let
// a group of the user alone write.
func (i *Inspector) owners(p person) owners {
	if _, err := os.Stat(filepath.Join(i.etc, "debian_version")); err == nil {
		return owners{group: p.own}
	}
	return owners{group: -1}
}

func parseShadow(line string) shadow {
	parts := strings.Split(strings.TrimRight(line, "\n"), ":")
	if len(parts) < 8 {
		return shadow{}
	}
	day := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			return -1
		}
		return n
	}
	return shadow{
		known: true, locked: strings.HasPrefix(parts[1], "!"),
		changed: day(parts[2]), maximum: day(parts[4]), inactive: day(parts[6]), expires: day(parts[7]),
	}
}

// findings is what stands against the account itself. Without PAM sshd looks for a lock and the account's end
// before it answers a query; with PAM, pam_unix looks for the account's end and the password's age afterwards.
func (s shadow) findings(a account.Account, pam bool, now time.Time) []Finding {
	if !s.known {
		return nil
	}
	today := int(now.Unix() / (24 * 60 * 60))
	weight := Explains
	if pam {
		weight = Denies
	}
	var findings []Finding
	if s.locked && !pam {
		findings = append(findings, Finding{Code: CodeLocked, Message: fmt.Sprintf("the account %s is locked, and without PAM sshd lets nobody in", a.Name), Fix: "usermod -p '*' " + a.Name})
	}
	if s.expires >= 0 && today >= s.expires {
		findings = append(findings, Finding{Code: CodeExpired, Weight: weight, Message: fmt.Sprintf("the account %s has expired", a.Name), Fix: "chage -E -1 " + a.Name})
	}
	if pam && s.passwordExpired(today) {
		findings = append(findings, Finding{Code: CodePasswordExpired, Weight: Doubts, Message: fmt.Sprintf("the password of %s has expired: a log-in, also one with a key, must change it first", a.Name), Fix: "chage -M -1 " + a.Name})
	}
	return findings
}

// passwordExpired is pam_unix's rule.
func (s shadow) passwordExpired(today int) bool {
	if s.changed == 0 {
		return true
	}
	return s.changed > 0 && s.maximum >= 0 && today-s.changed > s.maximum
}

// checkShell finds a shell with which nobody gets in. sshd itself refuses one that is not there; /usr/sbin/nologin
// and its kind end every session, whatever the command.
func checkShell(a account.Account) []Finding {
	shell := a.Shell
	if shell == "" {
		shell = "/bin/sh"
	}
	fix := "usermod -s /bin/sh " + a.Name
	info, err := os.Stat(shell)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return []Finding{{Code: CodeShell, Message: fmt.Sprintf("the shell %s of %s is missing or no program", shell, a.Name), Fix: fix}}
	}
	switch filepath.Base(shell) {
	case "nologin", "false", "true":
		return []Finding{{Code: CodeShell, Weight: Denies, Message: fmt.Sprintf("the shell %s of %s runs no commands", shell, a.Name), Fix: fix}}
	}
	return nil
}

// checkNoLogin looks for the file with which systemd (while it boots or shuts down) and administrators keep
// everybody but root out.
func (i *Inspector) checkNoLogin(a account.Account) []Finding {
	if a.UID == 0 {
		return nil
	}
	for _, name := range []string{filepath.Join(i.etc, "nologin"), "/run/nologin"} {
		if _, err := os.Stat(name); err == nil {
			return []Finding{{Code: CodeNoLogin, Weight: Notes, Message: name + " lets only root in for now", Fix: "remove it, or wait until the machine has booted"}}
		}
	}
	return nil
}
