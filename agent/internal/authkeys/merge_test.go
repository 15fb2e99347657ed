package authkeys

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// merged merges and checks what must hold for every merge: a second one changes nothing.
func merged(t *testing.T, old string, p Plan) Result {
	t.Helper()
	before := []byte(old)
	res, err := Merge(before, p)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != old {
		t.Error("the old bytes were altered")
	}
	if res.Changed == bytes.Equal(res.Bytes, []byte(old)) {
		t.Errorf("changed is %v", res.Changed)
	}
	again, err := Merge(res.Bytes, p)
	if err != nil {
		t.Fatal(err)
	}
	if again.Changed || again.Repaired != nil || again.Added != nil || again.Removed != nil || again.RemovedForeign != nil {
		t.Errorf("merging again changed something: %+v\nfrom %q\nto   %q", again, res.Bytes, again.Bytes)
	}
	return res
}

func wantText(t *testing.T, res Result, want string) {
	t.Helper()
	if diff := cmp.Diff(want, string(res.Bytes)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestMergeAppendsABlockAndKeepsForeignBytes(t *testing.T) {
	a := key(t, 1)
	foreign := map[string]string{
		"no file":             "",
		"two keys":            key(t, 8).line() + " me@laptop\n" + key(t, 9).line() + "\n",
		"CRLF":                "# mine\r\n" + key(t, 8).line() + " me\r\n",
		"NUL":                 key(t, 8).line() + " a\x00b\n\x00\n",
		"a mebibyte":          "# " + strings.Repeat("x", 1<<20) + "\n",
		"unknown type":        "ssh-quantum AAAA me\n",
		"not UTF-8":           "# caf\xe9\n",
		"blank lines":         "\n\n \t\n",
		"comments of BEGIN":   "# BEGIN something else\n# END rotatesshx " + testARN + "\n",
		"another secret":      strings.ReplaceAll(block(key(t, 8).line()), "AbCdEf", "XyZuvw"),
		"certificate":         "ssh-ed25519-cert-v01@openssh.com AAAA me\n",
		"private key pasted":  "-----BEGIN OPENSSH PRIVATE KEY-----\n",
		"option without end":  `command="echo ` + key(t, 8).line() + "\n",
		"a line of one space": " \n",
	}
	for name, old := range foreign {
		t.Run(name, func(t *testing.T) {
			res := merged(t, old, planOf(a))
			wantText(t, res, old+block(a.line()+" v"))
			wantList(t, "added", res.Added, a.fp())
			if len(res.Removed)+len(res.RemovedForeign)+len(res.Repaired)+len(res.Shadowed)+len(res.Adopted) > 0 {
				t.Errorf("unexpected in %+v", res)
			}
		})
	}
}

func TestMergeEndsALastLineWithoutNewline(t *testing.T) {
	a, mine := key(t, 1), key(t, 8)
	res := merged(t, mine.line(), planOf(a))
	wantText(t, res, mine.line()+"\n"+block(a.line()+" v"))
}

func TestMergeReplacesTheBlockWhereItStands(t *testing.T) {
	a, b, c := key(t, 1), key(t, 2), key(t, 3)
	before, after := key(t, 8).line()+" before\n", "# after, no newline"
	p := planOf(b, c)
	p.Options = `from="10.0.0.0/8",no-pty`
	res := merged(t, before+block(a.line()+" v", p.Options+" "+b.line()+" v")+after, p)
	wantText(t, res, before+block(p.Options+" "+b.line()+" v", p.Options+" "+c.line()+" v")+after)
	wantList(t, "added", res.Added, c.fp())
	wantList(t, "removed", res.Removed, a.fp())
}

func TestMergeKnowsItsMarkersAfterAnEditor(t *testing.T) {
	a := key(t, 1)
	for _, old := range []string{
		strings.ReplaceAll(block(a.line()+" v"), "\n", "\r\n"),
		strings.ReplaceAll(block(a.line()+" v"), " (managed, edits are overwritten)", ""),
		strings.ReplaceAll(block(a.line()+" v"), "#", "  #"),
		strings.TrimSuffix(block(a.line()+" v"), "\n"),
	} {
		res := merged(t, old, planOf(a))
		wantText(t, res, block(a.line()+" v"))
		wantList(t, "repaired", res.Repaired)
	}
}

func TestMergeRemovesRetiredKeysWhereverTheyStand(t *testing.T) {
	a, old, guard := key(t, 1), key(t, 2), key(t, 3)
	p := planOf(a)
	p.Retired = []string{old.fp(), guard.fp()}
	p.Protect = []string{guard.fp()}
	mine := key(t, 8).line() + " me\n"
	text := mine + old.line() + " by hand\n" + guard.line() + " break glass\n" + block(old.line()+" v") +
		"\t restrict,command=\"x \\\" y\"  " + old.line() + "\r\n" + "cert-authority " + old.line() + "\n" + mine + old.line()
	res := merged(t, text, p)
	wantText(t, res, mine+guard.line()+" break glass\n"+block(a.line()+" v")+mine)
	wantList(t, "removed from the block", res.Removed, old.fp())
	want := []Removal{{old.fp(), 2}, {old.fp(), 7}, {old.fp(), 8}, {old.fp(), 10}}
	if diff := cmp.Diff(want, res.RemovedForeign); diff != "" {
		t.Errorf("removed lines (-want +got):\n%s", diff)
	}
}

func TestMergeTellsShadowedFromAdopted(t *testing.T) {
	a, b, c, d := key(t, 1), key(t, 2), key(t, 3), key(t, 4)
	p := planOf(a, b, c, d)
	p.Options = "restrict"
	text := "restrict " + a.line() + "\n" + // the same options: adopted
		b.line() + "\n" + // other options, before: shadowed
		b.line() + " twice\n" +
		"cert-authority " + c.line() + "\n" + // accepts no plain key
		`command="a",command="b" ` + c.line() + "\n" + // ignored by sshd
		"option-of-the-future " + d.line() + "\n" + // who knows
		block() + c.line() + "\n"
	res := merged(t, text, p)
	wantList(t, "shadowed", res.Shadowed, b.fp(), d.fp())
	wantList(t, "adopted", res.Adopted, a.fp(), c.fp())
	if !strings.Contains(string(res.Bytes), b.line()+" twice\n") {
		t.Error("a foreign line with a key of the plan was removed")
	}
}

func TestMergeRepairsMarkersWithoutLosingALine(t *testing.T) {
	a, b, stale := key(t, 1), key(t, 2), key(t, 5)
	mine, yours := key(t, 8).line()+" mine", key(t, 9).line()+" yours"
	begin := "# BEGIN rotatessh " + testARN + " (managed, edits are overwritten)\n"
	end := "# END rotatessh " + testARN + "\n"
	other := strings.NewReplacer("AbCdEf", "XyZuvw")
	av, whole := a.line()+" v\n", block(a.line()+" v", b.line()+" v")
	for name, c := range map[string]struct {
		old, want string
		repaired  []string
	}{
		"END lost":          {mine + "\n" + begin + av + yours + "\n", mine + "\n" + whole + yours + "\n", []string{"line 2: a BEGIN marker had no END"}},
		"BEGIN lost":        {mine + "\n" + av + end + yours, mine + "\n" + whole + yours, []string{"line 3: an END marker had no BEGIN"}},
		"two blocks":        {block(a.line()+" v", mine) + yours + "\n" + block(a.line()), whole + mine + "\n" + yours + "\n", []string{"line 1: the block stood 2 times in the file"}},
		"BEGIN twice":       {begin + mine + "\n" + begin + av + end, whole + mine + "\n", []string{"line 1: a BEGIN marker had no END"}},
		"END twice":         {begin + av + end + mine + "\n" + end, whole + mine + "\n", []string{"line 5: an END marker had no BEGIN"}},
		"END before BEGIN":  {end + mine + "\n" + begin + av, whole + mine + "\n", []string{"line 1: an END marker had no BEGIN", "line 3: a BEGIN marker had no END"}},
		"stale key is kept": {begin + stale.line() + " v\n" + av, whole + stale.line() + " v\n", []string{"line 1: a BEGIN marker had no END"}},
		"other options":     {begin + "no-pty " + av, whole + "no-pty " + av, []string{"line 1: a BEGIN marker had no END"}},
		"interleaved": {
			begin + av + other.Replace(begin) + mine + "\n" + end + yours + "\n" + other.Replace(end),
			whole + other.Replace(begin) + mine + "\n" + yours + "\n" + other.Replace(end),
			[]string{"line 3: another secret's marker stood inside the block"},
		},
		"END after another secret": {
			other.Replace(block(mine)) + av + end,
			other.Replace(block(mine)) + whole,
			[]string{"line 5: an END marker had no BEGIN"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			res := merged(t, c.old, planOf(a, b))
			wantText(t, res, c.want)
			wantList(t, "repaired", res.Repaired, c.repaired...)
		})
	}
}

func TestMergeKeepsTwoSecretsApart(t *testing.T) {
	a, b := key(t, 1), key(t, 2)
	second := planOf(b)
	second.SecretARN = strings.ReplaceAll(testARN, "AbCdEf", "XyZuvw")
	first := merged(t, "# top\n", planOf(a))
	both := merged(t, string(first.Bytes), second)
	wantText(t, both, "# top\n"+block(a.line()+" v")+strings.ReplaceAll(block(b.line()+" v"), testARN, second.SecretARN))
	if back := merged(t, string(both.Bytes), planOf(a)); back.Changed {
		t.Error("the first secret's merge undoes the second's")
	}
}

func TestMergeRefusesAPlanInDoubt(t *testing.T) {
	a, b := key(t, 1), key(t, 2)
	for name, change := range map[string]func(*Plan){
		"no keys":               func(p *Plan) { p.Keys = nil },
		"no secret":             func(p *Plan) { p.SecretARN = "" },
		"secret with newline":   func(p *Plan) { p.SecretARN = "arn\nssh-ed25519" },
		"secret with blank":     func(p *Plan) { p.SecretARN = "arn x" },
		"line without key":      func(p *Plan) { p.Keys = append(p.Keys, Line{}) },
		"key twice":             func(p *Plan) { p.Keys = append(p.Keys, p.Keys[0]) },
		"key retired":           func(p *Plan) { p.Retired = []string{b.fp()} },
		"comment with newline":  func(p *Plan) { p.Keys[0].Comment = "v\nssh-ed25519 AAAA" },
		"comment with CR":       func(p *Plan) { p.Keys[0].Comment = "v\r" },
		"comment with NUL":      func(p *Plan) { p.Keys[0].Comment = "v\x00" },
		"comment with C1":       func(p *Plan) { p.Keys[0].Comment = "v\u0085" },
		"comment not UTF-8":     func(p *Plan) { p.Keys[0].Comment = "v\xff" },
		"comment too long":      func(p *Plan) { p.Keys[0].Comment = strings.Repeat("v", 257) },
		"options":               func(p *Plan) { p.Options = "no-such-option" },
		"retired not a digest":  func(p *Plan) { p.Retired = []string{"SHA256:short"} },
		"retired in MD5":        func(p *Plan) { p.Retired = []string{"MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"} },
		"retired not canonical": func(p *Plan) { p.Retired = []string{"SHA256:" + strings.Repeat("A", 42) + "B"} },
		"protect not a digest":  func(p *Plan) { p.Protect = []string{""} },
	} {
		p := planOf(a, b)
		change(&p)
		res, err := Merge([]byte("# mine\n"), p)
		if err == nil || res.Bytes != nil {
			t.Errorf("%s: result %+v, error %v", name, res, err)
		}
	}
}

func TestReadPartsTheBlockFromTheRest(t *testing.T) {
	a, b, c := key(t, 1), key(t, 2), key(t, 3)
	text := "# top\n" + b.line() + "\n" + block("no-pty "+a.line()+" v") + "zzz " + c.line() + "\ncert-authority " + c.line() + "\n"
	got := Read([]byte(text), testARN)
	want := Contents{
		Block: []Entry{{Fingerprint: a.fp(), Options: "no-pty", Line: 4}},
		Foreign: []Entry{
			{Fingerprint: b.fp(), Line: 2},
			{Fingerprint: c.fp(), Options: "zzz", Line: 6, Ignored: `unknown key option: "zzz"`},
			{Fingerprint: c.fp(), Options: "cert-authority", Line: 7, Ignored: "the key is an authority for certificates"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	broken := Read([]byte(strings.ReplaceAll(text, "# END", "# end")), testARN)
	if len(broken.Block) != 0 || len(broken.Foreign) != 4 {
		t.Errorf("with broken markers: %+v", broken)
	}
}
