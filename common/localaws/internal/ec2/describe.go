package ec2

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

// Bounds of MaxResults of DescribeInstances.
const (
	minResults = 5
	maxResults = 1000
)

var idPattern = regexp.MustCompile(`^i-[0-9a-f]{8}([0-9a-f]{9})?$`)

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type instanceXML struct {
	InstanceID  string   `xml:"instanceId"`
	ImageID     string   `xml:"imageId"`
	StateCode   int      `xml:"instanceState>code"`
	StateName   string   `xml:"instanceState>name"`
	PrivateDNS  string   `xml:"privateDnsName"`
	Type        string   `xml:"instanceType"`
	LaunchTime  string   `xml:"launchTime"`
	Zone        string   `xml:"placement>availabilityZone"`
	Tenancy     string   `xml:"placement>tenancy"`
	PrivateIP   string   `xml:"privateIpAddress,omitempty"`
	Arch        string   `xml:"architecture"`
	RootDevice  string   `xml:"rootDeviceType"`
	Hypervisor  string   `xml:"hypervisor"`
	Tags        []tagXML `xml:"tagSet>item"`
	HTTPTokens  string   `xml:"metadataOptions>httpTokens"`
	HopLimit    int      `xml:"metadataOptions>httpPutResponseHopLimit"`
	MetaEnabled string   `xml:"metadataOptions>httpEndpoint"`
	MetaTags    string   `xml:"metadataOptions>instanceMetadataTags"`
}

type reservationXML struct {
	ReservationID string        `xml:"reservationId"`
	OwnerID       string        `xml:"ownerId"`
	Instances     []instanceXML `xml:"instancesSet>item"`
}

type describeInstancesXML struct {
	Reservations []reservationXML `xml:"reservationSet>item"`
	NextToken    string           `xml:"nextToken,omitempty"`
}

func (s *Service) describeInstances(r *wire.Request) (any, error) {
	fs, err := filters(r.Form, instanceFilter)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if ids := list(r.Form, "InstanceId"); len(ids) > 0 {
		return s.describeIDs(r, ids, fs)
	}
	limit, after, err := page(r.Form)
	if err != nil {
		return nil, err
	}
	out := describeInstancesXML{}
	for _, m := range s.order[s.indexAfter(after):] {
		if !m.visibleTo(r) || !matchesAll(fs, m) {
			continue
		}
		if len(out.Reservations) == limit {
			out.NextToken = token(after)
			break
		}
		out.Reservations = append(out.Reservations, m.reservation())
		after = m.seq
	}
	return out, nil
}

// page reads MaxResults and NextToken; without MaxResults all are returned.
func page(form url.Values) (limit, after int, err error) {
	if t := form.Get("NextToken"); t != "" {
		if after, err = fromToken(t); err != nil {
			return 0, 0, refusal("InvalidNextToken", "The specified nextToken is invalid")
		}
	}
	raw := form.Get("MaxResults")
	if raw == "" {
		return -1, after, nil
	}
	limit, err = strconv.Atoi(raw)
	switch {
	case err != nil || limit < minResults:
		return 0, 0, refusal("InvalidParameterValue", "Value ( "+raw+" ) for parameter maxResults is invalid. Expecting a value greater than 5.")
	case limit > maxResults:
		return 0, 0, refusal("InvalidParameterValue", "Value ( "+raw+" ) for parameter maxResults is invalid. Expecting a value less than or equal to 1000.")
	}
	return limit, after, nil
}

func token(seq int) string {
	return base64.StdEncoding.EncodeToString([]byte("after:" + strconv.Itoa(seq)))
}

func fromToken(t string) (int, error) {
	raw, err := base64.StdEncoding.DecodeString(t)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimPrefix(string(raw), "after:"))
}

func (s *Service) describeIDs(r *wire.Request, ids []string, fs []filter) (any, error) {
	if r.Form.Get("MaxResults") != "" {
		return nil, refusal("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	if err := s.checkIDs(r, ids); err != nil {
		return nil, err
	}
	out := describeInstancesXML{}
	seen := map[string]bool{}
	for _, id := range ids {
		if m := s.byID[id]; !seen[id] && matchesAll(fs, m) {
			out.Reservations = append(out.Reservations, m.reservation())
		}
		seen[id] = true
	}
	return out, nil
}

// checkIDs refuses the whole request when one id is unknown. The caller holds mu.
func (s *Service) checkIDs(r *wire.Request, ids []string) error {
	var unknown []string
	for _, id := range ids {
		if m, ok := s.byID[id]; ok && m.visibleTo(r) {
			continue
		}
		if !idPattern.MatchString(id) {
			return refusal("InvalidInstanceID.Malformed", fmt.Sprintf("Invalid id: %q", id))
		}
		unknown = append(unknown, id)
	}
	switch len(unknown) {
	case 0:
		return nil
	case 1:
		return refusal("InvalidInstanceID.NotFound", "The instance ID '"+unknown[0]+"' does not exist")
	default:
		return refusal("InvalidInstanceID.NotFound", "The instance IDs '"+strings.Join(unknown, ", ")+"' do not exist")
	}
}

func (m *machine) reservation() reservationXML {
	code, _ := stateCode(m.State)
	x := instanceXML{
		InstanceID: m.ID, ImageID: m.ImageID, StateCode: code, StateName: m.State, Type: m.Type,
		PrivateDNS: "ip-" + strings.ReplaceAll(m.PrivateIP, ".", "-") + ".ec2.internal", PrivateIP: m.PrivateIP,
		LaunchTime: m.LaunchTime.UTC().Format("2006-01-02T15:04:05.000Z"), Zone: m.AZ, Tenancy: "default",
		Arch: "arm64", RootDevice: "ebs", Hypervisor: "xen",
		HTTPTokens: "required", HopLimit: 2, MetaEnabled: "enabled", MetaTags: "enabled",
	}
	for _, k := range slices.Sorted(maps.Keys(m.Tags)) {
		x.Tags = append(x.Tags, tagXML{k, m.Tags[k]})
	}
	if m.State == "terminated" {
		x.PrivateIP, x.PrivateDNS = "", ""
	}
	return reservationXML{ReservationID: "r-" + strings.TrimPrefix(m.ID, "i-"), OwnerID: m.Account, Instances: []instanceXML{x}}
}
