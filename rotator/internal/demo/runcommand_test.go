package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/keystore"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
	"github.com/rotatessh/rotatessh/rotator/internal/push"
	"github.com/rotatessh/rotatessh/rotator/internal/sshclient"
)

// The script meets a real sshd here: what it writes lets people in, and what it removes keeps them out.
func TestPushedKeysAreWhatARealSSHDGoesBy(t *testing.T) {
	o := fleetOptions(t)
	o.Workers = 1
	f, err := Start(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	w, access := f.Workers()[0], f.Access()
	pusher := push.NewPusher(ssm.NewFromConfig(aws.Config{
		Region: access.Region, BaseEndpoint: &access.EndpointURL, Credentials: credentials.NewStaticCredentialsProvider(access.AccessKeyID, access.SecretAccessKey, ""),
	}))
	var pairs []keypair.Pair
	for range 2 {
		pair, err := keypair.Generate(keypair.RSA3072)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair)
	}
	doc := keystore.Document{VersionID: "d-1", Keyset: keyset.Keyset{SecretARN: "arn:aws:secretsmanager:us-east-1:111122223333:secret:/pushed-AbCdEf", Generation: 1}}
	for i := range pairs {
		doc.Keyset.Keys = []keyset.Key{{State: keyset.Current, VersionID: "v", PublicKey: pairs[i].PublicKey()}}
		doc.Keyset.Retired = nil
		if i > 0 {
			old := pairs[i-1].PublicKey()
			doc.Keyset.Retired = []keyset.Retired{{Fingerprint: old.Fingerprint(), PublicKey: old}}
		}
		result := pusher.Push(t.Context(), []string{w.ID}, push.New(doc, w.Target().User, time.Now()))[w.ID]
		if result.Outcome != push.Applied || result.Port != w.Port {
			t.Fatalf("push is %+v", result)
		}
		target := w.Target()
		hostKeys, err := sshclient.ParseHostKeys(result.HostKeys)
		if err != nil || len(hostKeys) != len(target.HostKeys) {
			t.Fatalf("host keys are %v, %v", result.HostKeys, err)
		}
		target.HostKeys = hostKeys
		for j, pair := range pairs[:i+1] {
			refused, err := sshclient.Refuses(t.Context(), target, pair.PublicKey().SSH())
			if err != nil || refused != (j < i) {
				t.Errorf("after push %d: refuses key %d: %v, %v", i, j, refused, err)
			}
		}
		client, err := sshclient.Dial(t.Context(), target, pairs[i].Signer())
		if err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
		if i > 0 && !slices.Contains(result.Gone, pairs[0].Fingerprint()) {
			t.Errorf("push %d: %+v", i, result)
		}
	}
}
