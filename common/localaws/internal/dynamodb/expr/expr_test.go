package expr_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/expr"
)

const stored = `{"pk":{"S":"i-1"},"sk":{"S":"ack#a"},"generation":{"N":"7"},"pass":{"N":"2.50"},"txt":{"S":"hello"},"blank":{"S":""},"octets":{"B":"AQID"},
	"yes":{"BOOL":true},"nothing":{"NULL":true},"tags":{"SS":["a","b"]},"nums":{"NS":["1","2"]},
	"lst":{"L":[{"N":"10"},{"S":"x"},{"L":[{"S":"deep"}]}]},
	"info":{"M":{"a":{"N":"1"},"b":{"M":{"c":{"S":"v"}}},"status":{"S":"ok"}}},"with.dot":{"S":"d"}}`

const values = `{":6":{"N":"6"},":7":{"N":"7"},":7b":{"N":"7.0"},":8":{"N":"8"},":s":{"S":"hello"},":h":{"S":"he"},":i":{"S":"i"},":a":{"S":"a"},":x":{"S":"x"},":v":{"S":"v"},
	":z":{"S":"z"},":one":{"N":"1"},":t":{"BOOL":true},":n":{"NULL":true},":S":{"S":"S"},":SS":{"S":"SS"},":bad":{"S":"string"},":b1":{"B":"AQ=="},
	":lst":{"L":[{"S":"new"}]},":set":{"SS":["b","c"]},":ab":{"SS":["a","b"]},":nums":{"NS":["2","3"]},":map":{"M":{"k":{"S":"v"}}},":blank":{"S":""},":3":{"N":"3"},":5":{"N":"5"}}`

func item(t testing.TB, doc string) (it attr.Item) {
	t.Helper()
	if err := json.Unmarshal([]byte(doc), &it); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return it
}

// scope holds all placeholders; which of them are unused is not looked at.
func scope(t testing.TB) *expr.Scope {
	t.Helper()
	var v map[string]attr.Value
	if err := json.Unmarshal([]byte(values), &v); err != nil {
		t.Fatal(err)
	}
	return expr.NewScope(map[string]string{"#n": "pass", "#s": "status", "#info": "info", "#dot": "with.dot", "#d": "absent"}, v)
}

func TestConditionsThatHold(t *testing.T) {
	for _, text := range []string{
		"generation = :7", "generation = :7b", "generation <> :8", "generation < :8", "generation <= :7", "generation > :6", "generation >= :7", ":7 = generation",
		"#n < :3", "txt = :s", "yes = :t", "nothing = :n", "tags = :ab", "lst[0] > :8", "lst[2][0] <> :v", "info.a = :one", "#info.b.c = :v", "info.#s <> :v",
		"#dot <> :v", "absent <> :v", "txt <> :7", "generation BETWEEN :6 AND :8", "generation between :7 and :7", "txt IN (:x, :s)", "info.a IN (generation, :one)",
		"attribute_exists(pk)", "attribute_exists(info.b.c)", "attribute_exists(lst[2])", "attribute_not_exists(absent)", "attribute_not_exists(lst[3])", "attribute_not_exists(info.b.d)",
		"attribute_type(txt, :S)", "attribute_type(tags, :SS)", "begins_with(txt, :h)", "begins_with(txt, :blank)", "begins_with(octets, :b1)", "begins_with(pk, :i)",
		"contains(txt, :h)", "contains(tags, :a)", "contains(lst, :x)", "contains(nums, :one)", "contains(octets, :b1)",
		"size(txt) = :5", "size(lst) = :3", "size(octets) = :3", "size(info) = :3", "size(tags) < :5", "size(blank) < :one", ":5 = size(txt)", "size(txt) BETWEEN :3 AND :8",
		"NOT generation = :8", "NOT (generation = :8)", "not attribute_exists(absent)", "NOT NOT generation = :7",
		"generation = :8 OR generation = :7", "generation = :7 AND txt = :s", "generation = :8 AND txt = :x OR pk <> :x", "pk <> :x OR generation = :8 AND txt = :x",
		"(generation = :8 OR txt = :s) AND yes = :t", "NOT generation = :8 AND txt = :s", "txt = :x OR NOT (generation = :8 AND txt = :s)",
		"attribute_not_exists(pk) OR generation < :8 OR (generation = :7 AND #n < :3)", "pk<>sk", "info.a\t=\n:one",
	} {
		holds(t, text, stored, true)
	}
}

func TestConditionsThatDoNotHold(t *testing.T) {
	for _, text := range []string{
		"generation = :8", "generation <> :7", "generation < :7", "generation > :7", "generation = :s", "txt < :7", "txt > :7", "absent = :v", "absent < :7", "absent = another",
		"generation BETWEEN :8 AND :8", "absent BETWEEN :6 AND :8", "txt BETWEEN :6 AND :8", "txt IN (:x, :v)", "absent IN (:x)", "tags = :set", "another <> absent",
		"attribute_exists(absent)", "attribute_exists(lst[3])", "attribute_exists(txt.a)", "attribute_exists(info[0])", "attribute_not_exists(pk)", "attribute_type(txt, :SS)", "attribute_type(absent, :S)",
		"begins_with(txt, :x)", "begins_with(generation, :h)", "begins_with(absent, :h)", "contains(txt, :x)", "contains(tags, :x)", "contains(tags, :7)", "contains(absent, :x)", "contains(generation, :7)",
		"size(generation) = :one", "size(absent) = :one", "size(txt) > :5", "NOT generation = :7",
		"generation = :8 AND pk <> :x OR txt = :x", "NOT generation = :7 OR txt = :x",
	} {
		holds(t, text, stored, false)
	}
	holds(t, "attribute_exists(pk) OR generation = :7", "", false)
	holds(t, "attribute_not_exists(pk)", "", true)
}

// holds judges a condition on an item, or on none when doc is "".
func holds(t *testing.T, text, doc string, want bool) {
	t.Helper()
	c, err := scope(t).Condition("ConditionExpression", &text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	var it attr.Item
	if doc != "" {
		it = item(t, doc)
	}
	if got := c.Match(it); got != want {
		t.Errorf("%s = %v, want %v", text, got, want)
	}
}

func TestConditionsThatAreRefused(t *testing.T) {
	for text, message := range map[string]string{
		"":                                    "The expression can not be empty",
		"generation":                          "Syntax error",
		"generation = ":                       "Syntax error",
		"generation = :7 AND":                 "Syntax error",
		"generation = :7 txt = :s":            "Syntax error",
		"(generation = :7":                    "Syntax error",
		"generation == :7":                    "Syntax error",
		"generation = 7":                      "Syntax error",
		"generation ! :7":                     "Syntax error",
		"lst[x] = :7":                         "Syntax error",
		"info..a = :7":                        "Syntax error",
		"status = :s":                         "Attribute name is a reserved keyword; reserved keyword: status",
		"info.status = :s":                    "reserved keyword: status",
		"#undefined = :s":                     "not defined; attribute name: #undefined",
		"txt = :undefined":                    "not defined; attribute value: :undefined",
		"generation < :t":                     "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
		"generation BETWEEN :8 AND :6":        "upper bound to be greater than or equal to lower bound",
		"generation BETWEEN :6 AND :s":        "same data type",
		"begins_with(txt, :7)":                "Incorrect operand type",
		"attribute_type(txt, :bad)":           "Invalid attribute type name found",
		"attribute_exists(:s)":                "requires a document path",
		"attribute_exists(pk, sk)":            "Incorrect number of operands",
		"starts_with(txt, :h)":                "Invalid function name; function: starts_with",
		"if_not_exists(txt, :h) = :s":         "not allowed to be used this way",
		"size(size(txt)) = :5":                "reserved keyword",
		"generation = generation":             "must be distinct",
		"((generation = :7))":                 "redundant parentheses",
		"NOT":                                 "Syntax error",
		strings.Repeat("NOT ", 500) + "a=b":   "nested too deeply",
		"a=b OR " + strings.Repeat("x", 4096): "exceeded the maximum allowed size",
	} {
		_, err := scope(t).Condition("ConditionExpression", &text)
		if err == nil || !strings.HasPrefix(err.Error(), "Invalid ConditionExpression: ") || !strings.Contains(err.Error(), message) {
			t.Errorf("%.40q: %v, want %q", text, err, message)
		}
	}
}

func TestUnusedPlaceholdersAreRefused(t *testing.T) {
	text := "#a = :a"
	s := expr.NewScope(map[string]string{"#a": "a", "#b": "b"}, map[string]attr.Value{":a": attr.Text("x")})
	if _, err := s.Condition("ConditionExpression", &text); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(); err == nil || !strings.Contains(err.Error(), "unused in expressions: keys: {#b}") {
		t.Errorf("finish = %v", err)
	}
	s = expr.NewScope(map[string]string{"#a": "a"}, map[string]attr.Value{":a": attr.Text("x"), ":c": attr.Text("y")})
	if _, err := s.Condition("ConditionExpression", &text); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(); err == nil || !strings.Contains(err.Error(), "unused in expressions: keys: {:c}") {
		t.Errorf("finish = %v", err)
	}
}

func TestUpdates(t *testing.T) {
	const before = `{"pk":{"S":"p"},"n":{"N":"5"},"tags":{"SS":["a","b"]},"lst":{"L":[{"S":"0"},{"S":"1"},{"S":"2"},{"S":"3"}]},"info":{"M":{"a":{"N":"1"}}},
		"recs":{"L":[{"M":{"k":{"S":"a"}}},{"M":{"k":{"S":"b"},"x":{"N":"1"}}}]}}`
	for text, want := range map[string]string{
		"SET fresh = :s":                      `"fresh":{"S":"hello"}`,
		"set n = :7":                          `"n":{"N":"7"}`,
		"SET n = n + :one":                    `"n":{"N":"6"}`,
		"SET n = n - :one, m = n":             `"n":{"N":"4"},"m":{"N":"5"}`,
		"SET n = :one + :one":                 `"n":{"N":"2"}`,
		"SET n = if_not_exists(n, :one)":      `"n":{"N":"5"}`,
		"SET m = if_not_exists(m, :3) + :one": `"m":{"N":"4"}`,
		"SET m = if_not_exists(m, n)":         `"m":{"N":"5"}`,
		"SET n = (n + :one)":                  `"n":{"N":"6"}`,
		"SET lst = list_append(lst, :lst)":    `"lst":{"L":[{"S":"0"},{"S":"1"},{"S":"2"},{"S":"3"},{"S":"new"}]}`,
		"SET lst = list_append(:lst, lst)":    `"lst":{"L":[{"S":"new"},{"S":"0"},{"S":"1"},{"S":"2"},{"S":"3"}]}`,
		"SET journal = list_append(if_not_exists(journal, :lst), :lst)": `"journal":{"L":[{"S":"new"},{"S":"new"}]}`,
		"SET lst[1] = :x":               `"lst":{"L":[{"S":"0"},{"S":"x"},{"S":"2"},{"S":"3"}]}`,
		"SET lst[9] = :x":               `"lst":{"L":[{"S":"0"},{"S":"1"},{"S":"2"},{"S":"3"},{"S":"x"}]}`,
		"SET info.b = :x, info.#s = :v": `"info":{"M":{"a":{"N":"1"},"b":{"S":"x"},"status":{"S":"v"}}}`,
		"SET info = :map":               `"info":{"M":{"k":{"S":"v"}}}`,
		"REMOVE n":                      `"n":null`,
		"REMOVE n, absent, info.a":      `"n":null,"info":{"M":{}}`,
		"REMOVE lst[0], lst[2]":         `"lst":{"L":[{"S":"1"},{"S":"3"}]}`,
		"REMOVE lst[2], lst[9], lst[0]": `"lst":{"L":[{"S":"1"},{"S":"3"}]}`,
		"REMOVE recs[0], recs[1].x":     `"recs":{"L":[{"M":{"k":{"S":"b"}}}]}`,
		"ADD n :3":                      `"n":{"N":"8"}`,
		"ADD m :3":                      `"m":{"N":"3"}`,
		"ADD info.a :one":               `"info":{"M":{"a":{"N":"2"}}}`,
		"ADD tags :set":                 `"tags":{"SS":["a","b","c"]}`,
		"ADD more :set":                 `"more":{"SS":["b","c"]}`,
		"DELETE tags :set":              `"tags":{"SS":["a"]}`,
		"DELETE tags :ab":               `"tags":null`,
		"DELETE more :ab":               ``,
		"SET m = n REMOVE n ADD k :one DELETE tags :set": `"m":{"N":"5"},"n":null,"k":{"N":"1"},"tags":{"SS":["a"]}`,
		"REMOVE lst[0] SET lst[1] = :x":                  `"lst":{"L":[{"S":"x"},{"S":"2"},{"S":"3"}]}`,
	} {
		u, err := scope(t).Update(&text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		it := item(t, before)
		got, err := u.Apply(it)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(patched(t, before, want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if diff := cmp.Diff(item(t, before), it); diff != "" {
			t.Errorf("%s changed the old item:\n%s", text, diff)
		}
	}
}

// patched overlays members on a document; null removes.
func patched(t *testing.T, doc, members string) attr.Item {
	t.Helper()
	var base, patch map[string]json.RawMessage
	if err := json.Unmarshal([]byte(doc), &base); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte("{"+members+"}"), &patch); err != nil {
		t.Fatal(err)
	}
	for name, value := range patch {
		base[name] = value
		if string(value) == "null" {
			delete(base, name)
		}
	}
	raw, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return item(t, string(raw))
}

func TestUpdatesThatAreRefused(t *testing.T) {
	for text, message := range map[string]string{
		"":                                "can not be empty",
		"n = :one":                        "Syntax error",
		"SET n :one":                      "Syntax error",
		"SET n = :one SET m = :one":       `The "SET" section can only be used once`,
		"SET n = :one, n = :3":            "overlap with each other",
		"SET info.a = :one REMOVE info":   "overlap with each other; must remove or rewrite one of these paths; path one: [info], path two: [info, a]",
		"SET lst[0] = :one, lst.a = :one": "conflict with each other",
		"ADD n n":                         "Syntax error",
		"ADD n :s":                        "Incorrect operand type for operator or function; operator or function: ADD, operand type: S",
		"DELETE tags :s":                  "operator or function: DELETE, operand type: S",
		"SET n = if_not_exists(:one, :3)": "requires a document path",
		"SET n = begins_with(txt, :h)":    "not allowed to be used this way",
		"SET status = :one":               "reserved keyword",
		"SET n = n * :3":                  "Syntax error",
		"SET n = n + :one + :one":         "Syntax error",
	} {
		_, err := scope(t).Update(&text)
		if err == nil || !strings.HasPrefix(err.Error(), "Invalid UpdateExpression: ") || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v, want %q", text, err, message)
		}
	}
}

func TestUpdatesThatDoNotFitTheItem(t *testing.T) {
	for text, message := range map[string]string{
		"SET m = absent":                 "refers to an attribute that does not exist in the item",
		"SET m = absent + :one":          "refers to an attribute that does not exist in the item",
		"SET m = txt + :one":             "incorrect data type",
		"SET m = list_append(txt, :lst)": "incorrect data type",
		"SET absent.a = :one":            "document path provided in the update expression is invalid",
		"SET txt.a = :one":               "document path provided in the update expression is invalid",
		"SET info[0] = :one":             "document path provided in the update expression is invalid",
		"REMOVE txt.a":                   "document path provided in the update expression is invalid",
		"DELETE txt.a :ab":               "document path provided in the update expression is invalid",
		"REMOVE info[0]":                 "document path provided in the update expression is invalid",
		"REMOVE absent.a":                "document path provided in the update expression is invalid",
		"ADD txt :one":                   "incorrect data type",
		"ADD tags :nums":                 "incorrect data type",
		"DELETE nums :ab":                "incorrect data type",
	} {
		u, err := scope(t).Update(&text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := u.Apply(item(t, stored)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v, want %q", text, err, message)
		}
	}
}

func TestProjections(t *testing.T) {
	for text, want := range map[string]string{
		"pk, generation":        `{"pk":{"S":"i-1"},"generation":{"N":"7"}}`,
		"absent":                `{}`,
		"info.b.c, info.a":      `{"info":{"M":{"a":{"N":"1"},"b":{"M":{"c":{"S":"v"}}}}}}`,
		"info.b.d":              `{}`,
		"lst[2], lst[0]":        `{"lst":{"L":[{"N":"10"},{"L":[{"S":"deep"}]}]}}`,
		"lst[2][0], #dot":       `{"lst":{"L":[{"L":[{"S":"deep"}]}]},"with.dot":{"S":"d"}}`,
		"txt.a, lst.a, info[0]": `{}`,
	} {
		p, err := scope(t).Projection(&text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(item(t, want), p.Apply(item(t, stored))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"", "pk,", "pk generation", "info, info.a", "status", "pk, pk", "size(pk)"} {
		if _, err := scope(t).Projection(&text); err == nil {
			t.Errorf("%q is taken for a projection", text)
		}
	}
}

func TestKeyConditions(t *testing.T) {
	for text, include := range map[string]string{
		"pk = :x": "abcde", "pk = :x AND sk = :s": "", "sk = :v AND pk = :x": "v", ":x = pk": "refused",
		"pk = :x AND sk < :v": "abcde", "pk = :x AND begins_with(sk, :a)": "a", "pk = :x AND sk BETWEEN :a AND :i": "abcde", "pk = :x AND sk > :a": "bcdev",
		"pk < :x": "refused", "sk = :x": "refused", "pk = :x OR sk = :a": "refused", "pk = :x AND NOT sk = :a": "refused", "pk = :x AND another = :a": "refused",
		"pk = :x AND sk <> :a": "refused", "pk = :x AND pk = :x": "refused", "pk = :x AND sk > :a AND sk < :v": "refused", "pk = :x AND contains(sk, :a)": "refused",
		"pk = sk": "refused", "begins_with(pk, :x)": "refused", "pk.a = :x": "refused", "pk = :x AND sk IN (:a)": "refused",
	} {
		c, err := scope(t).KeyCondition(text, "pk", "sk")
		if (err != nil) != (include == "refused") {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil {
			continue
		}
		for _, sk := range include {
			if !c.Includes(attr.Text(string(sk))) {
				t.Errorf("%s leaves out %q", text, string(sk))
			}
		}
	}
}

func FuzzExpressions(f *testing.F) {
	for _, text := range []string{
		"(a = :7 OR NOT b BETWEEN :6 AND :8) AND size(lst[0].x) > :5", "SET a = if_not_exists(b, :7) + :8, c[1].d = :s REMOVE e ADD f :nums DELETE tags :set",
		"info.b.c, lst[2], #dot", "pk = :x AND begins_with(sk, :a)",
	} {
		f.Add(text)
	}
	base := item(f, stored)
	f.Fuzz(func(t *testing.T, text string) {
		s := scope(t)
		if c, err := s.Condition("FilterExpression", &text); err == nil {
			c.Match(base)
			c.Match(nil)
		}
		if u, err := s.Update(&text); err == nil {
			if after, err := u.Apply(base); err == nil {
				u.Touched(after)
			}
		}
		if p, err := s.Projection(&text); err == nil {
			p.Apply(base)
		}
		if c, err := s.KeyCondition(text, "pk", "sk"); err == nil {
			c.Includes(attr.Text("a"))
		}
		if diff := cmp.Diff(item(t, stored), base); diff != "" {
			t.Fatalf("the item changed:\n%s", diff)
		}
	})
}
