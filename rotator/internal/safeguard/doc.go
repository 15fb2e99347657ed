// Package safeguard names what keeps a rotation from locking anybody out, one constant each. All are true in
// every build but those in which a test switches one off by its build tag, to show that the demo's scenarios
// notice it. Such a build locks people out, on purpose.
package safeguard
