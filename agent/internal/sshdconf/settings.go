package sshdconf

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// Settings is sshd's effective configuration for one connection. The zero value has no settings.
type Settings struct {
	values map[string][]string // by keyword in lower case, one entry for each line
}

// parseSettings reads the output of sshd -T: a keyword and its arguments on each line.
func parseSettings(output string) Settings {
	values := make(map[string][]string)
	for line := range strings.Lines(output) {
		keyword, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if keyword == "" {
			continue
		}
		keyword = todaysName(strings.ToLower(keyword))
		values[keyword] = append(values[keyword], strings.TrimSpace(value))
	}
	return Settings{values: values}
}

// todaysName translates the keywords of OpenSSH before 8.5.
func todaysName(keyword string) string {
	switch keyword {
	case "pubkeyacceptedkeytypes":
		return "pubkeyacceptedalgorithms"
	case "challengeresponseauthentication":
		return "kbdinteractiveauthentication"
	}
	return keyword
}

// lines is every line of a keyword.
func (s Settings) lines(keyword string) []string { return s.values[keyword] }

// first is the first line of a keyword, "" if there is none.
func (s Settings) first(keyword string) string {
	if lines := s.values[keyword]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// words is the arguments of every line of a keyword.
func (s Settings) words(keyword string) []string {
	var words []string
	for _, line := range s.values[keyword] {
		words = append(words, fields(line)...)
	}
	return words
}

// off reports whether a yes-or-no keyword says no. One that is not there says nothing.
func (s Settings) off(keyword string) bool { return s.first(keyword) == "no" }

// none reports whether a keyword names nothing.
func (s Settings) none(keyword string) bool {
	value := s.first(keyword)
	return value == "" || value == "none"
}

// fields splits at blanks outside double quotes, which newer versions of sshd put around a path with blanks.
func fields(line string) []string {
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
	for i, word := range words {
		words[i] = strings.Trim(word, `"`)
	}
	return words
}

// local reports whether a keyword differs from machine to machine without any bearing on who may log in.
func local(keyword string) bool {
	switch keyword {
	case "port", "listenaddress", "pidfile", "hostkey", "hostcertificate":
		return true
	}
	return false
}

// Hash is one text for the settings of several users, keyed by name: equal for machines whose sshd's treat
// those users alike, whatever their addresses and host keys. Empty for no settings.
func Hash(users map[string]Settings) string {
	if len(users) == 0 {
		return ""
	}
	sum := sha256.New()
	for _, user := range slices.Sorted(maps.Keys(users)) {
		sum.Write([]byte("user " + user + "\n"))
		for _, keyword := range slices.Sorted(maps.Keys(users[user].values)) {
			if local(keyword) {
				continue
			}
			for _, line := range users[user].values[keyword] {
				sum.Write([]byte(keyword + " " + line + "\n"))
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// decisive reports whether a keyword decides whether a log-in with a key succeeds.
func decisive(keyword string) bool {
	switch keyword {
	case "allowgroups", "allowusers", "authenticationmethods", "authorizedkeyscommand", "authorizedkeyscommanduser",
		"authorizedkeysfile", "chrootdirectory", "denygroups", "denyusers", "forcecommand", "permitrootlogin",
		"pubkeyacceptedalgorithms", "pubkeyauthentication", "pubkeyauthoptions", "refuseconnection", "requiredrsasize",
		"revokedkeys", "strictmodes", "usepam":
		return true
	}
	return false
}

// differences is the decisive keywords that a and b have otherwise, sorted.
func differences(a, b Settings) []string {
	var different []string
	for keyword := range a.values {
		if decisive(keyword) && !slices.Equal(a.values[keyword], b.values[keyword]) {
			different = append(different, keyword)
		}
	}
	for keyword := range b.values {
		if _, both := a.values[keyword]; decisive(keyword) && !both {
			different = append(different, keyword)
		}
	}
	slices.Sort(different)
	return different
}
