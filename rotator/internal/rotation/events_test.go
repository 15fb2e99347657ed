package rotation_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/keyset"
	"github.com/rotatessh/rotatessh/common/ledger"
	"github.com/rotatessh/rotatessh/rotator/internal/keypair"
)

func TestEventsOfOtherFormsAreErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for _, event := range []string{
		``, `null`, `[]`, `"x"`, `{}`, `{"Step":"deleteSecret","SecretId":"a","ClientRequestToken":"b"}`, `{"Step":"setSecret"}`,
		`{"Step":"setSecret","SecretId":"a"}`, `{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification"}`,
		`{"source":"evil","detail-type":"Secret Label Updated","detail":{"labelUpdated":"AWSCURRENT"}}`, `{"Records":[]}`,
		`{"source":"rotatessh","detail-type":"SSH Key Rotation Requested","id":"x","detail":{"reason":"no secret"}}`,
		`{"source":"rotatessh","detail-type":"SSH Key Rotation Requested","detail":{"reason":"no id","secretArn":"arn:x"}}`,
	} {
		if out, err := r.rotator.Handle(t.Context(), json.RawMessage(event)); err == nil {
			t.Errorf("%s: answered %v", event, out)
		}
	}
}

func TestLabelEventsOfOtherSecretsAreIgnored(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for _, published := range []bool{false, true} {
		if published {
			r.followPublications()
			r.rotate()
		}
		before := r.document()
		for _, resources := range []string{`["arn:aws:secretsmanager:us-east-1:111122223333:secret:/other-AbCdEf"]`, fmt.Sprintf("[%q]", before.ARN), `[]`, `["a","b"]`} {
			event := `{"source":"aws.secretsmanager","detail-type":"Secret Label Updated","resources":` + resources + `,"detail":{"labelUpdated":"AWSCURRENT"}}`
			if out, err := r.handle([]byte(event)); err != nil || out.Ignored == "" {
				t.Errorf("%s: %+v, %v", resources, out, err)
			}
		}
		other := strings.Replace(string(r.labelEvent()), "AWSCURRENT", "ROTATESSH_STAGED", 1)
		if out, err := r.handle([]byte(other)); err != nil || out.Ignored == "" {
			t.Errorf("another label: %+v, %v", out, err)
		}
		if after := r.document(); after.VersionID != before.VersionID {
			t.Errorf("generation %d was published", after.Keyset.Generation)
		}
	}
}

func TestScheduleMendsAKeysetThatLacksTheCurrentKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.followPublications()
	r.rotate()
	old := r.document()
	if _, err := r.secrets.CancelRotateSecret(t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: &r.arn}); err != nil {
		t.Fatal(err)
	}
	// Somebody puts a key pair by hand, against all advice: from here on workers lack AWSCURRENT's key.
	pair, err := keypair.Generate(keypair.ED25519)
	if err != nil {
		t.Fatal(err)
	}
	value, err := pair.Encode("by-hand")
	if err != nil {
		t.Fatal(err)
	}
	r.watch.pause(func() {
		if _, err := r.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &r.arn, SecretString: &value}); err != nil {
			t.Fatal(err)
		}
		out, err := r.handle(scheduleEvent())
		if err != nil || !out.Published || out.Generation != old.Keyset.Generation+1 || out.Phase != keyset.PhaseRetiring {
			t.Errorf("schedule: %+v, %v", out, err)
		}
	})
	r.follow()
	version, _ := r.labelled("AWSCURRENT")
	r.complete(version)
	if again, err := r.handle(scheduleEvent()); err != nil || again.Published {
		t.Errorf("schedule again: %+v, %v", again, err)
	}
}

func TestAKeysetOfAnotherSecretIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	before := r.document()
	other, err := r.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("/other"), SecretString: aws.String("{}")})
	if err != nil {
		t.Fatal(err)
	}
	r.arn = aws.ToString(other.ARN)
	token := r.startRotation()
	r.mustStep("createSecret", token)
	if err := r.step(t.Context(), "setSecret", token); err == nil || !strings.Contains(err.Error(), before.Keyset.SecretARN) {
		t.Errorf("setSecret of another secret: %v", err)
	}
	if after := r.document(); after.VersionID != before.VersionID {
		t.Errorf("generation %d was published", after.Keyset.Generation)
	}
}

func TestAnInvalidKeysetIsNotOverwritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	r.watch.pause(func() {
		if _, err := r.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(keysetName), SecretString: aws.String(`{"schema":"x"}`)}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.handle(scheduleEvent()); keyset.CodeOf(err) != keyset.CodeSchema {
			t.Errorf("schedule: %v", err)
		}
		token := r.startRotation()
		r.mustStep("createSecret", token)
		if err := r.step(t.Context(), "setSecret", token); keyset.CodeOf(err) != keyset.CodeSchema {
			t.Errorf("setSecret: %v", err)
		}
	})
}

func TestGenerationGoesOnWhenTheKeysetWasWiped(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	r.rotate()
	_, old := r.labelled("AWSPREVIOUS")
	before := r.document()
	token := r.startRotation()
	r.mustStep("createSecret", token)
	r.watch.pause(func() {
		if _, err := r.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(keysetName), SecretString: aws.String(`{}`)}); err != nil {
			t.Fatal(err)
		}
		r.mustStep("setSecret", token)
	})
	after := r.document()
	if after.Keyset.Generation != before.Keyset.Generation+1 {
		t.Errorf("generation %d follows %d", after.Keyset.Generation, before.Keyset.Generation)
	}
	if retiring, _ := after.Keyset.Find(keyset.Retiring); retiring.PublicKey != old.PublicKey() {
		t.Errorf("the key before the current one is not retiring: %+v", after.Keyset.Keys)
	}
}

func TestElapsedKeyIsReportedAndListedWithTheNextRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(r *rig) { r.policy.RetireAfter = time.Millisecond })
	r.followPublications()
	r.rotate()
	_, old := r.labelled("AWSCURRENT")
	r.rotate()
	doc := r.document()
	retiring, _ := doc.Keyset.Find(keyset.Retiring)
	time.Sleep(time.Until(retiring.NotAfter) + 1100*time.Millisecond) // the clock is a second's lower bound
	steady := func() ledger.Report {
		out, err := r.handle(scheduleEvent())
		if err != nil || out.Published || out.Phase != keyset.PhaseSteady {
			t.Errorf("schedule: %+v, %v", out, err)
		}
		return r.reportOf("steady")
	}
	if got := steady(); got.Passed || got.Ready != 0 || got.Expected != 2 || got.Reasons["unknown"] != 2 {
		t.Errorf("before workers have proved it: %+v", got)
	}
	r.quietly(func() { r.pass(r.workers[0]) })
	if got := steady(); got.Passed || got.Ready != 1 || len(got.Laggards) != 1 {
		t.Errorf("after one has proved it: %+v", got)
	}
	r.follow()
	if got := steady(); !got.Passed || got.Ready != 2 || !strings.Contains(got.Message, old.Fingerprint()) {
		t.Errorf("after all have proved it: %+v", got)
	}
	if beacon, _, err := r.ledger.BeaconConsistent(t.Context(), r.arn); err != nil || beacon.Phase != keyset.PhaseSteady || beacon.Generation != doc.Keyset.Generation {
		t.Errorf("beacon is %+v, %v", beacon, err)
	}
	r.rotate()
	after := r.document().Keyset
	if len(after.Retired) != 1 || after.Retired[0].PublicKey != old.PublicKey() {
		t.Errorf("retired keys are %+v", after.Retired)
	}
}

func TestEveryPublicationIsAnnounced(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.followPublications()
	r.rotate()
	type announced struct {
		Source     string
		DetailType string `json:"detail-type"`
		Detail     struct {
			SecretARN       string `json:"secretArn"`
			KeysetARN       string `json:"keysetArn"`
			Generation      int64  `json:"generation"`
			KeysetVersionID string `json:"keysetVersionId"`
			Phase           string `json:"phase"`
			Keys            []struct{ Fingerprint, State, PublicKey string }
		}
	}
	var got []announced
	for _, raw := range r.aws.Snapshot().Events {
		var e announced
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if e.DetailType == "SSH Keyset Published" {
			got = append(got, e)
		}
	}
	if len(got) != 2 {
		t.Fatalf("%d events for two publications", len(got))
	}
	doc := r.document()
	last := got[1]
	if last.DetailType != "SSH Keyset Published" || last.Detail.SecretARN != r.arn || last.Detail.KeysetARN != doc.ARN ||
		last.Detail.Generation != doc.Keyset.Generation || last.Detail.KeysetVersionID != doc.VersionID || last.Detail.Phase != "steady" {
		t.Errorf("event is %+v", last)
	}
	key := doc.Keyset.Keys[0]
	want := []struct{ Fingerprint, State, PublicKey string }{{key.PublicKey.Fingerprint(), "current", key.PublicKey.String()}}
	if diff := cmp.Diff(want, last.Detail.Keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestBeaconTellsTheFleetsSize(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.followPublications()
	r.rotate()
	beacon, found, err := r.ledger.BeaconConsistent(t.Context(), r.arn)
	if err != nil || !found || beacon.FleetSize != 3 || beacon.PublishedAt.IsZero() || time.Since(beacon.PublishedAt) > time.Minute {
		t.Errorf("beacon is %+v, %v, %v", beacon, found, err)
	}
}
