package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/rotatessh/rotatessh/common/localaws"
)

func eventDriven() Scenario {
	return Scenario{
		Name:    "event-driven",
		Purpose: "an event starts a rotation and its reason reaches the report; others that follow are refused",
		workers: 3,
		act:     playEventDriven,
	}
}

// eventDrivenFacts are what was observed when events asked for rotations.
type eventDrivenFacts struct {
	Common
	StartedByRequest int  `json:"startedByRequest"` // rotations
	RequestReported  bool `json:"requestReported"`  // with its reason
	SwitchReported   bool `json:"switchReported"`   // with the reason of the request that led to it
	DuplicateStarted bool `json:"duplicateStarted"` // another rotation
	SecondRefused    bool `json:"secondRefused"`    // another event, which the report tells with the reason
	CommandRefused   bool `json:"commandRefused"`   // rotatessh rotate --reason
}

func (f *eventDrivenFacts) findings() []Finding {
	return []Finding{
		equal("startedByRequest", "rotations started by request", f.StartedByRequest, 1),
		equal("requestReported", "the report tells the request with its reason", f.RequestReported, true),
		equal("switchReported", "and the switch with the same reason", f.SwitchReported, true),
		equal("duplicateStarted", "the same event, delivered twice, started another rotation", f.DuplicateStarted, false),
		equal("secondRefused", "another event is refused, and the report says why", f.SecondRefused, true),
		equal("commandRefused", "rotatessh rotate --reason is refused, too", f.CommandRefused, true),
	}
}

func playEventDriven(ctx context.Context, p *play) (facts, error) {
	const first, second = "finding 4711: key seen in a public repository", "finding 4712: the same once more"
	f := &eventDrivenFacts{}
	version, err := p.rotateByEvent(ctx, first)
	if err != nil {
		return nil, err
	}
	if err := p.readRequest(ctx, f, first, version); err != nil {
		return nil, err
	}
	if err := p.deliverTwice(ctx, f); err != nil {
		return nil, err
	}
	if err := p.refuseSecond(ctx, f, first, second); err != nil {
		return nil, err
	}
	out, err := p.try(ctx, "rotate", "--reason", "to be on the safe side")
	if err != nil {
		return nil, err
	}
	f.CommandRefused = out.status != 0 && strings.Contains(out.stderr, first)
	f.StartedByRequest = len(p.startedByRotator())
	return f, p.controllers.Round(ctx)
}

// rotateByEvent puts an event that asks for a rotation, and follows that to its end.
func (p *play) rotateByEvent(ctx context.Context, reason string) (version string, err error) {
	p.nextRotation()
	if err := p.putRequest(ctx, reason); err != nil {
		return "", err
	}
	err = p.await(ctx, "the rotator to start a rotation", func() (bool, error) {
		started := p.startedByRotator()
		if len(started) > 0 {
			version = started[0]
		}
		return version != "", nil
	})
	if err != nil {
		return "", err
	}
	r, err := p.AwaitRotation(ctx, version)
	if err != nil {
		return "", err
	}
	_, err = p.Settle(ctx, r)
	p.tell("the rotation is complete, and every worker refuses the old key")
	return version, err
}

// putRequest puts an event that asks for a rotation on the bus.
func (p *play) putRequest(ctx context.Context, reason string) error {
	p.tell("an event asks for a rotation: %q", reason)
	detail, err := json.Marshal(map[string]string{"secretArn": p.resources.secretARN, "reason": reason})
	if err != nil {
		return err
	}
	out, err := p.aws.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
		Source: aws.String("rotatessh"), DetailType: aws.String(requestType), Detail: aws.String(string(detail)),
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = fmt.Errorf("the bus refused it: %s", aws.ToString(out.Entries[0].ErrorMessage))
	}
	if err != nil {
		return fmt.Errorf("asking for a rotation: %w", err)
	}
	return nil
}

const requestType = "SSH Key Rotation Requested"

// startedByRotator are the versions to which the rotator itself has started rotations, oldest first.
func (p *play) startedByRotator() []string {
	var versions []string
	for _, c := range p.server.Calls() {
		var out struct {
			VersionID string `json:"VersionId"`
		}
		if c.Service == "secretsmanager" && c.Action == "RotateSecret" && c.Principal == functionName && c.ErrorCode == "" && json.Unmarshal(c.Output, &out) == nil {
			versions = append(versions, out.VersionID)
		}
	}
	return versions
}

// readRequest looks for the reason in the report.
func (p *play) readRequest(ctx context.Context, f *eventDrivenFacts, reason, version string) error {
	var h history
	if err := p.ask(ctx, &h, "report"); err != nil {
		return err
	}
	request, _ := h.find("requested", version)
	f.RequestReported = request.Passed && strings.Contains(request.Asked, reason)
	switched, _ := h.find("finishSecret", version)
	f.SwitchReported = switched.Passed && strings.Contains(switched.Asked, reason)
	p.tell("the report of the switch says who asked: %s", words(switched.Asked))
	return nil
}

// deliverTwice delivers the event again that the rotator got first.
func (p *play) deliverTwice(ctx context.Context, f *eventDrivenFacts) error {
	p.tell("the bus delivers the same event a second time")
	before := len(p.startedByRotator())
	for _, c := range p.server.Calls() {
		if isRequest(c) {
			if _, err := p.server.Invoke(ctx, functionName, c.Input); err != nil {
				return err
			}
			break
		}
	}
	f.DuplicateStarted = len(p.startedByRotator()) > before
	return nil
}

func isRequest(c localaws.Call) bool {
	var event struct {
		DetailType string `json:"detail-type"`
	}
	return c.Service == "lambda" && json.Unmarshal(c.Input, &event) == nil && event.DetailType == requestType
}

// refuseSecond puts another event, and waits until the report tells what came of it.
func (p *play) refuseSecond(ctx context.Context, f *eventDrivenFacts, first, second string) error {
	before := len(p.startedByRotator())
	if err := p.putRequest(ctx, second); err != nil {
		return err
	}
	return p.await(ctx, "the rotator's answer", func() (bool, error) {
		if started := p.startedByRotator(); len(started) > before {
			p.tell("it starts another rotation, minutes after the first")
			_, err := p.AwaitRotation(ctx, started[before])
			return true, err
		}
		var h history
		err := p.ask(ctx, &h, "report")
		refused, found := h.find("request-refused", "")
		if !found || err != nil {
			return false, err
		}
		p.tell("it is refused: %s", refused.Message)
		f.SecondRefused = strings.Contains(refused.Message, first) && strings.Contains(refused.Asked, second)
		return true, nil
	})
}
