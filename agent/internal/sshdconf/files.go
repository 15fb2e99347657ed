package sshdconf

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rotatessh/rotatessh/agent/internal/account"
)

// KeysFile is one of the files in which sshd looks for a user's keys.
type KeysFile struct {
	Pattern string // as in AuthorizedKeysFile
	Path    string // absolute and clean; may hold * and ?, which OpenSSH 9.9 and later expand
	// Shared says that the pattern gives the same file for every user: a key in it opens every account.
	Shared bool
}

// KeysFiles is where sshd looks for the user's keys, in its order.
func (s Settings) KeysFiles(a account.Account) ([]KeysFile, error) {
	var files []KeysFile
	for _, pattern := range s.words("authorizedkeysfile") {
		if strings.EqualFold(pattern, "none") {
			continue
		}
		path, personal, err := expand(pattern, a)
		if err != nil {
			return nil, fmt.Errorf("reading AuthorizedKeysFile %q: %w", pattern, err)
		}
		files = append(files, KeysFile{Pattern: pattern, Path: path, Shared: !personal})
	}
	return files, nil
}

// expand replaces the tokens of a pattern. A path that is not absolute begins in the home, which makes it the
// user's own.
func expand(pattern string, a account.Account) (path string, personal bool, err error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		switch {
		case i == len(pattern):
			return "", false, fmt.Errorf("it ends in %%")
		case pattern[i] == '%':
			b.WriteByte('%')
			continue
		case pattern[i] == 'h':
			b.WriteString(a.Home)
		case pattern[i] == 'u':
			b.WriteString(a.Name)
		case pattern[i] == 'U':
			b.WriteString(strconv.Itoa(a.UID))
		default:
			return "", false, fmt.Errorf("token %%%c is unknown", pattern[i])
		}
		personal = true
	}
	path = b.String()
	if !filepath.IsAbs(path) {
		return filepath.Join(a.Home, path), true, nil
	}
	return filepath.Clean(path), personal, nil
}

// reads reports whether file is the one at path, also by another way through linked folders.
func (f KeysFile) reads(path string) bool {
	if f.Path == path {
		return true
	}
	if strings.ContainsAny(f.Path, "*?[") {
		ok, err := filepath.Match(f.Path, path)
		return err == nil && ok
	}
	ours, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return false
	}
	theirs, err := filepath.EvalSymlinks(filepath.Dir(f.Path))
	return err == nil && ours == theirs && filepath.Base(path) == filepath.Base(f.Path)
}
