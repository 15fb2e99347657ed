package attr

// containerOverhead is what DynamoDB charges for a list or a map besides its members, and one byte for each member.
const containerOverhead = 3

// Size returns the bytes that it takes up by DynamoDB's accounting: names and values.
func (it Item) Size() int {
	total := 0
	for name, v := range it {
		total += len(name) + v.size()
	}
	return total
}

func (v Value) size() int {
	switch v.Kind {
	case String, Binary:
		return len(v.Text)
	case Number:
		return numberSize(mustDecimal(v.Text))
	case Map:
		return containerOverhead + len(v.Fields) + v.Fields.Size()
	case List:
		return containerOverhead + len(v.Elems) + elemsSize(v.Elems)
	case StringSet, NumberSet, BinarySet:
		return elemsSize(v.Elems)
	default:
		return 1
	}
}

func elemsSize(elems []Value) int {
	total := 0
	for _, e := range elems {
		total += e.size()
	}
	return total
}

// numberSize is one byte for each two significant digits, one more, and one for a sign.
func numberSize(d decimal) int {
	n := (len(d.digits)+1)/2 + 1
	if d.neg {
		n++
	}
	return n
}
