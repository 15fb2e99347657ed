package operator

import "time"

// Listing is the answer to Workers: those of the rotator's workers that come after the request's After, in the order
// of their ARNs. A function's answer is limited, so that a large fleet takes several. Between them workers may come
// and go; one that is there all the time is listed once.
type Listing struct {
	Request   Kind     `json:"request"`
	SecretARN string   `json:"secretArn"`
	Workers   []Worker `json:"workers"`
	Next      string   `json:"next,omitempty"` // the After of the next request; empty if nobody is left
}

// Worker is one machine as the rotator's inventory has it.
type Worker struct {
	ARN      string    `json:"arn"`
	Name     string    `json:"name,omitempty"`
	Address  string    `json:"address,omitempty"`
	Zone     string    `json:"zone,omitempty"`
	Launched time.Time `json:"launched,omitzero"`
	Untagged bool      `json:"untagged,omitempty"` // it counts although nothing that the settings name lists it any more
}
