package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/agent/internal/userfile"
)

// purgeKeys removes the managed blocks of all configured users, after which nobody gets in with the cluster's key any more. It asks
// nothing of AWS. One account that cannot be done does not keep the others.
func purgeKeys(ctx context.Context, opts options) error {
	cfg, err := load(opts)
	if err != nil {
		return err
	}
	release, err := state.Lock(cfg.StateDir)
	if errors.Is(err, state.ErrLocked) {
		return &hinted{err, "it would put the keys back: systemctl disable --now rotatessh-agent"}
	}
	if err != nil {
		return err
	}
	defer release()
	if err := confirm(opts, os.Stdin, "purge", warnPurge(cfg.Users)); err != nil {
		return err
	}
	var errs []error
	for _, u := range cfg.Users {
		if err := purgeUser(ctx, opts.stdout, u); err != nil {
			errs = append(errs, fmt.Errorf("user %q: %w", u.Name, err))
		}
	}
	return errors.Join(errs...)
}

func warnPurge(users []config.User) string {
	names := make([]string, 0, len(users))
	for _, u := range users {
		names = append(names, u.Name)
	}
	return fmt.Sprintf("This removes the cluster's keys of %s from this machine: whoever has no other key is locked out.", strings.Join(names, ", "))
}

// confirm warns and wants the word typed, unless the command line has said yes.
func confirm(opts options, answers io.Reader, word, warning string) error {
	if opts.yes {
		return nil
	}
	fmt.Fprintf(opts.stderr, "%s\nType %q to go on: ", warning, word)
	answer, _ := bufio.NewReader(answers).ReadString('\n')
	if strings.TrimSpace(answer) != word {
		return &hinted{errors.New("nothing changed"), fmt.Sprintf("answer %q, or say --yes", word)}
	}
	return nil
}

func purgeUser(ctx context.Context, stdout io.Writer, u config.User) error {
	a, err := account.Lookup(ctx, u.Name)
	if err != nil {
		return err
	}
	path := u.Expand(a.Home)
	var purged authkeys.Purged
	out, err := (&userfile.Writer{}).Rewrite(ctx, userfile.Target{User: u.Name, UID: a.UID, GID: a.GID, Home: a.Home, Path: path},
		func(old []byte) ([]byte, error) {
			purged = authkeys.Purge(old)
			return purged.Bytes, nil
		})
	if out.Written {
		recordPurge(u.Name, path, purged.Removed)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "user %s: %d managed keys removed from %s\n", u.Name, len(purged.Removed), path)
	for _, fingerprint := range purged.Removed {
		fmt.Fprintf(stdout, "  %s\n", fingerprint)
	}
	if len(purged.Left) > 0 {
		return &hinted{fmt.Errorf("%s: %s", path, strings.Join(purged.Left, "; ")), "look which of the lines there are to stay, and remove the others by hand"}
	}
	return nil
}

// recordPurge leaves a trace in the machine's journal, where the agent's own changes are: who removed which keys. Where there is no
// journal, what the command prints is all.
func recordPurge(user, path string, fingerprints []string) {
	tellJournal(fmt.Sprintf("managed keys purged: user %s, file %s, keys %s, by %s", user, path, strings.Join(fingerprints, " "), operator()))
}

// tellJournal leaves a warning in the machine's journal, where there is one.
func tellJournal(message string) {
	if !journal.Enabled() {
		return
	}
	// What is told has happened already; a journal that cannot be written changes nothing about it.
	_ = journal.Send(message, journal.PriWarning, map[string]string{"SYSLOG_IDENTIFIER": "rotatessh-agent"})
}

// operator is who runs this command, as far as the machine can tell.
func operator() string {
	who := fmt.Sprintf("uid %d", os.Getuid())
	if sudo := os.Getenv("SUDO_USER"); sudo != "" {
		who += fmt.Sprintf(", sudo user %q", sudo)
	}
	return who
}
