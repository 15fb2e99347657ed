package dynamodb

// What one unit of capacity moves, in bytes.
const (
	readUnit  = 4 << 10
	writeUnit = 1 << 10
)

// consumed is the ConsumedCapacity member. The service reports what AWS would bill on demand, so that costs can be observed.
type consumed struct {
	TableName     string
	CapacityUnits float64
	Table         *struct{ CapacityUnits float64 } `json:",omitempty"`
}

// report answers a ReturnConsumedCapacity request: nil unless it asks for anything.
func report(mode, table string, units float64) *consumed {
	switch mode {
	case "TOTAL":
		return &consumed{TableName: table, CapacityUnits: units}
	case "INDEXES":
		return &consumed{table, units, &struct{ CapacityUnits float64 }{units}}
	default:
		return nil
	}
}

func readCost(bytes int, consistent bool) float64 {
	units := float64(max(1, (bytes+readUnit-1)/readUnit))
	if consistent {
		return units
	}
	return units / 2
}

func writeCost(bytes int) float64 {
	return float64(max(1, (bytes+writeUnit-1)/writeUnit))
}
