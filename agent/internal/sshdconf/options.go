package sshdconf

import (
	"fmt"
	"net/netip"
	"strings"
)

// checkOptions finds what the options of the managed keys do to the answers. Only what sshd does not tell by
// refusing the key is looked at.
func checkOptions(s Subject) []Finding {
	var findings []Finding
	if command, ok := optionValue(s.Options, "command"); ok {
		findings = append(findings, Finding{
			Code: CodeCommand, Weight: Doubts,
			Message: fmt.Sprintf("sshd runs %q instead of what the controller asks for: command= on the keys", command),
			Fix:     "take command= out of the user's options in the agent's configuration",
		})
	}
	from, ok := optionValue(s.Options, "from")
	if !ok {
		return findings
	}
	for _, controller := range s.Controllers {
		if address, err := netip.ParseAddr(controller); err == nil && !matchSource(address, from) {
			findings = append(findings, Finding{
				Code: CodeSource, Weight: Denies,
				Message: fmt.Sprintf("from=%q on the keys keeps the controller at %s out", from, controller),
				Fix:     "correct from= in the user's options in the agent's configuration",
			})
		}
	}
	if source, err := netip.ParseAddr(s.Source); err == nil && !matchSource(source, from) {
		findings = append(findings, Finding{
			Code: CodeSource, Weight: Elsewhere,
			Message: fmt.Sprintf("from=%q on the keys leaves out %s, from where sshd is asked", from, s.Source),
			Fix:     `add 127.0.0.0/8 to from=, if the answers are to count`,
		})
	}
	return findings
}

// optionValue is the value of a key option in quotes, with \" for a quote as sshd has it. Names do not depend
// on capitals.
func optionValue(options, name string) (string, bool) {
	for options != "" {
		option, rest := cutOption(options)
		key, value, assigned := strings.Cut(option, "=")
		if assigned && strings.EqualFold(strings.TrimSpace(key), name) {
			value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			return strings.ReplaceAll(value, `\"`, `"`), true
		}
		options = rest
	}
	return "", false
}

// cutOption splits at the first comma outside quotes.
func cutOption(options string) (option, rest string) {
	quoted := false
	for i := 0; i < len(options); i++ {
		switch {
		case options[i] == '\\' && i+1 < len(options) && options[i+1] == '"':
			i++
		case options[i] == '"':
			quoted = !quoted
		case options[i] == ',' && !quoted:
			return options[:i], options[i+1:]
		}
	}
	return options, ""
}
