// Package faults puts a program that rewrites authorized_keys into trouble and looks at what is left.
//
// A Row is one kind of trouble: something in the way of the file, a file system that is full or read-only, a system call that
// fails. A Runner is the program: a test's helper process, or the agent itself. Run brings both together and counts
// what must never happen: a torn file, a lost line, a change outside the home.
//
// The package is for tests only. It works on real folders below the one it is given, and mounts file systems there when it may.
package faults
