package authkeys

import (
	"slices"
	"strings"
	"testing"
)

const (
	purgeKey    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	purgeDigest = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
	blockOne    = "# BEGIN rotatessh arn:one (managed, edits are overwritten)\n" + purgeKey + " v1\n# END rotatessh arn:one\n"
	blockTwo    = "# BEGIN rotatessh arn:two (managed, edits are overwritten)\n" + purgeKey + " v2\n# END rotatessh arn:two\n"
)

func TestPurgeTakesBlocksAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		old, want string
		removed   int
		left      int
	}{
		"no file":               {},
		"no block":              {old: "# mine\nssh-rsa\r\nno newline", want: "# mine\nssh-rsa\r\nno newline"},
		"block alone":           {old: blockOne, removed: 1},
		"block in the middle":   {old: "a\n" + blockOne + purgeKey + " mine\n", want: "a\n" + purgeKey + " mine\n", removed: 1},
		"two secrets":           {old: blockOne + "b" + "\n" + blockTwo, want: "b\n", removed: 2},
		"no newline at the end": {old: "a\n" + strings.TrimSuffix(blockOne, "\n"), want: "a\n", removed: 1},
		"indented by an editor": {old: "  " + blockOne, removed: 1},
		"BEGIN without END": {
			old:  "# BEGIN rotatessh arn:one (managed)\n" + purgeKey + "\nmine\n",
			want: "# BEGIN rotatessh arn:one (managed)\n" + purgeKey + "\nmine\n", left: 1,
		},
		"END without BEGIN": {old: "mine\n# END rotatessh arn:one\n", want: "mine\n# END rotatessh arn:one\n", left: 1},
		"END of another": {
			old:  "# BEGIN rotatessh arn:one (managed)\nmine\n" + blockTwo,
			want: "# BEGIN rotatessh arn:one (managed)\nmine\n", removed: 1, left: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := Purge([]byte(c.old))
			if string(p.Bytes) != c.want {
				t.Errorf("the file is now\n%q\nwant\n%q", p.Bytes, c.want)
			}
			if len(p.Removed) != c.removed || len(p.Left) != c.left {
				t.Errorf("removed %q, left %q", p.Removed, p.Left)
			}
			if again := Purge(p.Bytes); string(again.Bytes) != c.want || len(again.Removed) > 0 {
				t.Errorf("a second purge removes %q", again.Removed)
			}
		})
	}
}

func TestPurgeNamesTheKeys(t *testing.T) {
	if got := Purge([]byte(blockOne)).Removed; !slices.Equal(got, []string{purgeDigest}) {
		t.Errorf("removed %q", got)
	}
}
