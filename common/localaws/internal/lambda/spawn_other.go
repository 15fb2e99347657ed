//go:build !linux

package lambda

import "syscall"

// Caveat: without a parent-death signal a function's process outlives a killed localaws.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
