package localaws

import (
	"strings"
	"sync"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sts"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// roles are the roles that an operator or a function may assume. The zero value is ready.
type roles struct {
	mu   sync.Mutex
	arns map[string]bool
}

func (r *roles) has(arn string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arns[arn]
}

// CreateRole lets everybody but instances assume a role, as its trust policy and theirs would. Whoever does sees
// the instances of the account that the role's ARN names.
func (s *Server) CreateRole(arn string) {
	s.roles.mu.Lock()
	defer s.roles.mu.Unlock()
	if s.roles.arns == nil {
		s.roles.arns = map[string]bool{}
	}
	s.roles.arns[arn] = true
}

func (s *Server) issueToRole(role, session string, ttl time.Duration) sts.Credentials {
	c := s.identities.issue(wire.Principal{Role: role, Session: session}, ttl)
	return sts.Credentials{AccessKeyID: c.accessKeyID, SecretAccessKey: c.secretKey, SessionToken: c.token, Expires: c.expires}
}

// accountOf is the account in an ARN, or "".
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
