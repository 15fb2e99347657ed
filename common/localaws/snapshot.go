package localaws

import (
	"encoding/json"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/secretsmanager"
)

// Snapshot is a copy of what the endpoint holds, and of what it ever gave away, for observers and tests.
// It is full of secrets and must not be logged.
type Snapshot struct {
	Secrets        []SecretState
	RotationTokens []string          // every one issued, the latest 50,000
	SecretValues   []string          // every value put, removed ones too, the latest 50,000
	Items          []map[string]any  // every DynamoDB item, in DynamoDB's JSON
	Events         []json.RawMessage // every event put on the bus, the latest 100,000
	Messages       []string          // every body that came into a queue, the latest 100,000
}

// SecretState is one secret; its Versions are by id.
type SecretState = secretsmanager.State

// SecretVersion is one version of a secret; its Value is "" while it is empty.
type SecretVersion = secretsmanager.Version

// Snapshot returns a copy of the present state.
func (s *Server) Snapshot() Snapshot {
	out := Snapshot{Secrets: s.secrets.States(), RotationTokens: s.secrets.RotationTokens(),
		SecretValues: s.secrets.Values(), Items: s.items(), Messages: s.messages.all()}
	for _, e := range s.seen.all() {
		out.Events = append(out.Events, json.RawMessage(e))
	}
	return out
}

func (s *Server) items() []map[string]any {
	var out []map[string]any
	for _, it := range s.dynamodb.Items() {
		doc := map[string]any{}
		raw, err := json.Marshal(it)
		if err == nil {
			err = json.Unmarshal(raw, &doc)
		}
		if err != nil {
			s.log.Error("copying an item", zap.Error(err))
			continue
		}
		out = append(out, doc)
	}
	return out
}
