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
//	renameat(F, F) fsync(F)
//	fstat(old)                                  did someone append to the old file meanwhile? then put it back
//	fstatat openat fstat read                   read back what the name now leads to
//
// It does not promise to win against a writer that does not cooperate: there is no lock that ssh-copy-id or
// an editor would respect. A line is lost when its writer opened the file before the renameat and wrote only
// after the last look at the old file, or replaced the file by a rename between the comparison and our
// renameat; a benchmark measures those windows. Nor does it judge or repair what sshd thinks of the folder:
// owners and modes of what it did not create stay as they are.
//
// The package needs Linux.
package userfile
