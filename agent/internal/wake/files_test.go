package wake

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// home is a user's home with a managed file in it, and a watcher of that file.
type home struct {
	t         *testing.T
	path      string
	ssh, file string
	bell      *Bell
	watcher   *Files
}

// watch makes a home whose file exists, and waits until it is watched. Folders are looked for again after an hour: what the events
// do not tell goes unnoticed.
func watch(t *testing.T) *home {
	t.Helper()
	return watchLooking(t, time.Hour)
}

func watchLooking(t *testing.T, every time.Duration) *home {
	t.Helper()
	h := &home{t: t, path: filepath.Join(t.TempDir(), "alice")}
	h.ssh = filepath.Join(h.path, ".ssh")
	h.file = filepath.Join(h.ssh, "authorized_keys")
	h.mkdir(h.ssh)
	h.write(h.file, "first\n")
	h.bell = NewBell()
	h.watcher = NewFiles(h.bell, zap.NewNop())
	h.watcher.relook = every
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { h.watcher.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	h.watcher.Set([]string{h.file})
	h.rings("the first look")
	return h
}

func (h *home) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) mkdir(path string) { h.t.Helper(); h.must(os.MkdirAll(path, 0o700)) }
func (h *home) write(path, text string) {
	h.t.Helper()
	h.must(os.WriteFile(path, []byte(text), 0o600))
}
func (h *home) rename(from, to string) { h.t.Helper(); h.must(os.Rename(from, to)) }

// rings waits for the bell and silences it.
func (h *home) rings(why string) {
	h.t.Helper()
	select {
	case <-h.bell.Rung():
		if r := h.bell.Take(); r.Fetch || r.Full {
			h.t.Errorf("%s: asks for more than a look at the files: %+v", why, r)
		}
	case <-time.After(20 * time.Second):
		h.t.Fatalf("%s: the bell stays silent", why)
	}
}

// silent fails when the bell rings within the time in which it would.
func (h *home) silent(why string) {
	h.t.Helper()
	select {
	case <-h.bell.Rung():
		h.t.Errorf("%s: the bell rings: %+v", why, h.bell.Take())
	case <-time.After(settle + spacing + 200*time.Millisecond):
	}
}

func TestFileChanges(t *testing.T) {
	t.Parallel()
	h := watch(t)
	h.write(h.file, "second\n")
	h.rings("written in place")
	h.write(h.file+".new", "third\n")
	h.rename(h.file+".new", h.file)
	h.rings("replaced by a rename")
	h.must(os.Remove(h.file))
	h.rings("deleted")
	h.write(h.file, "fourth\n")
	h.rings("created")
	h.must(os.Chmod(h.file, 0o666))
	h.rings("mode changed")
	h.rename(h.file, h.file+".bak")
	h.rings("moved away")
}

func TestOtherFilesAreNoChange(t *testing.T) {
	t.Parallel()
	h := watch(t)
	h.write(filepath.Join(h.ssh, "known_hosts"), "x")
	h.write(filepath.Join(h.ssh, "authorized_keys2"), "x")
	h.write(filepath.Join(h.ssh, ".rotatessh-tmp-abc"), "x")
	h.mkdir(filepath.Join(h.path, "projects"))
	h.write(filepath.Join(h.path, ".profile"), "x")
	h.silent("changes beside the file")
}

func TestFolderIsReplaced(t *testing.T) {
	t.Parallel()
	h := watch(t)
	h.rename(h.ssh, h.ssh+".old")
	h.rings("the folder was moved away")
	h.write(filepath.Join(h.ssh+".old", "authorized_keys"), "in the old folder\n")
	h.silent("a change in the folder that was moved away")
	h.mkdir(h.ssh)
	h.rings("a new folder")
	h.write(h.file, "in the new folder\n")
	h.rings("a file in the new folder")
	h.write(h.file, "changed in the new folder\n")
	h.rings("a change in the new folder")
	h.must(os.RemoveAll(h.ssh))
	h.rings("the folder was deleted")
	h.mkdir(h.ssh)
	h.write(h.file, "in the third folder\n")
	h.rings("folder and file at once")
	h.write(h.file, "changed in the third folder\n")
	h.rings("a change in the third folder")
}

func TestFolderIsSwappedForALink(t *testing.T) {
	t.Parallel()
	h := watch(t)
	elsewhere := filepath.Join(h.path, "elsewhere")
	h.mkdir(elsewhere)
	h.rename(h.ssh, h.ssh+".old")
	h.must(os.Symlink(elsewhere, h.ssh))
	h.rings("a link in the folder's place")
	h.write(h.file, "through the link\n")
	h.rings("a change behind the link")
}

// Nobody tells when a folder further up is renamed; the folders are compared from time to time.
func TestHomeIsReplaced(t *testing.T) {
	t.Parallel()
	h := watchLooking(t, 50*time.Millisecond)
	h.rename(h.path, h.path+".old")
	h.mkdir(h.ssh)
	h.rings("another home")
	h.write(h.file, "in the other home\n")
	h.rings("a file in the other home")
}

func TestFileThatComesLater(t *testing.T) {
	t.Parallel()
	h := watch(t)
	bob := filepath.Join(filepath.Dir(h.path), "bob", ".ssh", "authorized_keys")
	h.mkdir(filepath.Dir(filepath.Dir(bob)))
	h.watcher.Set([]string{h.file, bob})
	h.rings("a second file is watched")
	h.mkdir(filepath.Dir(bob))
	h.rings("its folder is made")
	h.write(bob, "x\n")
	h.rings("it is written")
	h.watcher.Set([]string{bob})
	time.Sleep(50 * time.Millisecond)
	h.write(h.file, "nobody cares\n")
	h.silent("a change of a file that is no longer watched")
}

// A program that rewrites the file all the time must not keep the agent busy all the time.
func TestManyChangesRingSeldom(t *testing.T) {
	t.Parallel()
	h := watch(t)
	rings := 0
	begun := time.Now()
	for time.Since(begun) < 3*time.Second {
		h.write(h.file, "again and again\n")
		time.Sleep(5 * time.Millisecond)
		if rung(h.bell) {
			h.bell.Take()
			rings++
		}
	}
	if most := int(time.Since(begun)/spacing) + 1; rings < 1 || rings > most {
		t.Errorf("%d rings in %v, want at most %d", rings, time.Since(begun), most)
	}
}

func TestSetDoesNotBlock(t *testing.T) {
	f := NewFiles(NewBell(), zap.NewNop()) // nobody runs it
	for p := range strings.FieldsSeq("/a/b /c/d /e/f") {
		f.Set([]string{p})
	}
	if got := <-f.paths; got[0] != "/e/f" {
		t.Errorf("the newest set is %v", got)
	}
}
