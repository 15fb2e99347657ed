package keystore_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/crypto/ssh"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/common/localaws"
)

const name = "/dev/ssh/public"

func newSecret(t *testing.T, value string) (*secretsmanager.Client, *localaws.Server) {
	t.Helper()
	server, err := localaws.Start(localaws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	api := secretsmanager.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "test", ""),
	})
	if _, err := api.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name), SecretString: &value}); err != nil {
		t.Fatal(err)
	}
	return api, server
}

func newKeyset(t *testing.T, generation int64) keyset.Keyset {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyset.NewPublicKey(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	return keyset.Keyset{
		Schema: keyset.Schema, SecretARN: "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf", Generation: generation,
		Keys: []keyset.Key{{State: keyset.Current, VersionID: strings.Repeat("v", 36), PublicKey: key}},
	}
}

// start gives the document that stands before anything is published.
func start(t *testing.T, s *keystore.Store) keystore.Document {
	t.Helper()
	doc, err := s.Fetch(t.Context())
	if !errors.Is(err, keyset.ErrEmpty) || doc.VersionID == "" || doc.ARN == "" {
		t.Fatalf("got %+v, %v; want an empty document with ARN and version", doc, err)
	}
	return doc
}

func TestWhatIsPublishedIsFetched(t *testing.T) {
	api, _ := newSecret(t, "{}")
	s := keystore.NewStore(api, name)
	want := newKeyset(t, 1)
	published, err := s.Publish(t.Context(), start(t, s), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Fetch(t.Context())
	if err != nil || !keyset.SameContent(got.Keyset, want) || got.VersionID != published.VersionID {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestARepeatedPublicationWritesNothing(t *testing.T) {
	api, server := newSecret(t, "{}")
	s := keystore.NewStore(api, name)
	k := newKeyset(t, 1)
	from := start(t, s)
	for range 3 {
		doc, err := s.Publish(t.Context(), from, k)
		if err != nil {
			t.Fatal(err)
		}
		if doc.Keyset.Generation != 1 {
			t.Errorf("got generation %d", doc.Keyset.Generation)
		}
	}
	out, err := api.ListSecretVersionIds(t.Context(), &secretsmanager.ListSecretVersionIdsInput{SecretId: aws.String(name), IncludeDeprecated: aws.Bool(true)})
	if err != nil || len(out.Versions) != 2 {
		t.Errorf("%d versions after one publication and its repetitions, %v", len(out.Versions), err)
	}
	if values := server.Snapshot().SecretValues; len(values) > 4 {
		t.Errorf("%d values were put", len(values))
	}
}

func TestOfTwoPublicationsFromOneVersionOnlyOneWins(t *testing.T) {
	api, _ := newSecret(t, "{}")
	s := keystore.NewStore(api, name)
	from := start(t, s)
	first, second := newKeyset(t, 1), newKeyset(t, 1)
	if _, err := s.Publish(t.Context(), from, first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), from, second); !errors.Is(err, keystore.ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	if doc, err := s.Fetch(t.Context()); err != nil || !keyset.SameContent(doc.Keyset, first) {
		t.Errorf("the loser replaced the winner: %v", err)
	}
}

func TestALostAnswerIsNoFailure(t *testing.T) {
	for _, action := range []string{"PutSecretValue", "UpdateSecretVersionStage"} {
		t.Run(action, func(t *testing.T) {
			api, server := newSecret(t, "{}")
			s := keystore.NewStore(api, name)
			from, k := start(t, s), newKeyset(t, 1)
			lost := 0
			remove := server.OnCall(localaws.Fault{Service: "secretsmanager", Action: action, After: func(localaws.Call) error {
				if lost++; lost == 1 {
					return localaws.ErrDrop
				}
				return nil
			}})
			defer remove()
			doc, err := s.Publish(t.Context(), from, k)
			if err != nil || !keyset.SameContent(doc.Keyset, k) {
				t.Errorf("got %v", err)
			}
			if lost == 0 {
				t.Error("no answer was lost")
			}
		})
	}
}

func TestAnInvalidKeysetIsNeverPublished(t *testing.T) {
	api, server := newSecret(t, "{}")
	s := keystore.NewStore(api, name)
	k := newKeyset(t, 1)
	k.Keys[0].State = "odd"
	before := len(server.Snapshot().SecretValues)
	if _, err := s.Publish(t.Context(), start(t, s), k); keyset.CodeOf(err) != keyset.CodeState {
		t.Errorf("got %v", err)
	}
	if after := len(server.Snapshot().SecretValues); after != before {
		t.Error("something was put")
	}
}

func TestFaultsOfConfigurationAreToldApart(t *testing.T) {
	api, server := newSecret(t, "ssh-ed25519 AAAA not JSON")
	ctx := t.Context()
	if _, err := keystore.NewReader(api, name).Fetch(ctx); keyset.CodeOf(err) != keyset.CodeMalformed {
		t.Errorf("a value that is not JSON: %v", err)
	}
	if _, err := keystore.NewReader(api, "/dev/other").Fetch(ctx); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("a secret that does not exist: %v", err)
	}
	remove := server.OnCall(localaws.Fault{Service: "secretsmanager", Action: "GetSecretValue", Before: func(localaws.Call) error {
		return &localaws.APIError{Code: "AccessDeniedException", Message: "no", Status: 400}
	}})
	defer remove()
	if _, err := keystore.NewReader(api, name).Fetch(ctx); !errors.Is(err, keystore.ErrDenied) {
		t.Errorf("a secret that may not be read: %v", err)
	}
}

// lagging answers label reads with what was true before the last write, for a while.
type lagging struct {
	*secretsmanager.Client
	old   map[string][]string
	times int
}

func (l *lagging) DescribeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput, opts ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	out, err := l.Client.DescribeSecret(ctx, in, opts...)
	if err == nil && l.times > 0 {
		l.times--
		out.VersionIdsToStages = l.old
	}
	return out, err
}

func TestLabelsThatLagAreWaitedFor(t *testing.T) {
	api, _ := newSecret(t, "{}")
	from := start(t, keystore.NewStore(api, name))
	slow := &lagging{Client: api, old: map[string][]string{from.VersionID: {"AWSCURRENT"}}, times: 2}
	if _, err := keystore.NewStore(slow, name).Publish(t.Context(), from, newKeyset(t, 1)); err != nil {
		t.Error(err)
	}
	if slow.times != 0 {
		t.Error("nothing lagged")
	}
}

func TestAStagedVersionIsNotWhatWorkersRead(t *testing.T) {
	api, server := newSecret(t, "{}")
	s := keystore.NewStore(api, name)
	from := start(t, s)
	remove := server.OnCall(localaws.Fault{Service: "secretsmanager", Action: "UpdateSecretVersionStage", Before: func(localaws.Call) error {
		return &localaws.APIError{Code: "AccessDeniedException", Message: "no", Status: 400}
	}})
	defer remove()
	if _, err := s.Publish(t.Context(), from, newKeyset(t, 1)); err == nil {
		t.Fatal("published although the label could not be moved")
	}
	start(t, s)
	out, err := api.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String(name)})
	if err != nil {
		t.Fatal(err)
	}
	staged := 0
	for _, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, keystore.LabelStaged) {
			staged++
		}
	}
	if staged != 1 {
		t.Errorf("%d staged versions", staged)
	}
}
