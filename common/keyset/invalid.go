package keyset

import (
	"errors"
	"fmt"
)

// Code names the reason why a document was refused. Codes are stable: they travel in acknowledgements,
// logs and reports.
type Code string

// The reasons for refusing a keyset document.
const (
	CodeMalformed  Code = "keyset-malformed"  // not JSON, not an object, a field of the wrong type, trailing data
	CodeTooLarge   Code = "keyset-too-large"  // over MaxSize
	CodeSchema     Code = "keyset-schema"     // missing or unknown schema
	CodeBadSecret  Code = "keyset-secret-arn" // secretArn is not the ARN of a Secrets Manager secret
	CodeGeneration Code = "keyset-generation" // generation outside 1 to MaxGeneration
	CodeState      Code = "keyset-state"      // unknown state, or too many keys in one state
	CodeNoKeys     Code = "keyset-no-keys"    // a published document without any key
	CodeBadKey     Code = "bad-key"           // a public key that cannot be used
	CodeDuplicate  Code = "keyset-duplicate"  // one key blob twice
	CodeBadVersion Code = "keyset-version-id" // a version id that is not one
	CodeNotAfter   Code = "keyset-not-after"  // notAfter missing on a retiring key, or present on another
	CodeRetired    Code = "keyset-retired"    // a bad entry, or too many, in retired
)

// Invalid is the error of every refused document or key: a stable Code and a sentence for people. The
// sentence never quotes more of the document than one short value.
type Invalid struct {
	Code   Code
	Detail string
}

// Error is the detail followed by the code in brackets.
func (e *Invalid) Error() string { return fmt.Sprintf("%s [%s]", e.Detail, e.Code) }

func invalid(code Code, format string, args ...any) error {
	return &Invalid{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of the *Invalid in err's chain, or "" if there is none.
func CodeOf(err error) Code {
	if bad, ok := errors.AsType[*Invalid](err); ok {
		return bad.Code
	}
	return ""
}

// ErrEmpty says that a secret holds {}: nothing has been published yet. It is not a fault.
var ErrEmpty = errors.New("no keyset has been published yet")
