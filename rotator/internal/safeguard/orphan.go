//go:build !rotatessh_noorphan

package safeguard

// Orphan keeps the key of a rotation that was given up accepted until its time as a retiring one is over.
const Orphan = true
