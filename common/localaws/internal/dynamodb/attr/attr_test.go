package attr_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
)

func TestNumbersAreStoredInPlainNotation(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "0.0": "0", "000": "0", "0e99999999": "0", "7": "7", "+7": "7", "007": "7", "-7.50": "-7.5", ".5": "0.5", "5.": "5",
		"1e3": "1000", "1E-3": "0.001", "12.34e1": "123.4", "100": "100", "1e125": "1" + strings.Repeat("0", 125), "-1e-130": "-0." + strings.Repeat("0", 129) + "1",
		strings.Repeat("9", 38): strings.Repeat("9", 38), strings.Repeat("9", 38) + "000": strings.Repeat("9", 38) + "000",
		"0.1000000000000000055511151231257827021": "0.1000000000000000055511151231257827021",
	} {
		v, err := attr.NewNumber(in)
		if err != nil || v.Text != want {
			t.Errorf("%q = %q, %v; want %q", in, v.Text, err, want)
		}
	}
	for _, in := range []string{"", "x", "1x", "1e", "--1", "1.2.3", "1e126", "1e-131", "NaN", "Infinity", "0x10", "1_000", " 1", strings.Repeat("9", 39), "1e9999999999"} {
		if v, err := attr.NewNumber(in); err == nil {
			t.Errorf("%q = %q, want a refusal", in, v.Text)
		}
	}
}

func number(t *testing.T, s string) attr.Value {
	t.Helper()
	v, err := attr.NewNumber(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNumbersHaveTheirOrder(t *testing.T) {
	ordered := []string{"-1e125", "-10", "-9.5", "-1", "-0.5", "-1e-130", "0", "1e-130", "0.05", "0.5", "1", "1.000000000000000000000000000000000001", "9", "10", "100", "1e125"}
	for i, a := range ordered {
		for j, b := range ordered {
			got := attr.Compare(number(t, a), number(t, b))
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("compare(%s, %s) = %d", a, b, got)
			}
		}
	}
}

func TestSumsAreExact(t *testing.T) {
	for _, tt := range []struct{ a, b, sum, difference string }{
		{"0.1", "0.2", "0.3", "-0.1"}, {"5", "5", "10", "0"}, {"-1", "1", "0", "-2"}, {"1e20", "1", "100000000000000000001", "99999999999999999999"},
		{"0", "0", "0", "0"}, {"1.5", "0", "1.5", "1.5"}, {"1e-130", "0", "0." + strings.Repeat("0", 129) + "1", "0." + strings.Repeat("0", 129) + "1"},
	} {
		sum, err := attr.Add(number(t, tt.a), number(t, tt.b))
		difference, err2 := attr.Sub(number(t, tt.a), number(t, tt.b))
		if err := errors.Join(err, err2); err != nil || sum.Text != tt.sum || difference.Text != tt.difference {
			t.Errorf("%s and %s: sum %s, difference %s, %v; want %s and %s", tt.a, tt.b, sum.Text, difference.Text, err, tt.sum, tt.difference)
		}
	}
	if v, err := attr.Add(number(t, "1e38"), number(t, "1")); err == nil {
		t.Errorf("a sum of 39 digits = %s, want a refusal", v.Text)
	}
	if v, err := attr.Add(number(t, "9e125"), number(t, "9e125")); err == nil {
		t.Errorf("a sum out of range = %s, want a refusal", v.Text)
	}
}

func TestSizesAreThoseOfTheService(t *testing.T) {
	for doc, want := range map[string]int{
		`{"a":{"S":"päß"}}`: 1 + 5, `{"a":{"N":"123"}}`: 1 + 3, `{"a":{"N":"-123"}}`: 1 + 4, `{"a":{"N":"1000"}}`: 1 + 2, `{"a":{"B":"AAEC"}}`: 1 + 3,
		`{"a":{"BOOL":true}}`: 2, `{"a":{"NULL":true}}`: 2, `{"a":{"L":[]}}`: 1 + 3, `{"a":{"L":[{"S":"x"},{"S":"y"}]}}`: 1 + 3 + 2 + 2,
		`{"a":{"M":{"k":{"S":"v"}}}}`: 1 + 3 + 1 + 2, `{"a":{"SS":["x","yy"]}}`: 1 + 3, `{"name":{"S":""}}`: 4,
	} {
		var it attr.Item
		if err := json.Unmarshal([]byte(doc), &it); err != nil {
			t.Fatal(err)
		}
		if got := it.Size(); got != want {
			t.Errorf("size of %s = %d, want %d", doc, got, want)
		}
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	deep := strings.Repeat(`{"L":[`, 34) + `{"S":"x"}` + strings.Repeat(`]}`, 34)
	for _, doc := range []string{
		`{}`, `{"X":"1"}`, `{"S":"a","N":"1"}`, `{"S":1}`, `{"N":1}`, `{"NULL":false}`, `{"SS":[]}`, `{"SS":["a","a"]}`, `{"NS":["1","1.0"]}`, `{"B":"*"}`, `"a"`, deep,
	} {
		var v attr.Value
		if err := json.Unmarshal([]byte(doc), &v); err == nil {
			t.Errorf("%s is taken", doc)
		}
	}
}

func TestSetsHaveNoOrder(t *testing.T) {
	set := func(doc string) (v attr.Value) {
		t.Helper()
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if !attr.Equal(set(`{"NS":["10","2"]}`), set(`{"NS":["2.0","1e1"]}`)) || attr.Equal(set(`{"SS":["a"]}`), set(`{"BS":["YQ=="]}`)) {
		t.Error("sets are not compared by their elements and kind")
	}
	if !attr.Equal(set(`{"L":[{"S":"a"}]}`), set(`{"L":[{"S":"a"}]}`)) || attr.Equal(set(`{"L":[{"S":"a"},{"S":"b"}]}`), set(`{"L":[{"S":"b"},{"S":"a"}]}`)) {
		t.Error("lists are not compared in order")
	}
}

func FuzzValue(f *testing.F) {
	for _, doc := range []string{`{"M":{"a":{"L":[{"N":"-1.5e3"},{"NULL":true}]},"b":{"BS":["AA==","AQ=="]}}}`, `{"S":"\u2028\ud83d\ude00\u0000"}`, `{"NS":["1","2"]}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var v, again attr.Value
		if json.Unmarshal(doc, &v) != nil {
			return
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &again); err != nil || !attr.Equal(v, again) {
			t.Errorf("%s became %s: %v", doc, out, err)
		}
	})
}

// Sums and order agree with big.Rat.
func FuzzNumbers(f *testing.F) {
	f.Add("1.5", "-2e3")
	f.Add("99999999999999999999999999999999999999", "1")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errX := attr.NewNumber(a)
		y, errY := attr.NewNumber(b)
		if errX != nil || errY != nil {
			return
		}
		p, okP := new(big.Rat).SetString(x.Text)
		q, okQ := new(big.Rat).SetString(y.Text)
		if !okP || !okQ {
			t.Fatalf("%q and %q are no plain numbers", x.Text, y.Text)
		}
		if got, want := attr.Compare(x, y), p.Cmp(q); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
			t.Errorf("compare(%s, %s) = %d, want %d", x.Text, y.Text, got, want)
		}
		sum, err := attr.Add(x, y)
		if err != nil {
			return
		}
		if got, ok := new(big.Rat).SetString(sum.Text); !ok || got.Cmp(p.Add(p, q)) != 0 {
			t.Errorf("%s + %s = %s", x.Text, y.Text, sum.Text)
		}
		if strings.ContainsAny(sum.Text, "eE+") || slices.Contains([]string{"-0", ""}, sum.Text) {
			t.Errorf("sum %q is not in plain notation", sum.Text)
		}
	})
}
