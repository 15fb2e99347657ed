package dynamodb

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/rotatessh/rotatessh/common/localaws/internal/dynamodb/attr"
	"github.com/rotatessh/rotatessh/common/localaws/internal/wire"
)

var tableNamePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

type attributeDefinition struct{ AttributeName, AttributeType string }

type keyElement struct{ AttributeName, KeyType string }

type throughput struct{ ReadCapacityUnits, WriteCapacityUnits int64 }

type createTableInput struct {
	TableName                 string
	AttributeDefinitions      []attributeDefinition
	KeySchema                 []keyElement
	BillingMode               string
	ProvisionedThroughput     *throughput
	DeletionProtectionEnabled bool
	Tags                      []struct{ Key, Value string }
	SSESpecification          *struct {
		Enabled                 bool
		SSEType, KMSMasterKeyId string
	}
	TableClass string
}

type tableInput struct{ TableName string }

type tableDescription struct {
	TableName, TableArn, TableId, TableStatus string
	AttributeDefinitions                      []attributeDefinition
	KeySchema                                 []keyElement
	CreationDateTime                          float64
	ItemCount, TableSizeBytes                 int
	DeletionProtectionEnabled                 bool
	BillingModeSummary                        struct{ BillingMode string }
	ProvisionedThroughput                     struct{ NumberOfDecreasesToday, ReadCapacityUnits, WriteCapacityUnits int64 }
}

type tableOutput struct {
	TableDescription *tableDescription `json:",omitempty"`
	Table            *tableDescription `json:",omitempty"`
}

func (s *Service) createTable(r *wire.Request, in *createTableInput) (any, error) {
	t, err := newTable(r, in)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.tables[in.TableName]; ok {
		return nil, &wire.Error{Code: "ResourceInUseException", Message: "Table already exists: " + in.TableName}
	}
	s.tables[in.TableName] = t
	return tableOutput{TableDescription: t.describe("CREATING")}, nil
}

func newTable(r *wire.Request, in *createTableInput) (*table, error) {
	if !tableNamePattern.MatchString(in.TableName) {
		return nil, invalid("TableName must be at least 3 characters long and at most 255 characters long, of a-z, A-Z, 0-9, '_', '-' and '.'")
	}
	if in.BillingMode != "PAY_PER_REQUEST" && in.ProvisionedThroughput == nil {
		return nil, invalid("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	t := &table{
		name: in.TableName, arn: "arn:aws:dynamodb:" + r.Region + ":" + r.Account + ":table/" + in.TableName, id: wire.NewUUID(),
		created: time.Now(), billing: in.BillingMode, guarded: in.DeletionProtectionEnabled,
	}
	if t.billing == "" {
		t.billing = "PROVISIONED"
	}
	return t, t.setKeys(in)
}

func (t *table) setKeys(in *createTableInput) error {
	if len(in.KeySchema) < 1 || len(in.KeySchema) > 2 || in.KeySchema[0].KeyType != "HASH" || len(in.KeySchema) == 2 && in.KeySchema[1].KeyType != "RANGE" {
		return invalid("Invalid KeySchema: The first KeySchemaElement must be a HASH key type and the second, if any, a RANGE key type")
	}
	if len(in.AttributeDefinitions) != len(in.KeySchema) {
		return invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	for i, into := range []*keyAttribute{&t.partition, &t.sort}[:len(in.KeySchema)] {
		name := in.KeySchema[i].AttributeName
		at := slices.IndexFunc(in.AttributeDefinitions, func(d attributeDefinition) bool { return d.AttributeName == name })
		if at < 0 {
			return invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [" + name + "]")
		}
		kind := attr.Kind(in.AttributeDefinitions[at].AttributeType)
		if !kind.Ordered() {
			return invalid("Member must satisfy enum value set: [B, N, S]")
		}
		*into = keyAttribute{name, kind}
	}
	return nil
}

func (t *table) describe(status string) *tableDescription {
	d := &tableDescription{
		TableName: t.name, TableArn: t.arn, TableId: t.id, TableStatus: status,
		CreationDateTime: wire.Epoch(t.created), ItemCount: t.rows.count, DeletionProtectionEnabled: t.guarded,
	}
	d.BillingModeSummary.BillingMode = t.billing
	for i, a := range t.attributes() {
		d.AttributeDefinitions = append(d.AttributeDefinitions, attributeDefinition{a.name, string(a.kind)})
		d.KeySchema = append(d.KeySchema, keyElement{a.name, []string{"HASH", "RANGE"}[i]})
	}
	return d
}

// named finds a table for an operation on the table itself, whose refusal names it. The caller holds mu.
func (s *Service) named(name string) (*table, error) {
	t, err := s.table(name)
	if isNotFound(err) {
		return nil, notFound("Requested resource not found: Table: " + name + " not found")
	}
	return t, err
}

func (s *Service) describeTable(_ *wire.Request, in *tableInput) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.named(in.TableName)
	if err != nil {
		return nil, err
	}
	return tableOutput{Table: t.describe("ACTIVE")}, nil
}

func (s *Service) deleteTable(_ *wire.Request, in *tableInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.named(in.TableName)
	if err != nil {
		return nil, err
	}
	if t.guarded {
		return nil, invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	delete(s.tables, in.TableName)
	return tableOutput{TableDescription: t.describe("DELETING")}, nil
}

type listTablesInput struct {
	ExclusiveStartTableName string
	Limit                   int
}

type listTablesOutput struct {
	TableNames             []string
	LastEvaluatedTableName string `json:",omitempty"`
}

func (s *Service) listTables(_ *wire.Request, in *listTablesInput) (any, error) {
	if in.Limit == 0 {
		in.Limit = 100
	}
	s.mu.RLock()
	names := slices.Sorted(maps.Keys(s.tables))
	s.mu.RUnlock()
	from, found := slices.BinarySearch(names, in.ExclusiveStartTableName)
	if found {
		from++
	}
	names = names[from:]
	if len(names) <= in.Limit {
		return listTablesOutput{TableNames: append([]string{}, names...)}, nil
	}
	return listTablesOutput{names[:in.Limit], names[in.Limit-1]}, nil
}
