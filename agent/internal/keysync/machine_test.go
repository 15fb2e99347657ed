package keysync_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/agent/internal/account"
	"github.com/rotatessh/rotatessh/agent/internal/authkeys"
	"github.com/rotatessh/rotatessh/agent/internal/config"
	"github.com/rotatessh/rotatessh/agent/internal/keysync"
	"github.com/rotatessh/rotatessh/agent/internal/state"
	"github.com/rotatessh/rotatessh/agent/internal/wake"
	"github.com/rotatessh/rotatessh/common/awstime"
	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/ledger"
)

const (
	workerARN = "arn:aws:ec2:us-east-1:111122223333:instance/i-0123456789abcdef0"
	secretARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"
	keysetARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh/public-GhIjKl"
)

// secret is the keyset secret: what Fetch finds there at the moment.
type secret struct {
	mu      sync.Mutex
	arn     string
	keyset  keyset.Keyset
	version string
	err     error           // instead of the keyset
	lags    []keyset.Keyset // answered first, one each
	fetches []time.Time
	clock   *awstime.Clock
	skew    time.Duration // of AWS's clock against the machine's
	mute    bool          // answers carry no date
}

func (s *secret) Fetch(ctx context.Context) (keystore.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches = append(s.fetches, time.Now())
	if err := ctx.Err(); err != nil {
		return keystore.Document{}, err
	}
	if !s.mute {
		s.clock.Observe(time.Now().Add(s.skew))
	}
	doc := keystore.Document{Keyset: s.keyset, ARN: s.arn, VersionID: s.version}
	if len(s.lags) > 0 {
		doc.Keyset, s.lags = s.lags[0], s.lags[1:]
		return doc, nil
	}
	if s.err != nil {
		doc.Keyset = keyset.Keyset{}
		return doc, fmt.Errorf("reading keyset secret: %w", s.err)
	}
	return doc, nil
}

// publish makes a keyset of that generation current.
func (s *secret) publish(generation int64, keys ...keyset.Key) {
	s.publishRetired(generation, nil, keys...)
}

func (s *secret) publishRetired(generation int64, retired []keyset.Retired, keys ...keyset.Key) {
	k := keyset.Keyset{Schema: keyset.Schema, SecretARN: secretARN, Generation: generation, Keys: keys, Retired: retired}
	digest, err := k.Digest()
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyset, s.version, s.err = k, digest, nil
}

// fail makes Fetch fail from now on; the version id stays that of a document that nobody can follow.
func (s *secret) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.version = strings.Repeat("f", 64)
}

func (s *secret) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fetches)
}

// table is the ledger, with the rule by which it takes acknowledgements.
type table struct {
	mu   sync.Mutex
	acks []ledger.Ack
	err  error
}

func (l *table) PutAck(ctx context.Context, a ledger.Ack) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.err != nil {
		return 0, l.err
	}
	if err := a.Validate(); err != nil {
		return 0, err
	}
	if len(l.acks) > 0 {
		last := l.acks[len(l.acks)-1]
		switch {
		case last.Generation > a.Generation:
			return 0, ledger.ErrStale
		case last.Generation == a.Generation:
			a.Pass = max(a.Pass, last.Pass+1)
		}
	}
	l.acks = append(l.acks, a)
	return a.Pass, nil
}

// ReplaceAck takes any acknowledgement.
func (l *table) ReplaceAck(_ context.Context, a ledger.Ack) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.acks = append(l.acks, a)
	return nil
}

func (l *table) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

// last is the acknowledgement that stands.
func (l *table) last(t testing.TB) ledger.Ack {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acks) == 0 {
		t.Fatal("nothing has been acknowledged")
	}
	return l.acks[len(l.acks)-1]
}

// disk holds the users' files.
type disk struct {
	mu      sync.Mutex
	files   map[string]string
	errs    map[string]error // of Rewrite, by path
	writes  int
	onRead  func(path string) // called before Read
	onWrite func(path string) // called after a write
}

func (d *disk) Rewrite(_ context.Context, t keysync.Target, change func([]byte) ([]byte, error)) ([]byte, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.errs[t.Path]; err != nil {
		return nil, false, err
	}
	var old []byte
	if text, ok := d.files[t.Path]; ok {
		old = []byte(text)
	}
	updated, err := change(old)
	if err != nil {
		return nil, false, err
	}
	if string(old) == string(updated) {
		return old, false, nil
	}
	d.files[t.Path] = string(updated)
	d.writes++
	if d.onWrite != nil {
		d.onWrite(t.Path)
	}
	return updated, true, nil
}

func (d *disk) Read(_ context.Context, t keysync.Target) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.onRead != nil {
		d.onRead(t.Path)
	}
	return []byte(d.files[t.Path]), nil
}

func (d *disk) get(path string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[path]
}

func (d *disk) set(path, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = text
}

// server is an sshd that accepts what stands in the user's file, unless told otherwise.
type server struct {
	mu        sync.Mutex
	disk      *disk
	down      bool
	silent    error           // instead of every answer
	refuses   map[string]bool // fingerprints
	elsewhere map[string]bool // fingerprints that AuthorizedKeysCommand, say, knows
	questions []keysync.Question
	asked     []time.Time
}

func (s *server) Verify(_ context.Context, q keysync.Question) keysync.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := keysync.Verdict{Answers: make(map[string]keysync.Answer), HostKeys: []string{"ssh-ed25519 AAAAhost"}}
	s.asked = append(s.asked, time.Now())
	keys := slices.Clone(q.Accept)
	if !q.Refuse.IsZero() {
		keys = append(keys, q.Refuse)
	}
	if s.down {
		v.Err, v.NotListening = errors.New("connection refused"), true
	} else if s.silent != nil {
		v.Err = s.silent
	}
	if v.Err != nil {
		for _, k := range keys {
			v.Answers[k.Fingerprint()] = keysync.Answer{Accepted: ledger.Unverified, Why: v.Err.Error()}
		}
		return v
	}
	s.questions = append(s.questions, q)
	v.Banner = "SSH-2.0-OpenSSH_9.9"
	file := authkeys.Read([]byte(s.disk.get(q.File)), secretARN)
	for _, k := range keys {
		a := keysync.Answer{Accepted: ledger.No}
		in := func(e authkeys.Entry) bool { return e.Fingerprint == k.Fingerprint() }
		if (slices.ContainsFunc(file.Block, in) || slices.ContainsFunc(file.Foreign, in) || s.elsewhere[k.Fingerprint()]) && !s.refuses[k.Fingerprint()] {
			a.Accepted = ledger.Yes
		}
		v.Answers[k.Fingerprint()] = a
	}
	return v
}

func (s *server) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// directory knows accounts.
type directory struct {
	mu       sync.Mutex
	accounts map[string]account.Account
}

func (d *directory) add(name, home string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accounts[name] = account.Account{Name: name, UID: 1000, GID: 1000, Home: home}
}

func (d *directory) Lookup(_ context.Context, name string) (account.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.accounts[name]
	if !ok {
		return a, fmt.Errorf("looking up user %q: %w", name, account.ErrUnknown)
	}
	return a, nil
}

// reports is what the Syncer has shown.
type reports struct {
	mu    sync.Mutex
	all   []keysync.Status
	beats int
}

func (r *reports) Report(s keysync.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
}

func (r *reports) Alive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats++
}

func (r *reports) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

func (r *reports) last() keysync.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[len(r.all)-1]
}

// machine is one worker with everything around it.
type machine struct {
	*keysync.Syncer
	cfg      keysync.Config
	stateDir string
	secret   *secret
	table    *table
	disk     *disk
	server   *server
	accounts *directory
	reports  *reports
	clock    *awstime.Clock
	bell     *wake.Bell
	log      *zap.Logger
}

const aliceFile = "/home/alice/.ssh/authorized_keys"

// newMachine makes a worker with the user alice.
func newMachine(t testing.TB) *machine {
	t.Helper()
	clock := &awstime.Clock{}
	d := &disk{files: make(map[string]string), errs: make(map[string]error)}
	m := &machine{
		cfg:      keysync.Config{Worker: workerARN, Users: []config.User{{Name: "alice"}}, Port: 22, AgentVersion: "v1"},
		stateDir: t.TempDir(),
		secret:   &secret{arn: keysetARN, err: keyset.ErrEmpty, clock: clock, skew: skew},
		table:    &table{},
		disk:     d,
		server:   &server{disk: d, refuses: make(map[string]bool), elsewhere: make(map[string]bool)},
		accounts: &directory{accounts: make(map[string]account.Account)},
		clock:    clock,
		log:      zap.NewNop(),
	}
	m.accounts.add("alice", "/home/alice")
	m.restart(t)
	return m
}

// skew is how far AWS's clock is ahead of the machine's, which in a test starts in the year 2000: a machine whose clock was never
// set.
const skew = 26 * 365 * 24 * time.Hour

// awsNow is the time by AWS's clock.
func (m *machine) awsNow() time.Time { return time.Now().Add(m.secret.skew).UTC() }

// restart makes a new Syncer, as a new process would.
func (m *machine) restart(t testing.TB) {
	t.Helper()
	memory, err := state.OpenMemory(m.stateDir, m.cfg.Worker)
	if err != nil {
		t.Fatal(err)
	}
	m.reports, m.bell = &reports{}, wake.NewBell()
	m.Syncer = keysync.New(m.cfg, keysync.Parts{
		Source: m.secret, Recorder: m.table, Accounts: m.accounts, Files: m.disk, Verifier: m.server,
		Memory: memory, Resets: memory, Clock: m.clock, Reporter: m.reports,
	}, m.log)
}

// run runs the Syncer in the background until the test ends, or until stop, which waits for it.
func (m *machine) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx, m.bell)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// mustPass does a pass that has to succeed.
func (m *machine) mustPass(t testing.TB) {
	t.Helper()
	if err := m.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// block is the managed block of alice's file, by fingerprint.
func (m *machine) block() []string {
	var list []string
	for _, e := range authkeys.Read([]byte(m.disk.get(aliceFile)), secretARN).Block {
		list = append(list, e.Fingerprint)
	}
	return list
}

// newKey makes a key pair's public half.
func newKey(t testing.TB) keyset.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	k, err := keyset.NewPublicKey(wire)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func current(k keyset.PublicKey) keyset.Key { return inState(keyset.Current, k) }
func pending(k keyset.PublicKey) keyset.Key { return inState(keyset.Pending, k) }

func retiring(k keyset.PublicKey, notAfter time.Time) keyset.Key {
	key := inState(keyset.Retiring, k)
	key.NotAfter = notAfter.UTC()
	return key
}

func inState(s keyset.State, k keyset.PublicKey) keyset.Key {
	return keyset.Key{State: s, VersionID: "00000000-0000-0000-0000-000000000001", PublicKey: k}
}

func retired(k keyset.PublicKey) []keyset.Retired {
	return []keyset.Retired{{Fingerprint: k.Fingerprint(), PublicKey: k}}
}

func prints(keys ...keyset.PublicKey) []string {
	var list []string
	for _, k := range keys {
		list = append(list, k.Fingerprint())
	}
	return list
}

// answers is what an acknowledgement says of one user's keys.
func answers(u ledger.User) map[string]ledger.Accepted {
	m := make(map[string]ledger.Accepted)
	for _, k := range u.Keys {
		m[k.State+" "+k.Fingerprint] = k.Accepted
	}
	return m
}

func sameAnswers(t testing.TB, u ledger.User, want map[string]ledger.Accepted) {
	t.Helper()
	if got := answers(u); !maps.Equal(got, want) {
		t.Errorf("user %s: answers %v, want %v", u.Name, got, want)
	}
}
