package attr

import (
	"math/big"
	"strconv"
	"strings"
)

const (
	maxDigits   = 38
	maxExponent = 126  // 9.99…E+125
	minExponent = -129 // 1E-130
)

// decimal is the number 0.digits × 10^exp; digits has neither leading nor trailing zeros and is empty for zero.
type decimal struct {
	neg    bool
	digits string
	exp    int
}

// NewNumber makes a Number from its decimal form, refusing what is no number, is too long or out of range.
func NewNumber(s string) (Value, error) {
	d, err := parseDecimal(s)
	if err != nil {
		return Value{}, err
	}
	return Value{Kind: Number, Text: d.String()}, nil
}

// Int makes a Number from an integer.
func Int(n int) Value { return Value{Kind: Number, Text: strconv.Itoa(n)} }

func parseDecimal(s string) (decimal, error) {
	d, ok := scanDecimal(s)
	switch {
	case s == "":
		return decimal{}, refusal("The parameter cannot be converted to a numeric value")
	case !ok:
		return decimal{}, refusal("The parameter cannot be converted to a numeric value: %s", s)
	case d.digits == "":
		return decimal{}, nil
	case len(d.digits) > maxDigits:
		return decimal{}, refusal("Attempting to store more than 38 significant digits in a Number")
	case d.exp > maxExponent:
		return decimal{}, refusal("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case d.exp < minExponent:
		return decimal{}, refusal("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return d, nil
}

// mustDecimal reads a number in canonical form.
func mustDecimal(s string) decimal {
	d, _ := scanDecimal(s)
	return d
}

func scanDecimal(s string) (decimal, bool) {
	var d decimal
	rest := s
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		d.neg = rest[0] == '-'
		rest = rest[1:]
	}
	mantissa, exponent := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		n, err := strconv.ParseInt(rest[i+1:], 10, 32)
		if err != nil {
			return decimal{}, false
		}
		mantissa, exponent = rest[:i], int(n)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole+fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return decimal{}, false
	}
	significant := strings.TrimLeft(whole+fraction, "0")
	leading := len(whole) + len(fraction) - len(significant)
	d.digits = strings.TrimRight(significant, "0")
	d.exp = len(whole) - leading + exponent
	if d.digits == "" {
		return decimal{}, true
	}
	return d, true
}

// String writes d in plain decimal notation, the canonical form of a Number.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	sign := ""
	if d.neg {
		sign = "-"
	}
	switch {
	case d.exp <= 0:
		return sign + "0." + strings.Repeat("0", -d.exp) + d.digits
	case d.exp >= len(d.digits):
		return sign + d.digits + strings.Repeat("0", d.exp-len(d.digits))
	default:
		return sign + d.digits[:d.exp] + "." + d.digits[d.exp:]
	}
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.neg:
		return -1
	default:
		return 1
	}
}

func (d decimal) compare(e decimal) int {
	if d.sign() != e.sign() {
		return d.sign() - e.sign()
	}
	magnitude := d.exp - e.exp
	if magnitude == 0 {
		magnitude = strings.Compare(d.digits, e.digits)
	}
	return magnitude * d.sign()
}

// Add returns a + b, both Numbers.
func Add(a, b Value) (Value, error) { return sum(mustDecimal(a.Text), mustDecimal(b.Text)) }

// Sub returns a - b, both Numbers.
func Sub(a, b Value) (Value, error) {
	e := mustDecimal(b.Text)
	e.neg = !e.neg
	return sum(mustDecimal(a.Text), e)
}

func sum(d, e decimal) (Value, error) {
	scale := max(len(d.digits)-d.exp, len(e.digits)-e.exp, 0)
	total := new(big.Int).Add(d.scaled(scale), e.scaled(scale))
	return NewNumber(total.String() + "E-" + strconv.Itoa(scale))
}

// scaled returns d × 10^scale, an integer when scale is at least the number of d's decimals.
func (d decimal) scaled(scale int) *big.Int {
	n := new(big.Int)
	if d.digits == "" {
		return n
	}
	n.SetString(d.digits+strings.Repeat("0", scale+d.exp-len(d.digits)), 10)
	if d.neg {
		n.Neg(n)
	}
	return n
}
