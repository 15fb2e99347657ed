package fleet

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Tags say which instances are workers: those that match any of the alternatives. Without one, none is.
type Tags []Pairs

// Pairs are tags of which an instance has to bear all.
type Pairs []Pair

// Pair is a tag. Its value may hold EC2's wildcards: * for any text, ? for one character.
type Pair struct{ Name, Value string }

// noTags is the text of Tags without an alternative.
const noTags = "none"

// ParseTags reads NAME=VALUE, several that must all be there as NAME=VALUE,NAME=VALUE, and alternatives with ; in
// between. Of several pairs of one name one is enough, as in EC2's filters. "none" is no alternative.
func ParseTags(s string) (Tags, error) {
	if s == noTags {
		return nil, nil
	}
	var tags Tags
	for alternative := range strings.SplitSeq(s, ";") {
		var pairs Pairs
		for pair := range strings.SplitSeq(alternative, ",") {
			name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
			if !found || name == "" || value == "" {
				return nil, fmt.Errorf("tag %q is not of the form NAME=VALUE", pair)
			}
			pairs = append(pairs, Pair{name, value})
		}
		tags = append(tags, pairs)
	}
	return tags, nil
}

// String is the text that ParseTags reads.
func (p Pairs) String() string {
	parts := make([]string, len(p))
	for i, pair := range p {
		parts[i] = pair.Name + "=" + pair.Value
	}
	return strings.Join(parts, ",")
}

// filters joins the values of one name, for EC2 takes one filter of a name.
func (p Pairs) filters() []types.Filter {
	var filters []types.Filter
	at := make(map[string]int)
	for _, pair := range p {
		i, found := at[pair.Name]
		if !found {
			i = len(filters)
			at[pair.Name] = i
			filters = append(filters, types.Filter{Name: aws.String("tag:" + pair.Name)})
		}
		filters[i].Values = append(filters[i].Values, pair.Value)
	}
	return filters
}
