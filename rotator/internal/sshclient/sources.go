package sshclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrFolder says that a source is a folder and folders were not asked for.
var ErrFolder = errors.New("is a folder")

// Sources are local files and folders to upload, as LocalSources found them.
type Sources struct {
	roots []source // in the order in which they were named
}

// source is one named file or folder and everything in it.
type source struct {
	base    string // its name at the destination
	isDir   bool
	entries []entry // folders before what is in them
}

type entry struct {
	local string
	rel   string // path below the root with slashes; "." for the root itself
	isDir bool
	mode  fs.FileMode // permission bits
}

// LocalSources finds out what is to be uploaded, without opening any file: paths must exist and must be
// regular files or, if recursive, folders. Symbolic links to files are followed. Links to folders inside a
// folder, devices, sockets and the like are refused, and so are two paths of the same base name, because
// one would overwrite the other.
func LocalSources(paths []string, recursive bool) (Sources, error) {
	var s Sources
	named := make(map[string]string)
	for _, path := range paths {
		root, err := localSource(path, recursive)
		if err != nil {
			return Sources{}, err
		}
		if other, taken := named[root.base]; taken {
			return Sources{}, fmt.Errorf("%q and %q would both be copied to %q", other, path, root.base)
		}
		named[root.base] = path
		s.roots = append(s.roots, root)
	}
	return s, nil
}

func localSource(path string, recursive bool) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return source{}, err
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return source{}, err
	}
	root := source{base: filepath.Base(full), isDir: info.IsDir()}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return source{}, fmt.Errorf("%q is not a regular file", path)
		}
		root.entries = []entry{{local: path, rel: ".", mode: info.Mode().Perm()}}
		return root, nil
	}
	if !recursive {
		return source{}, fmt.Errorf("%q %w", path, ErrFolder)
	}
	if root.base == string(filepath.Separator) {
		return source{}, fmt.Errorf("%q has no name to copy it to", path)
	}
	root.entries, err = walk(full)
	return root, err
}

// walk lists a folder; the root may be a link itself.
func walk(root string) ([]entry, error) {
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	var found []entry
	err = filepath.WalkDir(resolved, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		listed, err := os.Lstat(path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() && !listed.IsDir() {
			return fmt.Errorf("%q is neither a regular file nor a folder", path)
		}
		rel, err := filepath.Rel(resolved, path)
		if err != nil {
			return err
		}
		found = append(found, entry{local: path, rel: filepath.ToSlash(rel), isDir: info.IsDir(), mode: info.Mode().Perm()})
		return nil
	})
	return found, err
}
