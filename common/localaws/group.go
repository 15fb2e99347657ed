package localaws

import "github.com/rotatessh/rotatessh/common/localaws/internal/autoscaling"

// AutoScalingGroup is a group and the lifecycle states of its instances, such as InService, by instance id. Region and
// Account default to the endpoint's.
type AutoScalingGroup = autoscaling.Group

// PutAutoScalingGroup adds a group, or replaces the one of that name. Nothing is launched or terminated for it.
func (s *Server) PutAutoScalingGroup(g AutoScalingGroup) { s.groups.Put(g) }

func (s *Server) groupMember(id string) (zone, kind string, ok bool) {
	i, ok := s.ec2.Get(id)
	return i.AZ, i.Type, ok
}
