package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rotatessh/rotatessh/rotator/internal/fleet"
	"github.com/rotatessh/rotatessh/rotator/internal/settings"
)

// roleSession is the name under which CloudTrail shows what is done with a role of another account.
const roleSession = "rotatessh"

// workers builds the sources of the fleet: tagged instances and groups in every region of every account, and the
// operator's list.
func workers(cfg aws.Config, s settings.Settings, secrets fleet.Secrets) (*fleet.Fleet, error) {
	tags, err := fleet.ParseTags(s.Tags)
	if err != nil {
		return nil, err
	}
	var sources []fleet.Source
	var inventories []*fleet.Inventory
	var places []fleet.Place
	for _, c := range configs(cfg, s) {
		inventory := fleet.NewInventory(ec2.NewFromConfig(c), tags)
		inventories = append(inventories, inventory)
		places = append(places, fleet.Place{Groups: autoscaling.NewFromConfig(c), Instances: inventory})
		sources = append(sources, inventory)
	}
	if len(s.AutoScalingGroups) > 0 {
		sources = append(sources, fleet.NewGroups(s.AutoScalingGroups, places...))
	}
	if s.StaticWorkers != "" {
		sources = append(sources, fleet.NewList(secrets, s.StaticWorkers))
	}
	return fleet.New(inventories, sources...), nil
}

// configs are those of the function's own account and of each role's, in every region.
func configs(cfg aws.Config, s settings.Settings) []aws.Config {
	accounts := []aws.Config{cfg}
	for _, role := range s.Roles {
		c := cfg.Copy()
		c.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = roleSession
		}))
		accounts = append(accounts, c)
	}
	if len(s.Regions) == 0 {
		return accounts
	}
	var all []aws.Config
	for _, account := range accounts {
		for _, region := range s.Regions {
			c := account.Copy()
			c.Region = region
			all = append(all, c)
		}
	}
	return all
}
