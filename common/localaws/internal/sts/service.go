// Package sts is the STS of localaws: it tells callers who they are and gives them the credentials of roles.
package sts

import (
	"context"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Credentials are a role's for one session.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
	Expires                                    time.Time
}

// Deps is what the service needs of the endpoint. Both functions may be called by many goroutines at once.
type Deps struct {
	Roles  func(arn string) bool // whether there is such a role that may be assumed
	Assume func(role, session string, ttl time.Duration) Credentials
}

// Service implements wire.Handler. It has no state of its own.
type Service struct{ deps Deps }

var _ wire.Handler = Service{}

// New makes the service.
func New(d Deps) Service { return Service{d} }

type callerIdentity struct {
	Arn     string
	UserId  string
	Account string
}

// Handle answers one call.
func (s Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	switch r.Action {
	case "GetCallerIdentity":
		return callerIdentity{Arn: r.Principal.ARN(r.Account), UserId: userID(r.Principal), Account: r.Account}, nil
	case "AssumeRole":
		return s.assumeRole(r)
	}
	return nil, wire.Unknown(r)
}

// userID is a user's id, or a role's with the name of its session: of an instance's role, the instance's id.
func userID(p wire.Principal) string {
	switch {
	case p.Worker != "":
		return "AROAWORKEREXAMPLE:" + p.Worker[strings.LastIndex(p.Worker, "/")+1:]
	case p.Function != "":
		return "AROAFUNCTIONEXAMPLE:" + p.Function
	case p.Role != "":
		return "AROAROLEEXAMPLE:" + p.Session
	default:
		return "AIDAOPERATOREXAMPLE"
	}
}
