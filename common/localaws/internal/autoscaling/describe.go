package autoscaling

import (
	"maps"
	"slices"
)

type instanceXML struct {
	InstanceID           string `xml:"InstanceId"`
	AvailabilityZone     string
	LifecycleState       string
	HealthStatus         string
	InstanceType         string
	ProtectedFromScaleIn bool
}

type groupXML struct {
	Name                   string `xml:"AutoScalingGroupName"`
	ARN                    string `xml:"AutoScalingGroupARN"`
	MinSize                int
	MaxSize                int
	DesiredCapacity        int
	DefaultCooldown        int
	AvailabilityZones      []string `xml:"AvailabilityZones>member"`
	HealthCheckType        string
	HealthCheckGracePeriod int
	CreatedTime            string
	Instances              []instanceXML `xml:"Instances>member"`
}

type describeXML struct {
	Groups    []groupXML `xml:"AutoScalingGroups>member"`
	NextToken string     `xml:",omitempty"`
}

// describe shows a group as big as it is.
func (s *Service) describe(g Group) groupXML {
	x := groupXML{
		Name:    g.Name,
		ARN:     "arn:aws:autoscaling:" + g.Region + ":" + g.Account + ":autoScalingGroup:00000000-0000-4000-8000-000000000000:autoScalingGroupName/" + g.Name,
		MaxSize: len(g.Members), DesiredCapacity: len(g.Members), DefaultCooldown: 300,
		HealthCheckType: "EC2", CreatedTime: s.created,
	}
	zones := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(g.Members)) {
		i := instanceXML{InstanceID: id, LifecycleState: g.Members[id], HealthStatus: "Healthy"}
		i.AvailabilityZone, i.InstanceType, _ = s.deps.Instance(id)
		zones[i.AvailabilityZone] = true
		x.Instances = append(x.Instances, i)
	}
	x.AvailabilityZones = slices.Sorted(maps.Keys(zones))
	return x
}
