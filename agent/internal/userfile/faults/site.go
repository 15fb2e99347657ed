package faults

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// UserID is the user and group that homes belong to when root runs the tests.
const UserID = 54321

// TempPrefix begins the names of the temporary files of the program under test.
const TempPrefix = ".rotatessh-tmp-"

// A Site is one home with what is around it.
type Site struct {
	Dir     string // holds everything else
	Home    string
	Folder  string // .ssh in the home
	File    string // authorized_keys in the folder
	Outside string // a folder that the user has no business in
	UID     int
	GID     int
	Old     []byte // what the file holds before the run; nil for no file
	cleanup []func() error
	before  tree
	outside tree
}

// foreign is what a file holds unless a row wants something else: lines that must survive.
const foreign = "# my own keys\n" +
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDoMbYMMpFqyoHqfFBqbgXyXGlFCSGDcMmuOqFRyDLqz me@laptop\r\n" +
	`no-pty,command="echo \"hi\"" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9l0S3J3Wn8wQ1xW2oCq0ZQvO1YqQnE0y6VQ1rZl3pB backup` + "\n"

// NewSite makes a home with a file of foreign lines, and a folder outside with files of every kind of owner.
func NewSite(dir string) (*Site, error) {
	s := &Site{
		Dir: dir, Home: filepath.Join(dir, "home"), Outside: filepath.Join(dir, "outside"),
		UID: os.Geteuid(), GID: os.Getegid(), Old: []byte(foreign),
	}
	s.Folder = filepath.Join(s.Home, ".ssh")
	s.File = filepath.Join(s.Folder, "authorized_keys")
	if s.UID == 0 {
		s.UID, s.GID = UserID, UserID
	}
	return s, s.build()
}

func (s *Site) build() error {
	for _, dir := range []string{s.Home, s.Folder, s.Outside, filepath.Join(s.Outside, "folder")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for name, mode := range map[string]fs.FileMode{"secret": 0o600, "public": 0o644, "authorized_keys": 0o644} {
		if err := os.WriteFile(filepath.Join(s.Outside, name), []byte("outside\n"), mode); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.File, s.Old, 0o640); err != nil {
		return err
	}
	return s.Give(s.Home, s.Folder, s.File)
}

// Give gives the paths to the user; links themselves, not what they lead to.
func (s *Site) Give(paths ...string) error {
	for _, p := range paths {
		if err := os.Lchown(p, s.UID, s.GID); err != nil {
			return err
		}
	}
	return nil
}

// Write replaces the file's content.
func (s *Site) Write(content []byte) error {
	s.Old = content
	if err := os.WriteFile(s.File, content, 0o640); err != nil {
		return err
	}
	return s.Give(s.File)
}

// Clear removes the file, so that something else can take its name.
func (s *Site) Clear() error {
	s.Old = nil
	return os.Remove(s.File)
}

// After adds a step to Close.
func (s *Site) After(f func() error) { s.cleanup = append(s.cleanup, f) }

// Close undoes mounts and flags, and removes the site.
func (s *Site) Close() error {
	var errs []error
	for _, undo := range slices.Backward(s.cleanup) {
		errs = append(errs, undo())
	}
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}

// Freeze notes the state that Inspect compares with.
func (s *Site) Freeze() {
	s.before, s.outside = look(s.Home), look(s.Outside)
}

// A Verdict is what a run did that it must not do.
type Verdict struct {
	Torn    int      // the file, or a state of it that a reader saw, was neither the old content nor the old with a whole block
	Lost    int      // foreign lines that are gone
	Outside int      // files outside the home that were made, changed or removed
	Details []string // sentences about them, and about changes in the home that nothing asked for
}

func (v *Verdict) note(format string, args ...any) {
	v.Details = append(v.Details, fmt.Sprintf(format, args...))
}

// Inspect compares the site with the state that Freeze noted. Applied says that the program reported success; otherwise nothing in the home
// may have changed, but for leftovers when mess is allowed.
func (s *Site) Inspect(applied, mess bool) Verdict {
	var v Verdict
	for _, change := range s.outside.diff(look(s.Outside)) {
		v.Outside++
		v.note("outside: %s", change)
	}
	if content, err := readRegular(s.File); err == nil && s.plain() {
		s.judge(&v, content)
	} else if s.Old != nil && s.plain() {
		v.Lost += bytes.Count(s.Old, []byte{'\n'})
		v.note("the file is gone: %v", err)
	}
	if !applied && !mess {
		for _, change := range s.before.diff(look(s.Home)) {
			v.Torn++
			v.note("not applied, but: %s", change)
		}
	}
	return v
}

// plain reports whether the name leads to a regular file inside the home, or to nothing.
func (s *Site) plain() bool {
	real, err := filepath.EvalSymlinks(s.Folder)
	if err != nil || !strings.HasPrefix(real, s.Home+"/") {
		return s.before[s.Folder].mode == 0
	}
	fi, err := os.Lstat(s.File)
	return errors.Is(err, fs.ErrNotExist) || err == nil && fi.Mode().IsRegular()
}

// judge looks at one state of the file.
func (s *Site) judge(v *Verdict, content []byte) {
	rest, whole := cutBlock(content)
	if !whole {
		v.Torn++
		v.note("a torn block in %.200q", content)
	}
	if bytes.Equal(rest, s.Old) || bytes.Equal(rest, append(bytes.Clone(s.Old), '\n')) {
		return
	}
	lost := 0
	for line := range bytes.Lines(s.Old) {
		if !bytes.Contains(rest, bytes.TrimSuffix(line, []byte{'\n'})) {
			lost++
		}
	}
	v.Lost += lost
	if lost == 0 || len(rest) < len(s.Old) {
		v.Torn++
	}
	v.note("%d of %d bytes of foreign lines, %d lines lost", len(rest), len(s.Old), lost)
}

// cutBlock removes a whole block from the content. Content without a block is whole too; half a block is not.
func cutBlock(content []byte) (rest []byte, whole bool) {
	begin := bytes.Index(content, []byte("# BEGIN rotatessh "))
	end := bytes.Index(content, []byte("# END rotatessh "))
	if begin < 0 && end < 0 {
		return content, true
	}
	if begin < 0 || end < begin {
		return content, false
	}
	n := bytes.IndexByte(content[end:], '\n')
	if n < 0 {
		return content[:begin], false
	}
	return append(bytes.Clone(content[:begin]), content[end+n+1:]...), true
}

// HasBlock reports whether the file holds a whole block.
func (s *Site) HasBlock() bool {
	content, err := readRegular(s.File)
	rest, whole := cutBlock(content)
	return err == nil && whole && len(rest) < len(content)
}

// readRegular reads a regular file and nothing else: a FIFO would never end.
func readRegular(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Temps returns the temporary files that were left in the folder.
func (s *Site) Temps() []string {
	temps, _ := filepath.Glob(filepath.Join(s.Folder, TempPrefix+"*"))
	return temps
}

// A tree is what was below a folder at one moment.
type tree map[string]entry

type entry struct {
	mode, uid, gid uint32
	ino            uint64
	content        string // of a regular file, or where a link leads
}

func look(dir string) tree {
	t := tree{}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			return nil
		}
		e := entry{mode: st.Mode, uid: st.Uid, gid: st.Gid, ino: st.Ino}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, _ := os.ReadFile(path)
			e.content = string(b)
		case unix.S_IFLNK:
			e.content, _ = os.Readlink(path)
		}
		t[path] = e
		return nil
	})
	return t
}

// diff returns what became of t, one sentence a path.
func (t tree) diff(now tree) []string {
	var changes []string
	for path, was := range t {
		switch is, ok := now[path]; {
		case !ok:
			changes = append(changes, path+" is gone")
		case is != was:
			changes = append(changes, fmt.Sprintf("%s was %s and is %s", path, was, is))
		}
	}
	for path := range now {
		if _, ok := t[path]; !ok {
			changes = append(changes, path+" is new")
		}
	}
	return changes
}

func (e entry) String() string {
	return fmt.Sprintf("%o %d:%d inode %d, %d bytes %.40q", e.mode, e.uid, e.gid, e.ino, len(e.content), strings.TrimSpace(e.content))
}
