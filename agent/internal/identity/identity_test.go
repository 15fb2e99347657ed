package identity_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/agent/internal/identity"
	"github.com/rotatessh/rotatessh/common/localaws"
)

func TestFromMetadata(t *testing.T) {
	server, err := localaws.Start(localaws.Options{Region: "eu-west-1", Account: "444455556666"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	instance, err := server.RunInstance(localaws.Instance{})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.MetadataURL)
	got, err := identity.FromMetadata(t.Context(), identity.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Worker{ARN: instance.ARN, Partition: "aws", Region: "eu-west-1", Account: "444455556666", ID: instance.ID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// metadata serves an identity document to everybody, as version 1 of the service does, and tokens if wanted.
func metadata(t *testing.T, tokens bool, document string) identity.Documents {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && tokens:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			w.Write([]byte("token"))
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case strings.HasSuffix(r.URL.Path, "/instance-identity/document"):
			w.Write([]byte(document))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
	return identity.Metadata()
}

const document = `{"region":"us-east-1","accountId":"111122223333","instanceId":"i-0123456789abcdef0"}`

func TestMetadataWithoutTokensIsNotUsed(t *testing.T) {
	if w, err := identity.FromMetadata(t.Context(), metadata(t, false, document)); !errors.Is(err, identity.ErrNotEC2) {
		t.Errorf("%+v, %v", w, err)
	}
	if _, err := identity.FromMetadata(t.Context(), metadata(t, true, document)); err != nil {
		t.Errorf("with tokens: %v", err)
	}
}

func TestNothingAnswers(t *testing.T) {
	client := imds.New(imds.Options{Endpoint: "http://127.0.0.1:1", Retryer: aws.NopRetryer{}, EnableFallback: aws.FalseTernary})
	if _, err := identity.FromMetadata(t.Context(), client); !errors.Is(err, identity.ErrNotEC2) {
		t.Errorf("error %v", err)
	}
}

func TestOddDocuments(t *testing.T) {
	for _, doc := range []string{
		`{}`,
		`{"region":"us-east-1","accountId":"111122223333","instanceId":"i-0123/../../x"}`,
		`{"region":"us east","accountId":"111122223333","instanceId":"i-0123456789abcdef0"}`,
	} {
		w, err := identity.FromMetadata(t.Context(), metadata(t, true, doc))
		if err == nil || errors.Is(err, identity.ErrNotEC2) {
			t.Errorf("%s: %+v, %v", doc, w, err)
		}
	}
}

func TestPartitions(t *testing.T) {
	for region, partition := range map[string]string{
		"us-east-1": "aws", "eu-central-2": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso",
		"us-isob-east-1": "aws-iso-b", "eu-isoe-west-1": "aws-iso-e", "us-isof-south-1": "aws-iso-f", "eusc-de-east-1": "aws-eusc",
	} {
		w, err := identity.FromMetadata(t.Context(), metadata(t, true, strings.Replace(document, "us-east-1", region, 1)))
		if err != nil || w.Partition != partition || !strings.HasPrefix(w.ARN, "arn:"+partition+":ec2:"+region+":") {
			t.Errorf("%s: %+v, %v", region, w, err)
		}
	}
}

func TestFromARN(t *testing.T) {
	w, err := identity.FromARN("arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-0123456789abcdef0")
	want := identity.Worker{
		ARN: "arn:aws-cn:ec2:cn-north-1:111122223333:instance/i-0123456789abcdef0", Partition: "aws-cn", Region: "cn-north-1",
		Account: "111122223333", ID: "i-0123456789abcdef0",
	}
	if err != nil || w != want {
		t.Errorf("%+v, %v", w, err)
	}
	for _, arn := range []string{"", "i-0123456789abcdef0", "arn:aws:ec2:us-east-1:111122223333:volume/vol-1", "arn:aws:iam::111122223333:role/x"} {
		if w, err := identity.FromARN(arn); err == nil {
			t.Errorf("%q gives %+v", arn, w)
		}
	}
}
