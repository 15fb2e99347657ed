package sshdconf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/common/keyset"
)

// Subject is one user whose keys are managed.
type Subject struct {
	Account account.Account
	File    string             // the managed file, absolute and clean
	Options string             // what stands before each managed key
	Keys    []keyset.PublicKey // that are to be accepted; may be empty
	// Source is the IP address from which sshd is asked about the keys; empty means 127.0.0.1.
	Source string
	// Controllers are the IP addresses from which log-ins come. Where nobody has said, sshd's settings are
	// compared for addresses of this machine's own networks and for one of nowhere.
	Controllers []string
}

// Report is what an inspection found.
type Report struct {
	Settings Settings // for a connection from Subject.Source; zero when sshd did not tell
	Files    []KeysFile
	Findings []Finding // the worst first
}

// Inspect looks at everything that may keep the user from logging in with the managed keys. With an error, which
// wraps ErrUnavailable or is one of ctx, the report holds what can be said without sshd's word.
func (i *Inspector) Inspect(ctx context.Context, s Subject) (Report, error) {
	if s.Source == "" {
		s.Source = "127.0.0.1"
	}
	settings, err := i.Settings(ctx, s.Account.Name, s.Source)
	if err != nil {
		return i.inspectBlindly(ctx, s), err
	}
	report := Report{Settings: settings}
	if report.Files, err = settings.KeysFiles(s.Account); err != nil {
		return i.inspectBlindly(ctx, s), fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	who := i.person(ctx, s.Account)
	report.add(checkFile(s, report.Files)...)
	if !settings.off("strictmodes") {
		report.add(i.owners(who).checkModes(s.File, s.Account)...)
	}
	report.add(checkReadable(s.File, s.Account, who.gids)...)
	report.add(settings.findings(s, who)...)
	report.add(settings.checkRevoked(s)...)
	report.add(who.shadow.findings(s.Account, settings.first("usepam") == "yes", time.Now())...)
	report.add(checkShell(s.Account)...)
	report.add(checkOptions(s)...)
	report.add(i.checkSources(ctx, s, settings)...)
	report.add(i.checkNoLogin(s.Account)...)
	report.order()
	return report, ctx.Err()
}

// inspectBlindly supposes sshd's defaults where it has to.
func (i *Inspector) inspectBlindly(ctx context.Context, s Subject) Report {
	var report Report
	who := i.person(ctx, s.Account)
	report.add(i.owners(who).checkModes(s.File, s.Account)...)
	report.add(checkReadable(s.File, s.Account, who.gids)...)
	report.add(who.shadow.findings(s.Account, true, time.Now())...)
	report.add(checkShell(s.Account)...)
	report.add(checkOptions(s)...)
	report.add(i.checkNoLogin(s.Account)...)
	report.order()
	return report
}

// Find is the first finding with the code.
func (r Report) Find(code Code) (Finding, bool) {
	if i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Code == code }); i >= 0 {
		return r.Findings[i], true
	}
	return Finding{}, false
}

func (r *Report) add(findings ...Finding) { r.Findings = append(r.Findings, findings...) }

func (r *Report) order() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return int(a.Weight) - int(b.Weight) })
}

// checkFile finds out whether sshd reads the managed file for this user, and for this user alone.
func checkFile(s Subject, files []KeysFile) []Finding {
	var paths []string
	for _, file := range files {
		if !file.reads(s.File) {
			paths = append(paths, file.Path)
			continue
		}
		if file.Shared {
			return []Finding{{
				Code: CodeShared, Weight: Doubts,
				Message: fmt.Sprintf("sshd reads %s for every user: a key there opens all accounts", s.File),
				Fix:     "use %u or %h in AuthorizedKeysFile",
			}}
		}
		return nil
	}
	if len(paths) == 0 {
		paths = []string{"no file at all"}
	}
	return []Finding{{
		Code: CodeNotRead, Weight: Doubts,
		Message: fmt.Sprintf("sshd does not read %s for %s, but %s", s.File, s.Account.Name, strings.Join(paths, " and ")),
		Fix:     fmt.Sprintf("set the user's file in the agent's configuration to %s, or AuthorizedKeysFile in sshd's", paths[0]),
	}}
}

// findings is what the configuration holds against log-ins of this user from the subject's source.
func (s Settings) findings(subject Subject, who person) []Finding {
	a := subject.Account
	var findings []Finding
	add := func(code Code, weight Weight, fix, format string, args ...any) {
		findings = append(findings, Finding{Code: code, Weight: weight, Message: fmt.Sprintf(format, args...), Fix: fix})
	}
	if s.off("pubkeyauthentication") {
		add(CodePublickey, Explains, "set PubkeyAuthentication yes", "sshd takes no keys: PubkeyAuthentication is no")
	}
	for _, kind := range s.refusedKinds(subject.Keys) {
		add(CodeAlgorithm, Explains, "use a key type that PubkeyAcceptedAlgorithms lists", "sshd takes no %s", kind)
	}
	if s.keepsOut(subject) {
		add(CodeUser, Explains, fmt.Sprintf("add %s to AllowUsers, or take it out of DenyUsers", a.Name), "AllowUsers or DenyUsers keeps %s out", a.Name)
	}
	if !s.admitsGroups(who.groups) {
		add(CodeGroup, Explains, fmt.Sprintf("put %s into a group that AllowGroups lists and DenyGroups does not", a.Name), "AllowGroups or DenyGroups keeps %s out, which is in %s", a.Name, strings.Join(who.groups, ", "))
	}
	if value := s.first("permitrootlogin"); a.UID == 0 && (value == "no" || value == "forced-commands-only") {
		add(CodeRoot, Denies, "set PermitRootLogin prohibit-password, or manage another user", "sshd does not let root in: PermitRootLogin is %s", value)
	}
	if methods := s.words("authenticationmethods"); !keyAlone(methods) {
		add(CodeMethods, Doubts, "give this user AuthenticationMethods publickey in a Match block", "a key is not enough: AuthenticationMethods is %s", strings.Join(methods, " "))
	}
	if !s.none("forcecommand") {
		add(CodeCommand, Doubts, "exempt this user from ForceCommand in a Match block", "sshd runs %q instead of what the controller asks for: ForceCommand", s.first("forcecommand"))
	}
	return findings
}

// keyAlone reports whether one of the lists in AuthenticationMethods asks for nothing but a key.
func keyAlone(methods []string) bool {
	return len(methods) == 0 || slices.ContainsFunc(methods, func(list string) bool { return list == "any" || list == "publickey" })
}

// keepsOut reports whether AllowUsers and DenyUsers refuse the user from everywhere that is known: where they
// only refuse this machine, checkSources says so.
func (s Settings) keepsOut(subject Subject) bool {
	if len(subject.Controllers) == 0 && s.namesSources(subject.Account.Name) {
		return false
	}
	for _, text := range append([]string{subject.Source}, subject.Controllers...) {
		if source, err := netip.ParseAddr(text); err != nil || s.admits(subject.Account.Name, source) {
			return false
		}
	}
	return true
}

// admits is AllowUsers and DenyUsers.
func (s Settings) admits(user string, source netip.Addr) bool {
	if matchAnyUser(user, source, s.words("denyusers")) {
		return false
	}
	allowed := s.words("allowusers")
	return len(allowed) == 0 || matchAnyUser(user, source, allowed)
}

// admitsGroups is AllowGroups and DenyGroups. Unknown groups are given the benefit of the doubt: sshd decides.
func (s Settings) admitsGroups(groups []string) bool {
	if len(groups) == 0 {
		return true
	}
	if matchAnyGroup(groups, s.words("denygroups")) {
		return false
	}
	allowed := s.words("allowgroups")
	return len(allowed) == 0 || matchAnyGroup(groups, allowed)
}
