package userfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helpAppend adds numbered lines to a file as a shell's >> does, until its standard input ends, and prints each with what it saw: "orphan" when the
// file had lost its name by the time the line was written.
func helpAppend() {
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	}()
	path, id := os.Getenv("T_PATH"), os.Getenv("T_ID")
	pause, _ := strconv.Atoi(os.Getenv("T_PAUSE"))
	for i := 0; ; i++ {
		line := fmt.Sprintf("# line %d of %s", i, id)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			continue
		}
		_, err = f.WriteString(line + "\n")
		var st unix.Stat_t
		fate := "kept"
		if err != nil || unix.Fstat(int(f.Fd()), &st) != nil {
			fate = "failed"
		} else if st.Nlink == 0 {
			fate = "orphan"
		}
		f.Close()
		fmt.Println(fate, line)
		time.Sleep(time.Duration(rand.IntN(2*pause)+1) * time.Microsecond)
	}
}

// setBlock is a Change that replaces the block by one that holds the number.
func setBlock(n int) Change {
	return func(old []byte) ([]byte, error) {
		var out []byte
		inBlock := false
		for line := range bytes.Lines(old) {
			switch {
			case bytes.HasPrefix(line, []byte("# BEGIN rotatessh")):
				inBlock = true
			case bytes.HasPrefix(line, []byte("# END rotatessh")):
				inBlock = false
			case !inBlock:
				out = append(out, line...)
			}
		}
		return append(joinLines(out, nil), fmt.Sprintf("# BEGIN rotatessh arn:test\n# number %d\n# END rotatessh arn:test\n", n)...), nil
	}
}

// Lines that other programs append while we rewrite are only lost in the documented window: their writer opened the file before the rename and
// wrote after the last look at the old inode, by when the file had no name any more.
func TestConcurrentAppendersLoseNothingOutsideTheWindow(t *testing.T) {
	length := 1500 * time.Millisecond
	if longRun() {
		length = 60 * time.Second
	}
	t.Run("on a disk", func(t *testing.T) { stressAppenders(t, safeDir(t), length) })
	t.Run("in memory", func(t *testing.T) {
		dir, err := os.MkdirTemp("/dev/shm", "userfile-")
		if err != nil {
			t.Skipf("not run: %v", err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		stressAppenders(t, dir, length) // where the window is hit more often, since nothing else takes time
	})
}

func stressAppenders(t *testing.T, home string, length time.Duration) {
	target := Target{UID: os.Geteuid(), GID: os.Getegid(), Home: home, Path: home + "/authorized_keys"}
	must(t, os.WriteFile(target.Path, []byte("# top\n"), 0o600))
	stop, reports := startAppenders(t, target, 3, 1500)
	writes, busy := 0, 0
	for deadline := time.Now().Add(length); time.Now().Before(deadline); {
		out, err := new(Writer).Rewrite(t.Context(), target, setBlock(writes))
		if hasCode(err, Busy) {
			busy++
		} else if err != nil {
			t.Fatal(err)
		}
		if out.Written {
			writes++
		}
	}
	stop()
	counts := fates(t, target, reports)
	t.Logf("%d rewrites, %d given up; %d lines appended, %d of them to an inode without a name, %d lost", writes, busy, counts["all"], counts["orphan"], counts["lost"])
	if writes == 0 || counts["all"] < 100 {
		t.Errorf("too little happened: %d rewrites, %v", writes, counts)
	}
}

// fates counts what became of the lines and complains about each that was lost without excuse.
func fates(t *testing.T, target Target, reports <-chan string) map[string]int {
	t.Helper()
	content, err := os.ReadFile(target.Path)
	must(t, err)
	present := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		present[line] = true
	}
	counts := map[string]int{}
	for report := range reports {
		fate, line, _ := strings.Cut(report, " ")
		counts["all"]++
		counts[fate]++
		if present[line+"\n"] {
			continue
		}
		counts["lost"]++
		if fate == "kept" {
			t.Errorf("%q is lost although the file still had its name when it had been written", line)
		}
	}
	return counts
}

// startAppenders starts n processes that append, with a mean pause in microseconds. The channel has their reports once they have been stopped.
func startAppenders(t *testing.T, target Target, n, pause int) (stop func(), reports chan string) {
	t.Helper()
	reports = make(chan string, 1<<20)
	var wg sync.WaitGroup
	var stops []func()
	for i := range n {
		cmd := helper(t.Context(), "append", nil, append(targetEnv(target), fmt.Sprint("T_ID=", i), fmt.Sprint("T_PAUSE=", pause))...)
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		stops = append(stops, func() { in.Close() })
		wg.Go(func() {
			for scan := bufio.NewScanner(out); scan.Scan(); {
				reports <- scan.Text()
			}
			if err := cmd.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) && t.Context().Err() == nil {
				t.Errorf("appender: %v", err)
			}
		})
	}
	return func() {
		for _, s := range stops {
			s()
		}
		wg.Wait()
		close(reports)
	}, reports
}
