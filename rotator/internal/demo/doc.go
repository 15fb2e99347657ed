// Package demo runs a fleet on one machine: real sshd's, real agents and the real rotator against an AWS
// endpoint on loopback, and controllers that log in all the while and notice if anyone is locked out.
//
// Run is the whole demonstration, and Play plays a Scenario: something that goes wrong, or that an operator
// does. Start, Fleet.Rotate, Fleet.Observe and Fleet.Settle are their parts, for tests that do something to the
// fleet in between. Whatever way the process ends, also by SIGKILL, no child process and no file stays behind;
// a guardian process sees to it.
//
// It needs an OpenSSH server but no root, and works on Linux only.
package demo
