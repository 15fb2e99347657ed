package authkeys

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxOptions bounds the options of a line.
const maxOptions = 4096

// ValidateOptions checks options that are to stand before every key of the block, such as `from="10.0.0.0/8",restrict`. It takes what every
// supported sshd takes, and refuses what would keep sshd from accepting the key at all: an unknown option makes sshd ignore
// the whole line. The empty string means no options.
func ValidateOptions(s string) error {
	if s == "" {
		return nil
	}
	if len(s) > maxOptions {
		return fmt.Errorf("key options of %d bytes are longer than %d", len(s), maxOptions)
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("key options hold the control character %q", r)
		}
	}
	if n, ok := optionsLength([]byte(s)); !ok || n != len(s) {
		return errors.New("key options hold a blank or a quote in the wrong place: values stand in double quotes, options are parted by commas")
	}
	found, err := parseOptions(s)
	if err != nil {
		return err
	}
	if found[""] || strings.HasSuffix(s, ",") {
		return errors.New("key options hold a comma too many")
	}
	if found["cert-authority"] || found["principals"] {
		return errors.New("key options cert-authority and principals are for certificates: sshd would not accept the key itself")
	}
	return nil
}

// errUnknownOption is apart from the other errors because a later sshd may know the option.
var errUnknownOption = errors.New("unknown key option")

// parseOptions follows sshd through the options at the start of s, up to a blank or the end. It returns the names that it met, in lower
// case and without "no-", and "" when a comma stands where an option should, which sshd does not mind.
func parseOptions(s string) (map[string]bool, error) {
	found := map[string]bool{}
	for s != "" && s[0] != ' ' && s[0] != '\t' {
		name, rest, err := nextOption(s)
		if err != nil {
			return nil, err
		}
		if found[name] && onceOnly(name) {
			return nil, fmt.Errorf("key option %q stands twice", name)
		}
		found[name] = true
		switch {
		case rest == "" || rest[0] == ' ' || rest[0] == '\t':
			return found, nil
		case rest[0] != ',':
			return nil, fmt.Errorf("%w: %.40q", errUnknownOption, s)
		}
		s = rest[1:]
	}
	return found, nil
}

func onceOnly(name string) bool { return name == "command" || name == "from" || name == "principals" }

// nextOption reads one option, with its value when it has one.
func nextOption(s string) (name, rest string, err error) {
	if s[0] == ',' {
		return "", s, nil
	}
	for _, flag := range []string{
		"restrict", "cert-authority", "port-forwarding", "agent-forwarding", "x11-forwarding",
		"touch-required", "verify-required", "pty", "user-rc",
	} {
		negatable := flag != "restrict" && flag != "cert-authority"
		if rest, ok := cutFold(s, flag); ok {
			return flag, rest, nil
		}
		if rest, ok := cutFold(s, "no-"+flag); ok && negatable {
			return flag, rest, nil
		}
	}
	for _, name := range []string{
		"command", "principals", "from", "expiry-time", "environment", "permitopen", "permitlisten", "tunnel",
	} {
		if rest, ok := cutFold(s, name+"="); ok {
			value, rest, err := dequote(rest)
			if err == nil {
				err = checkValue(name, value)
			}
			return name, rest, err
		}
	}
	return "", "", fmt.Errorf("%w: %.40q", errUnknownOption, s)
}

func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// dequote reads a value in double quotes, in which only \" is special.
func dequote(s string) (value, rest string, err error) {
	if s == "" || s[0] != '"' {
		return "", "", errors.New("a key option's value does not begin with a double quote")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("a key option's value does not end with a double quote")
}

func checkValue(name, value string) error {
	ok := true
	switch name {
	case "expiry-time":
		ok = isTime(value)
	case "environment":
		ok = isAssignment(value)
	case "permitopen":
		ok = isHostPort(value)
	case "permitlisten":
		ok = isPort(value) || isHostPort(value)
	case "tunnel":
		ok = isTunnel(value)
	}
	if !ok {
		return fmt.Errorf("key option %s has the invalid value %.80q", name, value)
	}
	return nil
}

func isTime(s string) bool {
	s = strings.TrimSuffix(s, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(s) == len(layout) {
			_, err := time.Parse(layout, s)
			return err == nil
		}
	}
	return false
}

func isAssignment(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

func isHostPort(s string) bool {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || !isPort(s[i+1:]) {
		return false
	}
	host := s[:i]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		_, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && strings.HasSuffix(host, "]")
	}
	return !strings.Contains(host, ":")
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "*" || err == nil && n > 0
}

func isTunnel(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return strings.EqualFold(s, "any") || err == nil
}
