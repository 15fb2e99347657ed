//go:build !rotatessh_nogate

package safeguard

// Gate keeps AWSCURRENT where it is until every worker that counts is ready.
const Gate = true
