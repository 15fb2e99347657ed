package sshdconf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// nowhere is an address of a network that is for documentation only: sshd treats it like any stranger's.
const nowhere = "192.0.2.1"

// maxOwn bounds the questions to sshd on a machine with many addresses.
const maxOwn = 3

// checkSources compares how sshd treats a controller with how it treats whoever asks about keys here. sshd -T
// applies Match blocks to an address; AllowUsers and DenyUsers are applied here.
func (i *Inspector) checkSources(ctx context.Context, s Subject, here Settings) []Finding {
	controllers, guessed := s.Controllers, false
	if len(controllers) == 0 {
		controllers, guessed = append(ownAddresses(), nowhere), true
	}
	for _, controller := range controllers {
		there, err := i.Settings(ctx, s.Account.Name, controller)
		if err != nil {
			return []Finding{{Code: CodeUncheckable, Weight: Elsewhere, Message: fmt.Sprintf("sshd does not tell how it treats log-ins from %s: %v", controller, err)}}
		}
		if different := differ(s, here, there, controller); len(different) > 0 {
			return []Finding{elsewhere(s, controller, guessed, different)}
		}
	}
	if guessed && here.namesSources(s.Account.Name) {
		return []Finding{elsewhere(s, "other addresses", guessed, []string{"allowusers or denyusers"})}
	}
	return nil
}

func elsewhere(s Subject, controller string, guessed bool, different []string) Finding {
	f := Finding{
		Code: CodeSource, Weight: Elsewhere,
		Message: fmt.Sprintf("sshd treats log-ins of %s from %s otherwise than from %s: %s", s.Account.Name, controller, s.Source, strings.Join(different, ", ")),
		Fix:     "let sshd treat loopback as it treats the controller",
	}
	if guessed {
		f.Fix += ", or name the controller's addresses in the agent's configuration"
	}
	return f
}

// differ is the settings that matter and are not the same for controller as here.
func differ(s Subject, here, there Settings, controller string) []string {
	different := differences(here, there)
	if s.Account.UID != 0 {
		different = slices.DeleteFunc(different, func(keyword string) bool { return keyword == "permitrootlogin" })
	}
	from, errFrom := netip.ParseAddr(s.Source)
	to, errTo := netip.ParseAddr(controller)
	if errFrom != nil || errTo != nil {
		return append(different, "address")
	}
	if here.admits(s.Account.Name, from) != there.admits(s.Account.Name, to) && !slices.Contains(different, "allowusers") {
		different = append(different, "allowusers or denyusers")
	}
	return different
}

// namesSources reports whether AllowUsers or DenyUsers look at where this user comes from.
func (s Settings) namesSources(user string) bool {
	return slices.ContainsFunc(slices.Concat(s.words("allowusers"), s.words("denyusers")), func(pattern string) bool {
		at := strings.LastIndexByte(pattern, '@')
		return at >= 0 && matchPattern(user, pattern[:at])
	})
}

// ownAddresses are addresses of this machine in the networks that it is part of, where its controllers probably
// are too.
func ownAddresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []string
	for _, address := range all {
		prefix, err := netip.ParsePrefix(address.String())
		if err != nil || len(own) == maxOwn {
			continue
		}
		if ip := prefix.Addr().Unmap(); !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			own = append(own, ip.String())
		}
	}
	return own
}
