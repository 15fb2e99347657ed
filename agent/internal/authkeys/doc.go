// Package authkeys maintains one marked block of keys in the text of an authorized_keys file and leaves every
// other byte as it is.
//
// It reads a line the way sshd does, byte for byte: sshd's idea of blanks, quotes, base64 and NUL decides whether a
// line grants access, so a stricter parser would let a retired key survive in a line that it cannot read. A key is
// known by the SHA-256 of its canonical blob, since sshd compares numbers and not bytes.
//
// The package is pure: bytes in, bytes out. What it promises about a merge: lines outside the block survive byte
// for byte and in their order, except one whose key is retired and not protected; merging the result again changes
// nothing; and whatever is in doubt about the plan is an error, with no bytes to write.
//
// It does not evaluate what depends on the moment, such as from= and expiry-time=: that is left to sshd itself.
package authkeys
