package userfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Code names a reason for not rewriting a file. The values are stable: they go into acknowledgements.
type Code string

// The codes of an Error.
const (
	Symlink      Code = "symlink"       // the file, or a folder on the way that has to be real, is a symbolic link
	NotRegular   Code = "not-regular"   // the name belongs to a folder, FIFO, socket or device
	HardLink     Code = "hard-link"     // the file has a second name
	Immutable    Code = "immutable"     // the file or its folder has the immutable or append-only flag
	ReadOnly     Code = "read-only"     // the file system is mounted read-only
	NoSpace      Code = "no-space"      // no blocks, inodes or quota left
	Owner        Code = "owner"         // the file or a folder belongs to somebody else than the user or root
	UnsafeFolder Code = "unsafe-folder" // outside a home: a folder on the way can be written by others
	NoHome       Code = "no-home"       // the home does not exist or is not a folder
	NoFolder     Code = "no-folder"     // the file's folder does not exist and is not ours to create
	OutsideHome  Code = "outside-home"  // the folder is a link that leads out of the home
	TooBig       Code = "too-big"       // the file is larger than MaxSize
	Denied       Code = "denied"        // permission denied, as on a file system that squashes root
	Busy         Code = "busy"          // others kept changing the file
	BadTarget    Code = "bad-target"    // the path asked for cannot be the path of such a file
	IO           Code = "io"            // any other failure of the file system
)

// An Error says why a file was not read or rewritten. Unless the rewrite's Outcome says Written, the old file is untouched.
type Error struct {
	Code Code
	Path string // what the code is about: the file or one of the folders on its way
	Err  error  // the failure below, or nil when the refusal is ours
}

// Error says what is wrong, where, and what an operator can do about it.
func (e *Error) Error() string {
	what, remedy := explain(e.Code)
	if e.Err == nil {
		return fmt.Sprintf("%q %s: %s", e.Path, what, remedy)
	}
	return fmt.Sprintf("%q %s: %s (%v)", e.Path, what, remedy, e.Err)
}

// Unwrap returns the failure below.
func (e *Error) Unwrap() error { return e.Err }

// FailureCode returns the code as text, for callers that know this package only through an interface.
func (e *Error) FailureCode() string { return string(e.Code) }

func explain(c Code) (what, remedy string) {
	switch c {
	case Symlink:
		return "is a symbolic link", "put the real file or folder there, links are not followed"
	case NotRegular:
		return "is not a regular file", "move it away"
	case HardLink:
		return "has more than one name", "replace it by a copy of its own"
	case Immutable:
		return "is immutable or append-only", "clear the flag with chattr -i -a"
	case ReadOnly:
		return "is on a read-only file system", "mount it read-write, or point sshd and the agent to another file"
	case NoSpace:
		return "cannot be written for lack of space", "free blocks, inodes or quota"
	case Owner:
		return "belongs to somebody else", "give it to the user or to root, sshd asks for the same"
	case UnsafeFolder:
		return "can be written by others", "take the write permission from group and others, sshd asks for the same"
	case NoHome:
		return "is not there", "create the user's home, or mount it"
	case NoFolder:
		return "is not there", "create the folder with the owner and mode that sshd accepts"
	case OutsideHome:
		return "leads out of the user's home", "put a real folder there, or a relative link that stays inside"
	case TooBig:
		return "is too large", fmt.Sprintf("bring it below %d MiB", MaxSize>>20)
	case Denied:
		return "may not be accessed", "give the agent's user the permission (a network file system may map root to nobody)"
	case Busy:
		return "was changed by others all the time", "find the program that keeps rewriting it"
	case BadTarget:
		return "cannot be a file of the user", "correct the path in the configuration"
	default:
		return "cannot be read or written", "look at the file system"
	}
}

// refuse makes an Error for a refusal of our own.
func refuse(c Code, path string) *Error { return &Error{Code: c, Path: path} }

// classify turns a failure of the file system into an Error; an Error stays what it is, and so do the context's errors.
func classify(path string, err error) error {
	var known *Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, errMoved),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &Error{Code: codeOf(err), Path: path, Err: err}
}

func codeOf(err error) Code {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return NoSpace
	case errors.Is(err, unix.EROFS):
		return ReadOnly
	case errors.Is(err, unix.ELOOP):
		return Symlink
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return NotRegular
	case errors.Is(err, fs.ErrPermission):
		return Denied
	default:
		return IO
	}
}
