// Package sts is the STS of localaws: it tells callers who they are and does nothing else.
package sts

import (
	"context"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Service implements wire.Handler. It has no state.
type Service struct{}

var _ wire.Handler = Service{}

// New makes the service.
func New() Service { return Service{} }

type callerIdentity struct {
	Arn     string
	UserId  string
	Account string
}

// Handle answers GetCallerIdentity.
func (Service) Handle(_ context.Context, r *wire.Request) (any, error) {
	if r.Action != "GetCallerIdentity" {
		return nil, wire.Unknown(r)
	}
	return callerIdentity{Arn: r.Principal.ARN(r.Account), UserId: userID(r.Principal), Account: r.Account}, nil
}

// userID is a user's id, or a role's with the name of its session: of an instance's role, the instance's id.
func userID(p wire.Principal) string {
	switch {
	case p.Worker != "":
		return "AROAWORKEREXAMPLE:" + p.Worker[strings.LastIndex(p.Worker, "/")+1:]
	case p.Function != "":
		return "AROAFUNCTIONEXAMPLE:" + p.Function
	default:
		return "AIDAOPERATOREXAMPLE"
	}
}
