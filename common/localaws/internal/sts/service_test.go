package sts_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rotatessh/rotatessh/common/localaws/internal/sts"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wiretest"
)

func TestTheSDKLearnsWhoItIs(t *testing.T) {
	c := sdk.NewFromConfig(wiretest.Serve(t, map[string]wire.Handler{"sts": sts.New()}))
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
		{wire.Principal{Function: "RotateSSH"}, "arn:aws:sts::111122223333:assumed-role/rotatessh-function/RotateSSH AROAFUNCTIONEXAMPLE:RotateSSH"},
	} {
		r := wiretest.Request("sts", "", []byte("Action=GetCallerIdentity"))
		r.Principal = tt.principal
		out, err := sts.New().Handle(t.Context(), r)
		if got := sts.Describe(out); err != nil || got != tt.want {
			t.Errorf("identity = %s, %v; want %s", got, err, tt.want)
		}
	}
}
