package demo

import (
	"bytes"
	"os"
	"testing"
)

const (
	testARN    = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"
	testMarker = " rotatessh " + testARN
)

func TestForeignLinesAreComparedToTheByte(t *testing.T) {
	w, err := newWorker(t.TempDir(), "somebody", 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(w.foreign, []byte("\n")); n != 2 {
		t.Fatalf("authorized_keys begins with %d lines, want 2", n)
	}
	block := "# BEGIN" + testMarker + " (managed)\nssh-ed25519 AAAA x\n# END" + testMarker + "\n"
	for _, c := range []struct {
		name string
		data string
		want bool
	}{
		{"untouched", string(w.foreign), true},
		{"with a block", string(w.foreign) + block, true},
		{"with a block in front", block + string(w.foreign), true},
		{"a blank less", string(bytes.Replace(w.foreign, []byte("\t "), []byte("\t"), 1)) + block, false},
		{"a line after the block", string(w.foreign) + block + "more\n", false},
		{"empty", "", false},
		{"a block of another secret", string(w.foreign) + "# BEGIN rotatessh arn:other\n# END rotatessh arn:other\n", false},
	} {
		if err := os.WriteFile(w.keysFile(), []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if kept, err := w.foreignKept(testARN); err != nil || kept != c.want {
			t.Errorf("%s: kept is %v, %v, want %v", c.name, kept, err, c.want)
		}
	}
}

func TestHostKeysOfAWorkerAreItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for n := 1; n <= 2; n++ {
		w, err := newWorker(t.TempDir(), "somebody", n)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range w.Target().HostKeys {
			seen[string(k.Marshal())] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("two workers have %d different host keys, want 6", len(seen))
	}
}
