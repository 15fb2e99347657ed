package keyset

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// checkJSON refuses what encoding/json lets pass and other readers see otherwise: a member that occurs twice
// in one object (also with other capitals, since encoding/json matches names without regard to case), and
// data after the document.
func checkJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := checkValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid(CodeMalformed, "keyset has data after its end")
	}
	return nil
}

// maxDepth is far beyond what the format needs; unknown members may nest.
const maxDepth = 32

func checkValue(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return invalid(CodeMalformed, "keyset is not valid JSON: %v", err)
	}
	opening, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	if depth == maxDepth {
		return invalid(CodeMalformed, "keyset nests deeper than %d levels", maxDepth)
	}
	seen := make(map[string]bool)
	for dec.More() {
		if opening == '{' {
			if err := checkName(dec, seen); err != nil {
				return err
			}
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return invalid(CodeMalformed, "keyset is not valid JSON: %v", err)
	}
	return nil
}

func checkName(dec *json.Decoder, seen map[string]bool) error {
	token, err := dec.Token()
	if err != nil {
		return invalid(CodeMalformed, "keyset is not valid JSON: %v", err)
	}
	name, _ := token.(string)
	folded := strings.ToLower(name)
	if seen[folded] {
		return invalid(CodeMalformed, "keyset has the member %.40q twice", name)
	}
	seen[folded] = true
	return nil
}
