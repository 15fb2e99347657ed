package operator_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/rotator/internal/operator"
)

func request(kind operator.Kind) operator.Request {
	r := operator.New(kind, "arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf", "arn:aws:iam::111122223333:user/ann")
	r.VersionID = "v2"
	if kind == operator.Rollback {
		r.VersionID, r.CurrentVersionID = "v1", "v2"
	}
	if kind == operator.Revoke {
		r.VersionID, r.CurrentVersionID, r.AcceptLockout, r.Force, r.Reason = "revoke-0123456789abcdef0123456789abcdef", "v2", 2, true, "stolen"
	}
	if kind == operator.Unwaive {
		r.VersionID, r.Worker = "", "i-0123"
	}
	if kind == operator.Waive {
		r.VersionID, r.Worker, r.Until, r.Reason = "", "i-0123", time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), "dead disk"
	}
	if kind == operator.Workers {
		r.VersionID, r.After = "", "arn:aws:ec2:us-east-1:111122223333:instance/i-0123"
	}
	if kind == operator.Rotate {
		r.VersionID, r.Reason = "0123456789abcdef0123456789abcdef", "INC-7"
	}
	return r
}

func TestRequestsSurviveTheJourney(t *testing.T) {
	for _, kind := range []operator.Kind{operator.Abort, operator.Resume, operator.Rollback, operator.Revoke, operator.Waive, operator.Unwaive, operator.Rotate, operator.Workers} {
		want := request(kind)
		raw, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := operator.Parse(raw)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", kind, err, diff)
		}
	}
}

func TestWrongRequestsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*operator.Request)
		want   string
	}{
		{"another source", func(r *operator.Request) { r.Source = "aws.events" }, "source"},
		{"a later version", func(r *operator.Request) { r.Version = 2 }, "version 2"},
		{"an unknown kind", func(r *operator.Request) { r.Request = "explode" }, `"explode" is unknown`},
		{"no secret", func(r *operator.Request) { r.SecretARN = "/dev/ssh" }, "is not an ARN"},
		{"nobody asks", func(r *operator.Request) { r.Actor = "" }, "actor"},
		{"an actor of two lines", func(r *operator.Request) { r.Actor = "a\nb" }, "actor"},
		{"a reason without end", func(r *operator.Request) { r.Reason = strings.Repeat("x", 513) }, "reason"},
		{"no version", func(r *operator.Request) { r.VersionID = "" }, "needs versionId"},
		{"a version that counts for nothing", func(r *operator.Request) { r.CurrentVersionID = "v1" }, "and nothing else"},
		{"a waiver without a reason", func(r *operator.Request) { *r = request(operator.Waive); r.Reason = "" }, "reason"},
		{"a waiver of no instance", func(r *operator.Request) { *r = request(operator.Waive); r.Worker = "*" }, "instance id"},
		{"a waiver without an end", func(r *operator.Request) { *r = request(operator.Waive); r.Until = time.Time{} }, "until"},
		{"force without a reason", func(r *operator.Request) { r.Force = true }, "force needs a reason"},
		{"a waiver by force", func(r *operator.Request) { *r = request(operator.Waive); r.Force = true }, "cannot be forced"},
		{"an abort that loses workers", func(r *operator.Request) { r.AcceptLockout = 1 }, "only revoke"},
		{"a revocation that loses less than nobody", func(r *operator.Request) { *r = request(operator.Revoke); r.AcceptLockout = -1 }, "negative"},
		{"a revocation of another form", func(r *operator.Request) { *r = request(operator.Revoke); r.VersionID = "v3" }, "not one of a revocation"},
		{"the end of no instance's waiver", func(r *operator.Request) { *r = request(operator.Unwaive); r.Worker = "x" }, "instance id"},
		{"a rotation without a reason", func(r *operator.Request) { *r = request(operator.Rotate); r.Reason = "" }, "and a reason"},
		{"a rotation to a version of no form", func(r *operator.Request) { *r = request(operator.Rotate); r.VersionID = "v2" }, "32 to 64"},
		{"an abort of a worker", func(r *operator.Request) { r.Worker = "i-0123" }, "nothing to do with worker"},
		{"an abort after a worker", func(r *operator.Request) { r.After = "arn" }, "nothing to do with after"},
		{"the workers of a version", func(r *operator.Request) { *r = request(operator.Workers); r.VersionID = "v2" }, "needs no version"},
		{"the workers after two lines", func(r *operator.Request) { *r = request(operator.Workers); r.After = "a\nb" }, "is an ARN"},
		{"workers by force", func(r *operator.Request) { *r = request(operator.Workers); r.Force, r.Reason = true, "x" }, "cannot be forced"},
		{"going back from nowhere", func(r *operator.Request) { r.Request = operator.Rollback }, "another currentVersionId"},
		{"going back to the same", func(r *operator.Request) { r.Request, r.CurrentVersionID = operator.Rollback, "v2" }, "another currentVersionId"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(operator.Abort)
			c.change(&r)
			raw, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := operator.Parse(raw); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestUnknownFieldsAndTrailingTextAreRefused(t *testing.T) {
	raw, err := json.Marshal(request(operator.Abort))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		strings.Replace(string(raw), `{`, `{"detail-type":"x",`, 1), string(raw) + "{}", string(raw) + "]", "[]", "", "null",
	} {
		if r, err := operator.Parse([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, r)
		}
	}
}

func TestARotatorThatDoesNotKnowAKindIsRecognisedByWhatItSays(t *testing.T) {
	of := func(change func(*operator.Request)) string {
		r := request(operator.Abort)
		change(&r)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = operator.Parse(raw)
		return err.Error()
	}
	if text := of(func(r *operator.Request) { r.Request, r.VersionID = "tomorrows", "" }); !operator.IsUnknown(text) {
		t.Errorf("%q is not recognised", text)
	}
	if text := of(func(r *operator.Request) { r.VersionID = "" }); operator.IsUnknown(text) {
		t.Errorf("%q is taken for it", text)
	}
}
