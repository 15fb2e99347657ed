//go:build !rotatessh_norevoke

package safeguard

// Revoke has a revoked key refused at once, without the time that a retiring key has.
const Revoke = true
