package acceptance

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/ledger"
)

// errNeverSigns ends every query that sshd has answered with yes.
var errNeverSigns = errors.New("a query is never followed by a signature")

// dialogue is the authentication part of one connection. x/crypto/ssh calls next before each attempt, from one
// goroutine, and reports neither a refusal nor a lost connection to it: both only lead to the next call.
// What happened is known by the question that was signed for and by how the whole conversation ended.
type dialogue struct {
	user      string
	questions []*question
	asked     int    // questions handed out so far
	seen      int    // questions after which next was called again
	noMethod  string // why no further question makes sense
}

func newDialogue(q Question) *dialogue {
	d := &dialogue{user: q.User}
	for _, key := range q.Accept {
		d.questions = append(d.questions, newQuestion(key))
	}
	if !q.Refuse.IsZero() {
		d.questions = append(d.questions, newQuestion(q.Refuse))
	}
	return d
}

// next is an ssh.ClientAuthCallback: it hands out one question at a time.
func (d *dialogue) next(ctx *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	d.seen = d.asked
	// Without publickey on offer every query is refused and counted, whatever the key; and one that comes
	// second in AuthenticationMethods is not refused for good.
	if !slices.Contains(ctx.AllowedMethods, "publickey") {
		d.noMethod = fmt.Sprintf("sshd does not let this user begin with a public key, only with %s", strings.Join(ctx.AllowedMethods, ", "))
		return nil, nil
	}
	if d.asked == len(d.questions) {
		return nil, nil
	}
	d.asked++
	return ssh.PublicKeys(signer{d.questions[d.asked-1]}), nil
}

// finished reports whether err, the end of the handshake, is that of a conversation in which sshd had an
// answer to everything. x/crypto/ssh has no error value for "every method was refused"; should the text
// change, every refusal turns into unverified, which is the safe side.
func (d *dialogue) finished(err error) bool {
	return errors.Is(err, errNeverSigns) || strings.Contains(err.Error(), "unable to authenticate")
}

// answers is every question's answer, given the error of a conversation that ended early.
func (d *dialogue) answers(err error) []Answer {
	answers := make([]Answer, len(d.questions))
	for i, q := range d.questions {
		accepted, why := d.answer(i, err)
		answers[i] = Answer{Fingerprint: q.fingerprint, Accepted: accepted, Why: why}
	}
	return answers
}

func (d *dialogue) answer(i int, err error) (ledger.Accepted, string) {
	q := d.questions[i]
	switch {
	case q.accepted:
		return ledger.Yes, ""
	case i < d.seen && !q.sent:
		return ledger.Unverified, fmt.Sprintf("sshd lists no signature algorithm of a %s key", q.key.Type())
	case i < d.seen && d.provenAlive(i, err):
		return ledger.No, ""
	case err != nil:
		return ledger.Unverified, err.Error()
	case d.noMethod != "":
		return ledger.Unverified, d.noMethod
	default:
		return ledger.Unverified, "sshd was not asked"
	}
}

// provenAlive reports whether question i, which sshd did not accept, was really answered: the connection
// brought something afterwards, or came to its proper end. A disconnect message also comes after every
// answer before it; x/crypto/ssh then does not call next again.
func (d *dialogue) provenAlive(i int, err error) bool {
	if err == nil || d.seen < d.asked {
		return true
	}
	return slices.ContainsFunc(d.questions[i+1:], func(q *question) bool { return q.accepted })
}
