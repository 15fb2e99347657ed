//go:build rotatessh_nolease

package safeguard

// Lease is switched off.
const Lease = false
