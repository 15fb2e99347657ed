package sshdconf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/agent/internal/sshdconf/sshdtest"
)

// The patterns of Match lines follow the same rules as those of AllowUsers and from=; what sshd makes of them
// shows in sshd -T.
func TestPatternsMatchAsInSSHD(t *testing.T) {
	user := sshdtest.User(t)
	server := sshdtest.Configure(t)
	i := inspector(server)
	for _, test := range []struct{ criterion, pattern, text string }{
		{"User", "USER", ""}, {"User", "*", ""}, {"User", "?*", ""}, {"User", "*USER*", ""}, {"User", "?USER", ""},
		{"User", "!USER,*", ""}, {"User", "*,!USER", ""}, {"User", "!USER", ""}, {"User", "!nobody9", ""}, {"User", "nobody9,USER", ""},
		{"User", "*?", ""}, {"User", "**", ""}, {"User", "*x*y*z*", ""},
		{"Address", "10.0.0.0/8", "10.255.0.1"}, {"Address", "10.0.0.0/8", "11.0.0.1"}, {"Address", "10.1.2.3", "10.1.2.3"},
		{"Address", "10.1.2.3", "10.1.2.4"}, {"Address", "10.1.2.*", "10.1.2.4"}, {"Address", "10.1.?.4", "10.1.2.4"},
		{"Address", "10.0.0.0/8,!10.1.0.0/16", "10.1.2.4"}, {"Address", "!10.1.0.0/16,10.0.0.0/8", "10.1.2.4"},
		{"Address", "!10.1.0.0/16,10.0.0.0/8", "10.2.2.4"}, {"Address", "!10.1.0.0/16", "10.2.2.4"}, {"Address", "*", "10.2.2.4"},
		{"Address", "*,!10.2.*", "10.2.2.4"}, {"Address", "2001:db8::/32", "2001:db8::1"}, {"Address", "2001:db8::/32", "2001:db9::1"},
		{"Address", "0.0.0.0/0", "2001:db8::1"}, {"Address", "::/0", "10.1.2.3"}, {"Address", "2001:DB8:0::1", "2001:db8::1"},
		{"Address", "2001:db8:*", "2001:db8::1"}, {"Address", "10.1.2.3/32,192.0.2.1", "192.0.2.1"},
		{"Host", "10.1.2.*", "10.1.2.4"}, {"Host", "!10.1.2.4,10.*", "10.1.2.4"},
	} {
		pattern := test.pattern
		if test.criterion == "User" {
			pattern = strings.ReplaceAll(pattern, "USER", user)
		}
		t.Run(test.criterion+" "+test.pattern+" "+test.text, func(t *testing.T) {
			server.Rewrite(t, fmt.Sprintf("Match %s %s", test.criterion, pattern), "ForceCommand hit")
			source := test.text
			if source == "" {
				source = controller
			}
			settings, err := i.Settings(t.Context(), user, source)
			if err != nil {
				t.Fatal(err)
			}
			want := settings.first("forcecommand") == "hit"
			var got bool
			switch test.criterion {
			case "User":
				got = matchList(user, pattern) == matched
			case "Host":
				got = matchList(source, pattern) == matched
			default:
				got = matchAddressList(netip.MustParseAddr(source), pattern) == matched
			}
			if got != want {
				t.Errorf("matches: %v, sshd says %v", got, want)
			}
		})
	}
}

func TestMatchUser(t *testing.T) {
	source := netip.MustParseAddr("10.1.2.3")
	for pattern, want := range map[string]bool{
		"alice":                         true,
		"al*":                           true,
		"bob":                           false,
		"alice@10.1.2.3":                true,
		"*@10.0.0.0/8":                  true,
		"alice@10.0.0.0/8,!10.1.0.0/16": false,
		"bob@10.1.2.3":                  false,
		"alice@host.example":            false,
		"alice@*":                       true,
		"alice@":                        false,
		"a@b@10.1.2.3":                  false,
	} {
		if got := matchUser("alice", source, pattern); got != want {
			t.Errorf("%q matches: %v, want %v", pattern, got, want)
		}
	}
	if !matchUser("alice@example.org", source, "alice@example.org@10.*") {
		t.Error("a name with an @ does not match")
	}
}
