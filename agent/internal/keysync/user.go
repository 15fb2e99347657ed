package keysync

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/common/logging"
)

// job is what the users of one pass have in common.
type job struct {
	keyset keyset.Keyset // effective
	full   bool
	taken  map[string]string // which user has which path
}

// userMemory is what is known of one user from earlier passes of this run. It saves questions to sshd, nothing else.
type userMemory struct {
	verdict  Verdict
	asked    subject   // what the verdict is about
	refused  string    // fingerprint of the retired key that sshd refused last
	at       time.Time // when it did
	removals removals
}

// removals are the retired keys removed outside the block since a generation came into force: they stay in the acknowledgement for
// as long as it does.
type removals struct {
	generation   int64
	fingerprints []string
}

func (s *Syncer) memoryOf(user string) *userMemory {
	m := s.users[user]
	if m == nil {
		m = &userMemory{}
		s.users[user] = m
	}
	return m
}

// applyUser brings one user's file up to the keyset and asks sshd. The result is what the acknowledgement says, also after an
// error.
func (s *Syncer) applyUser(ctx context.Context, u config.User, m *userMemory, j job) (ledger.User, error) {
	result := ledger.User{Name: u.Name, Fingerprints: []string{}, Keys: []ledger.KeyStatus{}}
	fail := func(err error, fallback string) (ledger.User, error) {
		f := withCode(err, fallback)
		result.Code, result.Message = f.Code, f.Error()
		return result, f
	}
	target, acct, err := s.locate(ctx, u, j.taken)
	if err != nil {
		return fail(err, CodeAccount)
	}
	result.File = target.Path
	data, merged, err := s.rewrite(ctx, u, target, m, j.keyset)
	if err != nil {
		return fail(err, CodeFile)
	}
	s.verify(ctx, m, Question{Account: acct, File: target.Path, Options: u.Options}, data, j)
	after, err := s.Files.Read(ctx, target)
	if err != nil {
		return fail(err, CodeFile)
	}
	result.Fingerprints = fingerprints(authkeys.Read(after, j.keyset.SecretARN).Block)
	result.Keys = statuses(j.keyset, m)
	result.Message = m.removals.sentence(j.keyset.Generation)
	if err := judge(bytes.Equal(after, data), merged, result); err != nil {
		return fail(err, CodeFile)
	}
	if m.verdict.Err != nil {
		// The pass has failed, the file has not: it holds the keyset, and every answer says unverified.
		return result, fmt.Errorf("asking sshd: %w", m.verdict.Err)
	}
	return result, nil
}

// locate finds the account and its file, and refuses one that could let other accounts in.
func (s *Syncer) locate(ctx context.Context, u config.User, taken map[string]string) (Target, account.Account, error) {
	a, err := s.Accounts.Lookup(ctx, u.Name)
	if err != nil {
		return Target{}, a, err
	}
	path := u.Expand(a.Home)
	if !u.Personal() && !strings.HasPrefix(path, a.Home+"/") {
		return Target{}, a, fault(CodeSharedFile, "file %q is outside the account's home and its pattern has neither %%u nor %%h: sshd may read it for every account", path)
	}
	if other, ok := taken[path]; ok {
		return Target{}, a, fault(CodeSharedFile, "file %q is also that of user %q", path, other)
	}
	taken[path] = u.Name
	return Target{User: u.Name, UID: a.UID, GID: a.GID, Home: a.Home, Path: path}, a, nil
}

// rewrite replaces the managed block and gives what the file holds afterwards.
func (s *Syncer) rewrite(ctx context.Context, u config.User, t Target, m *userMemory, k keyset.Keyset) ([]byte, authkeys.Result, error) {
	plan := authkeys.Plan{SecretARN: k.SecretARN, Options: u.Options, Protect: s.cfg.Protect}
	for _, key := range k.Keys {
		plan.Keys = append(plan.Keys, authkeys.Line{Key: key.PublicKey, Comment: key.VersionID})
	}
	for _, r := range k.Retired {
		plan.Retired = append(plan.Retired, r.Fingerprint)
	}
	var merged authkeys.Result
	data, written, err := s.Files.Rewrite(ctx, t, func(old []byte) (updated []byte, err error) {
		merged, err = authkeys.Merge(old, plan)
		return merged.Bytes, err
	})
	if written {
		s.logChange(t, k, merged)
		m.removals.add(k.Generation, merged.RemovedForeign)
	}
	return data, merged, err
}

func (s *Syncer) logChange(t Target, k keyset.Keyset, r authkeys.Result) {
	log := s.log.With(logging.Account(t.User), logging.File(t.Path), logging.Generation(k.Generation))
	log.Info("file rewritten", zap.Strings("added", r.Added), zap.Strings("removed", r.Removed), zap.Strings("repaired", r.Repaired), zap.Strings("adopted", r.Adopted))
	for _, removal := range r.RemovedForeign {
		log.Info("retired key removed outside the managed block", logging.Fingerprint(removal.Fingerprint))
	}
}

func (r *removals) add(generation int64, foreign []authkeys.Removal) {
	if r.generation != generation {
		*r = removals{generation: generation}
	}
	for _, f := range foreign {
		if !slices.Contains(r.fingerprints, f.Fingerprint) {
			r.fingerprints = append(r.fingerprints, f.Fingerprint)
		}
	}
}

func (r *removals) sentence(generation int64) string {
	if r.generation != generation || len(r.fingerprints) == 0 {
		return ""
	}
	return "removed outside the managed block: " + strings.Join(r.fingerprints, ", ")
}

func fingerprints(block []authkeys.Entry) []string {
	list := make([]string, 0, len(block))
	for _, e := range block {
		list = append(list, e.Fingerprint)
	}
	return list
}

// judge says what keeps a user's result from counting as applied.
func judge(undisturbed bool, merged authkeys.Result, result ledger.User) error {
	if !undisturbed {
		return fault(CodeDrift, "the file was changed by another program while it was checked")
	}
	if len(merged.Shadowed) > 0 {
		return fault(CodeShadowed, "a line before the managed block has %s with other options, and sshd takes the first", strings.Join(merged.Shadowed, ", "))
	}
	var wanted []string
	for _, k := range result.Keys {
		if k.State == stateRetired && k.Accepted == ledger.Yes {
			return fault(CodeRetiredAccepted, "sshd accepts the retired key %s from elsewhere than %s", k.Fingerprint, result.File)
		}
		if k.State == stateRetired {
			continue
		}
		wanted = append(wanted, k.Fingerprint)
		if k.Accepted == ledger.No {
			return fault(CodeNotAccepted, "sshd refuses the %s key %s%s", k.State, k.Fingerprint, because(k.Why))
		}
	}
	if !slices.Equal(wanted, result.Fingerprints) {
		return fault(CodeDrift, "the managed block read back holds other keys than were written")
	}
	return nil
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
