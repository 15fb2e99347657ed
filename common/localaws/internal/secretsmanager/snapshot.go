package secretsmanager

import "slices"

// State is a copy of one secret.
type State struct {
	ARN, Name       string
	RotationEnabled *bool
	Versions        map[string]Version
}

// Version is a copy of one version; its Value is "" while the version is empty.
type Version struct {
	Value  string
	Stages []string
}

// States returns a copy of every secret, those marked for deletion included.
func (s *Service) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]State, 0, len(s.secrets))
	for _, sec := range s.secrets {
		st := State{ARN: sec.arn, Name: sec.name, RotationEnabled: sec.rotationEnabled, Versions: map[string]Version{}}
		for _, v := range sec.versions {
			val := string(v.binary)
			if v.str != nil {
				val = *v.str
			}
			st.Versions[v.id] = Version{Value: val, Stages: slices.Clone(v.labels)}
		}
		out = append(out, st)
	}
	return out
}

// RotationTokens returns the RotationTokens that were issued, up to the most recent 50,000.
func (s *Service) RotationTokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens.all()
}

// Values returns the secret values that were put, removed ones too, up to the most recent 50,000.
func (s *Service) Values() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values.all()
}
