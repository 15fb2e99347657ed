package wake

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/common/logging"
)

const (
	// settle lets a burst of events end, such as an editor's or our own write and rename, before the bell rings.
	settle = 100 * time.Millisecond
	// spacing keeps a program that rewrites a file all the time from keeping the agent busy all the time.
	spacing = 500 * time.Millisecond
	// relook is how often the folders are compared with those that are watched: one may be missing, or have been moved by a
	// rename further up, of which no event tells.
	relook = 10 * time.Second
)

// Files watches managed files: the folder of each for the file, because a file that is replaced is another inode, and the folder
// above for the folder, which can be moved or deleted itself. Run is for one goroutine, Set for any.
type Files struct {
	bell   *Bell
	log    *zap.Logger
	paths  chan []string // capacity 1: the newest set
	relook time.Duration // a variable for tests only

	w       *fsnotify.Watcher
	set     []string
	wanted  map[string]map[string]bool // names that matter, by folder
	watched map[string]os.FileInfo     // what each folder was when its watch was made
}

// NewFiles makes a watcher of no files.
func NewFiles(bell *Bell, log *zap.Logger) *Files {
	return &Files{bell: bell, log: log, paths: make(chan []string, 1), relook: relook, watched: make(map[string]os.FileInfo)}
}

// Set says which files to watch from now on. It does not block.
func (f *Files) Set(paths []string) {
	for {
		select {
		case f.paths <- paths:
			return
		case <-f.paths: // nobody has looked at the earlier set yet
		}
	}
}

// Run watches until ctx ends. Where watching is not possible, changes are found by the agent's timers only.
func (f *Files) Run(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		f.log.Warn("files cannot be watched", zap.Error(err))
		return
	}
	defer w.Close()
	f.w = w
	again := time.NewTicker(f.relook)
	defer again.Stop()
	var bell debounce
	for {
		select {
		case <-ctx.Done():
			return
		case f.set = <-f.paths:
			f.look(&bell)
		case <-again.C:
			f.look(&bell)
		case e := <-w.Events:
			if f.matters(e) {
				bell.arm()
			}
		case err := <-w.Errors:
			f.log.Warn("watching files failed", zap.Error(err))
			bell.arm() // an overflow has lost events: anything may have happened
		case <-bell.C():
			bell.fired()
			f.look(nil)
			f.bell.Ring(keysync.Request{Why: "a managed file or its folder has changed"})
		}
	}
}

// matters reports whether an event concerns a name that is watched for, or a watched folder itself.
func (f *Files) matters(e fsnotify.Event) bool {
	dir, name := filepath.Split(e.Name)
	return f.wanted[filepath.Clean(dir)][name] || f.wanted[e.Name] != nil
}

// look makes the watches what they should be, and arms bell when one is new: its folder may hold anything.
func (f *Files) look(bell *debounce) {
	f.wanted = names(f.set)
	for _, dir := range f.w.WatchList() {
		if f.wanted[dir] == nil {
			f.drop(dir)
		}
	}
	list := f.w.WatchList()
	for dir := range f.wanted {
		now, err := os.Stat(dir)
		if err == nil && slices.Contains(list, dir) && os.SameFile(now, f.watched[dir]) {
			continue
		}
		f.drop(dir) // the path leads elsewhere by now, while the watch has followed the old folder
		if err == nil {
			err = f.w.Add(dir)
		}
		if err != nil {
			f.log.Debug("folder cannot be watched", logging.File(dir), zap.Error(err))
			continue
		}
		f.watched[dir] = now
		if bell != nil {
			bell.arm()
		}
	}
}

func (f *Files) drop(dir string) {
	_ = f.w.Remove(dir) // one that the kernel has dropped already is gone all the same
	delete(f.watched, dir)
}

// names gives the names that matter in each folder.
func names(paths []string) map[string]map[string]bool {
	wanted := make(map[string]map[string]bool)
	for _, file := range paths {
		for _, p := range []string{file, filepath.Dir(file)} {
			dir, name := filepath.Split(p)
			dir = filepath.Clean(dir)
			if wanted[dir] == nil {
				wanted[dir] = make(map[string]bool)
			}
			wanted[dir][name] = true
		}
	}
	return wanted
}

// debounce makes one firing of many events: settle after the first of them, but spacing after the firing before.
type debounce struct {
	timer *time.Timer
	last  time.Time
	armed bool
}

func (d *debounce) arm() {
	if d.armed {
		return
	}
	d.armed = true
	d.timer = time.NewTimer(max(settle, spacing-time.Since(d.last)))
}

// C delivers a value when it is time; it is nil while nothing is armed.
func (d *debounce) C() <-chan time.Time {
	if !d.armed {
		return nil
	}
	return d.timer.C
}

func (d *debounce) fired() { d.armed, d.last = false, time.Now() }
