package sshclient

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourcesAreCheckedBeforehand(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a"), "A")
	for _, sub := range []string{"one", "two", "linked"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "one", "a"), "A")
	if err := os.Symlink(filepath.Join(dir, "two"), filepath.Join(dir, "linked", "two")); err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) []string {
		for i := range names {
			names[i] = filepath.Join(dir, names[i])
		}
		return names
	}
	for name, test := range map[string]struct {
		paths     []string
		recursive bool
		want      string // in the error; empty for none
	}{
		"files":                    {at("a"), false, ""},
		"folder":                   {at("one"), true, ""},
		"missing":                  {at("a", "none"), false, "no such file"},
		"folder without recursive": {at("one"), false, "is a folder"},
		"same name twice":          {at("a", "one/a"), false, "would both be copied"},
		"link to a folder inside":  {at("linked"), true, "neither a regular file nor a folder"},
		"device":                   {[]string{"/dev/null"}, false, "not a regular file"},
		"root":                     {[]string{"/"}, true, "no name"},
	} {
		_, err := LocalSources(test.paths, test.recursive)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
	if _, err := LocalSources(at("none"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
