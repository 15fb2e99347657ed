package authkeys

// An Entry is a line that holds a key.
type Entry struct {
	Fingerprint string // SHA256:…
	Options     string // as they stand before the key; control characters and all
	Line        int    // from 1
	// Ignored says why sshd does not accept the key itself by this line: its options are not valid, or make it an authority
	// for certificates. Empty otherwise.
	Ignored string
}

// Contents are the keys of a file, in order.
type Contents struct {
	Block   []Entry // in the block of the secret in question; empty unless its markers are whole
	Foreign []Entry // everywhere else
}

// Read returns the keys that sshd finds in the text, parted into the secret's block and the rest. It is what a written file is checked
// with, so it knows nothing of plans.
func Read(text []byte, secretARN string) Contents {
	var c Contents
	f := scan(text, secretARN)
	for i := range f.lines {
		l := &f.lines[i]
		if !l.isKey {
			continue
		}
		e := Entry{Fingerprint: l.digest.String(), Options: string(l.options), Line: i + 1, Ignored: ignored(l)}
		if f.whole && l.inBlock {
			c.Block = append(c.Block, e)
		} else {
			c.Foreign = append(c.Foreign, e)
		}
	}
	return c
}

func ignored(l *line) string {
	found, err := parseOptions(string(l.options))
	switch {
	case err != nil:
		return err.Error()
	case found["cert-authority"]:
		return "the key is an authority for certificates"
	case found["principals"]:
		return "principals are for authorities for certificates only"
	}
	return ""
}
