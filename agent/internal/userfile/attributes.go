package userfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// accessACL is how the kernel shows a POSIX ACL.
const accessACL = "system.posix_acl_access"

// copyAttributes makes the extended attributes of dst those of src: ACL, SELinux label, and what users and root have set. One that
// dst got from its folder and src does not have is removed when it is an ACL. File systems without attributes are fine.
func copyAttributes(dst, src handle) error {
	want, err := attributeNames(src)
	if err != nil {
		return err
	}
	have, err := attributeNames(dst)
	if err != nil {
		return err
	}
	if slices.Contains(have, accessACL) && !slices.Contains(want, accessACL) {
		if err := again(func() error { return unix.Fremovexattr(dst.fd, accessACL) }); err != nil {
			return fmt.Errorf("removing the inherited ACL: %w", err)
		}
	}
	for _, name := range want {
		if err := copyAttribute(dst, src, name); err != nil {
			return fmt.Errorf("carrying over attribute %q: %w", name, err)
		}
	}
	return nil
}

// copyAttribute sets one attribute unless it is there already: an agent without root may not set a label, but its new file
// usually has the right one.
func copyAttribute(dst, src handle, name string) error {
	value, err := attribute(src, name)
	if errors.Is(err, unix.ENODATA) {
		return nil // removed in the meantime; the comparison before the rename decides
	}
	if err != nil {
		return err
	}
	if now, err := attribute(dst, name); err == nil && bytes.Equal(now, value) {
		return nil
	}
	return again(func() error { return unix.Fsetxattr(dst.fd, name, value, 0) })
}

// attributeNames lists what is to be carried. Measurements and signatures of the content (IMA, EVM) would be wrong for other
// content, and a file of keys has no use for capabilities.
func attributeNames(h handle) ([]string, error) {
	raw, err := sized(func(buf []byte) (int, error) { return unix.Flistxattr(h.fd, buf) })
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing attributes: %w", err)
	}
	names := strings.FieldsFunc(string(raw), func(r rune) bool { return r == 0 })
	return slices.DeleteFunc(names, func(name string) bool {
		return name == "security.ima" || name == "security.evm" || name == "security.capability"
	}), nil
}

func attribute(h handle, name string) ([]byte, error) {
	return sized(func(buf []byte) (int, error) { return unix.Fgetxattr(h.fd, name, buf) })
}

// sized calls read with a buffer that is large enough: a small one first, the kernel's limit when that was too short.
func sized(read func(buf []byte) (int, error)) (value []byte, err error) {
	for _, size := range []int{512, 64 << 10} {
		buf, n := make([]byte, size), 0
		err = again(func() (err error) { n, err = read(buf); return err })
		if !errors.Is(err, unix.ERANGE) {
			return buf[:max(n, 0)], err
		}
	}
	return nil, err
}
