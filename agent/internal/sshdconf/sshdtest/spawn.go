package sshdtest

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawn starts a process from a thread that lives as long as this program. Linux sends the parent-death signal when the
// thread that started a child ends, and any other thread may end: a goroutine that locks it and returns takes it along.
func spawn(cmd *exec.Cmd) error {
	started := make(chan error)
	starters() <- func() { started <- cmd.Start() }
	return <-started
}

var starters = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // never unlocked
		for f := range work {
			f()
		}
	}()
	return work
})
