package sshdconf

import "strings"

// Code names the reason of a finding. Codes are stable: they travel in acknowledgements, logs and reports.
type Code string

// The reasons.
const (
	CodeNotRead         Code = "file-not-read"     // sshd does not look into the managed file for this user
	CodeShared          Code = "file-shared"       // sshd looks into the managed file for other users too
	CodeModes           Code = "strict-modes"      // owner or mode of the file or a folder above it
	CodeUnreadable      Code = "file-unreadable"   // sshd reads keys as the user, who may not
	CodePublickey       Code = "publickey-off"     // PubkeyAuthentication no
	CodeAlgorithm       Code = "algorithm"         // PubkeyAcceptedAlgorithms, RequiredRSASize
	CodeRevoked         Code = "key-revoked"       // RevokedKeys
	CodeUser            Code = "user-not-allowed"  // AllowUsers, DenyUsers
	CodeGroup           Code = "group-not-allowed" // AllowGroups, DenyGroups
	CodeShell           Code = "shell"             // the log-in shell is missing or lets nobody in
	CodeRoot            Code = "root-login"        // PermitRootLogin
	CodeMethods         Code = "more-methods"      // AuthenticationMethods asks for more than a key
	CodeCommand         Code = "forced-command"    // ForceCommand, or command= on the keys
	CodeLocked          Code = "account-locked"
	CodeExpired         Code = "account-expired"
	CodePasswordExpired Code = "password-expired"
	CodeNoLogin         Code = "nologin" // the machine lets only root in for now
	CodeSource          Code = "source"  // sshd treats the controller otherwise than it treats this machine
	CodeUncheckable     Code = "unchecked"
)

// Weight is what a finding means for sshd's answer to a publickey query.
type Weight int

// The weights.
const (
	// Explains is what the query tests itself: with it, sshd's answer is no, and this is why.
	Explains Weight = iota
	// Denies is what the query does not test, and what certainly keeps the log-in from succeeding.
	Denies
	// Doubts is what the query does not test, and what may keep the log-in from succeeding.
	Doubts
	// Elsewhere makes sshd's answer, yes or no, one that holds for this machine only.
	Elsewhere
	// Notes is worth knowing and changes nothing.
	Notes
)

// Finding is something that stands between a user and a log-in, or may.
type Finding struct {
	Code    Code
	Message string // what is so, a sentence without period
	Fix     string // how to put it right; empty where that is up to the operator
	Weight  Weight
}

// Fault reports whether log-ins are known to fail because of f, or not known to succeed.
func (f Finding) Fault() bool { return f.Weight != Notes }

// quote writes a path as a shell would read it.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r)
	}
	if path != "" && !strings.ContainsFunc(path, func(r rune) bool { return !plain(r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
