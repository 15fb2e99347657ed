package authkeys

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// FuzzMerge checks for any text what a merge promises, with an oracle of its own for what is foreign.
func FuzzMerge(f *testing.F) {
	a, b, retired, guard := key(f, 1), key(f, 2), key(f, 3), key(f, 4)
	for _, o := range oddLines(f) {
		if len(o.line) < 4096 {
			f.Add([]byte(o.line), uint8(0))
		}
	}
	seeds := []string{
		block(a.line()+" v", retired.line()+" v"), retired.line() + "\r\n" + guard.line(), "no-pty " + a.line() + "\n" + block(),
		block() + block(), strings.ReplaceAll(block(a.line()), "# END", "#END"), strings.ReplaceAll(block(a.line()), "# BEGIN", ""),
		strings.ReplaceAll(block(a.line()), "AbCdEf", "XyZuvw"), "\x00\n" + block() + "\x00", "# END rotatessh " + testARN + "\n# BEGIN rotatessh " + testARN,
	}
	for i, s := range seeds {
		f.Add([]byte(s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, old []byte, choice uint8) {
		p := planOf(a, b)
		p.Retired = []string{retired.fp(), guard.fp()}
		p.Protect = []string{guard.fp()}
		if choice&1 != 0 {
			p.Options = `from="10.0.0.0/8",no-pty`
		}
		if choice&2 != 0 {
			p.Keys = p.Keys[1:]
		}
		res := merged(t, string(old), p)
		checkBlock(t, res.Bytes, p)
		checkForeign(t, old, res.Bytes, p)
	})
}

// checkBlock demands that the block holds exactly the plan, and that no retired key is left outside.
func checkBlock(t *testing.T, text []byte, p Plan) {
	t.Helper()
	if n := bytes.Count(text, p.render()); n != 1 {
		t.Fatalf("the block stands %d times in %q", n, text)
	}
	c := Read(text, p.SecretARN)
	if len(c.Block) != len(p.Keys) {
		t.Fatalf("block %+v", c.Block)
	}
	for i, e := range c.Block {
		if e.Fingerprint != p.Keys[i].Key.Fingerprint() || e.Options != p.Options || e.Ignored != "" {
			t.Errorf("entry %+v", e)
		}
	}
	for _, e := range c.Foreign {
		if slices.Contains(p.Retired, e.Fingerprint) && !slices.Contains(p.Protect, e.Fingerprint) {
			t.Errorf("retired key left: %+v", e)
		}
	}
}

// checkForeign demands that what is left without the block is the old text without the lines that may go, byte for byte but for a
// newline at the end.
func checkForeign(t *testing.T, old, text []byte, p Plan) {
	t.Helper()
	var want []byte
	got := bytes.Replace(text, p.render(), nil, 1)
	inBlock, whole := false, isWhole(old)
	for raw := range bytes.Lines(old) {
		bare := bytes.TrimSuffix(raw, []byte("\n"))
		m := markOf(bare, testARN)
		switch {
		case m == ownBegin:
			inBlock = true
		case m == ownEnd:
			inBlock = false
		case whole && inBlock:
		case !whole && mayHaveBeenOurs(bare, p) && !bytes.Contains(got, raw):
		case isRetired(bare, p):
		default:
			want = append(want, raw...)
		}
	}
	if trim := bytes.TrimSuffix(got, []byte("\n")); len(trim) == len(want) {
		got = trim
	}
	if !bytes.Equal(got, want) {
		t.Errorf("without the block, %q became %q, want %q", old, got, want)
	}
}

// isWhole is the fuzz test's own idea of one block with sound markers.
func isWhole(text []byte) bool {
	var marks []byte
	for raw := range bytes.Lines(text) {
		if m := markOf(raw, testARN); m != noMark {
			marks = append(marks, "?beBE"[m])
		}
	}
	s := string(marks)
	return strings.Count(s, "b") == 1 && strings.Count(s, "e") == 1 && strings.Contains(s, "be")
}

func mayHaveBeenOurs(bare []byte, p Plan) bool {
	c := Read(bare, testARN)
	return len(c.Foreign) == 1 && c.Foreign[0].Options == p.Options &&
		slices.ContainsFunc(p.Keys, func(l Line) bool { return l.Key.Fingerprint() == c.Foreign[0].Fingerprint })
}

func isRetired(bare []byte, p Plan) bool {
	c := Read(bare, testARN)
	return len(c.Foreign) == 1 && slices.Contains(p.Retired, c.Foreign[0].Fingerprint) &&
		!slices.Contains(p.Protect, c.Foreign[0].Fingerprint)
}

// FuzzRead checks that no text makes the reader fail, and that what it finds is what it finds in the lines one by one.
func FuzzRead(f *testing.F) {
	for _, o := range oddLines(f) {
		if len(o.line) < 4096 {
			f.Add([]byte(o.line + "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var single []string
		for raw := range bytes.Lines(text) {
			for _, e := range Read(raw, testARN).Foreign {
				single = append(single, e.Fingerprint)
			}
		}
		c := Read(text, testARN)
		var together []string
		for _, e := range append(c.Block, c.Foreign...) {
			together = append(together, e.Fingerprint)
		}
		slices.Sort(single)
		slices.Sort(together)
		if !slices.Equal(single, together) {
			t.Errorf("one by one %v, together %v", single, together)
		}
	})
}

// FuzzValidateOptions checks that options which pass leave a line of one key that sshd does not ignore.
func FuzzValidateOptions(f *testing.F) {
	for _, o := range oddLines(f) {
		options, _, _ := strings.Cut(o.line, " ssh-")
		if len(options) < 4096 {
			f.Add(options)
		}
	}
	k := key(f, 1)
	f.Fuzz(func(t *testing.T, options string) {
		if ValidateOptions(options) != nil {
			return
		}
		p := planOf(k)
		p.Options = options
		res := merged(t, "", p)
		c := Read(res.Bytes, testARN)
		if len(c.Block) != 1 || len(c.Foreign) != 0 || c.Block[0].Fingerprint != k.fp() || c.Block[0].Options != options || c.Block[0].Ignored != "" {
			t.Errorf("options %q give %q: %+v", options, res.Bytes, c)
		}
	})
}
