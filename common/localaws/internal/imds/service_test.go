package imds_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	sdk "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/rotatessh/rotatessh/common/localaws/internal/imds"
)

var launched = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func deps(issue func() imds.Credentials) imds.Deps {
	return imds.Deps{Role: "worker", Issue: issue, Metadata: func() imds.Metadata {
		return imds.Metadata{
			InstanceID: "i-0123456789abcdef0", PrivateIP: "10.0.0.7", AZ: "us-east-1c", Region: "us-east-1", Account: "111122223333",
			Type: "m7g.medium", ImageID: "ami-1", LaunchTime: launched, Tags: map[string]string{"RotateSSHKeys": "True", "a/b": "c"},
		}
	}}
}

func credentials(number int, life time.Duration) imds.Credentials {
	now := time.Now()
	return imds.Credentials{
		AccessKeyID: fmt.Sprintf("ASIA%d", number), SecretAccessKey: "secret", SessionToken: "token", Issued: now, Expires: now.Add(life),
	}
}

func start(t *testing.T, d imds.Deps) *imds.Server {
	t.Helper()
	s, err := imds.Start(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestTheSDKReadsIdentityPlacementAndCredentials(t *testing.T) {
	d := deps(func() imds.Credentials { return credentials(1, time.Hour) })
	c := sdk.New(sdk.Options{Endpoint: start(t, d).URL()})
	doc, err := c.GetInstanceIdentityDocument(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if doc.InstanceID != "i-0123456789abcdef0" || doc.AccountID != "111122223333" || doc.Region != "us-east-1" ||
		doc.AvailabilityZone != "us-east-1c" || doc.PrivateIP != "10.0.0.7" || !doc.PendingTime.Equal(launched) {
		t.Errorf("identity = %+v", doc.InstanceIdentityDocument)
	}
	region, err := c.GetRegion(t.Context(), nil)
	if err != nil || region.Region != "us-east-1" {
		t.Errorf("region = %+v, %v", region, err)
	}
	creds, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = c }).Retrieve(t.Context())
	if err != nil || creds.AccessKeyID != "ASIA1" || creds.SecretAccessKey != "secret" || creds.SessionToken != "token" || !creds.CanExpire {
		t.Errorf("credentials = %+v, %v", creds, err)
	}
	info, err := c.GetIAMInfo(t.Context(), nil)
	if err != nil || info.InstanceProfileArn != "arn:aws:iam::111122223333:instance-profile/worker" {
		t.Errorf("IAM info = %+v, %v", info, err)
	}
}

// session is a client that needs neither sockets nor an SDK, for use under a fake clock.
type session struct {
	t     *testing.T
	h     http.Handler
	token string
}

func (s *session) do(method, path string, header ...string) (int, string) {
	s.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if s.token != "" {
		r.Header.Set("X-aws-ec2-metadata-token", s.token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body)
}

func (s *session) open(ttl string) {
	s.t.Helper()
	status, token := s.do(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", ttl)
	if status != http.StatusOK || len(token) < 40 {
		s.t.Fatalf("token: %d %q", status, token)
	}
	s.token = token
}

func TestNothingIsAnsweredWithoutAToken(t *testing.T) {
	s := &session{t: t, h: imds.Handler(deps(nil))}
	for _, token := range []string{"", "invented"} {
		s.token = token
		if status, _ := s.do(http.MethodGet, "/latest/meta-data/instance-id"); status != http.StatusUnauthorized {
			t.Errorf("token %q: status %d, want 401", token, status)
		}
	}
	for _, ttl := range []string{"", "0", "21601", "six hours"} {
		if status, _ := s.do(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", ttl); status != http.StatusBadRequest {
			t.Errorf("life of %q: status %d, want 400", ttl, status)
		}
	}
	status, _ := s.do(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60", "X-Forwarded-For", "10.0.0.1")
	if status != http.StatusForbidden {
		t.Errorf("through a proxy: status %d, want 403", status)
	}
}

func TestATokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{t: t, h: imds.Handler(deps(nil))}
		s.open("60")
		time.Sleep(59 * time.Second)
		if status, body := s.do(http.MethodGet, "/latest/meta-data/instance-id"); status != http.StatusOK || body != "i-0123456789abcdef0" {
			t.Errorf("within its life: %d %q", status, body)
		}
		time.Sleep(time.Second)
		if status, _ := s.do(http.MethodGet, "/latest/meta-data/instance-id"); status != http.StatusUnauthorized {
			t.Errorf("after its life: status %d, want 401", status)
		}
	})
}

func TestCredentialsAreRenewedBeforeTheyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		number := 0
		s := &session{t: t, h: imds.Handler(deps(func() imds.Credentials { number++; return credentials(number, time.Hour) }))}
		s.open("21600")
		key := func() string {
			_, body := s.do(http.MethodGet, "/latest/meta-data/iam/security-credentials/worker")
			_, rest, _ := strings.Cut(body, `"AccessKeyId": "`)
			key, _, _ := strings.Cut(rest, `"`)
			return key
		}
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "ASIA1"}, {54 * time.Minute, "ASIA1"}, {2 * time.Minute, "ASIA2"}, {time.Hour, "ASIA3"}} {
			time.Sleep(step.wait)
			if got := key(); got != step.want {
				t.Errorf("%s later the key is %q, want %q", step.wait, got, step.want)
			}
		}
	})
}

func TestPathsAndListings(t *testing.T) {
	s := &session{t: t, h: imds.Handler(deps(func() imds.Credentials { return credentials(1, time.Hour) }))}
	s.open("60")
	tests := []struct {
		path   string
		status int
		body   string
	}{
		{"/latest/meta-data/local-ipv4", 200, "10.0.0.7"},
		{"/latest/meta-data/placement/availability-zone", 200, "us-east-1c"},
		{"/latest/meta-data/placement", 200, "availability-zone\nregion"},
		{"/latest/meta-data/placement/", 200, "availability-zone\nregion"},
		{"/latest/meta-data/iam/security-credentials/", 200, "worker"},
		{"/latest/meta-data/tags/instance", 200, "RotateSSHKeys"},
		{"/latest/meta-data/tags/instance/RotateSSHKeys", 200, "True"},
		{"/latest/meta-data/tags/instance/Name", 404, "<html><body><h1>404 - Not Found</h1></body></html>\n"},
		{"/latest/meta-data/iam", 200, "info\nsecurity-credentials/"},
		{"/latest/meta-data/public-ipv4", 404, "<html><body><h1>404 - Not Found</h1></body></html>\n"},
		{"/2009-04-04/meta-data/instance-id", 404, "<html><body><h1>404 - Not Found</h1></body></html>\n"},
	}
	for _, tt := range tests {
		if status, body := s.do(http.MethodGet, tt.path); status != tt.status || body != tt.body {
			t.Errorf("%s = %d %q, want %d %q", tt.path, status, body, tt.status, tt.body)
		}
	}
	if status, _ := s.do(http.MethodPost, "/latest/meta-data/instance-id"); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d, want 405", status)
	}
	none := &session{t: t, h: imds.Handler(deps(nil))}
	none.open("60")
	if status, _ := none.do(http.MethodGet, "/latest/meta-data/iam/security-credentials/"); status != http.StatusNotFound {
		t.Errorf("credentials of an instance without role: status %d, want 404", status)
	}
}

func TestCloseEndsTheService(t *testing.T) {
	s := start(t, deps(nil))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.URL() + "/latest/meta-data/")
	if err == nil {
		_ = resp.Body.Close()
		t.Error("a closed service still answers")
	}
}
