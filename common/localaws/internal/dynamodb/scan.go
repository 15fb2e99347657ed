package dynamodb

import "github.com/rotatessh/rotatessh/common/localaws/internal/wire"

// maxSegments is how many workers a parallel scan may have.
const maxSegments = 1_000_000

type scanInput struct {
	readInput
	Segment, TotalSegments *int
}

func (s *Service) scan(_ *wire.Request, in *scanInput) (any, error) {
	scope, err := in.scope(in.FilterExpression, in.ProjectionExpression)
	if err != nil {
		return nil, err
	}
	segment, total, err := in.segment()
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	c, err := in.collector(t, scope)
	if err != nil {
		return nil, err
	}
	from, err := in.start(t, segment, total)
	if err != nil {
		return nil, err
	}
	t.rows.scan(from, func(p *partition, e *entry) bool {
		return segmentOf(p.hash, total) == segment && c.add(p.key, e)
	})
	return c.output(), nil
}

func (in *scanInput) segment() (segment, total int, err error) {
	switch {
	case in.Segment == nil && in.TotalSegments == nil:
		return 0, 1, nil
	case in.Segment == nil:
		return 0, 0, invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case in.TotalSegments == nil:
		return 0, 0, invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case *in.TotalSegments < 1 || *in.TotalSegments > maxSegments || *in.Segment < 0:
		return 0, 0, invalid("TotalSegments must lie between 1 and 1000000, Segment must not be negative")
	case *in.Segment >= *in.TotalSegments:
		return 0, 0, invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments")
	default:
		return *in.Segment, *in.TotalSegments, nil
	}
}

// start is where the page begins.
func (in *scanInput) start(t *table, segment, total int) (position, error) {
	if in.ExclusiveStartKey == nil {
		return segmentStart(segment, total), nil
	}
	k, err := t.exactKey(in.ExclusiveStartKey)
	if err != nil {
		return position{}, invalid("The provided starting key is invalid: The provided key element does not match the schema")
	}
	hash := hashOf(k.partition)
	if segmentOf(hash, total) != segment {
		return position{}, invalid("The provided starting key is outside of the segment")
	}
	return position{hash, k.partition, k.sort}, nil
}
