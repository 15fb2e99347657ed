package imds

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

var errNotFound = errors.New("no such metadata")

// lookup finds what stands at a path below /latest/; a path that ends in a slash, or names a folder, gives a listing.
func (h *handler) lookup(path string) ([]byte, error) {
	m := h.deps.Metadata()
	switch path {
	case "dynamic/instance-identity/document":
		return document(m)
	case "meta-data/iam/info":
		return h.profile(m)
	}
	if h.deps.Issue != nil && path == "meta-data/iam/security-credentials/"+h.deps.Role {
		return h.credentials()
	}
	leaves := h.leaves(m)
	if v, ok := leaves[path]; ok {
		return []byte(v), nil
	}
	return listing(leaves, path)
}

// leaves are the plain texts, by path; those with an answer of their own are there for the listings.
func (h *handler) leaves(m Metadata) map[string]string {
	dns := "ip-" + strings.ReplaceAll(m.PrivateIP, ".", "-") + ".ec2.internal"
	out := map[string]string{
		"dynamic/instance-identity/document":    "",
		"meta-data/ami-id":                      m.ImageID,
		"meta-data/hostname":                    dns,
		"meta-data/instance-id":                 m.InstanceID,
		"meta-data/instance-type":               m.Type,
		"meta-data/local-hostname":              dns,
		"meta-data/local-ipv4":                  m.PrivateIP,
		"meta-data/placement/availability-zone": m.AZ,
		"meta-data/placement/region":            m.Region,
		"meta-data/services/domain":             "amazonaws.com",
		"meta-data/services/partition":          "aws",
	}
	for k, v := range m.Tags {
		if !strings.ContainsAny(k, "/ ") { // EC2 allows no others on an instance that shows its tags
			out["meta-data/tags/instance/"+k] = v
		}
	}
	if h.deps.Issue != nil {
		out["meta-data/iam/info"] = ""
		out["meta-data/iam/security-credentials/"+h.deps.Role] = ""
	}
	return out
}

// listing names the entries of a folder, one a line, folders with a slash.
func listing(leaves map[string]string, path string) ([]byte, error) {
	prefix := strings.TrimSuffix(path, "/") + "/"
	if path == "" {
		prefix = ""
	}
	entries := map[string]bool{}
	for leaf := range leaves {
		rest, ok := strings.CutPrefix(leaf, prefix)
		if !ok {
			continue
		}
		name, _, isFolder := strings.Cut(rest, "/")
		if isFolder {
			name += "/"
		}
		entries[name] = true
	}
	if len(entries) == 0 {
		return nil, errNotFound
	}
	return []byte(strings.Join(slices.Sorted(maps.Keys(entries)), "\n")), nil
}

// identity is the instance identity document.
type identity struct {
	AccountID        string    `json:"accountId"`
	Architecture     string    `json:"architecture"`
	AvailabilityZone string    `json:"availabilityZone"`
	BillingProducts  []string  `json:"billingProducts"`
	DevpayProducts   []string  `json:"devpayProductCodes"`
	Marketplace      []string  `json:"marketplaceProductCodes"`
	ImageID          string    `json:"imageId"`
	InstanceID       string    `json:"instanceId"`
	InstanceType     string    `json:"instanceType"`
	KernelID         *string   `json:"kernelId"`
	PendingTime      time.Time `json:"pendingTime"`
	PrivateIP        string    `json:"privateIp"`
	RamdiskID        *string   `json:"ramdiskId"`
	Region           string    `json:"region"`
	Version          string    `json:"version"`
}

func document(m Metadata) ([]byte, error) {
	return json.MarshalIndent(identity{
		AccountID: m.Account, Architecture: "arm64", AvailabilityZone: m.AZ, ImageID: m.ImageID, InstanceID: m.InstanceID, InstanceType: m.Type,
		PendingTime: m.LaunchTime.UTC().Truncate(time.Second), PrivateIP: m.PrivateIP, Region: m.Region, Version: "2017-09-30",
	}, "", "  ")
}

func (h *handler) profile(m Metadata) ([]byte, error) {
	if h.deps.Issue == nil {
		return nil, errNotFound
	}
	return json.MarshalIndent(struct {
		Code               string
		LastUpdated        time.Time
		InstanceProfileArn string
		InstanceProfileId  string
	}{"Success", h.role.get(time.Now()).Issued.UTC().Truncate(time.Second), "arn:aws:iam::" + m.Account + ":instance-profile/" + h.deps.Role, "AIPA0123456789EXAMPLE"}, "", "  ")
}

func (h *handler) credentials() ([]byte, error) {
	c := h.role.get(time.Now())
	return json.MarshalIndent(struct {
		Code            string
		LastUpdated     time.Time
		Type            string
		AccessKeyId     string
		SecretAccessKey string
		Token           string
		Expiration      time.Time
	}{"Success", c.Issued.UTC().Truncate(time.Second), "AWS-HMAC", c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.Expires.UTC().Truncate(time.Second)}, "", "  ")
}
