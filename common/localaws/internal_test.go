package localaws

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

func TestCallLogForgetsTheOldest(t *testing.T) {
	l := newCallLog(2000, 1<<30)
	for i := range 7000 {
		l.add(Call{Seq: uint64(i)})
	}
	got := l.calls[l.head:]
	if len(got) != 2000 || got[0].Seq != 5000 || got[len(got)-1].Seq != 6999 {
		t.Errorf("%d calls from %d to %d", len(got), got[0].Seq, got[len(got)-1].Seq)
	}
	if cap(l.calls) > 4*2000 {
		t.Errorf("the log holds room for %d calls", cap(l.calls))
	}
}

func TestCallLogIsBoundedInBytes(t *testing.T) {
	l := newCallLog(1000, 100)
	for range 25 {
		l.add(Call{Input: make([]byte, 4), Output: make([]byte, 6)})
	}
	if got := len(l.calls) - l.head; got != 10 {
		t.Errorf("%d calls kept, want 10", got)
	}
	l.add(Call{Input: make([]byte, 101)})
	if got := len(l.calls) - l.head; got != 1 {
		t.Errorf("%d calls kept beside one that is too large, want it alone", got)
	}
}

func TestIdentityNeedsTheTokenThatWasIssued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := newIdentities()
		worker := wire.Principal{Worker: "arn:aws:ec2:us-east-1:111122223333:instance/i-1"}
		c := ids.issue(worker, time.Hour)
		query := &wire.Request{Protocol: wire.Query}
		ec2 := &wire.Request{Protocol: wire.EC2Query}
		json := &wire.Request{Protocol: wire.JSON11}
		p, err := ids.identify(json, c.accessKeyID, c.token)
		if err != nil || p.Worker != worker.Worker || p.String() != worker.Worker {
			t.Errorf("worker is %v, %v", p, err)
		}
		if p, err := ids.identify(json, "AKIAOTHER", ""); err != nil || p.String() != "operator" {
			t.Errorf("other key is %v, %v", p, err)
		}
		refuse := func(r *wire.Request, token, code string) {
			t.Helper()
			_, err := ids.identify(r, c.accessKeyID, token)
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != code {
				t.Errorf("identify = %v, want %s", err, code)
			}
		}
		refuse(json, "", "UnrecognizedClientException")
		refuse(query, "other", "InvalidClientTokenId")
		refuse(ec2, "other", "AuthFailure")
		time.Sleep(time.Hour + time.Second)
		refuse(json, c.token, "ExpiredTokenException")
		refuse(query, c.token, "ExpiredToken")
	})
}

func TestExpiredCredentialsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := newIdentities()
		role := ids.role("f")
		for range 1023 {
			ids.issue(wire.Principal{Worker: "w"}, time.Hour)
		}
		time.Sleep(2 * time.Hour)
		last := ids.issue(wire.Principal{Worker: "w"}, time.Hour)
		if len(ids.issued) != 2 {
			t.Errorf("%d credentials kept, want the function's and the latest", len(ids.issued))
		}
		for _, c := range []credentials{role, last} {
			if _, err := ids.identify(&wire.Request{}, c.accessKeyID, c.token); err != nil {
				t.Error(err)
			}
		}
		if ids.role("f").token != role.token {
			t.Error("a function's credentials changed")
		}
	})
}

func TestItemsExpire(t *testing.T) {
	a := newAccess(t)
	a.operator("dynamodb", "UpdateTimeToLive", object{"TableName": "other",
		"TimeToLiveSpecification": object{"AttributeName": "until", "Enabled": true}})
	db := a.dynamodb
	synctest.Test(t, func(t *testing.T) {
		until := strconv.FormatInt(time.Now().Add(90*time.Second).Unix(), 10)
		for pk, attribute := range map[string]string{"short": "until", "long": "unrelated"} {
			a.operator("dynamodb", "PutItem", object{"TableName": "other", "Item": object{"pk": object{"S": pk}, "sk": object{"S": "x"}, attribute: object{"N": until}}})
		}
		s := &Server{dynamodb: db, log: zap.NewNop()}
		ctx, cancel := context.WithCancel(t.Context())
		go s.expireItems(ctx)
		for _, want := range []int{2, 1} {
			time.Sleep(expireEvery + time.Second)
			synctest.Wait()
			if n := len(s.items()); n != want {
				t.Errorf("%d items, want %d", n, want)
			}
		}
		cancel()
	})
}

func TestRecentForgetsTheOldest(t *testing.T) {
	var r recent
	for i := range maxRecent + 1 {
		r.add(strconv.Itoa(i))
	}
	if got := r.all(); got[0] == "0" || got[len(got)-1] != strconv.Itoa(maxRecent) || len(got) < maxRecent/2 {
		t.Errorf("%d entries from %s to %s", len(got), got[0], got[len(got)-1])
	}
	big := strings.Repeat("x", maxRecentBytes/4)
	for range 10 {
		r.add(big)
	}
	if n := len(r.all()); n > 4 || n < 2 {
		t.Errorf("%d large entries", n)
	}
}
