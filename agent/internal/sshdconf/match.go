package sshdconf

import (
	"net/netip"
	"slices"
	"strings"
)

// matchPattern is OpenSSH's match_pattern: * for any text, ? for one byte, all else for itself.
func matchPattern(text, pattern string) bool {
	// Where to go on after a mismatch: the place behind the last *, which then takes one byte more.
	back, from := -1, 0
	i, j := 0, 0
	for i < len(text) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			back, from = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == text[i]):
			i++
			j++
		case back >= 0:
			from++
			i, j = from, back+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// verdict is the outcome of a list of patterns, in which a ! in front turns a match into a veto.
type verdict int

const (
	vetoed verdict = iota - 1
	unmatched
	matched
)

// matchList is OpenSSH's match_pattern_list.
func matchList(text, list string) verdict {
	result := unmatched
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchPattern(text, pattern) {
			continue
		}
		if negated {
			return vetoed
		}
		result = matched
	}
	return result
}

// matchAddressList is OpenSSH's addr_match_list: networks in CIDR notation, or patterns for the address's text.
// As there, the first veto ends it and an entry that is no pattern at all matches nothing.
func matchAddressList(source netip.Addr, list string) verdict {
	result := unmatched
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchAddress(source, pattern) {
			continue
		}
		if negated {
			return vetoed
		}
		result = matched
	}
	return result
}

func matchAddress(source netip.Addr, pattern string) bool {
	if network, err := netip.ParsePrefix(pattern); err == nil {
		return network.Contains(source)
	}
	if address, err := netip.ParseAddr(pattern); err == nil {
		return address == source
	}
	return matchPattern(source.String(), pattern)
}

// matchSource is OpenSSH's match_host_and_ip, for a client whose name is its address (UseDNS no).
func matchSource(source netip.Addr, list string) bool {
	byAddress := matchAddressList(source, list)
	if byAddress == vetoed {
		return false
	}
	byName := matchList(source.String(), strings.ToLower(list))
	return byName != vetoed && (byName == matched || byAddress == matched)
}

// matchUser is OpenSSH's match_user: a pattern for the name, or for the name and the source with an @ between.
func matchUser(name string, source netip.Addr, pattern string) bool {
	at := strings.LastIndexByte(pattern, '@')
	if at < 0 {
		return matchPattern(name, pattern)
	}
	return matchPattern(name, pattern[:at]) && matchSource(source, pattern[at+1:])
}

// matchAnyUser reports whether one of AllowUsers' or DenyUsers' patterns matches.
func matchAnyUser(name string, source netip.Addr, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matchUser(name, source, pattern) })
}

// matchAnyGroup reports whether one of the groups is in AllowGroups or DenyGroups, which know no veto.
func matchAnyGroup(groups, patterns []string) bool {
	for _, group := range groups {
		if slices.ContainsFunc(patterns, func(pattern string) bool { return matchPattern(group, pattern) }) {
			return true
		}
	}
	return false
}
