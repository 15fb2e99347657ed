package sts_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sts"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

const role = "arn:aws:iam::444455556666:role/inventory"

func deps() sts.Deps {
	return sts.Deps{
		Roles: func(arn string) bool { return arn == role },
		Assume: func(role, session string, ttl time.Duration) sts.Credentials {
			return sts.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: "secret of " + role, SessionToken: "token of " + session, Expires: time.Unix(1_800_000_000, 0).Add(ttl)}
		},
	}
}

func TestTheSDKAssumesARole(t *testing.T) {
	c := sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"sts": sts.New(deps())}))
	out, err := c.AssumeRole(t.Context(), &sdk.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("rotatessh"), DurationSeconds: aws.Int32(900)})
	if err != nil {
		t.Fatal(err)
	}
	got := out.Credentials
	if aws.ToString(got.AccessKeyId) != "ASIAROLE" || aws.ToString(got.SecretAccessKey) != "secret of "+role || aws.ToString(got.SessionToken) != "token of rotatessh" ||
		!got.Expiration.Equal(time.Unix(1_800_000_900, 0)) {
		t.Errorf("credentials are %+v", got)
	}
	if arn := aws.ToString(out.AssumedRoleUser.Arn); arn != "arn:aws:sts::444455556666:assumed-role/inventory/rotatessh" {
		t.Errorf("the role's user is %s", arn)
	}
}

func TestARoleThatCannotBeAssumed(t *testing.T) {
	c := sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"sts": sts.New(deps())}))
	for _, tt := range []struct {
		role, session string
		seconds       int32
		code          string
	}{
		{"arn:aws:iam::444455556666:role/other", "rotatessh", 900, "AccessDenied"},
		{"inventory-without-an-arn", "rotatessh", 900, "ValidationError"},
		{role, "rotate ssh", 900, "ValidationError"},
		{role, "rotatessh", 60, "ValidationError"},
	} {
		_, err := c.AssumeRole(t.Context(), &sdk.AssumeRoleInput{RoleArn: &tt.role, RoleSessionName: &tt.session, DurationSeconds: &tt.seconds})
		var coded smithy.APIError
		if !errors.As(err, &coded) || coded.ErrorCode() != tt.code {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestTheSDKLearnsWhoItIs(t *testing.T) {
	c := sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"sts": sts.New(deps())}))
	out, err := c.GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.Account) != wiretest.Account || aws.ToString(out.Arn) != "arn:aws:iam::111122223333:user/operator" || aws.ToString(out.UserId) == "" {
		t.Errorf("identity = %+v", out)
	}
	if _, err := c.GetSessionToken(t.Context(), nil); err == nil {
		t.Error("an operation that does not exist succeeded")
	}
}

func TestARoleIsNamedWithItsSession(t *testing.T) {
	for _, tt := range []struct {
		principal wire.Principal
		want      string
	}{
		{wire.Principal{Worker: "arn:aws:ec2:us-east-1:111122223333:instance/i-1"}, "arn:aws:sts::111122223333:assumed-role/rotatessh-worker/i-1 AROAWORKEREXAMPLE:i-1"},
		{wire.Principal{Role: "arn:aws:iam::111122223333:role/path/inventory", Session: "rotatessh"}, "arn:aws:sts::111122223333:assumed-role/inventory/rotatessh AROAROLEEXAMPLE:rotatessh"},
		{wire.Principal{Function: "RotateSSH"}, "arn:aws:sts::111122223333:assumed-role/rotatessh-function/RotateSSH AROAFUNCTIONEXAMPLE:RotateSSH"},
	} {
		r := wiretest.Request("sts", "", []byte("Action=GetCallerIdentity"))
		r.Principal = tt.principal
		out, err := sts.New(deps()).Handle(t.Context(), r)
		if got := sts.Describe(out); err != nil || got != tt.want {
			t.Errorf("identity = %s, %v; want %s", got, err, tt.want)
		}
	}
}
