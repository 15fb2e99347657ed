package keysync_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rotatessh/rotatessh/"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string // without those of tests
}

// list runs go list -json with further arguments.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Skip("not run: no go command")
	}
	out, err := exec.Command(path, append([]string{"list", "-json=ImportPath,Imports"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// A rule forbids imports. Paths of this module are without its prefix; one that ends in "/..." means everything below.
type rule struct {
	in     []string // packages that the rule is about
	except []string
	never  []string // imports
	why    string
}

var sdk = []string{"github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/..."}

func rules() []rule {
	return []rule{
		{in: []string{"agent/..."}, never: []string{"rotator/..."}, why: "the agent must not be able to hold a private key"},
		{
			in: []string{"agent/..."}, except: []string{"agent/internal/sshdconf/sshdtest", "agent/internal/trial"},
			never: []string{"crypto/ed25519", "crypto/ecdsa", "crypto/x509", "encoding/pem"},
			why:   "the agent handles public keys only, and only as keyset has them",
		},
		{
			in: []string{"agent/..."}, except: []string{"agent/internal/sshdconf", "agent/internal/sshdconf/sshdtest"},
			never: []string{"crypto/rsa"}, why: "the same, but that sshdconf measures public keys for RequiredRSASize",
		},
		{
			in: []string{"agent/internal/authkeys", "common/keyset"}, never: append([]string{"os", "net", "go.uber.org/zap/..."}, sdk...),
			why: "these are pure: bytes in, bytes out",
		},
		{
			in: []string{"agent/internal/keysync"}, never: append([]string{"agent/internal/wake", "agent/internal/userfile", "os", "net"}, sdk...),
			why: "the loop declares what it needs, so that it can be tested without files, sockets and AWS",
		},
		{
			in:    []string{"agent/internal/userfile", "agent/internal/acceptance", "agent/internal/sshdconf", "agent/internal/account", "agent/internal/config", "agent/internal/state"},
			never: sdk, why: "what works on the machine works without AWS",
		},
		{
			in: []string{"agent/..."}, except: []string{"agent/internal/account", "agent/internal/sshdconf", "agent/internal/sshdconf/sshdtest", "agent/internal/userfile/faults", "agent/internal/trial"},
			never: []string{"os/exec"}, why: "other programs run only to look accounts up and to ask sshd for its configuration",
		},
		{
			in: []string{"agent/..."}, except: []string{"agent/cmd/rotatessh-agent", "agent/internal/wake", "agent/internal/trial"},
			never: []string{"github.com/aws/aws-sdk-go-v2/service/..."}, why: "AWS is spoken to in few places",
		},
		{in: []string{"agent/..."}, never: []string{"log", "log/slog", "unsafe", "C"}, why: "zap logs, and nothing here needs to go around the type system"},
	}
}

// within reports whether path, without the module's prefix, is one of the patterns.
func within(path string, patterns []string) bool {
	path = strings.TrimPrefix(path, module)
	return slices.ContainsFunc(patterns, func(p string) bool {
		if tree, ok := strings.CutSuffix(p, "/..."); ok {
			return path == tree || strings.HasPrefix(path, tree+"/")
		}
		return path == p
	})
}

func TestForbiddenImports(t *testing.T) {
	packages := list(t, module+"agent/...", module+"common/keyset")
	for _, r := range rules() {
		seen := false
		for _, p := range packages {
			if !within(p.ImportPath, r.in) || within(p.ImportPath, r.except) {
				continue
			}
			seen = true
			for _, i := range p.Imports {
				if within(i, r.never) {
					t.Errorf("%s imports %s: %s", p.ImportPath, i, r.why)
				}
			}
		}
		if !seen {
			t.Errorf("no package is %v: the rule about %v does not bite", r.in, r.never)
		}
	}
}

// What the agent's program is made of, dependencies of dependencies included.
func TestProgramIsMadeOfNothingElse(t *testing.T) {
	never := []string{
		"rotator/...", "common/localaws/...", "agent/internal/sshdconf/sshdtest", "agent/internal/userfile/faults", "agent/internal/trial", // the first signs, the others are for tests
		"testing", "net/http/pprof", "plugin", // expvar comes with the metrics; nobody serves the mux that it registers with
		"github.com/aws/aws-sdk-go-v2/service/ec2", "github.com/aws/aws-sdk-go-v2/service/lambda", "github.com/aws/aws-sdk-go-v2/service/ssm",
	}
	packages := list(t, "-deps", module+"agent/cmd/rotatessh-agent")
	if len(packages) < 100 {
		t.Fatalf("only %d packages", len(packages))
	}
	for _, p := range packages {
		if within(p.ImportPath, never) {
			t.Errorf("the program contains %s", p.ImportPath)
		}
	}
}
