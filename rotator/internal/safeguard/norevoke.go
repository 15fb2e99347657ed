//go:build rotatessh_norevoke

package safeguard

// Revoke is switched off.
const Revoke = false
