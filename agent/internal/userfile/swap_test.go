package userfile

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helpSwap is a malicious user. It plays with the names in its own home as fast as it can, until its standard input ends, and prints how many times
// it put something in the way.
func helpSwap() {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(someUID), syscall.Setuid(someUID)); err != nil {
		fmt.Fprintln(os.Stderr, "becoming the user:", err)
		os.Exit(1)
	}
	home, outside := os.Getenv("T_HOME"), os.Getenv("T_OUTSIDE")
	done := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(done)
	}()
	s := swapper{ssh: filepath.Join(home, ".ssh"), real: filepath.Join(home, "real"), outside: outside}
	for {
		select {
		case <-done:
			fmt.Println(s.swaps)
			os.Exit(0)
		default:
			s.once()
		}
	}
}

type swapper struct {
	ssh, real, outside string
	swaps              int
}

// try counts what the user succeeded in.
func (s *swapper) try(err error) {
	if err == nil {
		s.swaps++
	}
}

func (s *swapper) once() {
	file := filepath.Join(s.ssh, "authorized_keys")
	victim := filepath.Join(s.outside, []string{"authorized_keys", "secret", "public", "new"}[rand.IntN(4)])
	switch rand.IntN(4) {
	case 0: // the folder becomes a link
		if os.Rename(s.ssh, s.real) == nil {
			s.try(os.Symlink(s.outside, s.ssh))
			time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
			_ = os.Remove(s.ssh)
			_ = os.Rename(s.real, s.ssh)
		}
	case 1: // the file becomes a link, or a hard link where the kernel lets it
		if os.Rename(file, file+".real") == nil {
			if rand.IntN(2) == 0 || os.Link(victim, file) != nil {
				s.try(os.Symlink(victim, file))
			}
			time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
			_ = os.Rename(file+".real", file)
		}
	case 2: // whatever temporary file there is becomes a link
		entries, _ := os.ReadDir(s.ssh)
		for _, e := range entries {
			if name := e.Name(); name != "authorized_keys" && name != "authorized_keys.real" {
				_ = os.Remove(filepath.Join(s.ssh, name))
				s.try(os.Symlink(victim, filepath.Join(s.ssh, name)))
			}
		}
	case 3: // a link lies where a predictable temporary file would be
		s.try(os.Symlink(victim, file+".tmp"))
		time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
		_ = os.Remove(file + ".tmp")
	}
	time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
}

// attacked runs write over and over, as root, in the home of a user who swaps names, until enough has happened or stop says so. It
// returns what changed outside the home.
func attacked(t *testing.T, write func(target Target, n int) (written bool), enough func(swaps, writes int) bool) (changes []string) {
	t.Helper()
	target := foreignHome(t, []byte("# top\n"))
	outside := t.TempDir()
	must(t, os.Chmod(outside, 0o755))
	must(t, os.Chmod(filepath.Dir(outside), 0o755))
	for name, mode := range map[string]os.FileMode{"authorized_keys": 0o644, "secret": 0o600, "public": 0o644} {
		must(t, os.WriteFile(filepath.Join(outside, name), []byte("outside\n"), mode))
	}
	before := describe(t, outside)
	swaps, writes := 0, 0
	for !enough(swaps, writes) {
		stop := startSwapper(t, target, outside)
		for start := time.Now(); time.Since(start) < time.Second; {
			if write(target, writes) {
				writes++
			}
		}
		swaps += stop()
		if now := describe(t, outside); now != before {
			t.Logf("%d swaps, %d writes", swaps, writes)
			return strings.Split(now, "\n")
		}
		settle(t, target)
	}
	t.Logf("%d swaps, %d writes", swaps, writes)
	return nil
}

// startSwapper starts the malicious user; the function that it returns ends him and answers his count.
func startSwapper(t *testing.T, target Target, outside string) func() int {
	t.Helper()
	cmd := helper(t.Context(), "swap", nil, append(targetEnv(target), "T_OUTSIDE="+outside)...)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return func() (swaps int) {
		in.Close()
		_, err := fmt.Fscan(out, &swaps)
		must(t, errors.Join(err, cmd.Wait()))
		return swaps
	}
}

// settle puts the home in order again: the user may have been stopped between two steps.
func settle(t *testing.T, target Target) {
	t.Helper()
	ssh := filepath.Join(target.Home, ".ssh")
	if _, err := os.Lstat(filepath.Join(target.Home, "real")); err == nil {
		must(t, os.RemoveAll(ssh))
		must(t, os.Rename(filepath.Join(target.Home, "real"), ssh))
	}
	entries, err := os.ReadDir(ssh)
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(filepath.Join(ssh, e.Name())))
	}
	must(t, os.WriteFile(target.Path, []byte("# top\n"), 0o600))
	must(t, os.Lchown(target.Path, someUID, someUID))
}

// describe is a listing with contents, for everything in a folder.
func describe(t *testing.T, dir string) string {
	t.Helper()
	text := listing(t, dir)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		content, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		text += fmt.Sprintf("%s holds %q\n", e.Name(), content)
	}
	return text
}

func TestAUserWhoSwapsNamesGainsNothing(t *testing.T) {
	needRoot(t)
	wantSwaps, wantWrites := 500, 20
	if longRun() {
		wantSwaps, wantWrites = 10_000, 500
	}
	w := new(Writer)
	changes := attacked(t, func(target Target, n int) bool {
		out, _ := w.Rewrite(t.Context(), target, setBlock(n))
		return out.Written
	}, func(swaps, writes int) bool { return swaps >= wantSwaps && writes >= wantWrites })
	if changes != nil {
		t.Errorf("outside the home there is now:\n%s", strings.Join(changes, "\n"))
	}
}

// The same attack finds the writer out that everybody writes first.
func TestTheAttackSucceedsAgainstAPathBasedWriter(t *testing.T) {
	needRoot(t)
	rounds := 0
	changes := attacked(t, func(target Target, n int) bool {
		old, err := os.ReadFile(target.Path)
		if err != nil {
			return false
		}
		updated, _ := setBlock(n)(old)
		tmp := target.Path + ".tmp"
		err = errors.Join(os.WriteFile(tmp, updated, 0o600), os.Chown(tmp, target.UID, target.GID), os.Rename(tmp, target.Path))
		return err == nil
	}, func(int, int) bool { rounds++; return rounds > 20 })
	if changes == nil {
		t.Error("20 seconds of attack changed nothing outside the home: the harness is blind")
	}
}
