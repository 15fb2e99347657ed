//go:build !rotatessh_nolockout

package safeguard

// Lockout keeps a revocation from locking the controller out of any number of workers but the one accepted.
const Lockout = true
