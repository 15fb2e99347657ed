//go:build rotatessh_nogate

package safeguard

// Gate is switched off.
const Gate = false
