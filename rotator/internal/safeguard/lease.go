//go:build !rotatessh_nolease

package safeguard

// Lease keeps an operator's request and the switch to a new key from changing labels at the same time.
const Lease = true
