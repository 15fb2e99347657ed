package pattern_test

import (
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws/internal/eventbridge/pattern"
)

const labelEvent = `{"version":"0","source":"aws.secretsmanager","detail-type":"Secret Label Updated","account":"111122223333","region":"us-east-1",
	"resources":["arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-AbCdEf"],
	"detail":{"name":"/dev/ssh","labelUpdated":"AWSCURRENT","versionId":"v1","generation":300,"ratio":3.0e2,"small":0.5,"none":null,"yes":true,
		"address":"10.0.0.5","empty":"","list":["a","b",3],"nothing":[],"nested":{"deep":[{"k":"x","n":1},{"k":"y","n":2}]}}}`

func match(t *testing.T, text, event string) bool {
	t.Helper()
	p, err := pattern.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p.Matches([]byte(event))
}

// detail wraps a pattern about the detail.
func detail(p string) string { return `{"detail":{` + p + `}}` }

func TestPatternsThatMatch(t *testing.T) {
	for _, p := range []string{
		`{"source":["aws.secretsmanager"],"detail-type":["Secret Label Updated"],"detail":{"labelUpdated":["AWSCURRENT"]}}`,
		`{"source":["rotatessh","aws.secretsmanager"]}`,
		`{"resources":[{"prefix":"arn:aws:secretsmanager:us-east-1:111122223333:secret:/dev/ssh-"}]}`,
		detail(`"name":[{"prefix":"/dev/"}]`),
		detail(`"name":[{"prefix":""}]`),
		detail(`"name":[{"prefix":{"equals-ignore-case":"/DEV"}}]`),
		detail(`"name":[{"suffix":"ssh"}]`),
		detail(`"labelUpdated":[{"equals-ignore-case":"awscurrent"}]`),
		detail(`"name":[{"wildcard":"/*/s*h"}]`),
		detail(`"name":[{"wildcard":"*"}]`),
		detail(`"labelUpdated":[{"anything-but":"AWSPENDING"}]`),
		detail(`"labelUpdated":[{"anything-but":["AWSPENDING","AWSPREVIOUS"]}]`),
		detail(`"labelUpdated":[{"anything-but":{"prefix":"ROTATESSH_"}}]`),
		detail(`"labelUpdated":[{"anything-but":{"suffix":["STAGED","PENDING"]}}]`),
		detail(`"labelUpdated":[{"anything-but":{"wildcard":"ROTATE*"}}]`),
		detail(`"generation":[{"anything-but":[7,8]}]`),
		detail(`"name":[{"exists":true}]`),
		detail(`"none":[{"exists":true}]`),
		detail(`"empty":[{"exists":true}]`),
		detail(`"absent":[{"exists":false}]`),
		detail(`"absent":{"deeper":[{"exists":false}]}`),
		detail(`"nothing":[{"exists":false}]`),
		detail(`"generation":[300]`),
		detail(`"generation":[{"numeric":["=",300.0]}]`),
		detail(`"generation":[{"numeric":[">",0,"<=",300]}]`),
		detail(`"ratio":[{"numeric":[">=",300]}]`),
		detail(`"small":[{"numeric":["<",1]}]`),
		detail(`"none":[null]`),
		detail(`"yes":[true]`),
		detail(`"empty":[""]`),
		detail(`"address":[{"cidr":"10.0.0.0/24"}]`),
		detail(`"list":["b"]`),
		detail(`"list":[3]`),
		detail(`"list":["z",{"prefix":"a"}]`),
		detail(`"nested":{"deep":{"k":["y"],"n":[2]}}`),
		`{"$or":[{"source":["other"]},{"detail":{"name":["/dev/ssh"]}}]}`,
		`{"source":["aws.secretsmanager"],"$or":[{"region":["us-east-1"]},{"region":["us-west-2"]}]}`,
	} {
		if !match(t, p, labelEvent) {
			t.Errorf("does not match: %s", p)
		}
	}
}

func TestPatternsThatDoNotMatch(t *testing.T) {
	for _, p := range []string{
		`{"source":["aws.secretsmanager"],"detail-type":["Secret Label Updated"],"detail":{"labelUpdated":["AWSPENDING"]}}`,
		`{"source":["AWS.secretsmanager"]}`,
		`{"absent":["x"]}`,
		detail(`"name":[{"prefix":"dev"}]`),
		detail(`"name":[{"suffix":"/"}]`),
		detail(`"name":[{"wildcard":"/*/s"}]`),
		detail(`"name":[{"wildcard":"/dev\\*ssh"}]`),
		detail(`"generation":[{"prefix":"3"}]`),
		detail(`"labelUpdated":[{"anything-but":"AWSCURRENT"}]`),
		detail(`"labelUpdated":[{"anything-but":{"prefix":"AWS"}}]`),
		detail(`"absent":[{"anything-but":"x"}]`),
		detail(`"generation":[{"anything-but":300}]`),
		detail(`"name":[{"exists":false}]`),
		detail(`"nested":[{"exists":true}]`),
		detail(`"absent":[{"exists":true}]`),
		detail(`"generation":["300"]`),
		detail(`"ratio":[300]`),
		detail(`"generation":[{"numeric":[">",300]}]`),
		detail(`"generation":[{"numeric":[">",0,"<",300]}]`),
		detail(`"name":[{"numeric":[">",0]}]`),
		detail(`"name":[null]`),
		detail(`"yes":["true"]`),
		detail(`"address":[{"cidr":"10.0.1.0/24"}]`),
		detail(`"list":["c"]`),
		detail(`"nested":{"deep":{"k":["x"],"n":[2]}}`),
		detail(`"name":{"deeper":["x"]}`),
		`{"source":["aws.secretsmanager"],"$or":[{"region":["eu-west-1"]},{"region":["us-west-2"]}]}`,
	} {
		if match(t, p, labelEvent) {
			t.Errorf("matches: %s", p)
		}
	}
}

func TestPatternsThatAreRefused(t *testing.T) {
	for _, p := range []string{
		``, `{`, `[]`, `{}`, `{"source":"x"}`, `{"source":[]}`, `{"detail":{}}`, `{"source":[["x"]]}`, `{"a":["x"]} {}`,
		`{"source":[{"prefix":5}]}`, `{"source":[{"startsWith":"x"}]}`, `{"source":[{"prefix":"x","suffix":"y"}]}`, `{"source":[{}]}`,
		`{"source":[{"exists":"true"}]}`, `{"source":[{"numeric":["<"]}]}`, `{"source":[{"numeric":["!",5]}]}`, `{"source":[{"numeric":["<","5"]}]}`,
		`{"source":[{"anything-but":[]}]}`, `{"source":[{"anything-but":[true]}]}`, `{"source":[{"anything-but":{"exists":true}}]}`,
		`{"source":[{"cidr":"10.0.0.0"}]}`, `{"source":[{"wildcard":"a**b"}]}`, `{"source":[{"wildcard":"a\\b"}]}`,
		`{"source":["` + strings.Repeat("x", 2048) + `"]}`,
	} {
		if _, err := pattern.Parse(p); err == nil {
			t.Errorf("is taken for a pattern: %s", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"detail":{"a":[{"numeric":[">",0,"<",5]},{"anything-but":{"prefix":["x"]}}]},"$or":[{"b":[1]},{"c":{"d":[null]}}]}`, labelEvent)
	f.Add(`{"a":[{"wildcard":"a*\\*b*"}]}`, `{"a":"axx*bc"}`)
	f.Fuzz(func(_ *testing.T, text, event string) {
		p, err := pattern.Parse(text)
		if err == nil {
			p.Matches([]byte(event)) // must come to an end without panic
		}
	})
}
