package sshclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"
)

func mustSources(t *testing.T, paths ...string) Sources {
	t.Helper()
	s, err := LocalSources(paths, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// randomFile makes a file of the given size and returns its path and content.
func randomFile(t *testing.T, name string, size int) (string, []byte) {
	t.Helper()
	content := make([]byte, size)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o640); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// tree lists a folder: path, mode and content of each file, and folders with a slash.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			found[rel+"/"] = ""
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		found[rel] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestUploadReportsWhatArrived(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	for _, size := range []int{0, 1, 32 << 10, 3<<20 + 7} {
		src, content := randomFile(t, "data.bin", size)
		target := filepath.Join(t.TempDir(), "copy.bin")
		var last, total int64 = -1, -1
		got, err := c.Upload(t.Context(), mustSources(t, src), target, func(file string, moved, of int64) {
			if file != src || moved < last {
				t.Errorf("progress %q %d after %d", file, moved, last)
			}
			last, total = moved, of
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		want := []Uploaded{{Source: src, Remote: target, Bytes: int64(size), SHA256: hex.EncodeToString(sum[:])}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if last != 2*int64(size) || total != 2*int64(size) {
			t.Errorf("last progress %d of %d, want %d", last, total, 2*size)
		}
		if diff := cmp.Diff(map[string]string{"copy.bin": "-rw-r----- " + string(content)}, tree(t, filepath.Dir(target))); diff != "" {
			t.Errorf("size %d: %.300s", size, diff)
		}
	}
}

func TestUploadFollowsTheRulesOfSCPForDestinations(t *testing.T) {
	home := t.TempDir()
	s := startSSHD(t, []string{"ed25519"}, "Subsystem sftp internal-sftp -d "+home)
	c := mustDial(t, s.target("ed25519"), s.Key)
	local := t.TempDir()
	writeFile(t, filepath.Join(local, "a"), "A")
	writeFile(t, filepath.Join(local, "b"), "B")
	if err := os.MkdirAll(filepath.Join(local, "dir", "sub", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(local, "dir", "sub", "c"), "C")
	if err := os.Symlink(filepath.Join(local, "a"), filepath.Join(local, "dir", "link")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		sources []string
		remote  string
		want    map[string]string // nil: an error
	}{
		{"home", []string{"a"}, "", map[string]string{"a": "A"}},
		{"home by tilde", []string{"a"}, "~", map[string]string{"a": "A"}},
		{"below home", []string{"a"}, "~/x", map[string]string{"x": "A"}},
		{"new name", []string{"a"}, "new", map[string]string{"new": "A"}},
		{"folder", []string{"a", "b"}, "there", map[string]string{"there/": "", "there/a": "A", "there/b": "B"}},
		{"folder with slash", []string{"a"}, "there/", map[string]string{"there/": "", "there/a": "A"}},
		{"through a link", []string{"a"}, "pointer", map[string]string{"pointer": "A", "file": "A"}},
		{"tree into folder", []string{"dir"}, "there", map[string]string{"there/": "", "there/dir/": "", "there/dir/link": "A", "there/dir/sub/": "", "there/dir/sub/c": "C", "there/dir/sub/empty/": ""}},
		{"tree under new name", []string{"dir"}, "new/", map[string]string{"new/": "", "new/link": "A", "new/sub/": "", "new/sub/c": "C", "new/sub/empty/": ""}},
		{"several into a file", []string{"a", "b"}, "file", nil},
		{"several into nothing", []string{"a", "b"}, "none", nil},
		{"file to missing folder", []string{"a"}, "none/", nil},
		{"file below missing folder", []string{"a"}, "none/x", nil},
		{"tree over a file", []string{"dir"}, "file", nil},
		{"somebody else's home", []string{"a"}, "~root/x", nil},
		{"over a fifo", []string{"a"}, "/dev/null", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			empty(t, home)
			if strings.Contains(test.name, "folder") && !strings.Contains(test.name, "missing") {
				if err := os.Mkdir(filepath.Join(home, "there"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(test.name, "link") || strings.Contains(test.name, "a file") {
				writeFile(t, filepath.Join(home, "file"), "OLD")
			}
			if strings.Contains(test.name, "link") {
				if err := os.Symlink("file", filepath.Join(home, "pointer")); err != nil {
					t.Fatal(err)
				}
			}
			before := tree(t, home)
			var paths []string
			for _, name := range test.sources {
				paths = append(paths, filepath.Join(local, name))
			}
			_, err := c.Upload(t.Context(), mustSources(t, paths...), test.remote, nil)
			got := tree(t, home)
			if test.want == nil {
				if err == nil || !cmp.Equal(before, got) {
					t.Errorf("error %v, changed: %s", err, cmp.Diff(before, got))
				}
				return
			}
			for name, content := range got { // modes are another test's
				_, got[name], _ = strings.Cut(content, " ")
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplacedFileKeepsItsMode(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	src, content := randomFile(t, "tool", 100)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("old"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upload(t.Context(), mustSources(t, src), dir, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"tool": "-rwx------ " + string(content)}, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestInterruptedUploadLeavesTheOldFileAndNothingElse(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	c := mustDial(t, s.target("ed25519"), s.Key)
	src, _ := randomFile(t, "big", 8<<20)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "big"), "old")
	before := tree(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := false
	_, err := c.Upload(ctx, mustSources(t, src), dir, func(_ string, moved, _ int64) {
		if moved > 1<<20 && !started {
			started = true
			if found, _ := filepath.Glob(filepath.Join(dir, ".rotatessh-*.part")); len(found) != 1 {
				t.Errorf("no unfinished file to be seen: %q", found)
			}
			cancel()
		}
	})
	wantError(t, err, PhaseCommand, false)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v is not the context's", err)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Run(t.Context(), "true"); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestConnectionCutDuringUploadLeavesTheOldFile(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	p := startProxy(t, s.Port)
	target := s.target("ed25519")
	target.Port = p.port
	c := mustDial(t, target, s.Key)
	src, _ := randomFile(t, "big", 8<<20)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "big"), "old")
	cut := false
	_, err := c.Upload(t.Context(), mustSources(t, src), dir, func(_ string, moved, _ int64) {
		if moved > 1<<20 && !cut {
			cut = true
			p.cut()
		}
	})
	wantError(t, err, PhaseCommand, false)
	content, readErr := os.ReadFile(filepath.Join(dir, "big"))
	if readErr != nil || string(content) != "old" {
		t.Errorf("the old file is gone: %.20q, %v", content, readErr)
	}
	if !strings.Contains(err.Error(), "may be left on the server") {
		t.Errorf("error %q does not name the file left behind", err)
	}
}

func TestUploadWithoutProgressIsEnded(t *testing.T) {
	s := startSSHD(t, []string{"ed25519"})
	p := startProxy(t, s.Port)
	target := s.target("ed25519")
	target.Port = p.port
	l := defaults()
	l.stall = 300 * time.Millisecond
	c, err := dial(t.Context(), target, s.Key, l)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	src, _ := randomFile(t, "big", 8<<20)
	frozen := false
	_, err = c.Upload(t.Context(), mustSources(t, src), t.TempDir(), func(_ string, moved, _ int64) {
		if moved > 1<<20 && !frozen {
			frozen = true
			close(p.frozen)
		}
	})
	wantError(t, err, PhaseCommand, false)
	if !strings.Contains(err.Error(), "no progress") {
		t.Errorf("error %q does not say why", err)
	}
}

func TestUploadNoticesWhatTheServerHasNotStored(t *testing.T) {
	src, _ := randomFile(t, "data", 200_000)
	for name, spoil := range map[string]func([]byte) []byte{
		"changed byte": func(p []byte) []byte { p = bytes.Clone(p); p[len(p)/2] ^= 1; return p },
		"lost tail":    func(p []byte) []byte { return p[:len(p)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			memory := sftp.InMemHandler()
			target := serveFake(t, fakeServer{files: sftp.Handlers{
				FileGet: memory.FileGet, FileCmd: memory.FileCmd, FileList: memory.FileList, FilePut: spoiler{memory.FilePut, spoil},
			}})
			_, key := newKey(t, "ed25519")
			c := mustDial(t, target, key)
			_, err := c.Upload(t.Context(), mustSources(t, src), "/data", nil)
			wantError(t, err, PhaseCommand, false)
			files, err := memory.FileList.Filelist(sftp.NewRequest("List", "/"))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := files.ListAt(make([]fs.FileInfo, 1), 0); n != 0 {
				t.Errorf("a file was left on the server, %v", err)
			}
		})
	}
}

// spoiler is a disk that stores something else than it says.
type spoiler struct {
	sftp.FileWriter
	spoil func([]byte) []byte
}

func (s spoiler) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	w, err := s.FileWriter.Filewrite(r)
	return spoiled{w, s.spoil}, err
}

type spoiled struct {
	io.WriterAt
	spoil func([]byte) []byte
}

func (s spoiled) WriteAt(p []byte, off int64) (int, error) {
	if off == 0 || len(p) < 32<<10 { // the first and the last packet
		if _, err := s.WriterAt.WriteAt(s.spoil(p), off); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return s.WriterAt.WriteAt(p, off)
}
