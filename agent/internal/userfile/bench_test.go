package userfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// twentyLines is the size of file that most users have.
var twentyLines = strings.Repeat("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDoMbYMMpFqyoHqfFBqbgXyXGlFCSGDcMmuOqFRyDLqz me@laptop\n", 20)

// benchTarget is a file of twenty lines on a disk.
func benchTarget(b *testing.B) Target {
	b.Helper()
	base, err := os.UserCacheDir()
	must(b, err)
	must(b, os.MkdirAll(base, 0o700))
	home, err := os.MkdirTemp(base, "userfile-")
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(home) })
	target := Target{UID: os.Geteuid(), GID: os.Getegid(), Home: home, Path: filepath.Join(home, ".ssh", "authorized_keys")}
	must(b, os.Mkdir(filepath.Dir(target.Path), 0o700))
	must(b, os.WriteFile(target.Path, []byte(twentyLines), 0o600))
	return target
}

// BenchmarkRewrite compares a rewrite with what a durable replacement of a file cannot do without. The two alternate, and x-floor is the ratio of
// their medians.
func BenchmarkRewrite(b *testing.B) {
	target := benchTarget(b)
	floorPath := filepath.Join(filepath.Dir(target.Path), "floor")
	var ours, floor []time.Duration
	w := new(Writer)
	n := 0
	for b.Loop() {
		n++
		content := fmt.Appendf([]byte(twentyLines), "# %d\n", n)
		start := time.Now()
		out, err := w.Rewrite(b.Context(), target, func([]byte) ([]byte, error) { return content, nil })
		ours = append(ours, time.Since(start))
		if err != nil || !out.Written || !bytes.Equal(out.Bytes, content) {
			b.Fatalf("%+v, %v", out, err)
		}
		start = time.Now() // stopping the benchmark's clock here would stop the world and disturb both
		must(b, bareReplace(floorPath, content))
		floor = append(floor, time.Since(start))
	}
	b.ReportMetric(float64(median(ours).Nanoseconds()), "ns/op")
	b.ReportMetric(float64(median(ours))/float64(median(floor)), "x-floor")
	b.ReportMetric(float64(median(floor).Nanoseconds()), "floor-ns/op")
	b.ReportMetric(float64(countCalls(b)), "syscalls/op")
}

// bareReplace is the floor: open, write, fsync, rename, fsync of the folder.
func bareReplace(path string, content []byte) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close(), os.Rename(path+".tmp", path), dir.Sync())
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// countCalls counts the system calls of one rewrite, from the first that opens a folder of the home to the last that closes one.
func countCalls(b *testing.B) (n int) {
	b.Helper()
	target := benchTarget(b)
	inside, last := false, 0
	traced(b, helper(b.Context(), "rewrite", nil, targetEnv(target)...), func(c sysCall, done bool) bool {
		if done {
			return false
		}
		inside = inside || c.nr == unix.SYS_OPENAT && c.path == "/"
		if inside {
			n++
		}
		if c.nr == unix.SYS_CLOSE {
			last = n
		}
		return false
	})
	return last
}

// BenchmarkWindow measures how long another program's replacement of the file would go unnoticed: from the end of the comparison
// to the end of the renameat; and how long it takes from there to the last look at the old file.
func BenchmarkWindow(b *testing.B) {
	target := benchTarget(b)
	var compared, renamed time.Time
	var window, look []time.Duration
	w := Writer{
		testOnlyBeforeRename: func() { compared = time.Now() },
		testOnlyAfterRename:  func() { renamed = time.Now(); window = append(window, renamed.Sub(compared)) },
		testOnlyAfterLook:    func() { look = append(look, time.Since(renamed)) },
	}
	n := 0
	for b.Loop() {
		n++
		if _, err := w.Rewrite(b.Context(), target, setBlock(n)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(median(window).Nanoseconds()), "replace-window-ns")
	b.ReportMetric(float64(median(look).Nanoseconds()), "append-look-ns")
}
