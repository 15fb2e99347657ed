package push

// Parse reads what the script printed.
func (d Document) Parse(stdout string) Result { return d.parse(stdout) }
