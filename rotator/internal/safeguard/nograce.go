//go:build rotatessh_nograce

package safeguard

// Grace is switched off.
const Grace = false
