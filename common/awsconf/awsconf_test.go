package awsconf_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rotatessh/rotatessh/common/awsconf"
	"github.com/rotatessh/rotatessh/common/awstime"
)

// isolate points the SDK at url and away from whatever the machine has configured.
func isolate(t *testing.T, url string) {
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CA_BUNDLE": "", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
}

func get(ctx context.Context, o awsconf.Options) error {
	cfg, err := awsconf.Load(ctx, o)
	if err != nil {
		return err
	}
	_, err = secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: new("x")})
	return err
}

func answering(t *testing.T, body string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("Date", "Sat, 05 May 2040 07:08:09 GMT")
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	isolate(t, server.URL)
}

func TestEveryAnswerSetsTheClock(t *testing.T) {
	answering(t, `{}`)
	var clock awstime.Clock
	if err := get(t.Context(), awsconf.Options{Clock: &clock}); err != nil {
		t.Fatal(err)
	}
	now, ok := clock.Now()
	if want := time.Date(2040, 5, 5, 7, 8, 9, 0, time.UTC); !ok || now.Sub(want) < 0 || now.Sub(want) > time.Minute {
		t.Errorf("the clock says %v, %v", now, ok)
	}
}

func TestAHugeAnswerIsCutOffWithAnError(t *testing.T) {
	answering(t, fmt.Sprintf(`{"SecretString":%q}`, strings.Repeat("x", 1<<20)))
	if err := get(t.Context(), awsconf.Options{}); err != nil {
		t.Fatalf("the default bound refuses 1 MiB: %v", err)
	}
	if err := get(t.Context(), awsconf.Options{MaxAnswer: 1 << 16}); !errors.Is(err, awsconf.ErrAnswerTooLarge) {
		t.Errorf("got %v, want ErrAnswerTooLarge", err)
	}
}

// endless is an instance metadata service whose documents never end.
func endless(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			_, _ = io.WriteString(w, "token")
		case "/latest/meta-data/iam/security-credentials/":
			_, _ = io.WriteString(w, "role")
		default:
			_, _ = io.WriteString(w, `{"Code":"`)
			for line := strings.Repeat("x", 1<<16); ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	isolate(t, server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

func TestAnswersOfTheMetadataServiceAreBounded(t *testing.T) {
	endless(t)
	if err := get(t.Context(), awsconf.Options{}); !errors.Is(err, awsconf.ErrAnswerTooLarge) {
		t.Errorf("credentials: got %v, want ErrAnswerTooLarge", err)
	}
	client := imds.New(imds.Options{HTTPClient: awsconf.MetadataHTTPClient()})
	if _, err := client.GetInstanceIdentityDocument(t.Context(), nil); !errors.Is(err, awsconf.ErrAnswerTooLarge) {
		t.Errorf("identity: got %v, want ErrAnswerTooLarge", err)
	}
}

func TestACustomCABundleIsTrustedAndAnswersStayBounded(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = fmt.Fprintf(w, `{"SecretString":%q}`, strings.Repeat("x", 1<<17))
	}))
	t.Cleanup(server.Close)
	isolate(t, server.URL)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	if err := get(t.Context(), awsconf.Options{}); err != nil {
		t.Fatalf("the bundle is not used: %v", err)
	}
	if err := get(t.Context(), awsconf.Options{MaxAnswer: 1 << 16}); !errors.Is(err, awsconf.ErrAnswerTooLarge) {
		t.Errorf("got %v, want ErrAnswerTooLarge", err)
	}
}

func TestAMissingRegionSaysHowToSetOne(t *testing.T) {
	isolate(t, "")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	_, err := awsconf.Load(t.Context(), awsconf.Options{})
	if err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("got %v", err)
	}
}

// closedBody is a request body whose sender has closed it while net/http still asks for more.
type closedBody struct{ *strings.Reader }

func (closedBody) WriteTo(io.Writer) (int64, error) { return 0, io.EOF }

func (closedBody) Close() error { return nil }

func TestClosingARequestsBodyLeavesTheAnswerWhole(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(50 * time.Millisecond) // for the client to be told what its body said
		_, _ = io.WriteString(w, "whole")
	}))
	t.Cleanup(server.Close)
	isolate(t, server.URL)
	cfg, err := awsconf.Load(t.Context(), awsconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, closedBody{strings.NewReader("{}")})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 2
	resp, err := cfg.HTTPClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "whole" {
		t.Errorf("answer is %q, %v", got, err)
	}
}
