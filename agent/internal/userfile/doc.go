// Package userfile replaces one file in a folder that belongs to somebody else.
//
// It promises that a reader of the file sees the whole old content or the whole new one, that the new
// content is on the disk before it becomes visible, and that the owner of the folder cannot make the
// caller, who may be root, read, write, chown or remove anything outside that folder: every step works
// on a handle that was opened without following links and whose owner was checked.
//
// One rewrite is this sequence of system calls (F is the folder's handle):
//
//	openat(home) openat(F, below home)          opened once, owner checked, kept
//	fstatat openat fstat read                   the old content, refused unless a regular file with one name
//	openat(F, ".rotatessh-tmp-…", O_EXCL)       random name, mode 0600
//	write fsetxattr fchown fchmod fsync close   what the old file had is carried over before anyone sees it
//	fstatat openat fstat read                   is the old file still the one that was read? otherwise start again
//	renameat(F, F)
//	fcntl(old) fstat(old) fsync(F)              does someone still write to the old file, has someone? then put it back
//	fstatat openat fstat read                   read back what the name now leads to
//
// It does not promise to win against a writer that does not cooperate: there is no lock that ssh-copy-id or
// an editor would respect. Two windows are left. A program that replaces the file by a rename of its own between our
// comparison and our renameat, some ten microseconds, loses its change. A program that appends keeps its line unless the kernel is
// just opening the file for it at the moment of the renameat, or it keeps the old file open for a quarter of a second more and
// writes only then; where the kernel grants no leases (network file systems, root without CAP_LEASE), unless it writes after our
// last look, which follows the folder's fsync. A benchmark measures both. Nor does the package judge or repair what sshd thinks of
// the folder: owners and modes of what it did not create stay as they are.
//
// The package needs Linux.
package userfile
