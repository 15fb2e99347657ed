package localaws

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// credentials are temporary credentials that localaws issued.
type credentials struct {
	accessKeyID, secretKey, token string
	expires                       time.Time // zero: never
	principal                     wire.Principal
}

// identities knows the credentials that were issued, until they expire.
type identities struct {
	mu     sync.Mutex
	issued map[string]credentials // by access key id
	roles  map[string]credentials // of functions, by name: one set each, for all their processes
	sweep  int                    // the size at which expired ones are looked for
}

func newIdentities() *identities {
	return &identities{issued: map[string]credentials{}, roles: map[string]credentials{}, sweep: 1024}
}

// issue makes credentials for p that are valid for ttl, or for ever if that is 0.
func (i *identities) issue(p wire.Principal, ttl time.Duration) credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issueLocked(p, ttl)
}

// role returns the credentials of a function's execution role.
func (i *identities) role(function string) credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.roles[function]
	if !ok {
		c = i.issueLocked(wire.Principal{Function: function}, 0)
		i.roles[function] = c
	}
	return c
}

func (i *identities) issueLocked(p wire.Principal, ttl time.Duration) credentials {
	c := credentials{accessKeyID: "ASIA" + strings.ToUpper(wire.NewHex(16)), secretKey: wire.NewLetters(40), token: wire.NewLetters(120)}
	if ttl > 0 {
		c.expires = time.Now().Add(ttl)
	}
	p.AccessKeyID = c.accessKeyID
	c.principal = p
	if len(i.issued) >= i.sweep {
		i.forgetExpired()
	}
	i.issued[c.accessKeyID] = c
	return c
}

func (i *identities) forgetExpired() {
	now := time.Now()
	for key, c := range i.issued {
		if c.expired(now) {
			delete(i.issued, key)
		}
	}
	i.sweep = max(1024, 2*len(i.issued))
}

func (c credentials) expired(now time.Time) bool { return !c.expires.IsZero() && now.After(c.expires) }

// identify tells who sent a request with the given access key and session token. A key that was never
// issued here is the operator's.
func (i *identities) identify(r *wire.Request, accessKeyID, token string) (wire.Principal, error) {
	i.mu.Lock()
	c, ok := i.issued[accessKeyID]
	i.mu.Unlock()
	switch {
	case accessKeyID == "":
		return wire.Principal{}, &wire.Error{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: http.StatusForbidden}
	case !ok:
		return wire.Principal{AccessKeyID: accessKeyID}, nil
	case c.token != token:
		return wire.Principal{}, errInvalidToken(r)
	case c.expired(time.Now()):
		return wire.Principal{}, errExpiredToken(r)
	}
	return c.principal, nil
}

func errInvalidToken(r *wire.Request) error {
	const msg = "The security token included in the request is invalid."
	switch r.Protocol {
	case wire.Query:
		return &wire.Error{Code: "InvalidClientTokenId", Message: msg, Status: http.StatusForbidden}
	case wire.EC2Query:
		return &wire.Error{Code: "AuthFailure", Message: "AWS was not able to validate the provided access credentials", Status: http.StatusUnauthorized}
	case wire.REST:
		return &wire.Error{Code: "UnrecognizedClientException", Message: msg, Status: http.StatusForbidden}
	}
	return &wire.Error{Code: "UnrecognizedClientException", Message: msg}
}

func errExpiredToken(r *wire.Request) error {
	const msg = "The security token included in the request is expired"
	switch r.Protocol {
	case wire.Query:
		return &wire.Error{Code: "ExpiredToken", Message: msg, Status: http.StatusForbidden}
	case wire.EC2Query:
		return &wire.Error{Code: "RequestExpired", Message: "Request has expired."}
	}
	return &wire.Error{Code: "ExpiredTokenException", Message: msg}
}

// scope is what a SigV4 Authorization header says without being verified.
type scope struct {
	accessKeyID, region, service string
}

// parseScope reads "AWS4-HMAC-SHA256 Credential=AKID/20261124/us-east-1/sns/aws4_request, …".
func parseScope(authorization string) scope {
	_, rest, ok := strings.Cut(authorization, "Credential=")
	if !ok {
		return scope{}
	}
	credential, _, _ := strings.Cut(rest, ",")
	parts := strings.Split(credential, "/")
	if len(parts) < 5 {
		return scope{}
	}
	return scope{accessKeyID: parts[0], region: parts[2], service: parts[3]}
}
