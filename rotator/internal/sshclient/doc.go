// Package sshclient logs in to a worker with a key that is held in memory and a host key that is known
// beforehand, to run a command or to upload files.
//
// Every wait is bounded: by the caller's context and by limits of the package's own, because
// golang.org/x/crypto/ssh bounds the TCP connection only. It never learns a host key from the connection
// and never offers more than the one key that it was given. Private keys appear in no error.
package sshclient
