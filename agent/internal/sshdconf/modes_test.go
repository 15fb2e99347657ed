package sshdconf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/acceptance"
	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
)

var nobodyElse = owners{group: -1}

// Every combination of owner and mode on the way to the file: what is found must be what sshd minds.
func TestModesAreJudgedAsBySSHD(t *testing.T) {
	sshdtest.NeedPrivate(t)
	alice := lookup(t, sshdtest.Alice)
	folder := filepath.Join(alice.Home, ".ssh")
	file := filepath.Join(folder, "authorized_keys")
	pair := sshdtest.NewPair(t)
	server := sshdtest.Start(t, "AuthorizedKeysFile .ssh/authorized_keys")
	ask := acceptance.New(acceptance.Config{Address: server.Address, HostKeyFiles: server.HostKeyFiles})

	owners := map[string]int{"root": 0, "alice": alice.UID, "bob": lookup(t, sshdtest.Bob).UID}
	restore := func() {
		sshdtest.WriteFile(t, file, pair.Public.String()+"\n", 0o600)
		change(t, "/home", 0, 0o755)
		for path, mode := range map[string]os.FileMode{alice.Home: 0o755, folder: 0o700, file: 0o600} {
			change(t, path, alice.UID, mode)
		}
	}
	i := inspector(server)
	trusted := i.owners(i.person(t.Context(), alice))
	yes, no := 0, 0
	defer change(t, "/home", 0, 0o755)
	for path, modes := range map[string][]os.FileMode{
		"/home":    {0o777}, // sshd looks no higher than the home
		alice.Home: {0o700, 0o775, 0o757},
		folder:     {0o711, 0o720, 0o702},
		file:       {0o644, 0o600, 0o660, 0o602},
	} {
		for name, uid := range owners {
			for _, mode := range modes {
				restore()
				change(t, path, uid, mode)
				got, err := ask.Ask(t.Context(), acceptance.Question{User: alice.Name, Accept: []keyset.PublicKey{pair.Public}})
				if err != nil {
					t.Fatal(err)
				}
				found := append(trusted.checkModes(file, alice), checkReadable(file, alice, []int{alice.GID})...)
				if accepted := got.Answers[0].Accepted == ledger.Yes; accepted != (len(found) == 0) {
					t.Errorf("%s of %s with mode %04o: sshd accepts: %v, findings %+v", path, name, mode, accepted, found)
				}
				if len(found) == 0 {
					yes++
				} else {
					no++
				}
			}
		}
	}
	restore()
	if yes < 8 || no < 8 {
		t.Errorf("%d combinations pass and %d do not: too few of one kind", yes, no)
	}
}

func change(t *testing.T, path string, uid int, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		t.Fatal(err)
	}
}

// The fixes, typed as they stand, put everything right.
func TestModesAreFixedByFix(t *testing.T) {
	sshdtest.NeedPrivate(t)
	alice := lookup(t, sshdtest.Alice)
	alice.Home = filepath.Join("/home", "alice's home")
	folder := filepath.Join(alice.Home, ".ssh")
	file := filepath.Join(folder, "authorized_keys")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	sshdtest.WriteFile(t, file, "", 0o666)
	change(t, folder, lookup(t, sshdtest.Bob).UID, 0o770)
	change(t, alice.Home, alice.UID, 0o777)

	findings := nobodyElse.checkModes(file, alice)
	if len(findings) != 4 {
		t.Errorf("findings are %+v, want four", findings)
	}
	for _, f := range findings {
		if output, err := shell(f.Fix); err != nil {
			t.Errorf("%s: %v: %s", f.Fix, err, output)
		}
	}
	if findings := nobodyElse.checkModes(file, alice); len(findings) > 0 {
		t.Errorf("after the fixes: %+v", findings)
	}
}

func TestModesOfMissingFile(t *testing.T) {
	sshdtest.NeedPrivate(t)
	bob := lookup(t, sshdtest.Bob)
	file := filepath.Join(bob.Home, ".ssh", "new", "authorized_keys")
	if findings := nobodyElse.checkModes(file, bob); len(findings) > 0 {
		t.Errorf("findings are %+v", findings)
	}
	change(t, bob.Home, bob.UID, 0o777)
	defer change(t, bob.Home, bob.UID, 0o755)
	findings := nobodyElse.checkModes(file, bob)
	if len(findings) != 1 || !strings.Contains(findings[0].Message, bob.Home+" may be written") {
		t.Errorf("findings are %+v", findings)
	}
}

// sshd looks at where a link leads, not at where it stands.
func TestModesFollowLinks(t *testing.T) {
	sshdtest.NeedPrivate(t)
	alice := lookup(t, sshdtest.Alice)
	elsewhere := filepath.Join("/run", "elsewhere")
	if err := os.Mkdir(elsewhere, 0o777); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(elsewhere)
	change(t, elsewhere, 0, 0o777)
	sshdtest.WriteFile(t, elsewhere+"/keys", "", 0o600)
	change(t, elsewhere+"/keys", alice.UID, 0o600)
	link := filepath.Join(alice.Home, "linked")
	if err := os.Symlink(elsewhere+"/keys", link); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(link)
	findings := nobodyElse.checkModes(link, alice)
	if len(findings) != 1 || findings[0].Fix != "chmod go-w "+elsewhere {
		t.Errorf("findings are %+v, want that %s may be written", findings, elsewhere)
	}
	if err := os.Remove(elsewhere + "/keys"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(elsewhere+"/keys", 0o700); err != nil {
		t.Fatal(err)
	}
	change(t, elsewhere, 0, 0o755)
	if findings := nobodyElse.checkModes(link, alice); len(findings) != 1 || !strings.Contains(findings[0].Message, "not a regular file") {
		t.Errorf("findings are %+v, want that a folder is no file", findings)
	}
}

func ExampleFinding() {
	fmt.Println(quote("/home/alice/.ssh"), quote("/home/it's mine"), quote(""))
	// Output: /home/alice/.ssh '/home/it'\''s mine' ''
}
