package sts

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Bounds and default of a session's length, in seconds.
const (
	minSession     = 900
	maxSession     = 43200
	defaultSession = 3600
)

var (
	roleARN     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

type assumedRole struct {
	AssumedRoleUser struct{ AssumedRoleId, Arn string }
	Credentials     struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
}

func (s Service) assumeRole(r *wire.Request) (any, error) {
	role, session := r.Form.Get("RoleArn"), r.Form.Get("RoleSessionName")
	switch {
	case !roleARN.MatchString(role):
		return nil, invalid(role + " is invalid")
	case !sessionName.MatchString(session):
		return nil, invalid("1 validation error detected: Value '" + session +
			"' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*")
	}
	seconds, err := duration(r.Form.Get("DurationSeconds"))
	if err != nil {
		return nil, err
	}
	if !s.deps.Roles(role) {
		return nil, &wire.Error{Code: "AccessDenied", Status: http.StatusForbidden, Message: "User: " + r.Principal.ARN(r.Account) +
			" is not authorized to perform: sts:AssumeRole on resource: " + role}
	}
	c := s.deps.Assume(role, session, time.Duration(seconds)*time.Second)
	p := wire.Principal{Role: role, Session: session}
	var out assumedRole
	out.AssumedRoleUser.AssumedRoleId, out.AssumedRoleUser.Arn = userID(p), p.ARN(strings.Split(role, ":")[4])
	out.Credentials.AccessKeyId, out.Credentials.SecretAccessKey, out.Credentials.SessionToken = c.AccessKeyID, c.SecretAccessKey, c.SessionToken
	out.Credentials.Expiration = c.Expires.UTC().Format(time.RFC3339)
	return out, nil
}

func duration(raw string) (seconds int, err error) {
	if raw == "" {
		return defaultSession, nil
	}
	seconds, err = strconv.Atoi(raw)
	if err != nil || seconds < minSession || seconds > maxSession {
		return 0, invalid("1 validation error detected: Value '" + raw + "' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200")
	}
	return seconds, nil
}

func invalid(message string) error { return &wire.Error{Code: "ValidationError", Message: message} }
